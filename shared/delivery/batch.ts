/**
 * The story of a batch of queue messages: what they name is persisted by the ledger, what nobody understands is parked,
 * and only then are they acknowledged. Then follows the work that the ledger leased with them.
 */
import { unreachable } from "../assert.ts";
import { EffectFailed } from "../effect.ts";
import type { Finding } from "../finding.ts";
import type { GroupTask } from "../ledger/group.ts";
import type { BareBell } from "../ledger/knows.ts";
import { limits } from "../limits.ts";
import type { Doorbell, OutcomesMessage } from "../messages.ts";
import { ask, type DeliveryContext, type DeliveryWork } from "./effects.ts";
import { workOnGroup } from "./group-work.ts";
import type { ReadMessage } from "./message.ts";
import { quotaFinding } from "./quota-finding.ts";

export interface TakenMessage {
  readonly read: ReadMessage;
  /** How often it has been delivered, this time included. */
  readonly attempts: number;
}

/**
 * Takes a batch. Throws `EffectFailed` before anything is acknowledged: then all of it must be redelivered. A batch of the
 * dead-letter queue is taken message by message, and never throws that.
 */
export function* takeBatch(
  messages: readonly TakenMessage[],
  isDeadLetterQueue: boolean,
  context: DeliveryContext,
): DeliveryWork<void> {
  let tasks: readonly GroupTask[];
  if (isDeadLetterQueue) {
    tasks = yield* takeDeadMessages(messages);
  } else {
    tasks = yield* takeMessages([...messages.entries()]);
    yield* ask("ackAll", null);
  }
  for (const task of tasks) {
    yield* workOnGroup(task, context);
  }
}

type Placed = readonly [at: number, message: TakenMessage];

/** Takes all of these messages over. Returns the groups that the ledger leased with them. */
function* takeMessages(messages: readonly Placed[]): DeliveryWork<readonly GroupTask[]> {
  const doorbells: Doorbell[] = [];
  const groups: string[] = [];
  const findings: Finding[] = [];
  const reports: { readonly at: number; readonly outcomes: OutcomesMessage }[] = [];
  const bare: BareBell[] = [];
  for (const [at, { read }] of messages) {
    switch (read.kind) {
      case "doorbells":
        doorbells.push(...read.doorbells);
        break;
      case "group":
        groups.push(read.group);
        break;
      case "bare":
        bare.push({ key: read.key, cause: read.cause });
        break;
      case "outcomes":
        reports.push({ at, outcomes: read.outcomes });
        break;
      case "quota":
        findings.push(quotaFinding(read.quota));
        break;
      case "passed_over":
        yield* ask("passOver", read.reason);
        break;
      case "unknown":
        findings.push(yield* ask("parkMessage", { at, reason: read.reason }));
        break;
      default:
        unreachable(read);
    }
  }
  doorbells.push(...(yield* completeDoorbells(bare)));
  if (findings.length > 0) {
    yield* ask("reportFindings", findings);
  }
  if (reports.length > 0) {
    yield* ask("writeOutcomes", reports);
  }
  return yield* askLedger(doorbells, groups, messages.length);
}

/** The doorbells of bare keys, without those that would bring nothing new. */
function* completeDoorbells(bells: readonly BareBell[]): DeliveryWork<readonly Doorbell[]> {
  if (bells.length === 0) {
    return [];
  }
  const known = yield* ask("knows", bells);
  const doorbells: Doorbell[] = [];
  for (const [at, bell] of bells.entries()) {
    if (known[at] !== true) {
      doorbells.push(...(yield* ask("completeDoorbell", bell)));
    }
  }
  return doorbells;
}

/** `messages`: how many the batch has. Of segments each names many payloads, and the ledger takes some at a time. */
function* askLedger(
  doorbells: readonly Doorbell[],
  groups: readonly string[],
  messages: number,
): DeliveryWork<readonly GroupTask[]> {
  const tasks: (GroupTask | null)[] = [];
  for (let at = 0; at < doorbells.length; at += limits.claimDoorbellsMax) {
    const some = doorbells.slice(at, at + limits.claimDoorbellsMax);
    const isLast = at + some.length === doorbells.length;
    tasks.push(yield* ask("claim", { doorbells: some, messages: isLast ? messages : null }));
  }
  for (const group of groups) {
    tasks.push(yield* ask("take", group));
  }
  return tasks.filter((task) => task !== null);
}

/**
 * The dead-letter queue's messages: doorbells that exhausted their tries, which says nothing about their payloads. Each is
 * offered to the ledger again, by itself, so that one that can never be taken holds up no other; and at its last try
 * it is parked, for this queue has no dead-letter queue of its own. Each is acknowledged or retried.
 */
function* takeDeadMessages(messages: readonly TakenMessage[]): DeliveryWork<readonly GroupTask[]> {
  const tasks: GroupTask[] = [];
  for (const [at, message] of messages.entries()) {
    try {
      tasks.push(...(yield* takeMessages([[at, message]])));
      yield* ask("ack", { at });
    } catch (error) {
      if (!(error instanceof EffectFailed)) {
        throw error;
      }
      const { attempts } = message;
      if (attempts <= limits.queueRetriesMax) {
        yield* ask("retry", { at, reason: error.message });
        continue;
      }
      const reason = `it could not be taken in ${attempts} tries, at last because of ${error.message}`;
      yield* ask("reportFindings", [yield* ask("parkMessage", { at, reason })]);
      yield* ask("ack", { at });
    }
  }
  return tasks;
}
