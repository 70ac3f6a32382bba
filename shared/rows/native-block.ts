/**
 * ClickHouse's Native format: the frame of a block and of its columns.
 *
 * Source: ClickHouse, NativeWriter and the serializations of the types; every rule here was tried on a real engine,
 * and `test/engine/` asks it again. Layout without BlockInfo, as over HTTP: varint columns, varint rows, then for each
 * column its name, its type's text and its data. A nested column's LowCardinality version precedes the offsets.
 * Three mistakes that the engine answers with 200 and wrong rows: a misspelt column is ignored, a LowCardinality body
 * for zero rows is read as junk, an empty block ends the input. Callers never send an empty block.
 */
import type { AttributeMap } from "./attribute-map.ts";
import { ByteSink } from "./byte-sink.ts";
import type { Column } from "./columns.ts";
import type { LowCardinality } from "./low-cardinality.ts";

const encoder = new TextEncoder();

/** Varint columns, varint rows. */
export function blockHead(columnCount: number, rows: number): Uint8Array {
  const sink = new ByteSink();
  appendVarint(sink, columnCount);
  appendVarint(sink, rows);
  return sink.bytes.subarray(0, sink.at);
}

/** A column's name and type. */
export function columnHead(column: Column): Uint8Array {
  const sink = new ByteSink();
  for (const text of [column.name, column.type]) {
    const bytes = encoder.encode(text);
    appendVarint(sink, bytes.length);
    sink.append(bytes);
  }
  return sink.bytes.subarray(0, sink.at);
}

/** LowCardinality's state prefix: version 1, "shared dictionaries with additional keys". */
const lowCardinalityVersion = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0);

/** The data of LowCardinality(String). */
export function lowCardinalityData(column: LowCardinality): readonly Uint8Array[] {
  return [lowCardinalityVersion, ...column.body()];
}

/** The data of Array(LowCardinality(String)). */
export function lowCardinalityArrayData(offsets: ByteSink, column: LowCardinality): readonly Uint8Array[] {
  return [lowCardinalityVersion, ...offsets.chunks(), ...column.body()];
}

/** The data of Map(LowCardinality(String), String), or of an Array of it with two levels of offsets. */
export function attributeMapData(offsets: readonly ByteSink[], map: AttributeMap): readonly Uint8Array[] {
  return [
    lowCardinalityVersion,
    ...offsets.flatMap((sink) => sink.chunks()),
    ...map.keys.body(),
    ...map.valueChunks(),
  ];
}

/** An offset is a UInt64. */
export const offsetBytes = 8;

/** Appends one cumulative offset, a UInt64; a block has less than 2^32 of anything. */
export function appendOffset(sink: ByteSink, total: number): void {
  sink.reserve(offsetBytes);
  offsetUnchecked(sink, total);
}

/** `appendOffset` into a sink in which there is room. */
export function offsetUnchecked(sink: ByteSink, total: number): void {
  const { at } = sink;
  sink.view.setUint32(at, total, true);
  sink.view.setUint32(at + 4, 0, true);
  sink.at = at + offsetBytes;
}

function appendVarint(sink: ByteSink, value: number): void {
  sink.reserve(5);
  let rest = value;
  while (rest >= 0x80) {
    sink.bytes[sink.at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  sink.bytes[sink.at++] = rest;
}
