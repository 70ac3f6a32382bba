/**
 * What of the head is stored, and how an instance of the ledger's object has the rest again when it starts. A row is what
 * the platform bills, and each group would cost several of the head: so the head is written when something changed that
 * nothing else says.
 *
 * Not stored is which groups are in flight and which were notified: their own rows say it. Not written for its own sake is
 * what a later start may know as it was: when the newest INSERT was stored (an older time proves less), and that more
 * INSERTs may be in flight than before (fewer is the safe side). Fewer than before is written at once.
 */
import type { Group } from "./group.ts";
import type { Breaker, Head } from "./head.ts";

/** Must a head be written, where `stored` is the one that was written last? */
export function isToWrite(stored: Head | null, head: Head): boolean {
  return (
    stored === null ||
    head.breaker.concurrencyLimit < stored.breaker.concurrencyLimit ||
    !areEqual(stored, head, inferred) ||
    !areEqual(stored.breaker, head.breaker, inferredOfBreaker)
  );
}

/** Members that are known again, or need not be. The breaker's own are looked at by themselves. */
const inferred: ReadonlySet<string> = new Set(["breaker", "lastStoredInsertAt"] satisfies (keyof Head)[]);
const inferredOfBreaker: ReadonlySet<string> = new Set([
  "wide",
  "inFlight",
  "notified",
  "concurrencyLimit",
] satisfies (keyof Breaker)[]);

/** Are two plain values written alike? What a step left alone is the same object, and is not looked into. */
function areEqual(a: unknown, b: unknown, except: ReadonlySet<string> = nothing): boolean {
  if (a === b) {
    return true;
  }
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) {
    return false;
  }
  const one = a as Plain;
  const other = b as Plain;
  for (const name of Object.keys(one)) {
    if (one[name] !== other[name] && !except.has(name) && !areEqual(one[name], other[name])) {
      return false;
    }
  }
  for (const name of Object.keys(other)) {
    if (other[name] !== undefined && one[name] === undefined && !except.has(name)) {
      return false;
    }
  }
  return true;
}

type Plain = Readonly<Record<string, unknown>>;

const nothing: ReadonlySet<string> = new Set();

/**
 * The head as it is written. An instance of an earlier version reads the lists of its breaker from there: a group that has
 * ended since would keep its slot for ever.
 */
export function withoutGroups(head: Head, concurrencyLimit = head.breaker.concurrencyLimit): Head {
  const { wide: _, ...breaker } = head.breaker;
  return { ...head, breaker: { ...breaker, inFlight: [], notified: [], concurrencyLimit } };
}

/**
 * The head at an instance's start. `groups`: at least those that are leased for their INSERT, and those that were notified
 * for it. Example: the breaker is open and its probe in flight when the object is moved: the new instance finds the probe's
 * lease in its group, and leases no second one.
 */
export function headAtStart(stored: Head, groups: readonly Group[]): Head {
  const live = groups.filter(({ epoch }) => epoch === stored.epoch).sort((a, b) => (a.id < b.id ? -1 : 1));
  const inFlight = live.filter(isInFlight);
  const wide = inFlight.find(({ blocks }) => blocks > 1);
  const head = withoutGroups(stored);
  return {
    ...head,
    breaker: {
      ...head.breaker,
      inFlight: inFlight.map(({ id }) => id),
      notified: live.filter(isNotified).map(({ id, due }) => ({ group: id, again: due })),
      ...(wide === undefined ? {} : { wide: wide.id }),
    },
  };
}

/** Is an INSERT of it leased? */
export function isInFlight({ state }: Group): boolean {
  return state.at === "open" && state.lease !== null && state.out === "insert";
}

/** Was it notified for its INSERT, and not fetched yet? */
export function isNotified({ state, rings }: Group): boolean {
  return state.at === "open" && state.lease === null && rings > 0;
}
