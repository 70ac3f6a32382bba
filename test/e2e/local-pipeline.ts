/** A whole pipeline of its own for one test file: free ports, a temporary state folder, nothing left behind. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OTLPTraceExporter as JsonExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as ProtobufExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { RandomIdGenerator, type ReadableSpan } from "@opentelemetry/sdk-trace";
import { fetchClickHouse } from "../../dev/clickhouse/login.ts";
import { type Pipeline, type PipelineOptions, startPipeline } from "../../dev/pipeline.ts";
import { generateSpans } from "../../dev/send/generate-spans.ts";
import type { DevSettings } from "../../dev/settings.ts";
import { payloadPrefix } from "../../shared/payload-key.ts";

export interface LocalPipeline {
  readonly pipeline: Pipeline;
  /** What the Workers logged, oldest first. */
  readonly logs: readonly string[];
  query(sql: string): Promise<string>;
  /** Waits until the condition query gives `expected`, or fails at the deadline with the payloads' history. */
  eventually(sql: string, expected: string, deadlineMs: number): Promise<void>;
  stop(): Promise<void>;
}

export function temporaryFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "headrace-e2e-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

export function devSettings(stateFolder: string, changed: Partial<DevSettings> = {}): DevSettings {
  return {
    port: 0,
    consolePort: 0,
    clickHousePort: 0,
    stateFolder,
    clickHouseUrl: undefined,
    ledgerTimesFaster: undefined,
    ...changed,
  };
}

export async function startLocalPipeline(
  settings: DevSettings,
  changed: Partial<PipelineOptions> = {},
): Promise<LocalPipeline> {
  const logs: string[] = [];
  const pipeline = await startPipeline(settings, {
    onLog: (level, message) => logs.push(`${new Date().toISOString()} ${level} ${message}`),
    doorbells: true,
    events: true,
    crons: true,
    ...changed,
  });
  const query = (sql: string) => queryClickHouse(pipeline.clickhouse, sql);
  return {
    pipeline,
    logs,
    query,
    async eventually(sql, expected, deadlineMs) {
      const end = Date.now() + deadlineMs;
      let last = "";
      do {
        last = await query(sql).catch((error: unknown) => String(error));
        if (last === expected) {
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
      } while (Date.now() < end);
      throw new Error(
        `After ${deadlineMs} ms\n  ${sql}\nis still\n  ${last}\ninstead of\n  ${expected}\n${await history(pipeline, logs)}`,
      );
    },
    stop: () => pipeline.stop(),
  };
}

export async function queryClickHouse(url: string, sql: string): Promise<string> {
  const response = await fetchClickHouse(url, { method: "POST", body: sql });
  const text = await response.text();
  if (!response.ok) {
    throw new Error(text);
  }
  return text.trim();
}

/** What happened to the payloads, as far as each part knows: for the message of a test that waited in vain. */
async function history(pipeline: Pipeline, logs: readonly string[]): Promise<string> {
  const bucket = await pipeline.workers.getR2Bucket("PAYLOADS", "headrace-consumer");
  const [objects, receipts, status] = await Promise.all([
    bucket.list({ prefix: payloadPrefix }).then(({ objects }) => objects.map(({ key }) => key)),
    queryClickHouse(pipeline.clickhouse, "SELECT key, outcome, spans FROM headrace_receipts").catch(String),
    fetch(`${pipeline.console}/api/status`, { headers: { authorization: `Bearer ${pipeline.adminToken}` } })
      .then((response) => response.text())
      .catch(String),
  ]);
  return [
    `R2 holds ${objects.length} payloads: ${objects.slice(0, 20).join(", ")}`,
    `Receipts:\n${receipts}`,
    `Ledger: ${status}`,
    `Log:\n${logs.slice(-40).join("\n")}`,
  ].join("\n");
}

/** Fresh spans of `services` services, with ids that no other test has. */
export function freshSpans(spans: number, services = 3, resource = {}): ReadableSpan[] {
  const now = Date.now();
  return [
    ...generateSpans({
      spans,
      services,
      seed: 7,
      batchSpans: spans,
      startMs: now - 60_000,
      windowMs: 10_000,
      resource,
      ids: new RandomIdGenerator(),
    }),
  ].flat();
}

export type Encoding = "protobuf" | "json";

/** Exports one request through the real SDK exporter. Resolves when it is answered 200, rejects with what the SDK says. */
export async function exportSpans(
  { otlp, key }: { readonly otlp: string; readonly key: string },
  spans: ReadableSpan[],
  encoding: Encoding = "protobuf",
  compression: "gzip" | "none" = "gzip",
): Promise<void> {
  const Exporter = encoding === "json" ? JsonExporter : ProtobufExporter;
  const settings = { url: `${otlp}/v1/traces`, headers: { "x-api-key": key }, timeoutMillis: 10_000 };
  const exporter = new Exporter({ ...settings, compression } as ConstructorParameters<typeof Exporter>[0]);
  try {
    await new Promise<void>((resolve, reject) => {
      exporter.export(spans, ({ code, error }) =>
        code === 0 ? resolve() : reject(error ?? new Error("the export failed")),
      );
    });
  } finally {
    await exporter.shutdown();
  }
}
