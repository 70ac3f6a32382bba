/**
 * The work on a group, from the task that the ledger handed out to the last one of this caller. One step after another
 * is done and reported, and the ledger says what comes next; its order is the ledger's, the order of each step's
 * effects is decided here.
 */
import { BrokenInvariant, unreachable } from "../assert.ts";
import { EffectFailed } from "../effect.ts";
import type { AttemptReport, GroupTask } from "../ledger/group.ts";
import { clearRows } from "./clearing.ts";
import { ask, type DeliveryContext, type DeliveryWork } from "./effects.ts";
import { countRows, measureTable, verifyGroup } from "./evidence.ts";
import { insertGroup } from "./insertion.ts";
import { writeReceipts } from "./receipts.ts";

/**
 * Works on a group until the ledger has nothing more for this caller. A group that cannot go on is left to its lease,
 * after which the ledger notifies again; a broken invariant is recorded first, so that people see it.
 */
export function* workOnGroup(first: GroupTask, context: DeliveryContext): DeliveryWork<void> {
  try {
    yield* doSteps(first, context);
  } catch (error) {
    const { group } = first;
    if (error instanceof EffectFailed) {
      yield* ask("leave", { group, reason: error.message });
    } else if (error instanceof BrokenInvariant) {
      yield* ask("recordBroken", { group, claim: error.message });
    } else {
      throw error;
    }
  }
}

function* doSteps(first: GroupTask, context: DeliveryContext): DeliveryWork<void> {
  for (let task: GroupTask | null = first; task !== null; ) {
    if (task.step === "receipts") {
      yield* writeReceipts(task, context);
      yield* ask("settle", [{ group: task.group, attempt: task.attempt }]);
      return;
    }
    const report: AttemptReport = yield* attempt(task, context);
    task = yield* ask("report", { task, report });
  }
}

function* attempt(
  task: Exclude<GroupTask, { step: "receipts" }>,
  context: DeliveryContext,
): DeliveryWork<AttemptReport> {
  switch (task.step) {
    case "insert":
      return yield* insertGroup(task, context);
    case "measure":
      return yield* orRetry(measureTable());
    case "count":
      return yield* orRetry(countRows(task));
    case "verify":
      return yield* orRetry(verifyGroup(task));
    case "clear":
      return yield* orRetry(clearRows(task, context));
    default:
      return unreachable(task);
  }
}

/** Reading evidence changes nothing, and deleting may be repeated: a failure of either is a clean one. */
function* orRetry(step: DeliveryWork<AttemptReport>): DeliveryWork<AttemptReport> {
  try {
    return yield* step;
  } catch (error) {
    if (error instanceof EffectFailed) {
      return { kind: "retry", reason: `the evidence could not be read: ${error.message}` };
    }
    throw error;
  }
}
