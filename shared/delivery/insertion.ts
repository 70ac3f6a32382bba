/**
 * One attempt to insert a group: its payloads become one Native block, or several where
 * one of them is wide, and go as one INSERT with the group's token.
 * It says what is known of the outcome, and nothing about what happens next: that is the ledger's.
 */
import { verdict } from "../clickhouse/errors.ts";
import { EffectFailed } from "../effect.ts";
import type { AttemptReport, GroupTask, StoredPayload } from "../ledger/group.ts";
import { DAY_MS } from "../limits.ts";
import {
  ask,
  type DeliveryContext,
  type DeliveryEffects,
  type DeliveryWork,
  type InsertTask,
} from "./effects.ts";

export function* insertGroup(
  task: InsertTask,
  { now, codecVersion }: DeliveryContext,
): DeliveryWork<AttemptReport> {
  const { payloads: wanted, blocks = 1, deadline } = task;
  let rows: number;
  let payloads: readonly StoredPayload[];
  try {
    const built = yield* ask("buildBlock", { payloads: wanted, blocks, deadline });
    if (built.kind === "unreadable") {
      return built;
    }
    if (built.kind === "busy") {
      return { kind: "retry", reason: "the isolate had no memory left for the block", passes: true };
    }
    if (built.kind === "too_large") {
      return { kind: "retry", reason: built.reason, tooLarge: true };
    }
    ({ rows, payloads } = built);
  } catch (error) {
    if (error instanceof EffectFailed) {
      // Nothing was sent: whatever went wrong, the attempt is clean.
      return { kind: "retry", reason: `the block could not be built: ${error.message}` };
    }
    throw error;
  }
  const beginsAt = now();
  if (!mayBegin(task, beginsAt)) {
    const reason = "the attempt's lease ran out before its INSERT began";
    return { kind: "retry", reason, passes: true };
  }
  try {
    const answered = yield* ask("sendBlock", { task, patienceMs: deadline - beginsAt });
    const report = reportOf(answered, task, rows, payloads, codecVersion);
    return report.kind === "stored" && hasOldRows(payloads, now()) ? yield* withLook(report, task) : report;
  } catch (error) {
    if (error instanceof EffectFailed) {
      return { kind: "unknown", reason: `no answer: ${error.message}`, payloads };
    }
    throw error;
  }
}

/** Are there rows of a day before today? Few have any; a TTL of a day and more drops no others at their INSERT. */
function hasOldRows(payloads: readonly StoredPayload[], now: number): boolean {
  const today = Math.floor(now / DAY_MS);
  return payloads.some(({ rowsByDay }) => rowsByDay.some(({ day, rows }) => day < today && rows > 0));
}

/**
 * ClickHouse answers 200 for rows that it drops by its TTL, and a person may have set that since the ledger's last look. Where it
 * cannot be read, the attempt proves nothing: under its token it is stored once all the same.
 */
function* withLook(
  report: Extract<AttemptReport, { kind: "stored" }>,
  { table }: InsertTask,
): DeliveryWork<AttemptReport> {
  const { payloads } = report;
  const unknown = { kind: "unknown", payloads } as const;
  try {
    const { measure, refusal } = yield* ask("readTable", table);
    return measure === null
      ? { ...unknown, reason: "stored, and then the table was not there" }
      : { ...report, look: { refusal, measure } };
  } catch (error) {
    if (error instanceof EffectFailed) {
      return { ...unknown, reason: `stored, but the table's TTL could not be read: ${error.message}` };
    }
    throw error;
  }
}

/** What ClickHouse's answer says of the attempt. `rows`: how many were sent. */
function reportOf(
  { answer, writtenRows }: DeliveryEffects["sendBlock"]["answers"],
  { isFirstInsert }: InsertTask,
  rows: number,
  payloads: readonly StoredPayload[],
  codecVersion: number,
): AttemptReport {
  const judged = verdict(answer);
  if (judged.class !== "stored") {
    const kind = judged.unlisted === true ? "unlisted" : judged.class;
    const { reason, code } = judged;
    if (judged.late === true) {
      // Nothing of it was begun: the attempt is as clean as one that never sent it.
      return { kind: "retry", reason, payloads, passes: true };
    }
    const elsewhere = judged.elsewhere === true ? ({ elsewhere: true } as const) : {};
    return { kind, reason, payloads, ...(code === undefined ? {} : { code }), ...elsewhere };
  }
  if (isFirstInsert && writtenRows !== undefined && writtenRows < rows) {
    return { kind: "unknown", reason: `${writtenRows} rows written of ${rows} sent`, payloads };
  }
  return { kind: "stored", payloads, codecVersion };
}

/**
 * May a statement of this attempt be sent now (ms since the epoch)? After the deadline the ledger counts the attempt as
 * over, and its fence as running: whatever begins later could end after the fence (invariant I6).
 */
export function mayBegin({ deadline }: Pick<GroupTask, "deadline">, now: number): boolean {
  return now < deadline;
}
