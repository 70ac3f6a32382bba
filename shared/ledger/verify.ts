/**
 * What VERIFY concludes of one payload: the whole decision as one pure comparison of what is expected with what the
 * table, the receipts and R2 show. Receipts are claims, rows are the evidence. It is called after the fence, when no
 * INSERT of the id can be running, and while nobody else may insert the id.
 */

import { assert } from "../assert.ts";
import { counted } from "../counted.ts";
import { limits } from "../limits.ts";
import type { PayloadKey } from "../payload-key.ts";
import type { DayRows, GroupId, Receipt, ReceiptClaim } from "../receipt.ts";
import { endOfRows } from "./expiry.ts";
import type { Evidence, GroupPayload, StoredPayload } from "./group.ts";
import { mayStoreAgain } from "./head.ts";
import { blankReceipt, deadReceipts, keysOf, sumOf } from "./receipts.ts";
import { shortText } from "./short-text.ts";

export type Verdict =
  /** Nothing is to be inserted: write these receipts (perhaps none), remember the id. */
  | {
      readonly kind: "end";
      readonly receipts: readonly Receipt[];
      /** The key that the id is remembered by, and how. */
      readonly key: PayloadKey;
      readonly outcome: "stored" | "dead" | "erased";
      /** Not all of its keys are erased yet, and why they are to be: it is looked at once more. */
      readonly erase: string | null;
      /** Its rows were found in the table, so its view may need to be completed. */
      readonly found: boolean;
      /** A bell for rows that somebody removed. */
      readonly lateBell: boolean;
    }
  /** Absent, or some days of it: to be inserted under a new token. */
  | { readonly kind: "insert"; readonly payload: GroupPayload }
  /** Neither none nor all: a person decides. */
  | { readonly kind: "inexact"; readonly reason: string };

export interface VerifyFacts {
  readonly payload: GroupPayload;
  readonly evidence: Evidence;
  /** What the first transcode came to, where the group was transcoded. */
  readonly rows: StoredPayload | null;
  /** The group that looks. */
  readonly group: GroupId;
  /** That group's own INSERT may have stored the rows. */
  readonly attempted: boolean;
  /** The object was not transcoded although nothing else says its rows: earlier attempts to do it never reported. */
  readonly isBlind: boolean;
  /** Days before are outside the table's TTL: not expected, not counted. */
  readonly oldestDay: number;
  readonly erasedKeysMax: number;
}

/** What the receipts claim of a payload, and a receipt to be completed by what it says. */
interface Claims {
  readonly keys: readonly PayloadKey[];
  readonly byKey: ReadonlyMap<PayloadKey, ReceiptClaim>;
  readonly stored: readonly ReceiptClaim[];
  readonly erased: ReceiptClaim | undefined;
  readonly dead: ReceiptClaim | undefined;
  readonly blank: Receipt;
}

/** What is expected, inside the table's TTL, and how many copies of it the table has. */
interface Copies {
  /** What is expected of the whole payload, outside the TTL too. */
  readonly complete: readonly DayRows[];
  readonly expected: readonly DayRows[];
  /** Copies of each expected day. */
  readonly byDay: readonly number[];
  readonly most: number;
  readonly least: number;
  /** Keys whose receipts say `stored`. */
  readonly storedKeys: number;
}

type Ended = Extract<Verdict, { kind: "end" }>;

export function judge(facts: VerifyFacts): Verdict {
  const { payload, evidence } = facts;
  const claims = claimsOf(facts);
  // A person erased one key of these bytes, or asks for it now: that holds for every key, regardless of the cause.
  if (claims.erased !== undefined || payload.erase !== null) {
    return erasedVerdict(facts, claims);
  }
  // What is expected: what was claimed to be stored, what was transcoded first, what the object comes to.
  const complete = wholeOf(facts, claims.stored);
  assert(
    complete !== null || evidence.object === null || facts.isBlind,
    "an object is transcoded when nothing else says its rows",
  );
  if (complete === null) {
    return verdictWithoutObject(facts, claims);
  }
  const copies = copiesFound(facts, claims, complete);
  if ("kind" in copies) {
    return copies;
  }
  const { least } = copies;
  // Where no row is expected inside the TTL, all of them are there.
  if (least >= 1) {
    return presentVerdict(facts, claims, copies);
  }
  return absentVerdict(facts, claims, copies);
}

function claimsOf({ payload, evidence, rows, group }: VerifyFacts): Claims {
  const { receipts, object } = evidence;
  return {
    keys: keysOf(payload),
    byKey: new Map(receipts.map((receipt) => [receipt.key, receipt])),
    stored: receipts.filter(({ outcome }) => outcome === "stored"),
    erased: receipts.find(({ outcome }) => outcome === "erased"),
    dead: receipts.find(({ outcome }) => outcome === "dead"),
    blank: {
      ...blankReceipt(payload, group, rows ?? object ?? undefined),
      spans: spansOf({ payload, evidence, rows }),
    },
  };
}

/** How many spans the payload has: its object knows; a doorbell may be of another request with the same bytes. */
function spansOf({ payload, rows, evidence }: Pick<VerifyFacts, "payload" | "rows" | "evidence">): number {
  const transcoded = payload.missingDays === null && rows !== null ? sumOf(rows.rowsByDay) : undefined;
  return evidence.object?.spans ?? transcoded ?? payload.spans;
}

function end(outcome: Ended["outcome"], key: PayloadKey, receipts: readonly Receipt[]): Ended {
  return { kind: "end", receipts, key, outcome, erase: null, found: false, lateBell: false };
}

/**
 * Erased under all of its keys. Example: a person erases key A while equal bytes have arrived under B: A and B get a
 * receipt `erased` each, and the deletions follow the receipts. When B's event comes late, rows and object are gone
 * and both keys have their receipts: nothing is owed.
 */
function erasedVerdict(
  { payload, evidence, erasedKeysMax }: VerifyFacts,
  { keys, byKey, erased, blank }: Claims,
): Ended {
  const reason = shortText(payload.erase ?? erased?.reason ?? "", limits.reasonBytesMax);
  // Rows or an object are left where an erasure was stopped behind the receipts, and nothing knows of it any
  // more: then all of it is erased once more, for the deletions follow the receipts.
  const isGone = evidence.rowsByDay.length === 0 && evidence.object === null;
  const every = new Set(isGone && payload.erase === null ? keys : [...keys, ...byKey.keys()]);
  const isErased = (key: PayloadKey): boolean => byKey.get(key)?.outcome === "erased";
  const owed = [...every].filter((key) => !isGone || !isErased(key));
  // As many as a group has room for. The object that was found goes first, then keys without such a receipt: each look
  // leaves less to the next.
  const found = owed.filter((key) => key === evidence.object?.key);
  const together = [...new Set([...found, ...owed.filter((key) => !isErased(key)), ...owed])].slice(
    0,
    erasedKeysMax,
  );
  const receipts = together.map((key) => ({ ...blank, key, outcome: "erased", reason }) as const);
  const erase = together.length < owed.length ? reason : null;
  return { ...end("erased", erased?.key ?? payload.key, receipts), erase };
}

/**
 * How often the table has what is expected, or why that cannot be said. Expected 10 rows on Monday and 5 on Tuesday:
 * 10 and 0 found are one copy of Monday and none of Tuesday; 20 and 10 are two copies; 7 and 5 are inexact.
 */
function copiesFound(
  { payload, evidence, oldestDay, attempted }: VerifyFacts,
  { byKey, stored }: Claims,
  complete: readonly DayRows[],
): Copies | Extract<Verdict, { kind: "inexact" }> {
  const expected = complete.filter(({ day, rows }) => day >= oldestDay && rows > 0);
  const found = new Map(evidence.rowsByDay.map(({ day, rows }) => [day, rows]));
  const stray = evidence.rowsByDay.find(
    ({ day, rows }) => rows > 0 && day >= oldestDay && !expected.some((one) => one.day === day),
  );
  if (stray !== undefined) {
    return { kind: "inexact", reason: `${counted(stray.rows, "row")} on a day with none` };
  }
  const byDay = expected.map(({ day, rows }) => (found.get(day) ?? 0) / rows);
  const most = Math.max(...byDay);
  const least = Math.min(...byDay);
  if (byDay.some((one) => !Number.isInteger(one) || (one !== 0 && one !== most))) {
    return { kind: "inexact", reason: "a day has some of its rows" };
  }
  // Equal bytes that were sent again after the memory's time are stored again: as many copies as keys are `stored`, and
  // one more if this group's INSERT may be it.
  const storedKeys = new Set(stored.map(({ key }) => key)).size;
  const copiesMax = Math.max(1, storedKeys + (attempted && !byKey.has(payload.key) ? 1 : 0));
  if (most > copiesMax) {
    return { kind: "inexact", reason: `${most} copies, at most ${copiesMax} expected` };
  }
  return { complete, expected, byDay, most, least, storedKeys };
}

/**
 * All of its rows are there. The copy is this payload's own when no other key claims it (also where it was a
 * `duplicate` of a receipt that is lost), or when there is a copy more than others claim. Example: one copy, key A is
 * `stored`, and B asks: B gets a receipt `duplicate`. Two copies, A is `stored`, B has no receipt: B is `stored` too.
 */
function presentVerdict(
  { payload, oldestDay }: VerifyFacts,
  { keys, byKey, stored, blank }: Claims,
  { complete, most, storedKeys }: Copies,
): Ended {
  // More copies than that are let through only where its own INSERT explains one (copiesFound).
  const isOwn = storedKeys === 0 || most > storedKeys;
  const own: Receipt = { ...blank, ...endOfRows(complete, oldestDay) };
  const isKnown = own.outcome === "expired" && byKey.get(payload.key)?.outcome === "expired";
  const owner = isOwn ? payload.key : (stored[0]?.key ?? payload.key);
  const receipts = [
    ...(isOwn && !isKnown ? [own] : []),
    ...keys
      .filter((key) => key !== owner && (!byKey.has(key) || byKey.get(key)?.outcome === "dead"))
      .map((key) => ({ ...blank, key })),
  ];
  return { ...end("stored", owner, receipts), found: own.outcome === "stored" };
}

/**
 * Absent, all of it or some days. Example: 10 rows expected on Monday and 5 on Tuesday, found 10 and 0, and the object
 * is there: Tuesday is inserted under a new token. With a `stored` receipt the rows were removed by a person, and only
 * somebody who asks (audit, replay) brings them back.
 */
function absentVerdict(facts: VerifyFacts, claims: Claims, { complete, expected, byDay }: Copies): Verdict {
  const { payload, evidence } = facts;
  const { keys, byKey, stored, blank } = claims;
  if (stored.length > 0 && !mayStoreAgain(payload.cause)) {
    // A late bell must not resurrect what a person removed; the auditor asks with a cause of its own.
    const owed = keys.filter((key) => !byKey.has(key)).map((key) => ({ ...blank, key }));
    const owner = stored[0]?.key ?? payload.key;
    return { ...end("stored", owner, owed), lateBell: !facts.attempted };
  }
  if (byKey.get(payload.key)?.outcome === "dead" && !mayStoreAgain(payload.cause)) {
    // A dead letter is retried when a person replays it, not when an old event arrives.
    return end("dead", payload.key, []);
  }
  const { object } = evidence;
  if (object === null) {
    return verdictWithoutObject(facts, claims);
  }
  if (object.rowsByDay === "undecodable" || object.rowsByDay === "unreadable") {
    const reason = object.rowsByDay === "undecodable" ? "decode" : "unreadable";
    return end("dead", payload.key, deadReceipts(keys, { ...blank, reason }));
  }
  const missing = expected.filter((_, i) => byDay[i] === 0).map(({ day }) => day);
  if (missing.length < complete.length && sumOf(complete) !== spansOf(facts)) {
    // A person accepted fewer rows than the object has: which of a day's they were, nothing says any more.
    return { kind: "inexact", reason: "a day of what was accepted is gone" };
  }
  return {
    kind: "insert",
    payload: {
      ...payload,
      key: object.key,
      // No more than it had, or one: a key that goes is brought its receipt by the reconciler.
      duplicateKeys: keys
        .filter((key) => key !== object.key)
        .slice(0, Math.max(1, payload.duplicateKeys.length)),
      missingDays: missing.length === complete.length ? null : { days: missing, complete },
    },
  };
}

/**
 * R2 has no object, so there is nothing to insert. Example: receipts say `stored`, and the object went with its
 * retention: it ends as it ended. No receipt, and no row of 10: the payload is dead, `missing_object`.
 */
function verdictWithoutObject(
  { payload, evidence, rows }: VerifyFacts,
  { keys, stored, dead, blank }: Claims,
): Verdict {
  const found = sumOf(evidence.rowsByDay);
  if (evidence.receipts.length > 0) {
    // Deleted after its retention, or purged: the notification came too late.
    const owner = stored[0]?.key ?? dead?.key ?? payload.key;
    return end(stored.length > 0 || dead === undefined ? "stored" : "dead", owner, []);
  }
  if (found === spansOf({ payload, evidence, rows })) {
    const own: Receipt = { ...blank, outcome: "stored", rowsByDay: evidence.rowsByDay };
    const others = payload.duplicateKeys.map((key) => ({ ...blank, key }));
    return { ...end("stored", payload.key, [own, ...others]), found: true };
  }
  if (found > 0) {
    return { kind: "inexact", reason: "no object, and not all of its rows" };
  }
  return end("dead", payload.key, deadReceipts(keys, { ...blank, reason: "missing_object" }));
}

/** Rows by day of the whole payload; null when nothing says them. */
function wholeOf(facts: VerifyFacts, stored: readonly ReceiptClaim[]): readonly DayRows[] | null {
  const { payload, rows, evidence } = facts;
  if (payload.missingDays !== null) {
    return payload.missingDays.complete;
  }
  if (rows !== null) {
    return rows.rowsByDay;
  }
  const claimed = stored.find(({ rowsByDay }) => rowsByDay.length > 0);
  if (claimed !== undefined) {
    return claimed.rowsByDay;
  }
  const counted = evidence.object?.rowsByDay ?? null;
  const isUnknown = counted === null && evidence.object !== null && facts.isBlind;
  if (counted === "undecodable" || counted === "unreadable" || isUnknown) {
    // It cannot be inserted and may be there all the same: an older transcoder read it. Its count is the doorbell's,
    // which says nothing where it was made of unreadable metadata.
    const spans = Math.max(1, spansOf(facts));
    return sumOf(evidence.rowsByDay) === spans ? evidence.rowsByDay : [{ day: noDay, rows: spans }];
  }
  return counted;
}

/** Rows expected on this day are not found on any. */
const noDay = Number.MAX_SAFE_INTEGER;
