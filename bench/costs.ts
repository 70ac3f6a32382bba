/**
 * `npm run bench -- costs`: what a million requests and spans cost on Cloudflare: list prices, times how often a payload
 * touches each part, and CPU times that the other benchmarks measured. How often is counted in a run, by the rate at which
 * requests come (bench/costs/worker.ts): rows that SQLite wrote, calls and alarms of the ledger, messages, operations of R2.
 * Nothing was billed. docs/costs.md holds its output with the assumptions in words.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { bundleWorker } from "../dev/bundle.ts";
import { limits } from "../shared/limits.ts";
import { countInstances } from "./costs/instances.ts";
import type { Counted } from "./costs/worker.ts";

/** List prices in US dollars, November 2026, without free allowances (developers.cloudflare.com, pages "pricing"). */
const prices = {
  workerRequest: 0.3e-6,
  workerCpuMs: 0.02e-6,
  r2ClassA: 4.5e-6,
  r2ClassB: 0.36e-6,
  r2GbMonth: 0.015,
  queueOperation: 0.4e-6,
  durableRequest: 0.15e-6,
  durableRowWritten: 1e-6,
  durableGbSecond: 12.5e-6,
  kvRead: 0.5e-6,
  kvList: 5e-6,
} as const;

/** Measured on this project's machine (bench/README.md), in ms of CPU. */
const measured = {
  ingressMs: new Map([
    [1, 0.218],
    [20, 0.189],
    [100, 0.356],
    [512, 0.764],
  ]),
  /** Inflate, transcode and compress. */
  consumerMsASpan: 0.0021,
  /** Beside its spans: R2's answer, inflating what is small, the receipt. */
  consumerMsAPayload: 0.02,
  /** gzip bytes of a span: alone, and in larger payloads. */
  bytesASpan: new Map([
    [1, 900],
    [20, 150],
    [100, 90],
    [512, 74],
  ]),
} as const;

/** Requests per second, and how many of them are run. */
const runs = [
  { rate: 0.01, payloads: 200 },
  { rate: 0.1, payloads: 500 },
  { rate: 1, payloads: 2000 },
  { rate: 5, payloads: 5000 },
  { rate: 20, payloads: 10_000 },
  { rate: 200, payloads: 30_000 },
] as const;
const usualSpans = 100;
/** Write, read and delete. */
const queueOperations = 3;
/** Wall time of a call of the ledger, for which its 128 MB are billed. Assumed; between two calls it hibernates. */
const ledgerCallMs = 10;
const monthSeconds = 30 * 24 * 3600;
/** A virtual machine of two vCPUs and 4 GB, on demand: between 25 and 70 dollars at the large providers. */
const machineADollarMonth = 50;

/** By the isolates that share the highest rate, and the keys that requests come with. */
const instancesAndKeys = [
  { instances: 4, keys: 3, isLimited: false },
  { instances: 50, keys: 20, isLimited: false },
  { instances: 50, keys: 5000, isLimited: false },
  { instances: 4, keys: 3, isLimited: true },
  { instances: 50, keys: 20, isLimited: true },
  { instances: 50, keys: 5000, isLimited: true },
] as const;

interface Line {
  readonly part: string;
  /** Dollars per payload. */
  readonly cost: number;
}

interface Run {
  readonly rate: number;
  /** May payloads share an object (unless `COLLECT=off`)? */
  readonly collects: boolean;
  readonly counted: Counted;
  /** What the ledger's part of the cron writes and asks, whatever comes. */
  readonly aMinute: Readonly<Record<string, number>>;
}

function rowsOf({ rows }: Counted): number {
  return Object.values(rows).reduce((sum, count) => sum + count, 0);
}

function linesOf(spans: number, counted: Counted): readonly Line[] {
  const ingressMs = measured.ingressMs.get(spans) ?? 0;
  const bytes = (measured.bytesASpan.get(spans) ?? 0) * spans;
  const consumerMs = measured.consumerMsASpan * spans + measured.consumerMsAPayload;
  const days = limits.payloadRetentionMs / 86_400_000;
  const { payloads, messages, r2, collector } = counted;
  const each = (count: number): number => count / payloads;
  const queue = (count: number): number => each(count) * queueOperations * prices.queueOperation;
  const awake = (ledgerCallMs / 1000) * 0.128 * prices.durableGbSecond;
  return [
    { part: "ingress: request and CPU", cost: prices.workerRequest + ingressMs * prices.workerCpuMs },
    {
      part: "collector: calls, and awake for them",
      cost:
        each(collector.calls) * prices.durableRequest +
        each(collector.awakeMs / 1000) * 0.128 * prices.durableGbSecond,
    },
    { part: "R2: puts", cost: each(r2.puts) * prices.r2ClassA },
    { part: "ring queue", cost: queue(messages.ring) },
    { part: "R2 events: queue and heads", cost: queue(messages.late) + each(r2.heads) * prices.r2ClassB },
    { part: "R2: gets", cost: each(r2.gets) * prices.r2ClassB },
    { part: "ledger: rows", cost: each(rowsOf(counted)) * prices.durableRowWritten },
    {
      part: "ledger: calls, and awake for them",
      cost: each(counted.ledgerCalls) * (prices.durableRequest + awake),
    },
    { part: "group queue", cost: queue(messages.group) },
    {
      part: "consumer: invocations and CPU",
      cost: each(counted.invocations) * prices.workerRequest + consumerMs * prices.workerCpuMs,
    },
    // First walk, second listing, deletion: a list call for a thousand keys each.
    { part: "reconciler: listing", cost: (3 * prices.r2ClassA) / limits.r2ListKeysMax },
    { part: `R2: ${days} days of storage`, cost: (bytes / 1e9) * (days / 30) * prices.r2GbMonth },
  ];
}

function sumOf(lines: readonly Line[]): number {
  return lines.reduce((sum, { cost }) => sum + cost, 0);
}

export async function benchCosts(): Promise<void> {
  const counted = await count();
  const table = (columns: readonly { readonly name: string; readonly lines: readonly Line[] }[]) =>
    console.table(
      (columns[0]?.lines ?? []).map(({ part }, i) => ({
        "dollars a million payloads of": part,
        ...Object.fromEntries(
          columns.map(({ name, lines }) => [name, Number(((lines[i]?.cost ?? 0) * 1e6).toPrecision(3))]),
        ),
      })),
    );
  const alone = counted.filter(({ collects }) => !collects);
  for (const some of [alone, counted.filter(({ collects }) => collects)]) {
    table(
      some.map(({ rate, collects, counted: run }) => ({
        name: `${rate} a second${collects ? ", collected" : ""}`,
        lines: linesOf(usualSpans, run),
      })),
    );
  }
  const byRate = counted.map(({ rate, collects, counted: run }) => {
    const aPayload = sumOf(linesOf(usualSpans, run));
    return {
      requestsASecond: rate,
      collect: collects ? "on" : "off",
      payloadsAnObject: run.payloads / run.r2.puts,
      payloadsAGroup: run.payloads / run.groups,
      rowsAPayload: rowsOf(run) / run.payloads,
      rowsAGroup: rowsOf(run) / run.groups,
      dollarsAMillionPayloads: aPayload * 1e6,
      dollarsAMonth: aPayload * rate * monthSeconds,
      storedAfterP50Ms: run.latencyMs.p50,
      storedAfterP99Ms: run.latencyMs.p99,
    };
  });
  console.table(byRate.map(rounded));
  const [slow, busy] = [alone.find(({ rate }) => rate === 1), alone.at(-1)];
  const bySize = [...measured.ingressMs.keys()].map((spans) => {
    const dollars = (run: Run | undefined): number =>
      run === undefined ? 0 : (sumOf(linesOf(spans, run.counted)) / spans) * 1e6;
    return {
      spansARequest: spans,
      dollarsAMillionSpansAt1: dollars(slow),
      dollarsAMillionSpansAt200: dollars(busy),
      // Where the machine costs the same, however busy it is: by the price of a busy sender, and by that of a slow one.
      evenAtSpansASecond: (machineADollarMonth / dollars(busy) / monthSeconds) * 1e6,
      evenAtSpansASecondOfSlowOnes: (machineADollarMonth / dollars(slow) / monthSeconds) * 1e6,
    };
  });
  console.table(bySize.map(rounded));
  const collected = counted.filter(({ collects }) => collects).at(-1);
  const byInstances = collected === undefined ? [] : await costsByInstances(collected);
  console.table(byInstances.map(rounded));
  const aMinute = counted[0]?.aMinute ?? {};
  const minutes = monthSeconds / 60;
  const cronAMonth =
    minutes *
    ((aMinute["rows"] ?? 0) * prices.durableRowWritten +
      (aMinute["ledgerCalls"] ?? 0) * prices.durableRequest +
      (aMinute["r2Puts"] ?? 0) * prices.r2ClassA +
      (aMinute["r2Gets"] ?? 0) * prices.r2ClassB);
  console.log(
    JSON.stringify({
      benchmark: "costs",
      byRate: byRate.map(rounded),
      bySize: bySize.map(rounded),
      byInstances: byInstances.map(rounded),
      cronAMonth,
      counted,
    }),
  );
}

/** What comes to a run's cost with the isolates that share it: their look-ups of keys, and their reports of outcomes. */
async function costsByInstances({ rate, counted }: Run): Promise<Record<string, number>[]> {
  const aPayload = sumOf(linesOf(usualSpans, counted));
  const rows: Record<string, number>[] = [];
  for (const { instances, keys, isLimited } of instancesAndKeys) {
    const counts = await countInstances({ rate, instances, keys, isLimited });
    const { requests, lookUps, lists, reports, meterCalls, meterRows } = counts;
    const keysCost = (lookUps * prices.kvRead + lists * prices.kvList) / requests;
    const reportsCost = (reports * queueOperations * prices.queueOperation) / requests;
    const awake = (ledgerCallMs / 1000) * 0.128 * prices.durableGbSecond;
    const limitsCost =
      (meterCalls * (prices.durableRequest + awake) + meterRows * prices.durableRowWritten) / requests;
    rows.push({
      requestsASecond: rate,
      instances,
      keys,
      limitedKeys: isLimited ? keys : 0,
      dollarsAMillionOfLimits: limitsCost * 1e6,
      meterCallsARequest: meterCalls / requests,
      meterRowsARequest: meterRows / requests,
      dollarsAMillionOfKeys: keysCost * 1e6,
      dollarsAMillionOfReports: reportsCost * 1e6,
      dollarsAMillionPayloads: (aPayload + keysCost + reportsCost + limitsCost) * 1e6,
    });
  }
  return rows;
}

/** The run at each rate, in workerd with its SQLite on disk. */
async function count(): Promise<readonly Run[]> {
  const folder = mkdtempSync(join(tmpdir(), "headrace-costs-"));
  process.env["CLOUDFLARE_CF_FETCH_ENABLED"] = "false";
  const contents = await bundleWorker(join(import.meta.dirname, "costs/worker.ts"));
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      resourcePersistencePath: folder,
      workers: [
        {
          name: "costs",
          modules: [{ type: "ESModule", path: "costs.js", contents }],
          compatibilityDate: "2026-11-02",
          compatibilityFlags: ["nodejs_compat"],
          durableObjects: { LEDGER: { className: "CostsLedger", useSQLite: true } },
        },
      ],
    }),
  );
  try {
    const url = await miniflare.ready;
    const counted: Run[] = [];
    for (const collects of [false, true]) {
      for (const { rate, payloads } of runs) {
        const query = `rate=${rate}&payloads=${payloads}&collect=${collects ? "on" : "off"}`;
        const response = await fetch(new URL(`/?${query}`, url));
        if (!response.ok) {
          throw new Error(await response.text());
        }
        const run = (await response.json()) as Omit<Run, "rate" | "collects">;
        counted.push({ rate, collects, ...run });
      }
    }
    return counted;
  } finally {
    await miniflare.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
}

function rounded(row: Readonly<Record<string, number | string>>): Record<string, number | string> {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [
      name,
      typeof value === "number" ? Number(value.toPrecision(3)) : value,
    ]),
  );
}
