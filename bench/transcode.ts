/**
 * `npm run bench -- transcode`: how fast a gzip body becomes rows, on one core, in Node and inside workerd. All stages
 * take turns in one go, so that a machine which slows down slows all of them: CPU time, medians of the rounds.
 *
 * - ours: gunzip, transcode to a Native block (sorted maps, every bound checked), one block of all payloads
 * - alone: the same, a block a payload
 * - check: gunzip and the ingress's inspection (framing, UTF-8, span count, output bound)
 * - hash: check, and the payload's id (SHA-256 of the body as received)
 * - bound: gunzip, the structural walk, and a copy of the output's bytes: what no transcoder can be faster than
 * - usual: gunzip, protobufjs, row objects, JSON lines
 */
import { gzipSync } from "node:zlib";
import { corpusBounds, makeCorpus } from "./corpus.ts";
import { heapBytesASpan } from "./heap-bytes.ts";
import { median } from "./median.ts";
import { nodeRuntime, type Runtime, workerdRuntime } from "./runtimes.ts";
import { type Bodies, outputBytesASpan, type StageName, stageNames } from "./transcode-stages.ts";

const rounds = 7;
/** CPU seconds that a stage runs in a round, about: workerd's are counted in hundredths. */
const roundSeconds = 0.3;
/** Passes before the first measurement: until V8 has compiled what is hot, and then some. */
const warmSeconds = 0.7;
/** Spans per payload, and payloads. 20 payloads of 512 spans are the group that does not wait any longer. */
const sizes = [
  [1, 500],
  [100, 50],
  [512, 20],
  [8192, 1],
] as const;

type Rates = Readonly<Record<StageName, number>>;

/** Nanoseconds of CPU a span, by stage. */
async function measure(runtime: Runtime, bodies: Bodies): Promise<Rates> {
  await runtime.load(bodies);
  const spansAPass = bodies.spansEach * bodies.gzips.length;
  const nanos = new Map<StageName, number[]>(stageNames.map((stage) => [stage, []]));
  const passes = new Map<StageName, number>();
  for (const stage of stageNames) {
    let seconds = 0;
    let warm = 1;
    for (; seconds < warmSeconds; warm *= 2) {
      seconds = await runtime.run(stage, warm);
    }
    passes.set(stage, Math.max(1, Math.round((roundSeconds / seconds) * (warm / 2))));
  }
  for (let round = 0; round < rounds; round++) {
    for (const stage of stageNames) {
      const count = passes.get(stage) ?? 1;
      nanos.get(stage)?.push(((await runtime.run(stage, count)) * 1e9) / (count * spansAPass));
    }
  }
  const of = (stage: StageName): number => median(nanos.get(stage) ?? []);
  return {
    ours: of("ours"),
    alone: of("alone"),
    check: of("check"),
    hash: of("hash"),
    bound: of("bound"),
    usual: of("usual"),
  };
}

const header = [
  "spans per payload",
  "payloads",
  "ours",
  "alone",
  "check",
  "hash",
  "bound",
  "usual",
  "ours k spans/s",
  "usual/ours",
  "bound/ours",
];

function row(bodies: Bodies, rates: Rates): string[] {
  const nanos = stageNames.map((stage) => rates[stage].toFixed(0));
  return [
    String(bodies.spansEach),
    String(bodies.gzips.length),
    ...nanos,
    (1e6 / rates.ours).toFixed(0),
    (rates.usual / rates.ours).toFixed(1),
    (rates.bound / rates.ours).toFixed(2),
  ];
}

function printRow(cells: readonly string[]): void {
  console.log(cells.map((cell, i) => cell.padStart(header[i]?.length ?? 0)).join(" | "));
}

/** Runs the benchmark and prints tables and, as the last line, the figures as JSON. */
export async function benchTranscode(): Promise<void> {
  const all: Bodies[] = sizes.map(([spansEach, count]) => ({
    spansEach,
    gzips: makeCorpus(1, count, spansEach).map(({ protobuf }) => gzipSync(protobuf)),
    bounds: corpusBounds,
  }));
  const heap = await heapBytesASpan(512);
  console.log(`JavaScript heap at 512 spans per payload: ${heap.toFixed(0)} bytes per span`);
  console.log(
    `Rows: ${all.map((b) => `${outputBytesASpan(b).toFixed(0)} at ${b.spansEach}`).join(", ")} bytes per span`,
  );
  const results: Record<string, Record<string, Rates>> = {};
  const workerd = await workerdRuntime();
  if (workerd === undefined) {
    console.log("workerd is left out: its CPU time is read from Linux's /proc.");
  }
  for (const runtime of [nodeRuntime(), ...(workerd === undefined ? [] : [workerd])]) {
    try {
      console.log(`\n${runtime.name}: ns of CPU a span, medians of ${rounds} interleaved rounds`);
      printRow(header);
      const rates: Record<string, Rates> = {};
      for (const bodies of all) {
        const measured = await measure(runtime, bodies);
        rates[bodies.spansEach] = measured;
        printRow(row(bodies, measured));
      }
      results[runtime.name] = rates;
    } finally {
      await runtime.close();
    }
  }
  const ratios = Object.fromEntries(
    Object.entries(results).map(([name, rates]) => {
      const at512 = rates[512];
      return [
        name,
        at512 === undefined
          ? {}
          : {
              spansASecond: Math.round(1e9 / at512.ours),
              timesTheUsualBuild: at512.usual / at512.ours,
              ofTheBound: at512.bound / at512.ours,
              ingressNanosASpan: at512.hash,
            },
      ];
    }),
  );
  console.log(JSON.stringify({ unit: "ns of CPU a span", heapBytesASpan: heap, at512: ratios, results }));
}
