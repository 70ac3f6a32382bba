/**
 * Receipts as they are planned: how a payload ended, for each of its keys. A receipt is a claim; the rows are the
 * evidence (verify.ts).
 */
import { assert } from "../assert.ts";
import { idOfKey, type PayloadKey } from "../payload-key.ts";
import type { DayRows, GroupId, Receipt } from "../receipt.ts";
import { endOfRows } from "./expiry.ts";
import type { Group, GroupPayload, StoredPayload } from "./group.ts";

export function keysOf({ key, duplicateKeys }: GroupPayload): readonly PayloadKey[] {
  return [key, ...duplicateKeys];
}

/** A receipt of a payload, to be completed by what it says. */
export function blankReceipt(
  payload: GroupPayload,
  group: GroupId,
  stored: Pick<StoredPayload, "rejectedSpans" | "bytes"> | undefined,
): Receipt {
  return {
    key: payload.key,
    outcome: "duplicate",
    group,
    spans: payload.spans,
    rowsByDay: [],
    rejectedSpans: stored?.rejectedSpans ?? 0,
    bytes: stored?.bytes ?? 0,
    reason: "",
  };
}

/** Receipts of a stored group: the owner's first, then those of its other keys. */
export function planReceipts(
  group: Group,
  stored: readonly StoredPayload[],
  oldestDay: number | null,
): readonly Receipt[] {
  const byKey = new Map(stored.map((payload) => [payload.key, payload]));
  assert(byKey.size === group.payloads.length, "a stored group reports each of its payloads once");
  return group.payloads.flatMap((payload) => {
    const came = byKey.get(payload.key);
    assert(came !== undefined, "a stored group reports its own payloads");
    // The object says how many spans it has: a doorbell may be of another request with the same bytes.
    const rowsByDay = payload.missingDays?.complete ?? came.rowsByDay;
    const blank = { ...blankReceipt(payload, group.id, came), spans: sumOf(rowsByDay) };
    const own: Receipt = { ...blank, ...endOfRows(rowsByDay, oldestDay) };
    return [own, ...payload.duplicateKeys.map((key) => ({ ...blank, key }))];
  });
}

/**
 * Receipts of a payload that ends dead: so it ends under each of its keys. A `duplicate` would outrank the `dead` that
 * the key may have from before, and two keys that die in turn, each as the other's duplicate, would leave two
 * duplicates and nobody dead (decision 0011).
 */
export function deadReceipts(keys: readonly PayloadKey[], blank: Receipt): readonly Receipt[] {
  return keys.map((key) => ({ ...blank, key, outcome: "dead" }));
}

/** The receipt of a key that rings while those of its payload are planned: it ends as they do, or as a duplicate. */
export function receiptBesides(
  state: Extract<Group["state"], { at: "receipting" }>,
  key: PayloadKey,
  owner: GroupPayload,
  group: Group,
): Receipt {
  const id = idOfKey(key);
  const ended = state.ended.find((one) => idOfKey(one.key) === id);
  const blank = { ...blankReceipt(owner, group.id, undefined), key };
  if (ended === undefined || ended.outcome === "stored") {
    return blank;
  }
  const reason = state.receipts.find((one) => idOfKey(one.key) === id)?.reason ?? "";
  return { ...blank, outcome: ended.outcome, reason };
}

export function sumOf(rowsByDay: readonly DayRows[]): number {
  return rowsByDay.reduce((sum, { rows }) => sum + rows, 0);
}
