/**
 * What the Workers are made of: wrangler's reading of wrangler.toml, esbuild's bundles, the console's page. wrangler and
 * esbuild hold 200 MB between them, so a process of its own loads them, while ClickHouse starts, and ends.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import * as v from "valibot";
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

/** The bundles have source maps: a few megabytes. */
const outputBytesMax = 64 * 1024 * 1024;

/** Rejects with what wrangler or esbuild says. `root`: the repository's. */
export async function prepareWorkers(root: string, signal: AbortSignal): Promise<PreparedWorkers> {
  const script = join(import.meta.dirname, "prepare-process.ts");
  const { stdout } = await promisify(execFile)(nodeWithTypes(), ["--no-warnings", script, root], {
    maxBuffer: outputBytesMax,
    signal,
    killSignal: "SIGKILL",
  });
  return v.parse(preparedWorkersSchema, JSON.parse(stdout));
}
