/** Gives the in-workerd tests what only Node can make: bodies from the real OpenTelemetry SDK. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { zstdCompressSync } from "node:zlib";
import { JsonTraceSerializer, ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { RandomIdGenerator } from "@opentelemetry/sdk-trace";
import type { TestProject } from "vitest/node";
import { generateSpans } from "../../dev/send/generate-spans.ts";
import { limits } from "../../shared/limits.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Base64 of export requests of ten spans each. */
    readonly bodies: { readonly protobuf: string; readonly json: string };
    /** Base64 of four times the limit of zeros, as one zstd frame: workerd's own zlib cannot compress as much. */
    readonly zstdBomb: string;
    /** What the Collector answered to the cases of test/intake, by name. */
    readonly collectorAnswers: string;
  }
}

export default function setup(project: TestProject): void {
  const [spans] = generateSpans({
    spans: 10,
    services: 2,
    seed: 1,
    batchSpans: 10,
    startMs: Date.now() - 60_000,
    windowMs: 1000,
    resource: {},
    ids: new RandomIdGenerator(),
  });
  const base64 = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString("base64");
  project.provide("zstdBomb", base64(zstdCompressSync(new Uint8Array(4 * limits.inflatedBytesMax))));
  const kept = join(import.meta.dirname, "../fixtures/intake/collector.json");
  project.provide("collectorAnswers", readFileSync(kept, "utf8"));
  project.provide("bodies", {
    protobuf: base64(ProtobufTraceSerializer.serializeRequest(spans ?? [])),
    json: base64(JsonTraceSerializer.serializeRequest(spans ?? [])),
  });
}
