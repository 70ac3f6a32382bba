/**
 * Our code without the platform: the ingress's checks, the consumer's grouping, transcoding, compression and INSERT, from
 * memory. No R2, no queue, no ledger: it is for comparing code with code, and keeps no promise of Headrace's. It runs in
 * workerd (own-worker.ts) and in Node (own-server.ts).
 */

import { createHash } from "node:crypto";
import * as zlib from "node:zlib";
import { fetchClickHouse, splitLogin } from "../../dev/clickhouse/login.ts";
import { assert } from "../../shared/assert.ts";
import { insertSpansParameters } from "../../shared/clickhouse/statements.ts";
import { inflate } from "../../shared/inflate.ts";
import { limits } from "../../shared/limits.ts";
import { inspectTraces, type SpanBounds } from "../../shared/otlp/inspect.ts";
import { BlockBuilder } from "../../shared/rows/transcode.ts";
import { compressParts } from "../../workers/consumer/compress-block.ts";
import { codeBatching } from "./batching.ts";

interface Payload {
  readonly id: Uint8Array;
  readonly body: Uint8Array;
  readonly spans: number;
  readonly bounds: SpanBounds;
}

interface Group {
  readonly payloads: Payload[];
  rows: number;
}

const tenant = "bench";
const insertMs = 60_000;
/** Kept for the next group, as an isolate of the consumer does. */
let idleBuilder: BlockBuilder | undefined;
let waiting: Group = { payloads: [], rows: 0 };

/** Inserts one group, unless that has been done. */
async function insert(group: Group, clickhouseUrl: string): Promise<void> {
  if (group !== waiting) {
    return;
  }
  waiting = { payloads: [], rows: 0 };
  const builder = idleBuilder ?? new BlockBuilder();
  idleBuilder = undefined;
  for (const payload of group.payloads) {
    builder.add({ ...payload, tenant });
  }
  const body = Buffer.concat(compressParts(builder.finish().chunks, "zstd"));
  builder.clear();
  idleBuilder = builder;
  const settings = {
    ...splitLogin(clickhouseUrl),
    database: "default",
    tracesTable: "otel_traces",
  };
  const url = new URL(clickhouseUrl);
  const token = crypto.randomUUID().replaceAll("-", "");
  url.search = new URLSearchParams(
    insertSpansParameters(settings, token, 1, insertMs, Date.now() + insertMs, null),
  ).toString();
  const response = await fetchClickHouse(url, {
    method: "POST",
    headers: { "Content-Encoding": "zstd" },
    body: new Uint8Array(body),
  });
  const text = await response.text();
  assert(response.ok, `ClickHouse takes the block: ${text}`);
}

async function insertWhenOld(group: Group, clickhouseUrl: string): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, codeBatching.ms));
  await insert(group, clickhouseUrl);
}

/**
 * Takes a body in gzip: `waitUntil` is given what goes on after the answer. Resolves at once, or, for the body that fills
 * a group, when the group's rows are stored.
 */
export async function receive(
  received: Uint8Array,
  clickhouseUrl: string,
  waitUntil: (work: Promise<void>) => void,
): Promise<void> {
  // Not through crypto.subtle, as the ingress has it: Node's costs a thread's wake-up a request.
  const id = new Uint8Array(createHash("sha256").update(received).digest().subarray(0, 16));
  const body = inflate(zlib, received, "gzip", limits.inflatedBytesMax);
  const now = Date.now();
  const bounds = { startMinMs: now - 30 * 86_400_000, startMaxMs: now + 86_400_000 };
  const { spans } = inspectTraces(body, bounds);
  if (spans === 0) {
    return;
  }
  const group = waiting;
  if (group.payloads.length === 0) {
    waitUntil(insertWhenOld(group, clickhouseUrl));
  }
  group.payloads.push({ id, body, spans, bounds });
  group.rows += spans;
  if (group.rows >= codeBatching.rows) {
    await insert(group, clickhouseUrl);
  }
}
