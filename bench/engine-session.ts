/** A real ClickHouse engine of its own for a benchmark, its statements, and its CPU time. */
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
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
  ): Promise<Uint8Array>;
  text(query: string): Promise<string>;
  /** CPU seconds of the server's process, its HTTP side included. */
  cpuSeconds(): number;
  stop(): Promise<void>;
}

/** In memory where Linux offers it: a file system's search for free inodes, after tables were emptied, is not ours to measure. */
const parentFolder = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

/** `within`: where the table is to be on a disk. `isKept`: that folder itself is the server's, and stays. */
export async function startEngineSession(within = parentFolder, isKept = false): Promise<EngineSession> {
  const directory = isKept ? within : mkdtempSync(join(within, "headrace-bench-"));
  const clickhouse = await startClickHouse({ directory });
  const ask: EngineSession["ask"] = async (query, settings = {}, body) => {
    const url = new URL(clickhouse.url);
    url.search = new URLSearchParams({ query, ...settings }).toString();
    const { status, bytes } = await post(url, body?.bytes ?? new Uint8Array(0), body?.encoding);
    if (status !== 200) {
      throw new Error(bytes.toString("utf8"));
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
      if (!isKept) {
        rmSync(directory, { recursive: true, force: true });
      }
    },
  };
}

/** A connection each: on a busy machine a kept one is closed by the server while a large body is on its way. */
async function post(
  url: URL,
  body: Uint8Array,
  encoding: string | undefined,
): Promise<{ readonly status: number; readonly bytes: Buffer }> {
  const headers = {
    "Content-Length": body.length,
    ...(encoding === undefined ? {} : { "Content-Encoding": encoding }),
  };
  const sent = request(url.href, { method: "POST", agent: false, headers });
  sent.end(body);
  const response: IncomingMessage = (await once(sent, "response"))[0];
  const chunks: Buffer[] = [];
  for await (const chunk of response) {
    chunks.push(chunk);
  }
  return { status: response.statusCode ?? 0, bytes: Buffer.concat(chunks) };
}
