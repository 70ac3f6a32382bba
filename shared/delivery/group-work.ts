/**
 * The work on a group, from the task that the ledger leased to the last one of this caller. One step after another
 * is done and reported, and the ledger says what comes next; its order is the ledger's, the order of each step's
 * effects is decided here.
 */
import { BrokenInvariant, unreachable } from "../assert.ts";
import { EffectFailed, orElse } from "../effect.ts";
import type { AttemptReport, GroupTask } from "../ledger/group.ts";
import { clearRows } from "./clearing.ts";
import { ask, type DeliveryContext, type DeliveryWork } from "./effects.ts";
import { countRows, measureTable, unread, verifyGroup } from "./evidence.ts";
import { insertGroup } from "./insertion.ts";
import { writeReceipts } from "./receipts.ts";

/**
 * Works on a group until the ledger has nothing more for this caller. A group that cannot go on is left to its lease,
 * after which the ledger notifies again. A broken invariant is reported like any other end of an attempt: the ledger
 * counts it, takes the group apart, and holds the payload that it is of.
 */
export function* workOnGroup(first: GroupTask, context: DeliveryContext): DeliveryWork<void> {
  let task = first;
  try {
    for (let next: GroupTask | null = first; next !== null; next = yield* doStep(next, context)) {
      task = next;
    }
  } catch (error) {
    if (error instanceof BrokenInvariant) {
      yield* orLeave(task, ask("report", { task, report: { kind: "broken", reason: error.message } }));
    } else if (error instanceof EffectFailed) {
      yield* giveBack(task, error.message);
    } else {
      throw error;
    }
  }
}

/** Receipts may be written again, so their attempt is reported, with its reason; any other could not be reported itself. */
function* giveBack(task: GroupTask, failed: string): DeliveryWork<void> {
  if (task.step === "receipts") {
    const reason = `the receipts could not be written: ${failed}`;
    yield* orLeave(task, ask("report", { task, report: { kind: "retry", reason } }));
  } else {
    yield* ask("leave", { group: task.group, reason: failed });
  }
}

function* orLeave(task: GroupTask, report: DeliveryWork<unknown>): DeliveryWork<void> {
  try {
    yield* report;
  } catch (error) {
    yield* ask("leave", { group: task.group, reason: String(error) });
  }
}

/** One step, done and reported: the next one, if there is one for this caller. */
function* doStep(task: GroupTask, context: DeliveryContext): DeliveryWork<GroupTask | null> {
  if (task.step === "receipts") {
    const unfinished = yield* writeReceipts(task, context);
    if (unfinished !== null) {
      return yield* ask("report", { task, report: { kind: "retry", ...unfinished } });
    }
    yield* ask("receipted", [{ group: task.group, attempt: task.attempt }]);
    return null;
  }
  const report: AttemptReport = yield* doAttempt(task, context);
  return yield* ask("report", { task, report });
}

function doAttempt(
  task: Exclude<GroupTask, { step: "receipts" }>,
  context: DeliveryContext,
): DeliveryWork<AttemptReport> {
  switch (task.step) {
    case "insert":
      return insertGroup(task, context);
    case "measure":
      return orRetry(measureTable(task));
    case "count":
      return orRetry(countRows(task));
    case "verify":
      return orRetry(verifyGroup(task, context));
    case "clear":
      return orRetry(clearRows(task, context));
    default:
      return unreachable(task);
  }
}

/** Reading evidence changes nothing, and deleting may be repeated: a failure of either is a clean one. */
function orRetry(step: DeliveryWork<AttemptReport>): DeliveryWork<AttemptReport> {
  return orElse(step, (error): AttemptReport => {
    if (error instanceof EffectFailed) {
      return unread(error.message);
    }
    throw error;
  });
}
