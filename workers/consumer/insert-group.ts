/**
 * One attempt to insert a group: transcode its payloads to one Native block, send it as one INSERT with the group's
 * token, and say what is known of the outcome. It decides nothing about what happens next: that is the ledger's.
 */
import { assert } from "../../shared/assert.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { verdict } from "../../shared/clickhouse/errors.ts";
import { insertSpansParameters } from "../../shared/clickhouse/statements.ts";
import type { AttemptReport, GroupTask, StoredPayload } from "../../shared/ledger/group.ts";
import { parsePayloadKey, payloadIdToBytes } from "../../shared/payload-key.ts";
import { BlockBuilder, codecVersion } from "../../shared/rows/transcode.ts";
import { compressBlock } from "./compress-block.ts";
import { loadPayloads, MissingObject } from "./load-payloads.ts";

interface CompressedBlock {
  readonly rows: number;
  /** zstd. Whole before anything is sent: see compress-block.ts. */
  readonly body: Uint8Array;
}

export async function insertGroup(
  bucket: R2Bucket,
  clickHouse: ClickHouseConnection,
  task: GroupTask,
): Promise<AttemptReport> {
  let block: CompressedBlock;
  let payloads: readonly StoredPayload[];
  try {
    [block, payloads] = await buildBlock(bucket, task);
  } catch (error) {
    // Nothing was sent: whatever went wrong, the attempt is clean.
    const reason = error instanceof MissingObject ? error.message : describe(error);
    console.error(
      JSON.stringify({ message: "a group's block could not be built", group: task.group, reason }),
    );
    return { kind: "retry", reason };
  }
  if (Date.now() >= task.deadline) {
    return { kind: "retry", reason: "the attempt's lease ran out before its INSERT began" };
  }
  return await sendBlock(clickHouse, task, block, payloads);
}

/** Fetches and transcodes a group's payloads, one after the other, each dropped as soon as its rows are written. */
async function buildBlock(
  bucket: R2Bucket,
  task: GroupTask,
): Promise<[CompressedBlock, readonly StoredPayload[]]> {
  const builder = new BlockBuilder();
  const payloads: StoredPayload[] = [];
  for await (const { key, metadata, bytes, protobuf } of loadPayloads(
    bucket,
    task.payloads.map((payload) => payload.key),
  )) {
    const parts = parsePayloadKey(key);
    assert(parts !== undefined, "a group's keys are payload keys");
    const added = builder.add({
      id: payloadIdToBytes(parts.id),
      tenant: parts.tenant,
      body: protobuf,
      bounds: { startMinMs: metadata.startMinMs, startMaxMs: metadata.startMaxMs },
      spans: metadata.spans,
    });
    payloads.push({
      key,
      rowsByDay: [...added.rowsByDay].map(([day, rows]) => ({ day, rows })).sort((a, b) => a.day - b.day),
      rejectedSpans: metadata.rejectedSpans,
      bytes,
    });
  }
  const block = builder.finish();
  return [{ rows: block.rows, body: compressBlock(block.chunks) }, payloads];
}

async function sendBlock(
  { settings, fetch }: ClickHouseConnection,
  task: GroupTask,
  block: CompressedBlock,
  payloads: readonly StoredPayload[],
): Promise<AttemptReport> {
  const url = new URL(settings.url);
  url.search = new URLSearchParams(insertSpansParameters(settings, task.group, task.attempt)).toString();
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: {
        "X-ClickHouse-User": settings.user,
        "X-ClickHouse-Key": settings.password,
        "Content-Encoding": "zstd",
      },
      body: block.body,
      signal: AbortSignal.timeout(Math.max(1, task.deadline - Date.now())),
    });
    text = await response.text();
  } catch (error) {
    return { kind: "unknown", reason: `no answer: ${describe(error)}` };
  }
  const judged = verdict({
    httpStatus: response.status,
    exceptionCode: response.headers.get("x-clickhouse-exception-code"),
    text,
    clickHouseHeaders:
      response.headers.has("x-clickhouse-query-id") || response.headers.has("x-clickhouse-summary"),
  });
  if (judged.class !== "stored") {
    return {
      kind: judged.class,
      reason: judged.reason,
      ...(judged.code === undefined ? {} : { code: judged.code }),
    };
  }
  const written = writtenRows(response.headers.get("x-clickhouse-summary"));
  if (task.attempt === 1 && written !== undefined && written < block.rows) {
    return { kind: "unknown", reason: `${written} rows written of ${block.rows} sent` };
  }
  return { kind: "stored", payloads, codecVersion };
}

/** `written_rows` of ClickHouse's summary header (a view's rows are counted too), or undefined where it has none. */
function writtenRows(summary: string | null): number | undefined {
  const found = /"written_rows":"(\d+)"/.exec(summary ?? "");
  return found?.[1] === undefined ? undefined : Number(found[1]);
}

function describe(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
