/**
 * What VERIFY concludes of one payload: the whole decision as one pure comparison of what is expected with what the
 * table, the receipts and R2 show. Receipts are claims, rows are the evidence. It is called after the fence, when no
 * INSERT of the id can be running, and while nobody else may insert the id.
 */
import { assert } from "../assert.ts";
import type { PayloadKey } from "../payload-key.ts";
import { endOfRows } from "./expiry.ts";
import type { DayRows, Evidence, GroupId, GroupPayload, Receipt, StoredPayload } from "./group.ts";
import { mayStoreAgain } from "./head.ts";

export type Verdict =
  /** Nothing is to be inserted: write these receipts (perhaps none), remember the id. */
  | {
      readonly kind: "end";
      readonly receipts: readonly Receipt[];
      /** The key that the id is remembered by, and how. */
      readonly key: PayloadKey;
      readonly outcome: "stored" | "dead" | "erased";
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
  /** Days before are outside the table's TTL: not expected, not counted. */
  readonly oldestDay: number;
}

export function judge(facts: VerifyFacts): Verdict {
  const { payload, evidence, group } = facts;
  const keys = [payload.key, ...payload.duplicateKeys];
  const outcomes = new Map(evidence.receipts.map((receipt) => [receipt.key, receipt]));
  const stored = evidence.receipts.filter(({ outcome }) => outcome === "stored");
  const erased = evidence.receipts.find(({ outcome }) => outcome === "erased");
  const dead = evidence.receipts.find(({ outcome }) => outcome === "dead");
  const blank: Receipt = {
    key: payload.key,
    outcome: "duplicate",
    group,
    spans: payload.spans,
    rowsByDay: [],
    rejectedSpans: facts.rows?.rejectedSpans ?? evidence.object?.rejectedSpans ?? 0,
    bytes: facts.rows?.bytes ?? evidence.object?.bytes ?? 0,
    reason: "",
  };
  const end = (outcome: "stored" | "dead" | "erased", key: PayloadKey, receipts: readonly Receipt[]) =>
    ({ kind: "end", receipts, key, outcome, found: false, lateBell: false }) as const;

  // A person erased one key of these bytes, or asks for it now: that holds for every key, whoever rings.
  if (erased !== undefined || payload.erase !== null) {
    const reason = payload.erase ?? erased?.reason ?? "";
    // Rows or an object are left where whoever erased it was stopped behind the receipts, and nobody knows of it any
    // more: then all of it is erased once more, for the deletions follow the receipts.
    const isGone = evidence.rowsByDay.length === 0 && evidence.object === null;
    const every = new Set(isGone && payload.erase === null ? keys : [...keys, ...outcomes.keys()]);
    const owed = [...every].filter((key) => !isGone || outcomes.get(key)?.outcome !== "erased");
    return end(
      "erased",
      erased?.key ?? payload.key,
      owed.map((key) => ({ ...blank, key, outcome: "erased", reason })),
    );
  }

  // What is expected: what was claimed to be stored, what was transcoded first, what the object comes to.
  const whole = wholeOf(facts, stored);
  assert(
    whole !== null || evidence.object === null,
    "an object is transcoded when nothing else says its rows",
  );
  if (whole === null) {
    return judgeWithoutObject(facts, end, blank, dead, stored);
  }
  const expected = whole.filter(({ day, rows }) => day >= facts.oldestDay && rows > 0);
  const found = new Map(evidence.rowsByDay.map(({ day, rows }) => [day, rows]));
  const stray = evidence.rowsByDay.find(
    ({ day, rows }) => rows > 0 && day >= facts.oldestDay && !expected.some((one) => one.day === day),
  );
  if (stray !== undefined) {
    return { kind: "inexact", reason: `${stray.rows} rows on a day with none` };
  }
  // Copies by day. Expected 10 and 5, found 10 and 0: one copy of the first day, none of the second.
  const copies = expected.map(({ day, rows }) => (found.get(day) ?? 0) / rows);
  const most = Math.max(0, ...copies);
  const least = Math.min(Number.POSITIVE_INFINITY, ...copies);
  if (copies.some((one) => !Number.isInteger(one) || (one !== 0 && one !== most))) {
    return { kind: "inexact", reason: "a day has some of its rows" };
  }

  // Equal bytes that came again after the memory's time are stored again: as many copies as keys are `stored`, and
  // one more if this group's INSERT may be it.
  const storedKeys = new Set(stored.map(({ key }) => key)).size;
  const copiesMax = Math.max(1, storedKeys + (facts.attempted && !outcomes.has(payload.key) ? 1 : 0));
  if (most > copiesMax) {
    return { kind: "inexact", reason: `${most} copies, at most ${copiesMax} expected` };
  }

  if (expected.length === 0 || least >= 1) {
    // Present. Ours is `stored` when no other key claims the copy (also where it was a `duplicate` of a receipt that
    // is lost), or when there is a copy more than others claim.
    const isOwn = storedKeys === 0 || (most > storedKeys && !outcomes.has(payload.key));
    const own: Receipt = { ...blank, ...endOfRows(whole, facts.oldestDay) };
    const isKnown = own.outcome === "expired" && outcomes.get(payload.key)?.outcome === "expired";
    const owner = isOwn ? payload.key : (stored[0]?.key ?? payload.key);
    const receipts = [
      ...(isOwn && !isKnown ? [own] : []),
      ...keys
        .filter((key) => key !== owner && (!outcomes.has(key) || outcomes.get(key)?.outcome === "dead"))
        .map((key) => ({ ...blank, key })),
    ];
    return { ...end("stored", owner, receipts), found: own.outcome === "stored" };
  }

  // Absent, all of it or some days.
  if (stored.length > 0 && !mayStoreAgain(payload.cause)) {
    // A late bell must not resurrect what a person removed; the auditor asks with a cause of its own.
    const owed = keys.filter((key) => !outcomes.has(key)).map((key) => ({ ...blank, key }));
    const owner = stored[0]?.key ?? payload.key;
    return { ...end("stored", owner, owed), lateBell: !facts.attempted };
  }
  if (outcomes.get(payload.key)?.outcome === "dead" && !mayStoreAgain(payload.cause)) {
    // A dead letter is tried again when a person replays it, not when an old event comes by.
    return end("dead", payload.key, []);
  }
  const { object } = evidence;
  if (object === null) {
    return judgeWithoutObject(facts, end, blank, dead, stored);
  }
  if (object.rowsByDay === "undecodable") {
    return end("dead", payload.key, deadReceipts(keys, { ...blank, reason: "decode" }));
  }
  const missing = expected.filter((_, i) => copies[i] === 0).map(({ day }) => day);
  if (missing.length < whole.length && sumOf(whole) !== payload.spans) {
    // A person accepted fewer rows than the object has: which of a day's they were, nothing says any more.
    return { kind: "inexact", reason: "a day of what was accepted is gone" };
  }
  return {
    kind: "insert",
    payload: {
      ...payload,
      key: object.key,
      duplicateKeys: keys.filter((key) => key !== object.key),
      only: missing.length === whole.length ? null : { days: missing, whole },
    },
  };
}

/**
 * Receipts of a payload that ends dead: so it ends under each of its keys. A `duplicate` would outrank the `dead` that
 * the key may have from before, and two keys that die in turn, each as the other's duplicate, would leave two
 * duplicates and nobody dead (decision 0011).
 */
export function deadReceipts(keys: readonly PayloadKey[], blank: Receipt): readonly Receipt[] {
  return keys.map((key) => ({ ...blank, key, outcome: "dead" }));
}

/** Rows by day of the whole payload; null when nothing says them. */
function wholeOf(facts: VerifyFacts, stored: readonly Receipt[]): readonly DayRows[] | null {
  const { payload, rows, evidence } = facts;
  if (payload.only !== null) {
    return payload.only.whole;
  }
  if (rows !== null) {
    return rows.rowsByDay;
  }
  const claimed = stored.find(({ rowsByDay }) => rowsByDay.length > 0);
  if (claimed !== undefined) {
    return claimed.rowsByDay;
  }
  const counted = evidence.object?.rowsByDay ?? null;
  if (counted === "undecodable") {
    // It cannot be inserted and may be there all the same: an older transcoder read it. Its count is the doorbell's.
    return sumOf(evidence.rowsByDay) === payload.spans
      ? evidence.rowsByDay
      : [{ day: never, rows: payload.spans }];
  }
  return counted;
}

/** No day: rows expected on it are never found. */
const never = Number.MAX_SAFE_INTEGER;

function judgeWithoutObject(
  facts: VerifyFacts,
  end: (
    outcome: "stored" | "dead",
    key: PayloadKey,
    receipts: readonly Receipt[],
  ) => Extract<Verdict, { kind: "end" }>,
  blank: Receipt,
  dead: Receipt | undefined,
  stored: readonly Receipt[],
): Verdict {
  const { payload, evidence } = facts;
  const found = sumOf(evidence.rowsByDay);
  if (evidence.receipts.length > 0) {
    // Deleted after its retention, or purged: whoever rings comes too late. There is nothing to insert.
    const owner = stored[0]?.key ?? dead?.key ?? payload.key;
    return end(stored.length > 0 || dead === undefined ? "stored" : "dead", owner, []);
  }
  if (found === payload.spans) {
    const own: Receipt = { ...blank, outcome: "stored", rowsByDay: evidence.rowsByDay };
    return {
      ...end("stored", payload.key, [own, ...payload.duplicateKeys.map((key) => ({ ...blank, key }))]),
      found: true,
    };
  }
  if (found > 0) {
    return { kind: "inexact", reason: "no object, and not all of its rows" };
  }
  const keys = [payload.key, ...payload.duplicateKeys];
  return end("dead", payload.key, deadReceipts(keys, { ...blank, reason: "missing_object" }));
}

function sumOf(rowsByDay: readonly DayRows[]): number {
  return rowsByDay.reduce((sum, { rows }) => sum + rows, 0);
}
