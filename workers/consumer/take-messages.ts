/**
 * Takes queue messages over: what they name is persisted by the ledger, what nobody understands is parked. Once it
 * resolves its messages may be acknowledged; when it throws they must come again.
 */
import { unreachable } from "../../shared/assert.ts";
import type { Finding } from "../../shared/clickhouse/findings.ts";
import type { GroupTask } from "../../shared/ledger/group.ts";
import { limits } from "../../shared/limits.ts";
import type { Doorbell } from "../../shared/messages.ts";
import { codecVersion } from "../../shared/rows/transcode.ts";
import { writeLog } from "../../shared/write-log.ts";
import { parkMessage } from "./park-message.ts";
import { completeDoorbell, readMessage } from "./take-batch.ts";
import { quotaFinding, type Report } from "./write-outcomes.ts";

export interface TakingWorld {
  readonly bucket: R2Bucket;
  readonly ledger: {
    claim(doorbells: readonly Doorbell[], codecVersion: number): Promise<{ readonly task: GroupTask | null }>;
    take(group: string, codecVersion: number): Promise<GroupTask | null>;
  };
  /** Never throws: a report that could not be written is retried by itself. */
  readonly writeOutcomes: (reports: readonly Report[]) => Promise<void>;
  /** Never throws. */
  readonly tell: (findings: readonly Finding[]) => Promise<void>;
}

/** Takes all of these messages over. Returns the groups that the ledger handed out with them. */
export async function takeMessages(
  queue: string,
  messages: readonly Message[],
  world: TakingWorld,
): Promise<readonly GroupTask[]> {
  const { bucket, ledger } = world;
  const doorbells: Doorbell[] = [];
  const groups: string[] = [];
  const findings: Finding[] = [];
  const reports: Report[] = [];
  for (const message of messages) {
    const read = readMessage(message.body);
    switch (read.kind) {
      case "doorbell":
        doorbells.push(read.doorbell);
        break;
      case "group":
        groups.push(read.group);
        break;
      case "event": {
        const doorbell = await completeDoorbell(bucket, read.key, "event");
        if (doorbell !== undefined) {
          doorbells.push(doorbell);
        }
        break;
      }
      case "outcomes":
        reports.push({ message, outcomes: read.outcomes });
        break;
      case "quota":
        findings.push(quotaFinding(read.quota));
        break;
      case "passed_over":
        writeLog("log", { message: read.reason, queue });
        break;
      case "unknown":
        findings.push(await parkMessage(bucket, queue, message, read.reason));
        break;
      default:
        unreachable(read);
    }
  }
  await world.tell(findings);
  if (reports.length > 0) {
    await world.writeOutcomes(reports);
  }
  const tasks: GroupTask[] = [];
  if (doorbells.length > 0) {
    const { task } = await ledger.claim(doorbells, codecVersion);
    if (task !== null) {
      tasks.push(task);
    }
  }
  for (const group of groups) {
    const task = await ledger.take(group, codecVersion);
    if (task !== null) {
      tasks.push(task);
    }
  }
  return tasks;
}

/**
 * The dead-letter queue's messages: bells that exhausted their tries, which is no verdict on their payloads. Each is
 * offered to the ledger again, by itself, so that one that can never be taken holds up no other; and at its last try
 * it is parked, for this queue has no dead-letter queue of its own. It acknowledges or retries each message.
 */
export async function takeDeadMessages(
  queue: string,
  messages: readonly Message[],
  world: TakingWorld,
): Promise<readonly GroupTask[]> {
  const tasks: GroupTask[] = [];
  for (const message of messages) {
    try {
      tasks.push(...(await takeMessages(queue, [message], world)));
      message.ack();
    } catch (cause) {
      if (message.attempts <= limits.queueRetriesMax) {
        writeLog("warn", { message: "a bell was not taken and comes again", queue }, cause);
        message.retry();
        continue;
      }
      const reason = `it could not be taken in ${message.attempts} tries, at last because of ${String(cause)}`;
      await world.tell([await parkMessage(world.bucket, queue, message, reason)]);
      message.ack();
    }
  }
  return tasks;
}
