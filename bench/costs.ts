/**
 * `npm run bench -- costs`: what a million spans cost on Cloudflare, from list prices, from how often a payload touches
 * each part, and from CPU times that the other benchmarks measured. Nothing was billed: it is arithmetic, and each line of
 * it can be checked. docs/costs.md holds its output with the assumptions in words.
 */
import { limits } from "../shared/limits.ts";

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
  ledgerMsAPayload: 0.05,
  /** gzip bytes of a span: alone, and in larger payloads. */
  bytesASpan: new Map([
    [1, 900],
    [20, 150],
    [100, 90],
    [512, 74],
  ]),
} as const;

/** Doorbells of one batch, and payloads of one group, under steady traffic. */
const batchPayloads = 100;
/** Write, read and delete. */
const queueOperations = 3;
const monthSeconds = 30 * 24 * 3600;
/** A virtual machine of two vCPUs and 4 GB, on demand: between 25 and 70 dollars at the large providers. */
const machineADollarMonth = 50;

interface Line {
  readonly part: string;
  /** Dollars per payload. */
  readonly cost: number;
}

function linesOf(spans: number): readonly Line[] {
  const ingressMs = measured.ingressMs.get(spans) ?? 0;
  const bytes = (measured.bytesASpan.get(spans) ?? 0) * spans;
  const consumerMs = measured.consumerMsASpan * spans + measured.consumerMsAPayload;
  const days = limits.payloadRetentionMs / 86_400_000;
  return [
    { part: "ingress: request and CPU", cost: prices.workerRequest + ingressMs * prices.workerCpuMs },
    { part: "R2: put", cost: prices.r2ClassA },
    { part: "ring queue", cost: queueOperations * prices.queueOperation },
    // The delayed event is completed by a head, and claimed like a doorbell.
    { part: "R2 events: queue and head", cost: queueOperations * prices.queueOperation + prices.r2ClassB },
    { part: "R2: get", cost: prices.r2ClassB },
    {
      part: "consumer: invocations and CPU",
      cost: (3 * prices.workerRequest) / batchPayloads + consumerMs * prices.workerCpuMs,
    },
    // Two rows per payload (its id, and its deletion when it is forgotten), a few a group.
    {
      part: "ledger: rows, calls and CPU",
      cost:
        (2 + 8 / batchPayloads) * prices.durableRowWritten +
        (5 * prices.durableRequest) / batchPayloads +
        measured.ledgerMsAPayload * prices.workerCpuMs,
    },
    // First walk, second listing, deletion: a list call for a thousand keys each.
    { part: "reconciler: listing", cost: (3 * prices.r2ClassA) / limits.r2ListKeysMax },
    { part: `R2: ${days} days of storage`, cost: (bytes / 1e9) * (days / 30) * prices.r2GbMonth },
  ];
}

export function benchCosts(): void {
  const sizes = [...measured.ingressMs.keys()];
  const lines = new Map(sizes.map((spans) => [spans, linesOf(spans)]));
  const parts = linesOf(1).map(({ part }) => part);
  const table = parts.map((part) => ({
    "dollars a million payloads of": part,
    ...Object.fromEntries(
      sizes.map((spans) => [
        `${spans} spans`,
        ((lines.get(spans) ?? []).find((line) => line.part === part)?.cost ?? 0) * 1e6,
      ]),
    ),
  }));
  console.table(table.map(rounded));
  const results = sizes.map((spans) => {
    const aPayload = (lines.get(spans) ?? []).reduce((sum, { cost }) => sum + cost, 0);
    const aMillionSpans = (aPayload / spans) * 1e6;
    return {
      spansARequest: spans,
      dollarsAMillionPayloads: aPayload * 1e6,
      dollarsAMillionSpans: aMillionSpans,
      // Where the machine costs the same, however busy it is.
      evenWithMachineAtSpansASecond: (machineADollarMonth / aMillionSpans / monthSeconds) * 1e6,
    };
  });
  console.table(results.map(rounded));
  // The ledger is awake as long as anything arrives: 128 MB by the second.
  const awake = 0.128 * monthSeconds * prices.durableGbSecond;
  console.log(
    JSON.stringify({ benchmark: "costs", results: results.map(rounded), ledgerAwakeAMonth: awake }),
  );
}

function rounded(row: Readonly<Record<string, number | string>>): Record<string, number | string> {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [
      name,
      typeof value === "number" ? Number(value.toPrecision(3)) : value,
    ]),
  );
}
