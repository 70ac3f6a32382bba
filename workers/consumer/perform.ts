/**
 * Performs what the consumer's work asks for (shared/delivery/): all of its I/O, and none of its decisions. One performer
 * serves one batch.
 */
import { unreportedOf } from "../../shared/alerts.ts";
import { ByteBudget, bytesToBuild, type Taking, waitForBytes } from "../../shared/byte-budget.ts";
import { insertRows, runStatement } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { deadLetterColumns, deadLetterRow } from "../../shared/clickhouse/dead-letters.ts";
import { rowsDeletion, traceTimesDeletion } from "../../shared/clickhouse/deletion.ts";
import { writtenRows } from "../../shared/clickhouse/errors.ts";
import { insertReceipts } from "../../shared/clickhouse/receipts.ts";
import {
  completeViewStatement,
  insertSpansParameters,
  killStatement,
} from "../../shared/clickhouse/statements.ts";
import type {
  BatchEffects,
  DeliveryEffects,
  DeliveryPerformer,
  FoundObject,
  GroupEffects,
  InsertTask,
} from "../../shared/delivery/effects.ts";
import type { Performer } from "../../shared/effect.ts";
import type { AttemptReport, GroupPayload, GroupTask } from "../../shared/ledger/group.ts";
import { overdueMs } from "../../shared/ledger/settings.ts";
import { limits } from "../../shared/limits.ts";
import { idOfKey, isInSegment, type PayloadId, type PayloadKey } from "../../shared/payload-key.ts";
import type { ReceiptClaim } from "../../shared/receipt.ts";
import { codecVersion } from "../../shared/rows/transcode.ts";
import { headPayload } from "../../shared/segment/payload-objects.ts";
import { writeLog } from "../../shared/write-log.ts";
import type { ConsumerBindings } from "./bindings.ts";
import { buildBlock, type CompressedBlock, countPayload } from "./build-block.ts";
import { completeDoorbells } from "./complete-doorbell.ts";
import { deleteRows } from "./delete-rows.ts";
import { copyDead, eraseObjects } from "./erase-objects.ts";
import { loadPayloads } from "./load-payloads.ts";
import { parkMessage } from "./park-message.ts";
import { readLedgerSettings } from "./read-ledger-settings.ts";
import { readReceiptClaims } from "./read-receipts.ts";
import { countRows, readProcesses, readTable, readWitness } from "./read-table.ts";
import { reportFindings } from "./report-findings.ts";
import { writeOutcomes } from "./write-outcomes.ts";

// One per Worker instance, shared by its invocations.
const bytesInHand = new ByteBudget(limits.consumerBytesInHandMax);

/** Keys that a line about duplicates names. */
const duplicatesLogged = 20;

type Effect<Name extends keyof DeliveryEffects> = DeliveryEffects[Name]["asks"];
type LedgerStub = ReturnType<ConsumerBindings["LEDGER"]["get"]>;

/** `ledger`: the object that holds the groups. */
export function performerOf(
  batch: MessageBatch,
  env: ConsumerBindings,
  clickHouse: ClickHouseConnection,
  ledger: Pick<LedgerStub, "knows" | "claim" | "take" | "report" | "receipted">,
): DeliveryPerformer {
  return {
    ...batchPerformerOf(batch, env, clickHouse, ledger),
    ...groupPerformerOf(env, clickHouse, ledger),
  };
}

function batchPerformerOf(
  batch: MessageBatch,
  env: ConsumerBindings,
  clickHouse: ClickHouseConnection,
  ledger: Pick<LedgerStub, "knows" | "claim" | "take">,
): Performer<BatchEffects> {
  const bucket = env.PAYLOADS;
  return {
    completeDoorbell: ({ key, cause }) => completeDoorbells(bucket, key, cause),
    parkMessage: async ({ at, reason }) =>
      await parkMessage(bucket, batch.queue, messageOf(batch, at), reason),
    reportFindings: async (findings) => {
      const targets = { webhook: env.ALERT_WEBHOOK, consoleUrl: env.CONSOLE_URL };
      await reportFindings(clickHouse, targets, unreportedOf(findings), Date.now());
      return null;
    },
    writeOutcomes: async (reports) => {
      const withMessages = reports.map(({ at, outcomes }) => ({ message: messageOf(batch, at), outcomes }));
      await writeOutcomes(clickHouse, withMessages, Date.now());
      return null;
    },
    passOver: async (reason) => {
      writeLog("log", { message: reason, queue: batch.queue });
      return null;
    },
    knows: async (bells) => await ledger.knows(bells),
    claim: async ({ doorbells, messages }) => (await ledger.claim(doorbells, codecVersion, messages)).task,
    take: async (group) => await ledger.take(group, codecVersion),
    ackAll: async () => {
      batch.ackAll();
      return null;
    },
    ack: async ({ at }) => {
      messageOf(batch, at).ack();
      return null;
    },
    retry: async ({ at, reason }) => {
      writeLog("warn", { message: "a doorbell was not accepted and is retried", queue: batch.queue, reason });
      messageOf(batch, at).retry();
      return null;
    },
  };
}

function groupPerformerOf(
  env: ConsumerBindings,
  clickHouse: ClickHouseConnection,
  ledger: Pick<LedgerStub, "report" | "receipted">,
): Performer<GroupEffects> {
  const { settings } = clickHouse;
  const bucket = env.PAYLOADS;
  const ledgerSettings = readLedgerSettings(env);
  const overdue = overdueMs(ledgerSettings);
  const blocks = blockSender(bucket, clickHouse, ledgerSettings.insertMs);
  const command = async (query: string): Promise<null> => {
    await runStatement(clickHouse, query);
    return null;
  };
  return {
    buildBlock: blocks.build,
    sendBlock: blocks.send,
    readTable: (table) => readTable(clickHouse, Date.now(), table),
    readWitness: (table) => readWitness(clickHouse, table),
    countRows: async ({ ids, table }) => {
      const { rows, witness } = await countRows(clickHouse, ids, table);
      return { rows: ids.map((id) => rows.get(id) ?? []), witness };
    },
    findRunning: ({ group, table }) => readProcesses(clickHouse, group, overdue, table),
    killRunning: (group) => command(killStatement(group, overdue)),
    readReceipts: (ids) => readReceipts(clickHouse, ids),
    readObject: ({ payload, key, count }) => readObject(bucket, payload, key, count),
    hasObject: async (key) => (await headPayload(bucket, key)) !== null,
    clearRows: async ({ group, ...rows }) => {
      await deleteRows(clickHouse, rowsDeletion(settings, { ...rows, mark: group }));
      return null;
    },
    completeView: (ids) => command(completeViewStatement(settings, ids)),
    writeDeadLetters: (dead) => writeDeadLetters(bucket, clickHouse, dead),
    writeReceipts: async ({ receipts, now }) => {
      const duplicates = receipts.filter(({ outcome }) => outcome === "duplicate").map(({ key }) => key);
      if (duplicates.length > 0) {
        const line = { outcome: "duplicate", payloads: duplicates.length };
        writeLog("log", { ...line, duplicates: duplicates.slice(0, duplicatesLogged) });
      }
      await insertReceipts(clickHouse, receipts, now);
      return null;
    },
    eraseTraceTimes: async ({ group, ...rows }) => {
      await deleteRows(clickHouse, traceTimesDeletion(settings, { ...rows, mark: group }));
      return null;
    },
    eraseRows: async ({ group, ...rows }) => {
      await deleteRows(clickHouse, rowsDeletion(settings, { ...rows, mark: group }));
      return null;
    },
    eraseObjects: async (keys) => await eraseObjects(bucket, keys),
    report: async ({ task, report }) => {
      blocks.drop();
      logAttempt(task, report);
      return await ledger.report(task.group, task.attempt, report);
    },
    receipted: async (attempts) => {
      await ledger.receipted(attempts);
      return null;
    },
    leave: async ({ group, reason }) => {
      blocks.drop();
      writeLog("error", { message: "a group was left to its lease", group, reason });
      return null;
    },
  };
}

function messageOf({ messages }: MessageBatch, at: number): Message {
  const message = messages[at];
  if (message === undefined) {
    throw new RangeError(`the batch has no message ${at}`);
  }
  return message;
}

/** The blocks in hand that are one INSERT, and the bytes that it and its making take out of the isolate's budget. */
function blockSender(bucket: R2Bucket, clickHouse: ClickHouseConnection, insertMs: number) {
  let block: CompressedBlock | undefined;
  let taking: Taking | null = null;
  const drop = (): void => {
    taking?.give();
    taking = null;
    block = undefined;
  };
  return {
    drop,
    build: async ({
      payloads,
      blocks,
      deadline,
    }: Effect<"buildBlock">): Promise<DeliveryEffects["buildBlock"]["answers"]> => {
      drop();
      taking = await takeBytes(Math.min(bytesToBuild(payloads), limits.consumerBytesInHandMax), deadline);
      if (taking === null) {
        return { kind: "busy" };
      }
      try {
        const built = await buildBlock(bucket, payloads, blocks, clickHouse.insertCompression);
        if (built.kind !== "built") {
          drop();
          return built;
        }
        block = built.block;
        taking.bytes = Math.min(taking.bytes, block.body.length); // all else has been let go of
        return { kind: "built", rows: built.block.rows, payloads: built.payloads };
      } catch (error) {
        drop();
        throw error;
      }
    },
    send: async ({
      task,
      patienceMs,
    }: Effect<"sendBlock">): Promise<DeliveryEffects["sendBlock"]["answers"]> => {
      if (block === undefined) {
        throw new Error("no block was built");
      }
      try {
        return await sendBlock(clickHouse, task, insertMs, block, patienceMs);
      } finally {
        drop();
      }
    },
  };
}

/** Bytes for a group until its lease ends. Null: half of the lease is over, and there are none. */
async function takeBytes(bytes: number, deadline: number): Promise<Taking | null> {
  const waiting = waitForBytes(bytesInHand, "group", bytes, deadline, Date.now);
  let step = waiting.next();
  while (step.done !== true) {
    const ms = step.value;
    await new Promise((resolve) => setTimeout(resolve, ms));
    step = waiting.next();
  }
  return step.value;
}

async function sendBlock(
  { settings, send }: ClickHouseConnection,
  { group, attempt, serverDeadline, table, byColumn }: InsertTask,
  insertMs: number,
  { body, encoding }: CompressedBlock,
  patienceMs: number,
): Promise<DeliveryEffects["sendBlock"]["answers"]> {
  const { status, headers, text, isClickHouses } = await send({
    parameters: insertSpansParameters(settings, group, attempt, insertMs, serverDeadline, table, byColumn),
    body,
    headers: encoding === "none" ? {} : { "Content-Encoding": encoding },
    patienceMs,
  });
  return {
    answer: {
      httpStatus: status,
      exceptionCode: headers.get("x-clickhouse-exception-code"),
      text,
      clickHouseHeaders: isClickHouses,
    },
    writtenRows: writtenRows(headers.get("x-clickhouse-summary")),
  };
}

async function readReceipts(
  clickHouse: ClickHouseConnection,
  ids: readonly PayloadId[],
): Promise<readonly (readonly ReceiptClaim[])[]> {
  const receipts = await readReceiptClaims(clickHouse, ids);
  const found = Map.groupBy(receipts, ({ key }) => idOfKey(key));
  return ids.map((id) => found.get(id) ?? []);
}

async function readObject(
  bucket: R2Bucket,
  payload: GroupPayload,
  key: PayloadKey,
  count: boolean,
): Promise<FoundObject | null> {
  for await (const loaded of loadPayloads(bucket, [{ ...payload, key, missingDays: null }])) {
    if (loaded.kind === "fetched") {
      const { bytes, metadata } = loaded;
      return {
        spans: metadata.spans,
        rejectedSpans: metadata.rejectedSpans,
        bytes,
        rowsByDay: count ? countPayload(loaded) : null,
      };
    }
    if (loaded.reason !== "missing_object") {
      const rowsByDay = loaded.reason === "unreadable" ? "unreadable" : "undecodable";
      return { spans: payload.spans, rejectedSpans: 0, bytes: 0, rowsByDay };
    }
  }
  return null;
}

/** A dead letter is readable by a person in R2 and by SQL before its receipt says `dead`. The payload stays in R2. */
async function writeDeadLetters(
  bucket: R2Bucket,
  clickHouse: ClickHouseConnection,
  { receipts, failure, now }: Effect<"writeDeadLetters">,
): Promise<null> {
  const rows = receipts.map((receipt) => deadLetterRow(receipt, failure, now));
  for (const row of rows) {
    writeLog("error", {
      outcome: "dead",
      payload: row.key,
      reason: row.reason,
      record: row.record,
      message: row.message,
    });
    if (isInSegment(row.key)) {
      await copyDead(bucket, row.key);
    }
    await bucket.put(row.record, JSON.stringify({ ...row, failure }, null, 2), {
      httpMetadata: { contentType: "application/json" },
    });
  }
  await insertRows(clickHouse, "headrace_dead_letters", deadLetterColumns, rows);
  return null;
}

function logAttempt(task: GroupTask, report: AttemptReport): void {
  const spans = task.payloads.reduce((sum, payload) => sum + payload.spans, 0);
  const line = {
    outcome: report.kind,
    group: task.group,
    attempt: task.attempt,
    payloads: task.payloads.length,
    spans,
  };
  if (report.kind === "broken") {
    writeLog("error", { ...line, message: "an invariant is broken", reason: report.reason });
  } else if (task.step !== "insert" || report.kind === "stored") {
    writeLog("log", line);
  } else {
    writeLog("warn", "reason" in report ? { ...line, reason: report.reason } : line);
  }
}
