/**
 * The audit: what the receipts claim, compared with what the table shows, an hour at a time. Receipts are claims; the
 * table is the evidence. One copy is expected for each payload id, not for each key.
 */

import { MINUTE_MS } from "../limits.ts";
import { idOfKey, type PayloadId, type PayloadKey, tenantOfKey } from "../payload-key.ts";
import type { DayRows } from "../receipt.ts";
import { beforeMinute, type Checkpoint, watermarkOf } from "./checkpoint.ts";
import { doubted, missingOf } from "./doubts.ts";
import { ask, type CronWork, type DatedReceipt, type ReconcileFinding } from "./effects.ts";
import { auditRows } from "./evidence.ts";
import { idsOf } from "./join.ts";
import { readRows } from "./read-rows.ts";
import type { Run } from "./walk-minutes.ts";

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
  return { ...now, auditAfter: after };
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

/** The receipts of these ids, by id. */
export function* receiptsById(
  ids: readonly PayloadId[],
): CronWork<ReadonlyMap<PayloadId, readonly DatedReceipt[]>> {
  const found = new Map<PayloadId, DatedReceipt[]>();
  if (ids.length > 0) {
    const receipts = yield* ask("receiptsOfIds", ids);
    for (const receipt of receipts) {
      const id = idOfKey(receipt.key);
      found.set(id, [...(found.get(id) ?? []), receipt]);
    }
  }
  return found;
}

type Verdict = "exact" | "too few" | "inexact" | "erased";

/** One id, of which all receipts were read. `erased`: it was, and its rows are still there. */
export function judgeId(
  receipts: readonly DatedReceipt[],
  rows: readonly DayRows[],
  oldestDay: number,
): Verdict {
  if (receipts.some(({ outcome }) => outcome === "erased")) {
    return rows.length > 0 ? "erased" : "exact";
  }
  const stored = receipts.filter(({ outcome }) => outcome === "stored");
  const [claimed] = stored;
  return claimed === undefined ? "exact" : auditRows(claimed.rowsByDay, rows, stored.length, oldestDay);
}

/** Tells what does not fit, and has an erasure done again. What is too few is not its concern: see doubts.ts. */
export function* auditId(
  receipts: readonly DatedReceipt[],
  rows: readonly DayRows[],
  oldestDay: number,
  run: Run,
): CronWork<Verdict> {
  const verdict = judgeId(receipts, rows, oldestDay);
  const keys = receipts.map(({ key }) => key);
  const erased = receipts.find(({ outcome }) => outcome === "erased")?.key;
  const claimed = receipts.find(({ outcome }) => outcome === "stored")?.key;
  if (verdict === "erased" && erased !== undefined) {
    yield* eraseAgain(erased, keys, run);
  } else if (verdict === "inexact" && claimed !== undefined) {
    // Reported, and not notified: a person may have accepted one key's rows and had them written anew under another.
    reportFinding(
      run,
      { kind: "inexact", state: "open", severity: "page" },
      claimed,
      "The table holds other rows of this payload than one copy a stored key: nothing was changed. Compare by HeadracePayload; a replay has the ledger look, and hold it until it is resolved.",
    );
  }
  return verdict;
}

/** Its erasure was stopped behind the receipts: notified, so that the ledger does it again. */
function* eraseAgain(key: PayloadKey, keys: readonly PayloadKey[], run: Run): CronWork<void> {
  if (!(yield* ringOne(keys, run))) {
    reportFinding(
      run,
      { kind: "inexact", state: "open", severity: "page" },
      key,
      "This payload was erased, and the table still holds rows of it. Delete them by HeadracePayload.",
    );
  }
}

/** Two readings miss rows that the receipt claims: brought back while an object of the id is kept. False: none is. */
export function* bringBack(
  key: PayloadKey,
  receipts: readonly DatedReceipt[],
  isFirst: boolean,
  run: Run,
): CronWork<boolean> {
  const isNotified = yield* ringOne(
    receipts.map((receipt) => receipt.key),
    run,
  );
  if (!isNotified) {
    reportFinding(
      run,
      { kind: "lost_rows", state: "open", severity: "page" },
      key,
      "Rows of this payload are gone from the table, and R2 no longer holds its object: they are lost unless a backup has them.",
    );
  } else if (isFirst) {
    reportFinding(
      run,
      { kind: "lost_rows", state: "resolved", severity: "warning" },
      key,
      "Rows of this payload were gone from the table, at two readings. Its object is still in R2: they are inserted again.",
    );
  }
  return isNotified;
}

/** Rings, with cause `audit`, the first of an id's newest keys that has an object. False: none has. */
function* ringOne(keys: readonly PayloadKey[], { settings }: Run): CronWork<boolean> {
  const newest = keys.toSorted().slice(-settings.headsMax);
  const [found] = yield* ask("find", newest);
  if (found === undefined) {
    return false;
  }
  yield* ask("ring", [{ v: 1, key: found, cause: "audit" }]);
  return true;
}

function reportFinding(
  { findings }: Run,
  what: Pick<ReconcileFinding, "kind" | "state" | "severity">,
  key: PayloadKey,
  message: string,
): void {
  findings.push({ ...what, subject: key, tenant: tenantOfKey(key), message });
}
