/**
 * Gathers evidence: how far the table's deduplication log has been used, how many rows of a payload are there, and for
 * VERIFY, after the fence, whether anything of the group still runs (and ends it), what the receipts claim, what the
 * table shows and what R2 holds. It concludes nothing: that is shared/ledger/verify.ts.
 */
import {
  hear,
  newReading,
  type Read,
  type Reading,
  readBehindBarrier,
  whyUnseen,
  wordsNeeded,
} from "../clickhouse/barrier.ts";
import type { TableWitness } from "../clickhouse/table-identity.ts";
import { NotDone } from "../effect.ts";
import type { AttemptReport, Evidence, GroupPayload, GroupTask, StoredPayload } from "../ledger/group.ts";
import { limits } from "../limits.ts";
import { getsOf, idOfKey, type PayloadId, type PayloadKey } from "../payload-key.ts";
import type { DayRows, ReceiptClaim } from "../receipt.ts";
import { ask, attempt, type DeliveryContext, type DeliveryEffects, type DeliveryWork } from "./effects.ts";

type Task<Step extends GroupTask["step"]> = Extract<GroupTask, { readonly step: Step }>;

export function* measureTable(task: Task<"measure">): DeliveryWork<AttemptReport> {
  const facts = yield* attempt("readTable", task.table);
  if (facts instanceof NotDone) {
    return unread(facts.reason);
  }
  const { measure, refusal } = facts;
  return measure === null
    ? { kind: "retry", reason: "the table is not there" }
    : { kind: "measured", table: measure, refusal };
}

export function* countRows(task: Task<"count">): DeliveryWork<AttemptReport> {
  const keys = task.payloads.map(({ key }) => key);
  const words = task.why === "stored" ? wordsNeeded.presence : wordsNeeded.recent;
  const read = yield* readRows(keys.map(idOfKey), newReading(task.table, words));
  if (read.kind === "none") {
    return noEvidence(read.reason);
  }
  const { rows } = read.counted;
  return { kind: "counted", payloads: keys.map((key, i) => ({ key, rowsByDay: rows[i] ?? [] })) };
}

/** Counts behind the barrier. `begun`: what is known of the table, and what its servers have said. */
export function readRows(
  ids: readonly PayloadId[],
  begun: Reading,
): DeliveryWork<Read<DeliveryEffects["countRows"]["answers"]>> {
  return readBehindBarrier(begun, {
    look: (table): DeliveryWork<TableWitness | null> => ask("readWitness", table),
    count: (table): DeliveryWork<DeliveryEffects["countRows"]["answers"]> => ask("countRows", { ids, table }),
  });
}

/** Reading changes nothing: where it fails, it is a clean failure. */
export function unread(failed: string): AttemptReport {
  return { kind: "retry", reason: `the evidence could not be read: ${failed}` };
}

/** Nothing is concluded of it; the ledger remembers since when it has none, for people. */
function noEvidence(reason: string): AttemptReport {
  return { kind: "retry", reason: `no evidence: ${reason}`, noEvidence: true };
}

/** What runs is ended before anything is read: rows that it commits later would be missed. */
export function* verifyGroup(
  task: Task<"verify">,
  { verifyGetsMax }: DeliveryContext,
): DeliveryWork<AttemptReport> {
  const processes = yield* attempt("findRunning", { group: task.group, table: task.table });
  if (processes instanceof NotDone) {
    return unread(processes.reason);
  }
  const { running } = processes;
  if (running) {
    yield* ask("killRunning", task.group);
  }
  // A ledger that knows no table yet: all of this VERIFY's statements must be about one.
  const table = task.table ?? processes.witness?.table ?? null;
  const unseen = whyUnseen(table, processes);
  if (unseen !== "") {
    return noEvidence(unseen);
  }
  const ids = task.payloads.map(({ key }) => idOfKey(key));
  const receipts = yield* ask("readReceipts", ids);
  const { oldestDay, witness } = yield* ask("readTable", table);
  if (oldestDay === null) {
    // Rows that it dropped would be taken for lost, or lost ones for dropped.
    return { kind: "retry", reason: "the table's TTL is not understood" };
  }
  // What was running may have committed its rows after that word was said.
  const begun = running
    ? newReading(table, wordsNeeded.recent)
    : hear(newReading(table, wordsNeeded.settled), processes.witness);
  const read = yield* readRows(ids, hear(begun, witness));
  if (read.kind === "none") {
    return noEvidence(read.reason);
  }
  const { rows } = read.counted;
  const payloads: Evidence[] = [];
  let gets = 0;
  for (const [i, payload] of task.payloads.entries()) {
    if (gets >= verifyGetsMax) {
      break; // the ledger has the others verified by themselves
    }
    const own = receipts[i] ?? [];
    const keys = keysLookedFor(payload, own);
    gets += keys.reduce((sum, key) => sum + getsOf(key), 0);
    payloads.push({
      key: payload.key,
      receipts: own,
      rowsByDay: (rows[i] ?? []).filter(({ day }) => day >= oldestDay),
      object: yield* findObject(payload, keys, rows[i] ?? [], !task.isBlind && needsCount(task.rows, own)),
    });
  }
  return { kind: "verified", running, oldestDay, payloads };
}

/**
 * Under which an object of the id is looked for: a key that is receipted as stored first, so that this key stays the one
 * that is, then the payload's own, then the others that receipts know. Of the receipts' the newest.
 */
export function keysLookedFor(
  { key, duplicateKeys }: Pick<GroupPayload, "key" | "duplicateKeys">,
  receipts: readonly ReceiptClaim[],
): readonly PayloadKey[] {
  const newest = (some: readonly ReceiptClaim[]): readonly PayloadKey[] =>
    some
      .map((receipt) => receipt.key)
      .toSorted()
      .slice(-limits.verifyReceiptKeysMax);
  const stored = newest(receipts.filter(({ outcome }) => outcome === "stored"));
  return [...new Set([...stored, key, ...duplicateKeys, ...newest(receipts)])];
}

/**
 * An object of the id under one of these keys, in their order; its rows by day only where they are needed. Equal bytes under two
 * keys may come to other rows, where one of the requests kept fewer traces: then the one whose rows the table has. One that is damaged
 * counts only where there is no other.
 */
function* findObject(
  payload: GroupPayload,
  keys: readonly PayloadKey[],
  rows: readonly DayRows[],
  count: boolean,
): DeliveryWork<Evidence["object"]> {
  let first: Evidence["object"] = null;
  let damaged: Evidence["object"] = null;
  for (const key of keys) {
    const found = yield* ask("readObject", { payload, key, count });
    if (found === null) {
      continue;
    }
    const object = { key, ...found };
    if (found.rowsByDay === "unreadable") {
      damaged ??= object;
      continue;
    }
    if (rows.length === 0 || !Array.isArray(found.rowsByDay) || isEqual(found.rowsByDay, rows)) {
      return object;
    }
    first ??= object;
  }
  return first ?? damaged;
}

function isEqual(a: readonly DayRows[], b: readonly DayRows[]): boolean {
  return (
    a.length === b.length && a.every(({ day, rows }) => b.some((one) => one.day === day && one.rows === rows))
  );
}

/**
 * Must VERIFY transcode the object to know a payload's rows by day? Not where the group was transcoded before, or where
 * a receipt claims rows. A receipt that claims none says nothing.
 */
export function needsCount(
  rows: readonly StoredPayload[] | null,
  receipts: readonly ReceiptClaim[],
): boolean {
  return (
    rows === null && !receipts.some(({ outcome, rowsByDay }) => outcome === "stored" && rowsByDay.length > 0)
  );
}
