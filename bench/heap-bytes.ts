/**
 * JavaScript heap that transcoding takes, in bytes per span. It is measured in a process of its own whose young
 * generation is large enough that nothing is collected meanwhile: what the heap grew by is what was allocated.
 */
import { execFile } from "node:child_process";
import { getHeapStatistics } from "node:v8";
import { BlockBuilder } from "../shared/rows/transcode.ts";
import { corpusBounds, makeCorpus } from "./corpus.ts";

const flags = ["--expose-gc", "--min-semi-space-size=256", "--max-semi-space-size=256"];
const passesWarm = 300;
const passesMeasured = 20;

/** Heap bytes per span, at `spansEach` spans per payload. */
export function heapBytesASpan(spansEach: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  execFile(process.execPath, [...flags, import.meta.filename, String(spansEach)], (error, output) => {
    if (error === null) {
      resolve(Number(output));
    } else {
      reject(error);
    }
  });
  return promise;
}

function measure(spansEach: number): number {
  // Inflated beforehand: zlib's output lies outside of the heap, and much of it makes V8 collect.
  const payloads = makeCorpus(1, 8, spansEach).map(({ protobuf }) => ({
    id: new Uint8Array(16),
    tenant: "bench",
    body: protobuf,
    bounds: corpusBounds,
    spans: spansEach,
  }));
  const builder = new BlockBuilder();
  const pass = (times: number): void => {
    for (let i = 0; i < times; i++) {
      for (const payload of payloads) {
        builder.add(payload);
      }
      builder.finish();
      builder.clear();
    }
  };
  pass(passesWarm);
  globalThis.gc?.();
  const before = getHeapStatistics().used_heap_size;
  pass(passesMeasured);
  return (getHeapStatistics().used_heap_size - before) / (passesMeasured * payloads.length * spansEach);
}

if (import.meta.main) {
  console.log(measure(Number(process.argv[2])));
}
