/**
 * One step of the ledger's machine, of a state that a test writes down whole: what it changes, notifies and leases is
 * compared whole too. The group here differs from a new one in each of its fields, so that what a step drops, or carries
 * where it should not, shows. Nothing in here decides anything.
 */
import type { Failure } from "../../shared/failure.ts";
import type { Group, GroupPayload, GroupState, StoredPayload } from "../../shared/ledger/group.ts";
import { bornHead, type Head } from "../../shared/ledger/head.ts";
import { type LedgerEvent, type Step, step, tokensNeeded } from "../../shared/ledger/machine.ts";
import { defaultSettings, type LedgerSettings } from "../../shared/ledger/settings.ts";
import type { Change, Waiting } from "../../shared/ledger/view.ts";
import type { GroupId } from "../../shared/receipt.ts";
import { LedgerState } from "./ledger-state.ts";
import { type Bell, codecVersion, doorbell, emptyWorld, knownTable, startMs } from "./world.ts";

/** When the step is taken. */
export const now = startMs;
export const today = Math.floor(startMs / 86_400_000);
export const seconds = (count: number): number => count * 1000;

export const groupId = "f".repeat(32) as GroupId;
export const otherId = "e".repeat(32) as GroupId;

/** The n-th token of the step, from 0. */
export function tokenAt(n: number): GroupId {
  return n.toString(16).padStart(32, "0") as GroupId;
}

export function payloadAt(bell: Bell, more: Partial<GroupPayload> = {}): GroupPayload {
  const { v: _, cause, ...counts } = doorbell(bell);
  const isDoorbell = cause === "ingress";
  return {
    ...counts,
    cause,
    doorbell: isDoorbell,
    duplicateKeys: [],
    missingDays: null,
    erase: null,
    ...more,
  };
}

export const one = payloadAt({ n: 1 });
export const two = payloadAt({ n: 2, spans: 20 });

/** What the transcoder made of them: four rows are of the day before. */
export function transcoded(...payloads: readonly GroupPayload[]): readonly StoredPayload[] {
  return payloads.map(({ key, spans }) => ({
    key,
    rowsByDay: [
      { day: today - 1, rows: 4 },
      { day: today, rows: spans - 4 },
    ],
    rejectedSpans: 3,
    bytes: 100,
  }));
}

export const failure: Failure = {
  failed: 4,
  refused: 1,
  since: now - seconds(600),
  at: now - seconds(50),
  kind: "retry",
  code: null,
  name: "",
  text: "before",
};

export const head: Head = {
  ...bornHead(emptyWorld, now - seconds(864_000), 4),
  forgottenBefore: now - defaultSettings.memoryMs,
  epoch: 7,
  counter: 5,
  breaker: {
    inFlight: [otherId],
    notified: [],
    concurrencyLimit: 8,
    suspects: [otherId],
    isOpen: false,
    probeAt: now - seconds(700),
    failures: 0,
  },
  table: {
    refusal: "",
    measure: { blocks: 50, windowBlocks: 1000, windowMs: null, clockAheadMs: 7, identity: knownTable },
    measuredAt: now - seconds(30),
    identity: knownTable,
  },
  lastStoredInsertAt: now - seconds(800),
  lastSplitAt: now - seconds(750),
  rescues: { event: 3, reconcile: 4 },
  lateBells: 6,
};

/** A group of one payload, after some history. */
export function groupIn(state: GroupState, more: Partial<Group> = {}): Group {
  const payloads = more.payloads ?? [one];
  return {
    id: groupId,
    epoch: 7,
    payloads,
    blocks: 1,
    made: now - seconds(650),
    attempts: state.lease === null ? 11 : 12,
    inserts: 2,
    firstInsertAt: now - seconds(290),
    lastInsertAt: now - seconds(100),
    blocksBefore: 40,
    codecVersion,
    rows: transcoded(...payloads),
    outcomeUnknown: false,
    refusals: 1,
    lastRefusalAt: now - seconds(640),
    unlisted: 2,
    ownFailures: 1,
    ownFailedAt: now - seconds(630),
    failure,
    failures: 3,
    rings: 2,
    due: now,
    state,
    ...more,
  };
}

/** A group that the step made under its n-th token. */
export function newGroup(n: number, more: Pick<Group, "payloads" | "state"> & Partial<Group>): Group {
  return {
    id: tokenAt(n),
    epoch: 7,
    blocks: 1,
    made: now,
    attempts: 0,
    inserts: 0,
    firstInsertAt: null,
    lastInsertAt: null,
    blocksBefore: null,
    codecVersion: null,
    rows: null,
    outcomeUnknown: false,
    refusals: 0,
    lastRefusalAt: 0,
    unlisted: 0,
    ownFailures: 0,
    ownFailedAt: 0,
    failure: null,
    failures: 0,
    rings: 0,
    due: now,
    ...more,
  };
}

/** The 12th attempt, which is leased and has a minute left. */
export const lease = { attempt: 12, until: now + seconds(60) };
/** As it is when its lease ends now. */
export const over = { attempt: 12, until: now };

export const open: Extract<GroupState, { at: "open" }> = { at: "open", lease: null, out: "insert" };

export interface Before {
  readonly groups?: readonly Group[];
  readonly waiting?: Waiting;
  readonly head?: Head;
  /** Applied last: what was done and is remembered. */
  readonly changes?: readonly Change[];
  readonly settings?: LedgerSettings;
  readonly databaseBytes?: number;
  readonly trimTo?: number | undefined;
  readonly now?: number;
}

export function stateOf({ groups = [], waiting, head: known = head, changes = [] }: Before): LedgerState {
  const state = new LedgerState();
  state.apply([
    { kind: "head", head: known },
    ...(waiting === undefined ? [] : [{ kind: "waiting", waiting } as const]),
    ...groups.map((group) => ({ kind: "group", group, isNew: true }) as const),
    ...changes,
  ]);
  return state;
}

export function stepOf(before: Before, event: LedgerEvent): Step {
  const tokens = Array.from({ length: tokensNeeded(event) }, (_, n) => tokenAt(n));
  const { now: at = now, databaseBytes = 0, trimTo, settings = defaultSettings } = before;
  return step(stateOf(before), event, { now: at, tokens, databaseBytes, trimTo }, settings);
}

export const toHead = (changed: Partial<Head>): Change => ({ kind: "head", head: { ...head, ...changed } });
export const toGroup = (group: Group): Change => ({ kind: "group", group, isNew: false });
export const made = (group: Group): Change => ({ kind: "group", group, isNew: true });
export const ended = (
  ids: Extract<Change, { kind: "end" }>["ended"] = [],
  group: GroupId = groupId,
): Change => ({ kind: "end", group, ended: ids, at: now });
