/**
 * `npm run test:clients [NAME …]`: real exporters against a real local pipeline, through a proxy that refuses on
 * purpose. Each client sends in every form that it has, and is then answered 429, 503, and 503 for what the ingress took:
 * its spans must be rows once, whatever it was answered. Builds are cached; a client whose toolchain is missing is skipped.
 */
import {
  devSettings,
  type LocalPipeline,
  startLocalPipeline,
  temporaryFolder,
} from "../e2e/local-pipeline.ts";
import { Skipped } from "./build-client.ts";
import type { Client, ClientMaker, Variant } from "./client.ts";
import { collector } from "./collector.ts";
import { type Fault, type FaultProxy, retryAfterSeconds, startFaultProxy, type Try } from "./fault-proxy.ts";
import { sdks } from "./sdks.ts";

const spans = 300; // below every client's batch of 512: one request
const reportCharsMax = 1500;
const rowsDeadlineMs = 15_000;
/** Clients start their own clock when the answer has come, the proxy when the request has. */
const clockSlackMs = 20;

interface Case {
  readonly name: string;
  readonly faults: readonly Fault[];
}

const plain: Case = { name: "answered 200", faults: [] };
const refusals: readonly Case[] = [
  { name: "503, 503", faults: ["503", "503"] },
  { name: "429, 429", faults: ["429", "429"] },
  { name: "stored, answered 503", faults: ["stored_503"] },
];

interface Outcome {
  readonly run: string;
  /** How many it should leave. */
  readonly rows: number;
  readonly row: Readonly<Record<string, string>>;
  /** What did not hold; empty when all did. */
  readonly failures: readonly string[];
}

async function tryCase(
  client: Client,
  variant: Variant,
  { name, faults }: Case,
  local: LocalPipeline,
  proxy: FaultProxy,
): Promise<Outcome> {
  const run = `${client.name}-${variant.encoding}-${variant.compression}-${name}`
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-");
  proxy.faults.splice(0, Number.POSITIVE_INFINITY, ...faults);
  proxy.take();
  const failures: string[] = [];
  await client
    .send({
      ...variant,
      endpoint: proxy.url,
      key: local.pipeline.key,
      run,
      spans,
      delivered: () => proxy.delivered(),
    })
    .catch((error: unknown) => failures.push(`it reported: ${String(error).slice(-reportCharsMax)}`));
  const tries = proxy.take();
  const met = client.triesAgain === false ? faults.slice(0, 1) : faults;
  const isLost = client.triesAgain === false && (met[0] === "429" || met[0] === "503");
  const rows = isLost ? 0 : spans;
  const counted = `SELECT count(), uniqExact(SpanId) FROM otel_traces WHERE ResourceAttributes['test.run'] = '${run}'`;
  await local
    .eventually(counted, `${rows}\t${rows}`, rowsDeadlineMs)
    .catch((error: unknown) => failures.push(String(error).split("\n").slice(0, 6).join(" ")));
  const answers = met.map((fault) => (fault === "429" ? 429 : 503));
  failures.push(
    ...wrongTries(
      tries,
      variant,
      client.triesAgain === false && met.length > 0 ? answers : [...answers, 200],
    ),
  );
  const row = {
    client: client.name,
    version: client.version,
    encoding: variant.encoding,
    compression: variant.compression,
    case: name,
    tries: tries.map(({ status }) => status).join(" "),
    "waited, s":
      waits(tries)
        .map((ms) => (ms / 1000).toFixed(1))
        .join(" ") || "–",
    payloads: String(new Set(tries.map(({ payload }) => payload)).size),
    result: failures.length > 0 ? "FAILED" : isLost ? "lost: it never tries again" : `${spans} rows, once`,
  };
  return { run, rows, row, failures };
}

function waits(tries: readonly Try[]): number[] {
  return tries.slice(1).map(({ at }, index) => at - (tries[index]?.at ?? at));
}

/** What the tries should have been: those that were so answered, in the form that was asked for, of one payload. */
function wrongTries(tries: readonly Try[], variant: Variant, answers: readonly number[]): string[] {
  const wrong: string[] = [];
  const expected = answers.join(" ");
  const reported = tries.map(({ status }) => status).join(" ");
  if (reported !== expected) {
    wrong.push(`it was answered ${reported} instead of ${expected}`);
  }
  if (new Set(tries.map(({ payload }) => payload)).size > 1) {
    wrong.push("its retries are other payloads: their bytes differ");
  }
  const early = waits(tries).filter((ms) => ms < retryAfterSeconds * 1000 - clockSlackMs);
  if (early.length > 0) {
    wrong.push(`it retried after ${early.join(", ")} ms, before Retry-After: ${retryAfterSeconds}`);
  }
  for (const { type, encoding } of tries) {
    const [body, coding] = [variant.encoding === "json" ? "json" : "pb", encodingName(variant)];
    if (type !== body || encoding !== coding) {
      wrong.push(`it sent ${type} with Content-Encoding ${encoding} instead of ${body} with ${coding}`);
    }
  }
  return wrong;
}

function encodingName({ compression }: Variant): string {
  return compression === "none" ? "identity" : compression;
}

/** Every case of one client; an empty list when it is skipped. */
async function runClient(maker: ClientMaker, local: LocalPipeline, proxy: FaultProxy): Promise<Outcome[]> {
  let client: Client;
  try {
    client = await maker.prepare();
  } catch (error) {
    if (error instanceof Skipped) {
      console.log(`${maker.name} is skipped: ${error.message}.`);
      return [];
    }
    const failure = `it could not be built: ${error instanceof Error ? error.message : String(error)}`;
    console.log(`${maker.name}: ${failure}`);
    return [{ run: "", rows: 0, row: { client: maker.name, result: "FAILED" }, failures: [failure] }];
  }
  const cases: (readonly [Variant, Case])[] = [
    ...client.variants.map((variant) => [variant, plain] as const),
    ...refusals.map((refusal) => [client.variants[0], refusal] as const),
  ];
  const outcomes: Outcome[] = [];
  for (const [variant, kind] of cases) {
    const outcome = await tryCase(client, variant, kind, local, proxy);
    outcomes.push(outcome);
    console.log(`${outcome.failures.length === 0 ? "✓" : "✗"} ${outcome.run}`);
    for (const failure of outcome.failures) {
      console.log(`    ${failure}`);
    }
  }
  return outcomes;
}

/** Nothing may have come later: looked at again when all are done. */
async function stillOnce(outcomes: readonly Outcome[], local: LocalPipeline): Promise<string[]> {
  const good = outcomes.filter(({ run, failures }) => run !== "" && failures.length === 0);
  const counts = await local.query(
    "SELECT ResourceAttributes['test.run'] AS run, count() FROM otel_traces GROUP BY run FORMAT TSV",
  );
  const byRun = new Map(counts.split("\n").map((line) => line.split("\t") as [string, string]));
  return good
    .filter(({ run, rows }) => (byRun.get(run) ?? "0") !== String(rows))
    .map(({ run }) => `${run}: ${byRun.get(run)} rows at the end`);
}

function printTable(rows: readonly Readonly<Record<string, string>>[]): void {
  const columns = [
    "client",
    "version",
    "encoding",
    "compression",
    "case",
    "tries",
    "waited, s",
    "payloads",
    "result",
  ];
  const table = [
    columns,
    columns.map(() => "---"),
    ...rows.map((row) => columns.map((name) => row[name] ?? "")),
  ];
  const widths = columns.map((_, at) => Math.max(...table.map((cells) => cells[at]?.length ?? 0)));
  for (const cells of table) {
    const padded = cells.map((cell, at) =>
      cell === "---" ? "-".repeat(widths[at] ?? 3) : cell.padEnd(widths[at] ?? 0),
    );
    console.log(`| ${padded.join(" | ")} |`);
  }
}

const named = process.argv.slice(2).map((name) => name.toLowerCase());
const makers = [...sdks, collector].filter(
  ({ name }) => named.length === 0 || named.includes(name.toLowerCase()),
);
const folder = temporaryFolder();
const local = await startLocalPipeline(devSettings(folder.path));
const proxy = await startFaultProxy(local.pipeline.otlp, "dev");
let failed: string[] = [];
try {
  const outcomes: Outcome[] = [];
  for (const maker of makers) {
    outcomes.push(...(await runClient(maker, local, proxy)));
  }
  await new Promise((resolve) => setTimeout(resolve, 3000));
  const late = await stillOnce(outcomes, local);
  console.log("");
  printTable(outcomes.map(({ row }) => row));
  failed = [...outcomes.flatMap(({ failures }) => failures), ...late];
  console.log(
    `\n${outcomes.length} cases, ${failed.length} failures${late.map((line) => `\n${line}`).join("")}`,
  );
} finally {
  await proxy.stop();
  await local.stop();
  folder.remove();
}
process.exit(failed.length === 0 ? 0 : 1);
