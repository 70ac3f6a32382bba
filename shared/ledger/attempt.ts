/**
 * What a consumer must decide by itself while it performs a task: the two questions whose answers the protocol leans
 * on. Everything else about a task is the ledger's.
 */
import type { GroupTask, Receipt, StoredPayload } from "./group.ts";

/**
 * May a statement of this attempt be sent now (ms since the epoch)? After the deadline the ledger counts the attempt as
 * over, and its fence as running: whatever begins later could end after the fence (invariant I6).
 */
export function mayBegin({ deadline }: Pick<GroupTask, "deadline">, now: number): boolean {
  return now < deadline;
}

/**
 * Must VERIFY transcode the object to know a payload's rows by day? Not where the group was transcoded before, or where
 * a receipt claims rows. A receipt that claims none says nothing.
 */
export function needsCount(rows: readonly StoredPayload[] | null, receipts: readonly Receipt[]): boolean {
  return (
    rows === null && !receipts.some(({ outcome, rowsByDay }) => outcome === "stored" && rowsByDay.length > 0)
  );
}
