/**
 * `npm run bench -- growth`: where the CPU of the code goes, and how it grows with the spans of a payload, the payloads of a
 * group, the spans of a group and the tenants of a group. In Node, ns of CPU a span, each cell the least of interleaved rounds:
 * what other work on the machine adds is never negative.
 */
import { createHash } from "node:crypto";
import * as zlib from "node:zlib";
import { inflate } from "../shared/inflate.ts";
import { limits } from "../shared/limits.ts";
import { inspectTraces } from "../shared/otlp/inspect.ts";
import { BlockBuilder } from "../shared/rows/transcode.ts";
import { compressParts } from "../workers/consumer/compress-block.ts";
import { corpusBounds, makeCorpus } from "./corpus.ts";

const roundsWarm = 2;
const rounds = 7;
/** Spans that a cell works through in a round, at least. */
const spansARound = 20_000;

interface Shape {
  readonly spansAPayload: number;
  readonly payloadsAGroup: number;
  readonly tenants: number;
}

const stageNames = ["inflate", "hash", "walk", "transcode", "compress"] as const;
type StageName = (typeof stageNames)[number];

/** One thing grows at a time; 100 spans a payload, 100 payloads a group, one tenant is where they meet. */
const shapes: readonly Shape[] = [
  ...[1, 20, 100, 512].map((spansAPayload) => ({
    spansAPayload,
    payloadsAGroup: Math.min(limits.groupPayloadsMax, Math.ceil(limits.groupRowsReady / spansAPayload)),
    tenants: 1,
  })),
  ...[1, 10, 500].map((payloadsAGroup) => ({ spansAPayload: 100, payloadsAGroup, tenants: 1 })),
  ...[10, 100].map((tenants) => ({ spansAPayload: 100, payloadsAGroup: 100, tenants })),
];

interface Prepared {
  readonly shape: Shape;
  readonly groups: number;
  readonly gzip: readonly Uint8Array[];
  readonly protobuf: readonly Uint8Array[];
  readonly blocks: readonly Uint8Array[];
}

function blockOf(builder: BlockBuilder, { spansAPayload, tenants }: Shape, bodies: readonly Uint8Array[]) {
  const id = new Uint8Array(16);
  for (const [index, body] of bodies.entries()) {
    new DataView(id.buffer).setUint32(0, index);
    builder.add({
      id,
      tenant: `tenant-${index % tenants}`,
      body,
      bounds: corpusBounds,
      spans: spansAPayload,
    });
  }
  return builder.finish();
}

function prepare(shape: Shape): Prepared {
  const made = makeCorpus(1, Math.min(shape.payloadsAGroup, 100), shape.spansAPayload);
  const protobuf = Array.from(
    { length: shape.payloadsAGroup },
    (_, i) => made[i % made.length]?.protobuf ?? new Uint8Array(0),
  );
  const builder = new BlockBuilder();
  const blocks = [...blockOf(builder, shape, protobuf).chunks].map((chunk) => chunk.slice());
  const groups = Math.max(1, Math.ceil(spansARound / (shape.spansAPayload * shape.payloadsAGroup)));
  return { shape, groups, protobuf, gzip: protobuf.map((body) => zlib.gzipSync(body)), blocks };
}

const builder = new BlockBuilder();
const stages: Readonly<Record<StageName, (prepared: Prepared) => void>> = {
  inflate({ gzip }) {
    for (const body of gzip) {
      inflate(zlib, body, "gzip", limits.inflatedBytesMax);
    }
  },
  hash({ gzip }) {
    for (const body of gzip) {
      createHash("sha256").update(body).digest();
    }
  },
  walk({ protobuf }) {
    for (const body of protobuf) {
      inspectTraces(body, corpusBounds);
    }
  },
  transcode({ shape, protobuf }) {
    blockOf(builder, shape, protobuf);
    builder.clear();
  },
  compress({ blocks }) {
    compressParts(blocks, "zstd");
  },
};

export function benchGrowth(): void {
  const prepared = shapes.map(prepare);
  const least = prepared.map(() => new Map<StageName, number>());
  for (let round = -roundsWarm; round < rounds; round++) {
    for (const [index, one] of prepared.entries()) {
      const spans = one.groups * one.shape.spansAPayload * one.shape.payloadsAGroup;
      for (const stage of stageNames) {
        const before = process.cpuUsage();
        for (let group = 0; group < one.groups; group++) {
          stages[stage](one);
        }
        const { user, system } = process.cpuUsage(before);
        const nanos = ((user + system) * 1000) / spans;
        const costs = least[index];
        if (round >= 0 && nanos < (costs?.get(stage) ?? Number.POSITIVE_INFINITY)) {
          costs?.set(stage, nanos);
        }
      }
    }
  }
  const lines = prepared.map(({ shape }, index) => {
    const costs = stageNames.map((stage) => [stage, Math.round(least[index]?.get(stage) ?? 0)] as const);
    return {
      ...shape,
      ...Object.fromEntries(costs),
      all: costs.reduce((sum, [, nanos]) => sum + nanos, 0),
    };
  });
  console.table(lines);
  console.log(JSON.stringify({ benchmark: "growth", unit: "ns of CPU a span", lines }));
}
