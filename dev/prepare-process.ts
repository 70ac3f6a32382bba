/**
 * The process of `prepare-workers.ts`: its argument is the repository's root, and it writes the prepared Workers as JSON to
 * its file descriptor 3 (wrangler may print to the others).
 *
 * wrangler takes a second to load, so what it made of wrangler.toml is kept in dist/ for the next start, together with a
 * hash of everything that it is made of.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync, writeSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import * as v from "valibot";
import { buildPage } from "./build-page.ts";
import { bundleWorker } from "./bundle.ts";
import { type Environment, workerNames } from "./worker-names.ts";

const [root = ""] = process.argv.slice(2);
const keptFile = join(root, "dist", "wrangler-options.json");

const readingSchema = v.object({ options: v.record(v.string(), v.unknown()), main: v.optional(v.string()) });
const keptSchema = v.object({ madeOf: v.string(), readings: v.record(v.string(), readingSchema) });
type Readings = v.InferOutput<typeof keptSchema>["readings"];

/** A hash of what wrangler reads: its configuration, files of variables, its own variables, and itself. */
function madeOf(): string {
  const read = (path: string) => readFileSync(path, "utf8");
  const files = readdirSync(root).filter((name) => /^(wrangler\.toml|\.dev\.vars.*|\.env.*)$/.test(name));
  const parts = [
    root,
    read(createRequire(import.meta.url).resolve("wrangler/package.json")),
    ...files.sort().flatMap((name) => [name, read(join(root, name))]),
    ...Object.entries(process.env)
      .filter(([name]) => /^(CLOUDFLARE|CF|WRANGLER)_/.test(name))
      .map(([name, value]) => `${name}=${value}`)
      .sort(),
  ];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}

function readKept(): Readings | undefined {
  try {
    const kept = v.parse(keptSchema, JSON.parse(readFileSync(keptFile, "utf8")));
    return kept.madeOf === madeOf() ? kept.readings : undefined;
  } catch {
    return undefined; // absent, or of another form
  }
}

async function readWithWrangler(): Promise<Readings> {
  const { unstable_getMiniflareWorkerOptions } = await import("wrangler");
  const readings: Readings = {};
  for (const environment of Object.keys(workerNames)) {
    const { workerOptions, main } = unstable_getMiniflareWorkerOptions(
      join(root, "wrangler.toml"),
      environment,
    );
    const { modulesRules: _rules, rootPath: _rootPath, ...options } = workerOptions; // Miniflare 5 refuses both
    readings[environment] = { options, main };
  }
  // Pipelines that start at the same time read whole files.
  mkdirSync(join(root, "dist"), { recursive: true });
  const beside = join(root, "dist", `.${process.pid}-wrangler-options.json`);
  // It may hold what .dev.vars holds: for the owner alone.
  writeFileSync(beside, JSON.stringify({ madeOf: madeOf(), readings }), { mode: 0o600 });
  renameSync(beside, keptFile);
  return readings;
}

const reading = readKept() ?? readWithWrangler();

async function prepare(environment: Environment) {
  const { options, main } = (await reading)[environment] ?? {};
  const entry = resolve(root, main ?? `workers/${environment}/worker.ts`);
  return { options, code: await bundleWorker(entry) };
}

const [ingress, consumer, console, standIns] = await Promise.all([
  prepare("ingress"),
  prepare("consumer"),
  prepare("console"),
  bundleWorker(join(root, "dev", "stand-ins", "worker.ts")).then((code) => ({ code })),
  buildPage(root),
]);
const text = Buffer.from(JSON.stringify({ ingress, consumer, console, standIns }));
for (let written = 0; written < text.length; ) {
  written += writeSync(3, text, written);
}
process.exit(0);
