/**
 * What `npm run bench -- transcode` measures, as functions that run in Node and in workerd alike: `transcode.ts` calls
 * them in its own process, `transcode-worker.ts` inside workerd.
 */
import * as zlib from "node:zlib";
import { inflate } from "../shared/inflate.ts";
import { limits } from "../shared/limits.ts";
import { inspectTraces } from "../shared/otlp/inspect.ts";
import { type TraceVisitor, TraceWalk } from "../shared/otlp/trace-walk.ts";
import { payloadId } from "../shared/payload-key.ts";
import { BlockBuilder } from "../shared/rows/transcode.ts";
import { usualBuild } from "./usual-build.ts";

/** Bodies of one size, gzipped, with the spans that each holds. */
export interface Bodies {
  readonly spansEach: number;
  readonly gzips: readonly Uint8Array[];
  /** Bounds that accept all of them. */
  readonly bounds: { readonly startMinMs: number; readonly startMaxMs: number };
}

export const stageNames = ["ours", "alone", "check", "hash", "bound", "usual"] as const;
export type StageName = (typeof stageNames)[number];

/** Goes once over all bodies. */
export type Stage = () => void | Promise<void>;

const id = new Uint8Array(16).fill(7);

/** A visitor that looks at nothing: what is left is the walk. */
const passer: TraceVisitor = {
  restart() {},
  enterResource() {},
  enterScope() {},
  span() {},
  rejected() {},
  leaveScope() {},
  leaveResource() {},
};

/** The stages over these bodies. What they need beforehand is made here, so that none of them pays for it. */
export function makeStages({ spansEach, gzips, bounds }: Bodies): Readonly<Record<StageName, Stage>> {
  const inflated = (gzip: Uint8Array): Uint8Array => inflate(zlib, gzip, "gzip", limits.inflatedBytesMax);
  const builder = new BlockBuilder();
  const add = (gzip: Uint8Array): void => {
    builder.add({ id, tenant: "bench", body: inflated(gzip), bounds, spans: spansEach });
  };
  const take = (): Uint8Array[] => {
    const chunks = [...builder.finish().chunks];
    builder.clear();
    return chunks;
  };
  for (const gzip of gzips) {
    add(gzip);
  }
  const output = take().map((chunk) => chunk.slice());
  const copies = new Uint8Array(output.reduce((sum, chunk) => sum + chunk.length, 0));
  const walk = new TraceWalk();
  return {
    /** One block of all bodies. */
    ours: () => {
      for (const gzip of gzips) {
        add(gzip);
      }
      take();
    },
    /** A block a body. */
    alone: () => {
      for (const gzip of gzips) {
        add(gzip);
        take();
      }
    },
    check: () => {
      for (const gzip of gzips) {
        inspectTraces(inflated(gzip), bounds);
      }
    },
    hash: async () => {
      for (const gzip of gzips) {
        const { contentMinute } = inspectTraces(inflated(gzip), bounds);
        await payloadId("bench", "pb", "gzip", gzip, { contentMinute, from: 0 });
      }
    },
    bound: () => {
      for (const gzip of gzips) {
        walk.run(inflated(gzip), bounds, passer);
      }
      let at = 0;
      for (const chunk of output) {
        copies.set(chunk, at);
        at += chunk.length;
      }
    },
    usual: () => {
      for (const gzip of gzips) {
        usualBuild(inflated(gzip));
      }
    },
  };
}

/** Bytes of rows per span that `ours` writes. */
export function outputBytesASpan({ spansEach, gzips, bounds }: Bodies): number {
  const builder = new BlockBuilder();
  for (const gzip of gzips) {
    const body = inflate(zlib, gzip, "gzip", limits.inflatedBytesMax);
    builder.add({ id, tenant: "bench", body, bounds, spans: spansEach });
  }
  return builder.finish().bytes / (spansEach * gzips.length);
}
