/**
 * `npm run bench -- transcode`: how fast a gzip body becomes rows, on one core in Node. Four stages run interleaved in
 * one go, so that a machine which slows down slows all of them; CPU time of this process, medians of the rounds.
 *
 * - ours: gunzip, transcode to one Native block (sorted maps, every bound checked), take the chunks
 * - check: gunzip and the ingress's inspection (framing, UTF-8, span count, output bound)
 * - bound: check and a copy of the output's bytes: what no transcoder can be much faster than
 * - usual: gunzip, protobufjs, row objects, JSON lines
 */
import { gunzipSync, gzipSync } from "node:zlib";
import { limits } from "../shared/limits.ts";
import { inspectTraces } from "../shared/otlp/inspect.ts";
import { BlockBuilder } from "../shared/rows/transcode.ts";
import { corpusBounds, makeCorpus } from "./corpus.ts";
import { usualBuild } from "./usual-build.ts";

const rounds = 7;
/** Spans that each stage handles a round, about: long enough for the clock, short enough for the patience. */
const spansARound = 20_000;
const id = new Uint8Array(16).fill(7);

interface Body {
  readonly spans: number;
  readonly gzip: Uint8Array;
}

const inflated = ({ gzip }: Body): Uint8Array =>
  gunzipSync(gzip, { maxOutputLength: limits.inflatedBytesMax });

/** One group: all bodies become one block, as in the consumer. */
function transcode(bodies: readonly Body[]): number {
  const builder = new BlockBuilder();
  for (const body of bodies) {
    builder.add({ id, tenant: "bench", body: inflated(body), bounds: corpusBounds, spans: body.spans });
  }
  let bytes = 0;
  for (const chunk of builder.finish().chunks) {
    bytes += chunk.length;
  }
  return bytes;
}

function check(bodies: readonly Body[]): number {
  return bodies.reduce((sum, body) => sum + inspectTraces(inflated(body), corpusBounds).spans, 0);
}

const outputs = new Map<readonly Body[], Uint8Array>();

const stages: Readonly<Record<"ours" | "check" | "bound" | "usual", (bodies: readonly Body[]) => number>> = {
  ours: transcode,
  check,
  bound: (bodies) => check(bodies) + (outputs.get(bodies)?.slice().length ?? 0),
  usual: (bodies) => bodies.reduce((sum, body) => sum + usualBuild(inflated(body)).length, 0),
};
type Stage = keyof typeof stages;
const names = ["ours", "check", "bound", "usual"] as const satisfies readonly Stage[];

/** CPU seconds of this process that a stage takes for one round over the bodies. */
function roundSeconds(stage: Stage, bodies: readonly Body[], repeats: number): number {
  const before = process.cpuUsage();
  for (let i = 0; i < repeats; i++) {
    stages[stage](bodies);
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}

/** Runs the benchmark and prints a table and, as the last line, the figures as JSON. */
export function benchTranscode(): void {
  console.log(
    `Node ${process.version}, ${process.arch}; CPU seconds of one process, medians of ${rounds} interleaved rounds`,
  );
  console.log("spans a payload | ours k spans/s | check | bound | usual | ours/usual | ours/bound");
  const results: Record<string, Record<string, number>> = {};
  for (const [spans, count] of [
    [1, 500],
    [100, 20],
    [512, 8],
    [8192, 2],
  ] as const) {
    const bodies = makeCorpus(1, count, spans).map(({ protobuf }) => ({ spans, gzip: gzipSync(protobuf) }));
    outputs.set(bodies, new Uint8Array(transcode(bodies)));
    const spansAPass = spans * count;
    const repeats = Math.max(1, Math.round(spansARound / spansAPass));
    const seconds: Record<Stage, number[]> = { ours: [], check: [], bound: [], usual: [] };
    for (const stage of names) {
      roundSeconds(stage, bodies, repeats); // warm
    }
    for (let round = 0; round < rounds; round++) {
      for (const stage of names) {
        seconds[stage].push(roundSeconds(stage, bodies, repeats));
      }
    }
    const rate = (stage: Stage) => (spansAPass * repeats) / median(seconds[stage]) / 1000;
    const [ours, check, bound, usual] = [rate("ours"), rate("check"), rate("bound"), rate("usual")];
    console.log(
      `${String(spans).padStart(15)} | ${ours.toFixed(0).padStart(14)} | ${check.toFixed(0)} | ${bound.toFixed(0)} | ${usual.toFixed(0)} | ${(ours / usual).toFixed(1)} | ${(ours / bound).toFixed(2)}`,
    );
    results[spans] = { ours, check, bound, usual, oursToUsual: ours / usual, oursToBound: ours / bound };
  }
  console.log(JSON.stringify({ unit: "thousand spans a CPU second", results }));
}
