/**
 * `npm run bench -- against FOLDER`: the codec of this checkout beside that of another one, in one process and in turns, so that
 * what else the machine does meets both. CPU time; the median of the pairs' ratios says whether something became dearer, the
 * least of each says what it costs. FOLDER is made by `git worktree add FOLDER COMMIT && ln -s "$PWD/node_modules" FOLDER/`.
 */
import { join, resolve } from "node:path";
import * as zlib from "node:zlib";
import { limits } from "../shared/limits.ts";
import { type CorpusPayload, corpusBounds, makeCorpus } from "./corpus.ts";
import { median } from "./median.ts";

const rounds = 21;
const roundsWarm = 4;
const dearerMax = 1.03;

type Codec = Pick<typeof import("../shared/inflate.ts"), "inflate"> &
  Pick<typeof import("../shared/otlp/inspect.ts"), "inspectTraces"> &
  Pick<typeof import("../shared/otlp/json.ts"), "jsonToProtobuf"> &
  Pick<typeof import("../shared/rows/transcode.ts"), "BlockBuilder">;

async function codecOf(folder: string): Promise<Codec> {
  const files = ["inflate", "otlp/inspect", "otlp/json", "rows/transcode"];
  const modules = await Promise.all(
    files.map(async (file): Promise<object> => await import(join(folder, `shared/${file}.ts`))),
  );
  return Object.assign({}, ...modules);
}

interface Bodies {
  readonly payloads: readonly CorpusPayload[];
  readonly gzip: readonly Uint8Array[];
  readonly gzipJson: readonly Uint8Array[];
}

/** What the ingress and the consumer do with each payload; each returns the spans. */
const stages: Readonly<Record<string, (codec: Codec, bodies: Bodies) => void>> = {
  "check, protobuf": ({ inflate, inspectTraces }, { gzip }) => {
    for (const body of gzip) {
      inspectTraces(inflate(zlib, body, "gzip", limits.inflatedBytesMax), corpusBounds);
    }
  },
  "check, JSON": ({ inflate, inspectTraces, jsonToProtobuf }, { gzipJson }) => {
    for (const body of gzipJson) {
      inspectTraces(jsonToProtobuf(inflate(zlib, body, "gzip", limits.inflatedBytesMax)), corpusBounds);
    }
  },
  rows: ({ BlockBuilder }, { payloads }) => {
    const builder = new BlockBuilder();
    for (const { protobuf, spans } of payloads) {
      const id = new Uint8Array(16).fill(7);
      builder.add({ id, tenant: "bench", body: protobuf, bounds: corpusBounds, spans });
    }
    builder.finish();
  },
};

function cpuMs(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

export async function benchAgainst(folder = ""): Promise<void> {
  if (folder === "") {
    throw new Error("Say which checkout: npm run bench -- against FOLDER.");
  }
  const before = await codecOf(resolve(folder));
  const after = await codecOf(join(import.meta.dirname, ".."));
  console.log("ns of CPU per span, least of each; the ratio is the median of the pairs'");
  for (const [spansEach, count] of [
    [1, 500],
    [100, 50],
    [512, 20],
    [8192, 1],
  ] as const) {
    const payloads = makeCorpus(1, count, spansEach);
    const gzip = payloads.map(({ protobuf }) => zlib.gzipSync(protobuf));
    const gzipJson = payloads.map(({ json }) => zlib.gzipSync(json));
    const bodies = { payloads, gzip, gzipJson };
    for (const [name, stage] of Object.entries(stages)) {
      const pairs: (readonly [before: number, after: number])[] = [];
      for (let round = -roundsWarm; round < rounds; round++) {
        const first = cpuMs(() => stage(round % 2 === 0 ? before : after, bodies));
        const second = cpuMs(() => stage(round % 2 === 0 ? after : before, bodies));
        if (round >= 0) {
          pairs.push(round % 2 === 0 ? [first, second] : [second, first]);
        }
      }
      const ratio = median(pairs.map(([a, b]) => b / a));
      const least = ([0, 1] as const).map((side) =>
        ((1e6 * Math.min(...pairs.map((pair) => pair[side]))) / (count * spansEach)).toFixed(0),
      );
      const mark = ratio > dearerMax ? "  DEARER" : "";
      console.log(
        `${String(spansEach).padStart(5)} spans × ${String(count).padEnd(4)} ${name.padEnd(16)} before ${least[0]?.padStart(6)}, after ${least[1]?.padStart(6)}, ratio ${ratio.toFixed(3)}${mark}`,
      );
    }
  }
}
