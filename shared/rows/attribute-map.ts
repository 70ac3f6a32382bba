/**
 * A Map(LowCardinality(String), String) column: keys sorted by their bytes, duplicates kept in wire order, values as
 * text. That is what the Collector's exporter writes (`orderedmap`, docs/facts.md: collector).
 */
import { type AttributeScan, entrySize } from "../otlp/attribute-scan.ts";
import { ByteSink, wildBytes } from "./byte-sink.ts";
import { appendString, copyWords, stringUnchecked } from "./copy-bytes.ts";
import { KeyShapes } from "./key-shapes.ts";
import { LowCardinality } from "./low-cardinality.ts";
import { scalarReserve, scalarUnchecked } from "./scalar-text.ts";
import { ValueText } from "./value-text.ts";

/**
 * Room for this many values, of so many bytes, is made at once. A message of millions would else leave chunks that are nearly
 * empty, and a value of 20 MiB whose text is another one three times its room.
 */
const valuesReservedMax = 256;
const bytesReservedMax = 64 * 1024;

export class AttributeMap {
  readonly keys = new LowCardinality();
  readonly #values = new ByteSink();
  readonly #shapes = new KeyShapes(this.keys.keys);
  readonly #text = new ValueText();

  get heldBytes(): number {
    return this.keys.heldBytes + this.#values.heldBytes + this.#text.bytes.length;
  }

  /** Bytes written. */
  get length(): number {
    return this.keys.length + this.#values.length;
  }

  /** Appends one map. Throws `notCanonical`; then what was written must be cut off by `rewind`. */
  append(bytes: Uint8Array, view: DataView, scan: AttributeScan): void {
    if (scan.count === 0) {
      return;
    }
    const order = this.#shapes.orderOf(bytes, view, scan);
    this.keys.appendMany(order.keys, order.narrowKeys);
    this.#appendValues(this.#values, order.order, bytes, view, scan);
  }

  /** Appends the same map `times` times. `scratch` is used and left with anything. */
  appendRepeated(
    bytes: Uint8Array,
    view: DataView,
    scan: AttributeScan,
    times: number,
    scratch: ByteSink,
  ): void {
    if (scan.count === 0 || times === 0) {
      return;
    }
    if (times === 1) {
      this.append(bytes, view, scan); // without a copy of what may be 20 MiB
      return;
    }
    const order = this.#shapes.orderOf(bytes, view, scan);
    this.keys.appendRepeated(order.keys, scan.count, times, scratch);
    scratch.clear();
    this.#appendValues(scratch, order.order, bytes, view, scan);
    this.#values.appendRepeated(scratch.joined(), times);
  }

  /** Remembers how far it has got, for `rewind`. */
  mark(): void {
    this.keys.mark();
    this.#values.mark();
  }

  /** Forgets what was appended since `mark`. */
  rewind(): void {
    this.keys.rewind();
    this.#values.rewind();
    this.#shapes.forgetNumbers();
  }

  /** Forgets everything. What `valueChunks` and the keys' `body` gave is overwritten from now on. */
  clear(): void {
    this.keys.clear();
    this.#values.clear();
    this.#shapes.forgetNumbers();
    this.#shapes.trim();
    this.#text.trim();
  }

  /** The values, after the keys in the block. */
  valueChunks(): readonly Uint8Array[] {
    return this.#values.chunks();
  }

  #appendValues(
    sink: ByteSink,
    order: Int32Array,
    bytes: Uint8Array,
    view: DataView,
    scan: AttributeScan,
  ): void {
    const { entries, count } = scan;
    if (count > valuesReservedMax || scan.bytes > bytesReservedMax) {
      this.#appendManyValues(sink, order, bytes, view, scan);
      return;
    }
    // Strings are no longer than the attributes that they stand in, and a string's length no longer than a scalar.
    sink.reserve(scan.bytes + count * scalarReserve);
    // The sink's place is kept at hand, and put back whenever somebody else writes.
    let { at, view: target } = sink;
    const safeEnd = bytes.length - wildBytes;
    for (let i = 0; i < count; i++) {
      const slot = (order[i] ?? 0) * entrySize;
      const valueAt = entries[slot + 2] ?? 0;
      const valueLength = entries[slot + 3] ?? 0;
      if (
        valueLength >= 0 &&
        valueLength < 0x80 &&
        bytes[valueAt - 1] === valueLength &&
        valueAt + valueLength <= safeEnd
      ) {
        // As `stringUnchecked`.
        copyWords(target, at, view, valueAt - 1, valueLength + 1);
        at += valueLength + 1;
        continue;
      }
      sink.at = at;
      if (valueLength >= 0) {
        stringUnchecked(sink, bytes, view, valueAt, valueLength);
      } else if (!scalarUnchecked(sink, bytes, view, valueAt, valueAt - valueLength)) {
        const text = this.#text;
        text.write(bytes, view, valueAt, valueAt - valueLength);
        appendString(sink, text.bytes, text.view, 0, text.length);
        // Another chunk may be open now.
        sink.reserve(scan.bytes + (count - i) * scalarReserve);
        target = sink.view;
      }
      at = sink.at;
    }
    sink.at = at;
  }

  /** `#appendValues` with room made value by value. */
  #appendManyValues(
    sink: ByteSink,
    order: Int32Array,
    bytes: Uint8Array,
    view: DataView,
    { entries, count }: AttributeScan,
  ): void {
    for (let i = 0; i < count; i++) {
      const slot = (order[i] ?? 0) * entrySize;
      const valueAt = entries[slot + 2] ?? 0;
      const valueLength = entries[slot + 3] ?? 0;
      if (valueLength >= 0) {
        appendString(sink, bytes, view, valueAt, valueLength);
        continue;
      }
      sink.reserve(scalarReserve);
      if (!scalarUnchecked(sink, bytes, view, valueAt, valueAt - valueLength)) {
        const text = this.#text;
        text.write(bytes, view, valueAt, valueAt - valueLength);
        appendString(sink, text.bytes, text.view, 0, text.length);
        text.trim(); // 32 MiB, which would else be there until the block is sent
      }
    }
  }
}
