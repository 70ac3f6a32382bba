/**
 * Our code without the platform: OTLP/HTTP in, the ingress's checks, the consumer's grouping, transcoding, compression
 * and INSERT, in one Node process, from memory. No R2, no queue, no ledger: it is for comparing code with code, and
 * keeps no promise of Headrace's.
 *
 * `node own-receiver.ts PORT CLICKHOUSE_URL` ends on SIGTERM when all groups are stored.
 */
import { createHash, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import * as zlib from "node:zlib";
import { assert } from "../../shared/assert.ts";
import { insertSpansParameters } from "../../shared/clickhouse/statements.ts";
import { inflate } from "../../shared/inflate.ts";
import { limits } from "../../shared/limits.ts";
import { inspectTraces, type SpanBounds } from "../../shared/otlp/inspect.ts";
import { successBody } from "../../shared/otlp/responses.ts";
import { BlockBuilder } from "../../shared/rows/transcode.ts";
import { compressBlock } from "../../workers/consumer/compress-block.ts";
import { codeBatching } from "./batching.ts";

const [, , portText = "", clickhouseUrl = ""] = process.argv;

/** Groups that may be on their way at once; a sender waits beyond, as with the peers' full queues. */
const groupsAtOnceMax = 4;
const insertMs = 60_000;
const settings = {
  url: clickhouseUrl,
  user: "default",
  password: "",
  database: "default",
  tracesTable: "otel_traces",
};

interface Payload {
  readonly id: Uint8Array;
  readonly body: Uint8Array;
  readonly spans: number;
  readonly bounds: SpanBounds;
}

let waiting: Payload[] = [];
let waitingRows = 0;
let timer: NodeJS.Timeout | undefined;
let groupsAtOnce = 0;
const blocked: (() => void)[] = [];

function flush(): void {
  clearTimeout(timer);
  timer = undefined;
  const payloads = waiting;
  waiting = [];
  waitingRows = 0;
  if (payloads.length === 0) {
    return;
  }
  groupsAtOnce++;
  insert(payloads).catch((error: unknown) => {
    // A benchmark that loses rows must not go on as if it had not.
    console.error(error);
    process.exit(1);
  });
}

async function insert(payloads: readonly Payload[]): Promise<void> {
  const builder = new BlockBuilder();
  for (const payload of payloads) {
    builder.add({ ...payload, tenant: "bench" });
  }
  const block = builder.finish();
  const url = new URL(clickhouseUrl);
  const token = randomBytes(16).toString("hex");
  url.search = new URLSearchParams(insertSpansParameters(settings, token, 1, insertMs)).toString();
  const response = await fetch(url, {
    method: "POST",
    headers: { "Content-Encoding": "zstd" },
    body: new Uint8Array(compressBlock(block.chunks, "zstd")),
  });
  const text = await response.text();
  assert(response.ok, `ClickHouse takes the block: ${text}`);
  groupsAtOnce--;
  blocked.shift()?.();
}

async function receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) {
    chunks.push(chunk);
  }
  const received = Buffer.concat(chunks);
  const id = new Uint8Array(createHash("sha256").update(received).digest().subarray(0, 16));
  const body = inflate(zlib, received, "gzip", limits.inflatedBytesMax);
  const now = Date.now();
  const bounds = { startMinMs: now - 30 * 86_400_000, startMaxMs: now + 86_400_000 };
  const { spans } = inspectTraces(body, bounds);
  if (groupsAtOnce >= groupsAtOnceMax) {
    await new Promise<void>((resolve) => blocked.push(resolve));
  }
  if (spans > 0) {
    waiting.push({ id, body, spans, bounds });
    waitingRows += spans;
    timer ??= setTimeout(flush, codeBatching.ms);
    if (waitingRows >= codeBatching.rows) {
      flush();
    }
  }
  response.writeHead(200, { "Content-Type": "application/x-protobuf" }).end(successBody("pb"));
}

const server = createServer((request, response) => {
  receive(request, response).catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});
server.listen(Number(portText), "127.0.0.1");
process.once("SIGTERM", () => {
  flush();
  server.close();
  server.closeAllConnections();
});
