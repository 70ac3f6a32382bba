/** Ids as lower-case hex, the form in which the Collector's exporter stores them. */
import type { ByteSink } from "./byte-sink.ts";

/** For each byte its two digits, the first in the low half: stored little-endian they stand in reading order. */
const digitPairs = Uint16Array.from({ length: 256 }, (_, byte) => {
  const text = byte.toString(16).padStart(2, "0");
  return text.charCodeAt(0) | (text.charCodeAt(1) << 8);
});

/** Appends a String of `2 * length` hex digits; `length` is 8 or 16. */
export function appendHex(sink: ByteSink, bytes: Uint8Array, from: number, length: number): void {
  sink.reserve(1 + 2 * length);
  hexReserved(sink, bytes, from, length);
}

/** `appendHex` into a sink in which there is room. */
export function hexReserved(sink: ByteSink, bytes: Uint8Array, from: number, length: number): void {
  const { view } = sink;
  let to = sink.at;
  view.setUint8(to++, 2 * length);
  for (let i = 0; i < length; i += 2) {
    const first = digitPairs[bytes[from + i] ?? 0] ?? 0;
    const second = digitPairs[bytes[from + i + 1] ?? 0] ?? 0;
    view.setUint32(to, first | (second << 16), true);
    to += 4;
  }
  sink.at = to;
}
