/** One shape of a group, the stages that its payloads go through, and what a round of one costs in this process. */
import { createHash } from "node:crypto";
import * as zlib from "node:zlib";
import { inflate } from "../shared/inflate.ts";
import { limits } from "../shared/limits.ts";
import { inspectTraces } from "../shared/otlp/inspect.ts";
import { BlockBuilder } from "../shared/rows/transcode.ts";
import { compressParts } from "../workers/consumer/compress-block.ts";
import { corpusBounds } from "./corpus.ts";

/** Spans that a stage works through in a round, at least. */
const spansARound = 20_000;

export interface Shape {
  readonly spansAPayload: number;
  readonly payloadsAGroup: number;
  readonly tenants: number;
}

export const stageNames = ["inflate", "hash", "walk", "transcode", "compress"] as const;
export type StageName = (typeof stageNames)[number];

/** Runs one stage over a round's groups; ns of CPU a span, of all threads of this process. */
export type RunRound = (stage: StageName) => number;

/** `gzip` holds bodies of `spansAPayload` spans each; a group with more payloads takes them again. */
export function prepareShape(shape: Shape, gzip: readonly Uint8Array[]): RunRound {
  const group = Array.from(
    { length: shape.payloadsAGroup },
    (_, i) => gzip[i % gzip.length] ?? new Uint8Array(0),
  );
  const protobuf = group.map((body) => zlib.gunzipSync(body));
  const builder = new BlockBuilder();
  const fill = () => {
    const id = new Uint8Array(16);
    for (const [index, body] of protobuf.entries()) {
      new DataView(id.buffer).setUint32(0, index);
      builder.add({
        id,
        tenant: `tenant-${index % shape.tenants}`,
        body,
        bounds: corpusBounds,
        spans: shape.spansAPayload,
      });
    }
    return builder.finish();
  };
  const blocks = [...fill().chunks].map((chunk) => chunk.slice());
  builder.clear();

  const stages: Readonly<Record<StageName, () => void>> = {
    inflate() {
      for (const body of group) {
        inflate(zlib, body, "gzip", limits.inflatedBytesMax);
      }
    },
    hash() {
      for (const body of group) {
        createHash("sha256").update(body).digest();
      }
    },
    walk() {
      for (const body of protobuf) {
        inspectTraces(body, corpusBounds);
      }
    },
    transcode() {
      fill();
      builder.clear();
    },
    compress() {
      compressParts(blocks, "zstd");
    },
  };
  const spansAGroup = shape.spansAPayload * shape.payloadsAGroup;
  const groups = Math.max(1, Math.ceil(spansARound / spansAGroup));
  return (stage) => {
    const before = process.cpuUsage();
    for (let i = 0; i < groups; i++) {
      stages[stage]();
    }
    const { user, system } = process.cpuUsage(before);
    return ((user + system) * 1000) / (groups * spansAGroup);
  };
}
