/**
 * What the Workers are made of: wrangler's reading of wrangler.toml, esbuild's bundles, the console's page. wrangler and
 * esbuild hold 200 MB between them, so a process of its own loads them, while ClickHouse starts, and ends.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import * as v from "valibot";
import { assert } from "../shared/assert.ts";
import { nodeWithTypes } from "./node-with-types.ts";

/** A binding to something that has an id. */
const bindingsById = v.optional(v.record(v.string(), v.looseObject({ id: v.string() })), {});

/** What wrangler makes of one environment of wrangler.toml, as far as it is changed here, and its code. */
const preparedWorkerSchema = v.object({
  options: v.looseObject({
    bindings: v.optional(v.record(v.string(), v.string()), {}),
    queueProducers: v.optional(v.record(v.string(), v.looseObject({ queueName: v.string() })), {}),
    kvNamespaces: bindingsById,
    r2Buckets: bindingsById,
  }),
  code: v.string(),
});
const preparedWorkersSchema = v.object({
  ingress: preparedWorkerSchema,
  consumer: preparedWorkerSchema,
  console: preparedWorkerSchema,
  standIns: v.object({ code: v.string() }),
});

export type PreparedWorker = v.InferOutput<typeof preparedWorkerSchema>;
export type PreparedWorkers = v.InferOutput<typeof preparedWorkersSchema>;

/** Rejects with what wrangler or esbuild says. `root`: the repository's. */
export async function prepareWorkers(root: string, signal: AbortSignal): Promise<PreparedWorkers> {
  const script = join(import.meta.dirname, "prepare-process.ts");
  const child = spawn(nodeWithTypes(), ["--no-warnings", script, root], {
    stdio: ["ignore", "ignore", "pipe", "pipe"],
    signal,
    killSignal: "SIGKILL",
  });
  const [, , errors, output] = child.stdio;
  assert(errors !== null && output instanceof Readable, "both are pipes");
  const [[code, killedBy], said, prepared] = await Promise.all([
    once(child, "exit"),
    text(errors),
    text(output),
  ]);
  if (code !== 0) {
    throw new Error(`The Workers could not be bundled (${killedBy ?? `code ${code}`}):\n${said}`);
  }
  return v.parse(preparedWorkersSchema, JSON.parse(prepared));
}
