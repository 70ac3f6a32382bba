/**
 * The audit: what the receipts claim, compared with what the table shows, an hour at a time. Receipts are claims; the
 * table is the evidence. One copy is expected for each payload id, not for each key.
 */

import { MINUTE_MS } from "../limits.ts";
import { idOfKey, type PayloadId } from "../payload-key.ts";
import { auditId, missingOf, receiptsById } from "./audit-payload.ts";
import { beforeMinute, type Checkpoint, watermarkOf } from "./checkpoint.ts";
import { doubted } from "./doubts.ts";
import { ask, type CronWork, type DatedReceipt } from "./effects.ts";
import { auditRows } from "./evidence.ts";
import { idsOf } from "./join.ts";
import { readRows } from "./read-rows.ts";
import type { Run } from "./run-context.ts";

/** Audits on from where the checkpoint says, as far as hours are complete and the budget of pages lasts. */
export function* audit(checkpoint: Checkpoint, run: Run): CronWork<Checkpoint> {
  const { auditSpanMs, auditAtLastMs, auditPages, pageKeys } = run.settings;
  // An hour is audited when all of it is sealed; a minute that stays open for hours does not hold the audit up.
  const reached = Math.min(checkpoint.from, Math.max(watermarkOf(checkpoint), run.now - auditAtLastMs));
  const before = beforeMinute(Math.floor(reached / auditSpanMs) * auditSpanMs);
  // Nothing has arrived since the last audited key: an idle ClickHouse is not asked.
  const isIdle = checkpoint.auditAfter >= beforeMinute(checkpoint.newest + MINUTE_MS);
  let now = checkpoint;
  let after = isIdle && checkpoint.auditAfter < before ? before : checkpoint.auditAfter;
  for (let page = 0; page < auditPages && after < before && !run.budget.isUsedUp; page++) {
    const receipts = yield* ask("storedReceipts", { after, before, atMost: pageKeys });
    const last = receipts.length < pageKeys ? undefined : receipts.at(-1)?.key;
    // A text that sorts just behind the page's last key.
    const seen = { after, before: last === undefined ? before : `${last}~`, keys: receipts.length };
    const audited = yield* auditPage(receipts, seen, now, run);
    if (audited === null) {
      break; // too much is doubted already, or is erased once more
    }
    now = audited;
    after = last ?? before;
  }
  return after === now.auditAfter ? now : { ...now, auditAfter: after };
}

function* auditPage(
  receipts: readonly DatedReceipt[],
  page: Parameters<typeof doubted>[1],
  checkpoint: Checkpoint,
  run: Run,
): CronWork<Checkpoint | null> {
  if (receipts.length === 0) {
    return checkpoint;
  }
  // What a receipt claims is of these days; without them the whole table would be asked for each page (decision 0075).
  const days = [...new Set(receipts.flatMap(({ rowsByDay }) => rowsByDay.map(({ day }) => day)))];
  const ids = idsOf(receipts.map(({ key }) => key));
  const { rows, oldestDay } = yield* readRows(ids, run, days.length === 0 ? null : days);
  const rowsOf = (id: PayloadId) => rows.get(id) ?? [];
  const missing = missingOf(receipts, rows, oldestDay);
  const isMissing = new Set(missing.map(idOfKey));
  const doubtful = receipts.filter(
    ({ key, rowsByDay }) =>
      !isMissing.has(idOfKey(key)) && auditRows(rowsByDay, rowsOf(idOfKey(key)), 1, oldestDay) !== "exact",
  );
  const others = yield* receiptsById(idsOf(doubtful.map(({ key }) => key)));
  // Their other receipts may claim other days.
  const all = others.size === 0 ? rows : (yield* readRows([...others.keys()], run)).rows;
  for (const [id, ofId] of others) {
    if (run.budget.isUsedUp) {
      return null; // the page is read again by the next run, when what is erased again by now is gone
    }
    yield* auditId(ofId, all.get(id) ?? [], oldestDay, run);
  }
  return doubted(checkpoint, page, missing, run);
}
