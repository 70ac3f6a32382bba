/** Ids as lower-case hex, the form in which the Collector's exporter stores them. */
import type { ByteSink } from "./byte-sink.ts";

/** Appends a String of `2 * length` hex digits; `length` is 8 or 16. */
export function appendHex(sink: ByteSink, view: DataView, from: number, length: number): void {
  sink.reserve(1 + 2 * length);
  hexUnchecked(sink, view, from, length);
}

/** `appendHex` into a sink in which there is room. */
export function hexUnchecked(sink: ByteSink, view: DataView, from: number, length: number): void {
  const { view: target } = sink;
  let to = sink.at;
  target.setUint8(to++, 2 * length);
  for (let i = 0; i < length; i += 4) {
    const word = view.getInt32(from + i, true);
    target.setInt32(to, hexDigits(word & 0xffff), true);
    target.setInt32(to + 4, hexDigits(word >>> 16), true);
    to += 8;
  }
  sink.at = to;
}

/**
 * The four digits of two bytes, in reading order when stored little-endian: the four half-bytes are spread over the bytes
 * of a word, and all become digits at once. A half above 9 carries into bit 4 when 6 is added; letters stand 39
 * behind where digits would go on.
 */
function hexDigits(twoBytes: number): number {
  const spread = (twoBytes & 0xff) | ((twoBytes & 0xff00) << 8);
  const halves = ((spread >>> 4) & 0x000f000f) | ((spread & 0x000f000f) << 8);
  const letters = ((halves + 0x06060606) >>> 4) & 0x01010101;
  return (halves + 0x30303030 + Math.imul(letters, 39)) | 0;
}
