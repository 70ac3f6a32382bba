/**
 * The audit: what the receipts claim, compared with what the table shows, an hour at a time. Receipts are claims; the
 * table is the evidence. One copy is expected for each payload id, not for each key.
 */
import type { DayRows } from "../ledger/group.ts";
import { idOfKey, type PayloadId, type PayloadKey, tenantOfKey } from "../payload-key.ts";
import { type Asking, ask, type DatedReceipt, type ReconcileFinding } from "./effects.ts";
import { auditRows } from "./evidence.ts";
import { idsOf } from "./join.ts";
import { beforeMinute, MINUTE_MS, type MinuteBook, watermarkOf } from "./minute-book.ts";
import type { Run } from "./walk-minutes.ts";

/** Audits on from where the book says, as far as hours are complete and the budget of pages lasts. */
export function* audit(book: MinuteBook, run: Run): Asking<MinuteBook> {
  const { auditSpanMs, auditAtLastMs, auditPages, pageKeys } = run.settings;
  // An hour is audited when all of it is sealed; a minute that stays open for hours does not hold the audit up.
  const reached = Math.min(book.from, Math.max(watermarkOf(book), run.now - auditAtLastMs));
  const before = beforeMinute(Math.floor(reached / auditSpanMs) * auditSpanMs);
  // Nothing has arrived since the last audited key: an idle ClickHouse is not asked.
  const isIdle = book.auditAfter >= beforeMinute(book.newest + MINUTE_MS);
  let after = isIdle && book.auditAfter < before ? before : book.auditAfter;
  for (let page = 0; page < auditPages && after < before; page++) {
    const { receipts } = yield* ask({ do: "storedReceipts", after, before, atMost: pageKeys });
    yield* auditPage(receipts);
    after = receipts.length < pageKeys ? before : (receipts.at(-1)?.key ?? before);
  }
  return { ...book, auditAfter: after };
}

function* auditPage(receipts: readonly DatedReceipt[]): Asking<void> {
  if (receipts.length === 0) {
    return;
  }
  const { rows, oldestDay } = yield* ask({ do: "rows", ids: idsOf(receipts.map(({ key }) => key)) });
  const rowsOf = (id: PayloadId) => rows.get(id) ?? [];
  const doubtful = receipts.filter(
    ({ key, rowsByDay }) => auditRows(rowsByDay, rowsOf(idOfKey(key)), 1, oldestDay) !== "exact",
  );
  for (const id of idsOf(doubtful.map(({ key }) => key))) {
    const { receipts: ofId } = yield* ask({ do: "receiptsOfIds", ids: [id] });
    yield* auditId(ofId, rowsOf(id), oldestDay);
  }
}

/** One id, of which all receipts were read: what is gone is rung, what else does not fit is told. */
export function* auditId(
  receipts: readonly DatedReceipt[],
  rows: readonly DayRows[],
  oldestDay: number,
): Asking<void> {
  const keys = receipts.map(({ key }) => key);
  const erased = receipts.find(({ outcome }) => outcome === "erased");
  if (erased !== undefined) {
    if (rows.length > 0) {
      yield* eraseAgain(erased.key, keys);
    }
    return;
  }
  const stored = receipts.filter(({ outcome }) => outcome === "stored");
  const claimed = stored[0];
  if (claimed === undefined) {
    return;
  }
  const verdict = auditRows(claimed.rowsByDay, rows, stored.length, oldestDay);
  switch (verdict) {
    case "exact":
      break;
    case "too few":
      yield* bringBack(claimed.key, keys);
      break;
    case "inexact":
      // Told, and not rung: a person may have accepted one key's rows and had them written anew under another.
      yield* tell(
        { kind: "inexact", state: "open", severity: "page" },
        claimed.key,
        "The table holds other rows of this payload than one copy a stored key: nothing was changed. Compare by HeadracePayload; a replay has the ledger look, and hold it until it is resolved.",
      );
      break;
    default:
      verdict satisfies never;
  }
}

/** Whoever erased it was stopped behind the receipts: rung, so that the ledger does it again. */
function* eraseAgain(key: PayloadKey, keys: readonly PayloadKey[]): Asking<void> {
  if (!(yield* ringOne(keys))) {
    yield* tell(
      { kind: "inexact", state: "open", severity: "page" },
      key,
      "This payload was erased, and the table still holds rows of it. Delete them by HeadracePayload.",
    );
  }
}

/** Rows are gone that the receipt claims: brought back while an object of the id is kept. */
function* bringBack(key: PayloadKey, keys: readonly PayloadKey[]): Asking<void> {
  if (yield* ringOne(keys)) {
    yield* tell(
      { kind: "lost_rows", state: "resolved", severity: "warning" },
      key,
      "Rows of this payload were gone from the table. Its object is still in R2 and was rung: they are inserted again.",
    );
  } else {
    yield* tell(
      { kind: "lost_rows", state: "open", severity: "page" },
      key,
      "Rows of this payload are gone from the table, and R2 no longer holds its object: they are lost unless a backup has them.",
    );
  }
}

/** Rings, with cause `audit`, the first of an id's keys that has an object. False: none has. */
function* ringOne(keys: readonly PayloadKey[]): Asking<boolean> {
  const { objects } = yield* ask({ do: "find", keys });
  const doorbell = objects.find((object) => object.doorbell !== null)?.doorbell ?? null;
  if (doorbell === null) {
    return false;
  }
  yield* ask({ do: "ring", doorbells: [{ ...doorbell, cause: "audit" }] });
  return true;
}

function* tell(
  what: Pick<ReconcileFinding, "kind" | "state" | "severity">,
  key: PayloadKey,
  message: string,
): Asking<void> {
  yield* ask({ do: "tell", findings: [{ ...what, subject: key, tenant: tenantOfKey(key), message }] });
}
