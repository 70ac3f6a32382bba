/**
 * `npm run bench -- growth`: where the CPU of the code goes, and how it grows with the spans of a payload, the payloads of a
 * group, the spans of a group and the tenants of a group. In Node, ns of CPU a span, each shape in a process of its own, each
 * cell the least of rounds in which the shapes take turns: what other work on the machine adds is never negative.
 */
import { gzipSync } from "node:zlib";
import { limits } from "../shared/limits.ts";
import { forkChild } from "./ask-child.ts";
import { makeCorpus } from "./corpus.ts";
import type { ChildRequest } from "./growth-child.ts";
import { type Shape, type StageName, stageNames } from "./growth-shape.ts";

/** Until V8 has compiled what is hot. */
const roundsWarm = 5;
const rounds = 15;
/** Different bodies that a group is made of, at most. */
const bodiesMax = 100;

/** One thing grows at a time; 100 spans per payload, 100 payloads per group, one tenant is where they meet. */
const shapes: readonly Shape[] = [
  ...[1, 20, 100, 512].map((spansAPayload) => ({
    spansAPayload,
    payloadsAGroup: Math.min(limits.groupPayloadsMax, Math.ceil(limits.groupRowsReady / spansAPayload)),
    tenants: 1,
  })),
  ...[1, 10, 500].map((payloadsAGroup) => ({ spansAPayload: 100, payloadsAGroup, tenants: 1 })),
  ...[10, 100].map((tenants) => ({ spansAPayload: 100, payloadsAGroup: 100, tenants })),
];

/** Prints a table and, as the last line, the figures as JSON. */
export async function benchGrowth(): Promise<void> {
  const measured = shapes.map((shape) => ({
    shape,
    child: forkChild<ChildRequest>("growth-child.ts"),
    least: new Map<StageName, number>(),
  }));
  try {
    for (const { shape, child } of measured) {
      const corpus = makeCorpus(1, Math.min(shape.payloadsAGroup, bodiesMax), shape.spansAPayload);
      await child.ask({ load: { shape, gzip: corpus.map(({ protobuf }) => gzipSync(protobuf)) } });
    }
    for (let round = -roundsWarm; round < rounds; round++) {
      for (const { child, least } of measured) {
        for (const stage of stageNames) {
          const nanos = await child.ask({ run: stage });
          if (round >= 0 && nanos < (least.get(stage) ?? Number.POSITIVE_INFINITY)) {
            least.set(stage, nanos);
          }
        }
      }
    }
  } finally {
    for (const { child } of measured) {
      await child.close();
    }
  }
  const lines = measured.map(({ shape, least }) => {
    const costs = stageNames.map((stage) => [stage, Math.round(least.get(stage) ?? 0)] as const);
    return {
      ...shape,
      ...Object.fromEntries(costs),
      all: costs.reduce((sum, [, nanos]) => sum + nanos, 0),
    };
  });
  console.table(lines);
  console.log(JSON.stringify({ benchmark: "growth", unit: "ns of CPU a span", lines }));
}
