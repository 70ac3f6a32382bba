/** One wide payload's rows, from its object in R2 to compressed blocks. */

import { env as given } from "cloudflare:workers";
import * as zlib from "node:zlib";
import { expect, test } from "vitest";
import { inflate } from "../../../shared/inflate.ts";
import type { GroupPayload } from "../../../shared/ledger/group.ts";
import { limits } from "../../../shared/limits.ts";
import { formatPayloadMetadata } from "../../../shared/messages.ts";
import { inspectTraces } from "../../../shared/otlp/inspect.ts";
import { formatPayloadId, formatPayloadKey } from "../../../shared/payload-key.ts";
import type { ConsumerBindings } from "../../../workers/consumer/bindings.ts";
import { buildBlock } from "../../../workers/consumer/build-block.ts";
import { bytesField, varintField } from "../../fixtures/protobuf.ts";
import { everySpan, randomText, wideBody } from "../../fixtures/wide-bodies.ts";

const env = given as unknown as ConsumerBindings;
const arrival = 1_795_000_000_000;
const key = formatPayloadKey(arrival, "acme", formatPayloadId(new Uint8Array(16).fill(3)));

/** workerd gives 65,536 random bytes at a time. */
const longRandomText = (bytes: number): string => (randomText(40_000) + randomText(40_000)).slice(0, bytes);

/** Puts the body, and builds its rows in so many blocks. */
async function build(body: Uint8Array, blocks: number, compression: "zstd" | "gzip") {
  const { spans, outputBytes } = inspectTraces(body, everySpan);
  await env.PAYLOADS.put(key, body, {
    customMetadata: formatPayloadMetadata({
      version: "1",
      type: "pb",
      encoding: "identity",
      spans,
      rejectedSpans: 0,
      inflatedBytes: body.length,
      outputBytes,
      arrival,
      ...everySpan,
    }),
  });
  const about = {
    cause: "ingress",
    doorbell: true,
    duplicateKeys: [],
    missingDays: null,
    erase: null,
  } as const;
  const payload: GroupPayload = { key, arrival, spans, outputBytes, ...about };
  return await buildBlock(env.PAYLOADS, [payload], blocks, compression);
}

test("rows that hardly compress are given up at the bound, and the payload is too large", async () => {
  const body = wideBody({ spans: 700, resourceBytes: 70 * 1024, text: longRandomText });
  const { outputBytes } = inspectTraces(body, everySpan);
  expect(outputBytes, "within what the ingress takes").toBeLessThan(limits.outputBytesMax);
  expect(await build(body, 13, "gzip")).toEqual({
    kind: "too_large",
    reason: `its rows take more than ${limits.compressedBytesMax} bytes compressed`,
  });
});

test("a body that turns out in its last bytes not to be plain gives each row once, after one that was too large too", async () => {
  const plain = wideBody({ spans: 300, resourceBytes: 20_000 });
  const built = await build(plain, 4, "gzip");
  // One resource in two pieces, without a span: they are merged, which the first walk cannot do.
  const pieces = bytesField(1, [bytesField(1, varintField(2, 1)), bytesField(1, varintField(2, 1))]);
  const odd = await build(Buffer.concat([plain, pieces]), 4, "gzip");
  if (built.kind !== "built" || odd.kind !== "built") {
    throw new Error("nothing was built");
  }
  expect([odd.block.rows, odd.payloads[0]?.rowsByDay]).toEqual([300, [{ day: 20_775, rows: 300 }]]);
  const rows = (body: Uint8Array) => inflate(zlib, body, "gzip", 100_000_000);
  expect(Buffer.compare(rows(odd.block.body), rows(built.block.body))).toBe(0);
});
