/** A receipt: how the key of a payload ended, and which rows of it are in the table. The ledger plans it, ClickHouse has it. */
import type { PayloadOutcome } from "./outcome.ts";
import type { PayloadKey } from "./payload-key.ts";

declare const brand: unique symbol;
/** 128 random bits as 32 lower-case hex digits: a group's id, its token, and the base of its query ids. */
export type GroupId = string & { readonly [brand]: "GroupId" };

const groupIdPattern = /^[0-9a-f]{32}$/;

export function isGroupId(text: string): text is GroupId {
  return groupIdPattern.test(text);
}

/** Rows of one day (UTC), counted in days since 1970-01-01: a partition of `otel_traces`. */
export interface DayRows {
  readonly day: number;
  readonly rows: number;
}

/** A row of `headrace_receipts`, as the ledger wants it written or as VERIFY finds it. */
export interface Receipt {
  readonly key: PayloadKey;
  readonly outcome: PayloadOutcome;
  /** The group whose INSERT stored the rows, or that ended the payload. */
  readonly group: GroupId;
  readonly spans: number;
  readonly rowsByDay: readonly DayRows[];
  readonly rejectedSpans: number;
  readonly bytes: number;
  readonly reason: string;
}

/** A receipt as the ledger plans it. */
export interface PlannedReceipt extends Receipt {
  /**
   * It is in the table, and the rows of its payload are gone: only the bytes in R2, which an attempt could not erase, are left. An earlier
   * version does not know it, and does all of it again.
   */
  readonly isWritten?: true;
}

/** Of a receipt what VERIFY and an erasure judge by. They ask for those of many ids, and each column more is read at as many places. */
export type ReceiptClaim = Pick<Receipt, "key" | "outcome" | "rowsByDay" | "reason">;
