/**
 * Copies and writes of short byte strings. `TypedArray.set` costs about 33 ns whatever the length (measured), a loop
 * over bytes 1 ns a byte; a loop over words of eight bytes is 4-8 ns up to 80 bytes and allocates nothing.
 */
import type { ByteSink } from "./byte-sink.ts";

/** From here on `set` is cheaper than words. */
const wordsBytesMax = 320;
const varintBytesMax = 5;

/**
 * Appends `bytes[from, from + length)` to a sink in which `length` bytes are reserved. `view` shows the same bytes.
 * It may read up to seven bytes more, never past the end of `view`.
 */
export function copyReserved(
  sink: ByteSink,
  bytes: Uint8Array,
  view: DataView,
  from: number,
  length: number,
): void {
  const to = sink.at;
  sink.at = to + length;
  if (length > wordsBytesMax || from + length + 8 > view.byteLength) {
    sink.bytes.set(bytes.subarray(from, from + length), to);
    return;
  }
  const target = sink.view;
  for (let i = 0; i < length; i += 8) {
    target.setBigUint64(to + i, view.getBigUint64(from + i, true), true);
  }
}

/** Appends a varint of up to 32 bits to a sink in which five bytes are reserved. */
export function varintReserved(sink: ByteSink, value: number): void {
  let rest = value;
  while (rest >= 0x80) {
    sink.bytes[sink.at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  sink.bytes[sink.at++] = rest;
}

/** Appends a ClickHouse String: its length as a varint, then its bytes. */
export function appendString(
  sink: ByteSink,
  bytes: Uint8Array,
  view: DataView,
  from: number,
  length: number,
): void {
  sink.reserve(length + varintBytesMax);
  stringReserved(sink, bytes, view, from, length);
}

/** `appendString` into a sink in which `length` and five bytes are reserved. */
export function stringReserved(
  sink: ByteSink,
  bytes: Uint8Array,
  view: DataView,
  from: number,
  length: number,
): void {
  if (length === 0) {
    sink.bytes[sink.at++] = 0;
    return;
  }
  if (length < 0x80 && from > 0 && bytes[from - 1] === length) {
    // Protobuf and ClickHouse write a short string alike, its length in one byte and then its content.
    copyReserved(sink, bytes, view, from - 1, length + 1);
    return;
  }
  varintReserved(sink, length);
  copyReserved(sink, bytes, view, from, length);
}
