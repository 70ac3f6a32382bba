/** A real ClickHouse engine of its own for a benchmark, its statements, and its CPU time. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startClickHouse } from "../dev/clickhouse/start-clickhouse.ts";
import { cpuSecondsOf } from "./process-cost.ts";

export interface EngineSession {
  readonly url: string;
  readonly pid: number;
  /** Runs a statement; throws ClickHouse's exception. Settings go into the URL. */
  ask(
    query: string,
    settings?: Readonly<Record<string, string>>,
    body?: { readonly bytes: Uint8Array; readonly encoding: string | undefined },
  ): Promise<Uint8Array<ArrayBuffer>>;
  text(query: string): Promise<string>;
  /** CPU seconds of the engine's process, its HTTP face included. */
  cpuSeconds(): number;
  stop(): Promise<void>;
}

export async function startEngineSession(): Promise<EngineSession> {
  const directory = mkdtempSync(join(tmpdir(), "headrace-bench-"));
  const clickhouse = await startClickHouse({ directory });
  const ask: EngineSession["ask"] = async (query, settings = {}, body) => {
    const url = new URL(clickhouse.url);
    url.search = new URLSearchParams({ query, ...settings }).toString();
    const response = await fetch(url, {
      method: "POST",
      ...(body === undefined ? {} : { body: new Uint8Array(body.bytes) }),
      headers: body?.encoding === undefined ? {} : { "Content-Encoding": body.encoding },
    });
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (!response.ok || response.headers.has("x-clickhouse-exception-code")) {
      throw new Error(Buffer.from(bytes).toString("utf8"));
    }
    return bytes;
  };
  return {
    url: clickhouse.url,
    pid: clickhouse.pid,
    ask,
    text: async (query) =>
      Buffer.from(await ask(query))
        .toString("utf8")
        .trim(),
    cpuSeconds: () => cpuSecondsOf(clickhouse.pid),
    async stop() {
      await clickhouse.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
