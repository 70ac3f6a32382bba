/**
 * One payload's audit: what its receipts claim against what the table shows, what that is reported as, and how it is brought back. One copy
 * is expected for each id, not for each key.
 */
import { idOfKey, type PayloadId, type PayloadKey, tenantOfKey } from "../payload-key.ts";
import type { DayRows } from "../receipt.ts";
import { ask, type CronWork, type DatedReceipt, type ReconcileFinding } from "./effects.ts";
import { auditRows } from "./evidence.ts";
import type { Run } from "./run-context.ts";

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

/** The receipts' keys, one an id, whose rows are too few. */
export function missingOf(
  receipts: readonly DatedReceipt[],
  rows: ReadonlyMap<PayloadId, readonly DayRows[]>,
  oldestDay: number,
): readonly PayloadKey[] {
  const missing = new Map<PayloadId, PayloadKey>();
  for (const { key, outcome, rowsByDay } of receipts) {
    const id = idOfKey(key);
    const isMissing =
      outcome === "stored" && auditRows(rowsByDay, rows.get(id) ?? [], 1, oldestDay) === "too few";
    if (isMissing && !missing.has(id)) {
      missing.set(id, key);
    }
  }
  return [...missing.values()];
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
