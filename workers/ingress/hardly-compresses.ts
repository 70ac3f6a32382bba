/**
 * What the rows of a wide payload take when the consumer has compressed them: it holds all of it at once
 * (`limits.compressedBytesMax`). Estimated from above: what spans have of their own counts as it is, and what they repeat of
 * a resource as often as a frame of zstd must begin anew.
 */
import * as zlib from "node:zlib";
import { limits } from "../../shared/limits.ts";
import { entrySize } from "../../shared/otlp/attribute-scan.ts";
import type { Inspection, SpanBounds } from "../../shared/otlp/inspect.ts";
import { type TraceVisitor, TraceWalk } from "../../shared/otlp/trace-walk.ts";
import type { TooLarge } from "./refusal.ts";

/** The resource whose repetition takes the most, compressed. */
interface Repeated {
  readonly resourceBytes: number;
  readonly spans: number;
}

/** A frame's output is below 40 KiB (workers/consumer/compress-block.ts): so much is one of what surely repeats within it. */
const repeatsBelowBytes = 8 * 1024;
/** What a frame takes of a block at least, where it comes out that small. */
const frameInputBytes = 256 * 1024;
/** Compressed in pieces, which hold nothing: deflate looks back over half of one. */
const pieceBytes = 64 * 1024;
/** What a copy takes that a frame has seen before. */
const copyBytes = 32;

/** The bound that a body's rows exceed which the consumer could not hold, or undefined. */
export function hardlyCompresses(
  protobuf: Uint8Array,
  bounds: SpanBounds,
  { outputBytes, repeatedBytes }: Pick<Inspection, "outputBytes" | "repeatedBytes">,
): TooLarge | undefined {
  if (outputBytes <= limits.groupOutputBytesMax) {
    return undefined; // an ordinary one: a group of such is in hand as a whole
  }
  const visitor = new RepeatedBytes();
  new TraceWalk().run(protobuf, bounds, visitor);
  const own = Math.min(outputBytes - repeatedBytes, protobuf.length);
  if (own + visitor.compressedBytes <= limits.compressedBytesMax) {
    return undefined;
  }
  return { what: "hardly_compresses", ...visitor.largest };
}

class RepeatedBytes implements TraceVisitor {
  compressedBytes = 0;
  largest: Repeated = { resourceBytes: 0, spans: 0 };
  #largestBytes = 0;
  #spans = 0;

  restart(): void {
    this.compressedBytes = 0;
    this.#largestBytes = 0;
    this.#spans = 0;
  }

  enterResource(): void {
    this.#spans = 0;
  }

  enterScope(): void {}

  span(): void {
    this.#spans++;
  }

  rejected(): void {}

  leaveScope(): void {}

  leaveResource({ bytes, resource }: TraceWalk): void {
    const { entries, count } = resource;
    const spans = this.#spans;
    if (spans === 0 || count === 0) {
      return;
    }
    let from = bytes.length;
    let to = 0;
    for (let slot = 0; slot < count * entrySize; slot += entrySize) {
      from = Math.min(from, entries[slot] ?? 0);
      to = Math.max(to, (entries[slot + 2] ?? 0) + Math.abs(entries[slot + 3] ?? 0));
    }
    const resourceBytes = Math.max(0, to - from);
    const compressed = repeatedBytes(bytes.subarray(from, to), spans);
    this.compressedBytes += compressed;
    if (compressed > this.#largestBytes) {
      this.#largestBytes = compressed;
      this.largest = { resourceBytes, spans };
    }
  }
}

/** What so many copies of `text` take, one after the other. */
function repeatedBytes(text: Uint8Array, copies: number): number {
  let once = 0;
  for (let at = 0; at < text.length; at += pieceBytes) {
    once += zlib.deflateRawSync(text.subarray(at, at + pieceBytes), { level: 1 }).length;
  }
  if (once > repeatsBelowBytes) {
    return once * copies;
  }
  const frames = Math.ceil((text.length * copies) / frameInputBytes);
  return Math.min(copies, frames) * once + copies * copyBytes;
}
