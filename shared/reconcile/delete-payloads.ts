/**
 * Deleting payloads past their retention. Nobody else deletes any. Before a page's payloads go, the page is joined
 * once more, and the table is asked for their rows in this very run.
 */
import { idOfKey, type PayloadId, type PayloadKey, payloadPrefix } from "../payload-key.ts";
import { auditId, receiptsById } from "./audit.ts";
import { beforeMinute, type Checkpoint, isOpen, startOfMinute } from "./checkpoint.ts";
import { doubted } from "./doubts.ts";
import { ask, type CronWork, type DatedReceipt } from "./effects.ts";
import { auditRows, mayDelete } from "./evidence.ts";
import { idsOf } from "./join.ts";
import type { Listing } from "./listing.ts";
import { readRows } from "./read-rows.ts";
import { findLate, minuteOf, type Run, type Walked } from "./walk-minutes.ts";

export interface Deleted extends Walked {
  readonly deleted: number;
}

/** Goes on with the round, or begins one when it is time; a round is over when everything old enough was seen. */
export function* deletePayloads(checkpoint: Checkpoint, listing: Listing, run: Run): CronWork<Deleted> {
  const { retentionMs, deleteEveryMs } = run.settings;
  let walked: Walked = { checkpoint, rows: [] };
  let deleted = 0;
  if (checkpoint.deleteAfter === payloadPrefix && run.now < checkpoint.deleteNextAt) {
    return { ...walked, deleted };
  }
  const before = beforeMinute(startOfMinute(run.now - retentionMs));
  for (;;) {
    const listed = yield* listing.next(walked.checkpoint.deleteAfter);
    if (listed === undefined) {
      return { ...walked, deleted };
    }
    const old = listed.objects.filter(({ key }) => key < before);
    const late = yield* findLate(walked.checkpoint, old, run);
    const keys = old.map(({ key }) => key);
    const page = { after: walked.checkpoint.deleteAfter, before: listed.through };
    const { gone, checkpoint: judged } = yield* deletable(keys, page, late.checkpoint, run);
    if (gone.length > 0) {
      yield* ask("delete", gone);
      deleted += gone.length;
    }
    const isOver = !listed.more || listed.through >= before;
    walked = {
      rows: [...walked.rows, ...late.rows],
      checkpoint: isOver
        ? { ...judged, deleteAfter: payloadPrefix, deleteNextAt: run.now + deleteEveryMs }
        : { ...judged, deleteAfter: listed.through },
    };
    if (isOver) {
      return { ...walked, deleted };
    }
  }
}

/** Of a page's keys, those that `mayDelete` lets go; the rows that are missing are doubted. */
function* deletable(
  keys: readonly PayloadKey[],
  page: { readonly after: string; readonly before: string },
  checkpoint: Checkpoint,
  run: Run,
): CronWork<{ readonly gone: readonly PayloadKey[]; readonly checkpoint: Checkpoint }> {
  const sealed = keys.filter((key) => !isOpen(checkpoint, minuteOf(key)));
  if (sealed.length === 0) {
    return { gone: [], checkpoint };
  }
  const own = yield* ask("receipts", sealed);
  const candidates = own.filter(({ outcome }) => outcome !== "dead");
  if (candidates.length === 0) {
    return { gone: [], checkpoint };
  }
  const candidateKeys = candidates.map(({ key }) => key);
  const { rows, oldestDay } = yield* readRows(idsOf(candidateKeys), run);
  const rowsOf = (id: PayloadId) => rows.get(id) ?? [];
  const isPlain = ({ key, outcome, rowsByDay }: DatedReceipt): boolean =>
    outcome === "stored" && auditRows(rowsByDay, rowsOf(idOfKey(key)), 1, oldestDay) === "exact";
  // Where its own receipt and one copy of rows do not settle it, the receipts of the id's other keys are read.
  const others = yield* receiptsById(
    idsOf(candidates.filter((receipt) => !isPlain(receipt)).map(({ key }) => key)),
  );
  const held = yield* ask("holds", candidateKeys);
  const gone: PayloadKey[] = [];
  const left = new Set<PayloadId>();
  for (const [index, receipt] of candidates.entries()) {
    const id = idOfKey(receipt.key);
    const isHeld = held[index] !== false;
    const facts = {
      key: receipt.key,
      receipts: others.get(id) ?? [receipt],
      rowsByDay: rowsOf(id),
      oldestDay,
      isHeld,
      isSealed: true,
      now: run.now,
    };
    if (mayDelete(facts, run.settings)) {
      gone.push(receipt.key);
    } else if (!isHeld && others.has(id)) {
      left.add(id);
    }
  }
  // Its hour was audited days ago: what the table has lost since is missed here, while the object is still there.
  const missing: PayloadKey[] = [];
  for (const id of left) {
    if (run.budget.isUsedUp) {
      break; // looked at by the next round
    }
    const ofId = others.get(id) ?? [];
    const verdict = yield* auditId(ofId, rowsOf(id), oldestDay, run);
    const [claimed] = ofId.filter(({ outcome }) => outcome === "stored");
    if (verdict === "too few" && claimed !== undefined) {
      missing.push(claimed.key);
    }
  }
  // Without room for one more doubt they are missed again by the next round: none of them is deleted.
  const seen = { ...page, keys: candidates.length };
  return { gone, checkpoint: doubted(checkpoint, seen, missing, run) ?? checkpoint };
}
