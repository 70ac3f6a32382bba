/**
 * Where the Workers hold the most: places of their bundles that are given a `debugger` statement. Each text must be in its bundle
 * once (test/core/memory-marks.test.ts): a place that was renamed would else be looked at no more.
 */
import type { Mark } from "./isolate.ts";

/** Where the consumer holds the most: around each payload's transcoding, while buffers grow, and around compressing. */
export const consumerMarks: readonly Mark[] = [
  ["body, encoding, inflatedBytesMax);", "$& lookedAt();"],
  ["payloads.push(addPayload(builder, loaded, taken.value));", "lookedAt(); $& lookedAt();"],
  ["const block = builder.finish();", "$& lookedAt();"],
  ["compressParts(block.chunks, compression)", "lookedAt($&)"],
  [
    "zlib.gzipSync(Buffer.concat([...chunks]), { level: 1 })",
    "lookedAt(zlib.gzipSync(lookedAt(Buffer.concat([...chunks])), { level: 1 }))",
  ],
  ["kept.bytes += part.length;", "$& lookedAt();"],
  ['return { kind: "built", block: { rows, body, encoding }, payloads };', "lookedAt(); $&"],
  ["larger.set(this.bytes);", "$& lookedAt();"],
  ["this.keyLength = doubled(this.keyLength);", "lookedAt(); $&"],
  ["larger.set(this.entries);", "$& lookedAt();"],
  ["const moved = new Int32Array(order.length);", "$& lookedAt();"],
  ["larger.set(this.#decoded.subarray(0, this.#decodedLength));", "$& lookedAt();"],
];

/** Where the ingress holds the most: with the body inflated, while it is checked, and with the body at the put, its own or a segment's. */
export const ingressMarks: readonly Mark[] = [
  ["body, encoding, inflatedBytesMax);", "$& lookedAt();"],
  ["inspected = inspectAndRewrite(protobuf, bounds);", "lookedAt(); $& lookedAt();"],
  ["larger.set(this.entries);", "$& lookedAt();"],
  ["larger.set(this.#decoded.subarray(0, this.#decodedLength));", "$& lookedAt();"],
  ["const put = bucket.put(key, body, {", "lookedAt(); $&"],
  ["const bytes = writeSegment(openedAt, payloads);", "$& lookedAt();"],
  ["const put = bucket.put(key, segment, {", "lookedAt(); $&"],
];

/** Where the ledger and the reconciler hold the most: at each step's persist, and with a page at hand. */
export const ledgerMarks: readonly Mark[] = [
  ["store.apply(changes);", "lookedAt(); $&"],
  ["return inFlightOf(", "lookedAt(); return inFlightOf("],
  ["return { objects, through: page.objects", "lookedAt(); $&"],
  ["await ringAll(doorbells, env.RING);", "lookedAt(); $&"],
];
