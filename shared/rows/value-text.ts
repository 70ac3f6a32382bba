/**
 * The text of an attribute's value, byte for byte what the Collector's `Value.AsString` gives, written without
 * strings in between (only a double's digits come from the engine).
 *
 * Source: opentelemetry-collector pdata/pcommon/value.go (AsString, AsRaw, float64AsString), v1.65/v0.159. Scalars:
 * `true`, decimal int64, ES6 numbers with `-0`, NaN, Infinity, -Infinity, bytes as base64. Arrays and maps: Go's JSON
 * encoder without HTML escaping, keys sorted, the last of equal keys wins. There NaN or an infinity anywhere inside makes
 * the whole text empty, because the encoder fails and the error is ignored. We write its name as text, as ProtoJSON does,
 * and null for what is nested deeper than `limits.depthMax` (decision 0024).
 */
import { limits } from "../limits.ts";
import { VarintCursor } from "../otlp/canonical-reader.ts";
import { tags } from "../otlp/fields.ts";
import { notCanonical } from "../otlp/malformed.ts";
import { MapEntries, sortedEntries } from "./map-entries.ts";

const textBytesFirst = 256;
/** Kept for the next block. A text can have 32 MiB. */
const textBytesKept = 64 * 1024;
/** Six times as much room is made for a string of so many bytes without a look at it. */
const shortStringBytes = 256;
/** "-1.2345678901234567e-308" is the longest scalar. */
const scalarBytesMax = 24;
const varintBytesMax = 10;
/** 2^32 = 4 * 10^9 + 294,967,296, for turning two 32-bit words into decimal digits. */
const twoTo32 = 0x1_0000_0000;

const quote = 0x22;
const minus = 0x2d;
const zero = 0x30;
const backslash = 0x5c;

const hexDigits = ascii("0123456789abcdef");
const base64Digits = ascii("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
const trueText = ascii("true");
const falseText = ascii("false");
const nullText = ascii("null");
/** The letter behind the backslash for each ASCII character that Go's encoder escapes in two characters, else 0. */
const shortEscapes = new Uint8Array(128);
for (const [from, to] of ['""', "\\\\", "\nn", "\rr", "\tt", "\bb", "\ff"].map((pair) => ascii(pair))) {
  shortEscapes[from ?? 0] = to ?? 0;
}

/** 1 for each byte that is, or may begin, a character that is escaped. */
const escaped = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte < 0x20 || byte === quote || byte === backslash || byte === 0xe2 ? 1 : 0,
);

export class ValueText {
  /** The last text written is `bytes[0, length)`. */
  bytes = new Uint8Array(textBytesFirst);
  view = new DataView(this.bytes.buffer);
  length = 0;
  readonly #cursor = new VarintCursor();
  /** Of the maps that are being written, the inner ones behind the outer ones. */
  readonly #entries = new MapEntries();

  /**
   * Writes the text of the AnyValue in `bytes[from, to)`. `view` shows the same bytes. Throws `notCanonical` where the
   * value is not in the canonical form.
   */
  write(bytes: Uint8Array, view: DataView, from: number, to: number): void {
    this.length = 0;
    if (from === to) {
      return;
    }
    switch (bytes[from]) {
      case tags.anyValue.string:
        this.#raw(bytes, this.#content(bytes, from, to), to);
        return;
      case tags.anyValue.array:
      case tags.anyValue.kvlist:
        try {
          this.#json(bytes, view, from, to, 1);
        } finally {
          this.#entries.clear();
        }
        return;
      case tags.anyValue.bytes:
        this.#base64(bytes, this.#content(bytes, from, to), to);
        return;
      default:
        this.#scalar(bytes, view, from, to);
    }
  }

  /** Lets go of room that one value has made long. */
  trim(): void {
    if (this.bytes.length > textBytesKept) {
      this.bytes = new Uint8Array(textBytesFirst);
      this.view = new DataView(this.bytes.buffer);
    }
  }

  /** A bool, int or double. */
  #scalar(bytes: Uint8Array, view: DataView, from: number, to: number): void {
    switch (bytes[from]) {
      case tags.anyValue.int:
        this.#int(bytes, from + 1, to);
        return;
      case tags.anyValue.bool:
        this.#bool(bytes, from + 1, to);
        return;
      case tags.anyValue.double: {
        if (to - from !== 9) {
          throw notCanonical;
        }
        const value = view.getFloat64(from + 1, true);
        // Go's ES6 style differs from JavaScript's own in minus zero alone.
        this.#ascii(Object.is(value, -0) ? "-0" : String(value));
        return;
      }
      default:
        throw notCanonical;
    }
  }

  #bool(bytes: Uint8Array, from: number, to: number): void {
    let any = 0;
    for (let at = this.#varintEnd(bytes, from, to) - 1; at >= from; at--) {
      any |= (bytes[at] ?? 0) & 0x7f;
    }
    const text = any === 0 ? falseText : trueText;
    this.#raw(text, 0, text.length);
  }

  #int(bytes: Uint8Array, from: number, to: number): void {
    const end = this.#varintEnd(bytes, from, to);
    // The 64 bits as two 32-bit words: seven bits per byte, of which byte 4 straddles both.
    let low = 0;
    let high = 0;
    for (let at = end - 1; at >= from; at--) {
      const bits = (bytes[at] ?? 0) & 0x7f;
      const shift = 7 * (at - from);
      if (shift < 32) {
        low |= bits << shift;
      }
      if (shift >= 32) {
        high |= bits << (shift - 32);
      } else if (shift > 25) {
        high |= bits >>> (32 - shift);
      }
    }
    this.#reserve(scalarBytesMax);
    let unsignedLow = low >>> 0;
    let unsignedHigh = high >>> 0;
    if (high < 0) {
      this.bytes[this.length++] = minus;
      unsignedLow = -low >>> 0;
      unsignedHigh = (unsignedLow === 0 ? -high : ~high) >>> 0;
    }
    this.#decimal(unsignedHigh, unsignedLow);
  }

  /** The digits of `high * 2^32 + low`. */
  #decimal(high: number, low: number): void {
    if (high < 0x20_0000) {
      this.#digits(high * twoTo32 + low, 1);
      return;
    }
    // Beyond 2^53: the number divided by 10^9, exactly, in two steps of less than 2^53 each.
    const billion = 1_000_000_000;
    const highPart = Math.floor(high / billion);
    const middle = (high % billion) * twoTo32;
    const middlePart = Math.floor(middle / billion);
    const rest = (middle % billion) + low;
    const upper = highPart * twoTo32 + middlePart + Math.floor(rest / billion);
    this.#digits(upper, 1);
    this.#digits(rest % billion, 9);
  }

  /** A number below 2^53 with at least `width` digits. */
  #digits(value: number, width: number): void {
    let count = 1;
    for (let limit = 10; limit <= value; limit *= 10) {
      count++;
    }
    count = Math.max(count, width);
    let rest = value;
    const start = this.length;
    let at = start + count;
    // Below 2^31 the division is an integer multiplication.
    while (rest > 0x7fffffff) {
      const quotient = Math.floor(rest / 10);
      this.bytes[--at] = zero + (rest - quotient * 10);
      rest = quotient;
    }
    let small = rest | 0;
    while (at > start) {
      const quotient = (small / 10) | 0;
      this.bytes[--at] = zero + (small - quotient * 10);
      small = quotient;
    }
    this.length = start + count;
  }

  // --- JSON

  /** Writes the value as Go's JSON. */
  #json(bytes: Uint8Array, view: DataView, from: number, to: number, depth: number): void {
    if (from === to || depth > limits.depthMax) {
      this.#raw(nullText, 0, nullText.length);
      return;
    }
    switch (bytes[from]) {
      case tags.anyValue.string:
        this.#jsonString(bytes, this.#content(bytes, from, to), to);
        return;
      case tags.anyValue.bytes: {
        const at = this.#content(bytes, from, to);
        if (at === to) {
          // AsRaw copies into a nil slice; an empty one stays nil, and Go writes nil as null.
          this.#raw(nullText, 0, nullText.length);
        } else {
          this.#byte(quote);
          this.#base64(bytes, at, to);
          this.#byte(quote);
        }
        return;
      }
      case tags.anyValue.array:
        this.#jsonArray(bytes, view, from, to, depth);
        return;
      case tags.anyValue.kvlist:
        this.#jsonObject(bytes, view, from, to, depth);
        return;
      case tags.anyValue.double:
        this.#jsonDouble(bytes, view, from, to);
        return;
      default:
        this.#scalar(bytes, view, from, to);
    }
  }

  #jsonDouble(bytes: Uint8Array, view: DataView, from: number, to: number): void {
    if (to - from === 9 && !Number.isFinite(view.getFloat64(from + 1, true))) {
      this.#byte(quote);
      this.#scalar(bytes, view, from, to);
      this.#byte(quote);
    } else {
      this.#scalar(bytes, view, from, to);
    }
  }

  #jsonArray(bytes: Uint8Array, view: DataView, from: number, to: number, depth: number): void {
    let at = this.#content(bytes, from, to);
    this.#byte(0x5b); // [
    for (let first = true; at < to; first = false) {
      const end = this.#element(bytes, at, to);
      const valueAt = this.#cursor.at;
      if (!first) {
        this.#byte(0x2c); // ,
      }
      if (bytes[valueAt] === tags.anyValue.string && valueAt < end && depth < limits.depthMax) {
        this.#jsonString(bytes, this.#content(bytes, valueAt, end), end);
      } else {
        this.#json(bytes, view, valueAt, end, depth + 1);
      }
      at = end;
    }
    this.#byte(0x5d); // ]
  }

  #jsonObject(bytes: Uint8Array, view: DataView, from: number, to: number, depth: number): void {
    const first = this.#entries.count;
    this.#readEntries(bytes, from, to);
    const order = sortedEntries(this.#entries, bytes, first);
    let separator = 0x7b; // {
    for (let at = 0; at < order.length; at++) {
      const entry = order[at] ?? 0;
      // The sort is stable, so the last of equal keys comes last.
      if (at + 1 < order.length && this.#entries.isSameKey(bytes, entry, order[at + 1] ?? 0)) {
        continue;
      }
      this.#byte(separator);
      separator = 0x2c; // ,
      const { keyAt, keyLength, end } = this.#entries;
      const keyEnd = (keyAt[entry] ?? 0) + (keyLength[entry] ?? 0);
      const entryEnd = end[entry] ?? 0;
      this.#jsonString(bytes, keyAt[entry] ?? 0, keyEnd);
      this.#byte(0x3a); // :
      const valueAt = keyEnd < entryEnd ? this.#content(bytes, keyEnd, entryEnd) : keyEnd;
      this.#json(bytes, view, valueAt, entryEnd, depth + 1);
    }
    if (order.length === 0) {
      this.#byte(separator);
    }
    this.#byte(0x7d); // }
    this.#entries.count = first;
  }

  /** Adds the entries of a KeyValueList. */
  #readEntries(bytes: Uint8Array, from: number, to: number): void {
    let at = this.#content(bytes, from, to);
    while (at < to) {
      const end = this.#element(bytes, at, to);
      let keyAt = this.#cursor.at;
      let keyLength = 0;
      if (keyAt < end && bytes[keyAt] === tags.keyValue.key) {
        keyLength = this.#cursor.length(bytes, keyAt + 1);
        keyAt = this.#cursor.at;
        if (keyAt + keyLength > end) {
          throw notCanonical;
        }
      }
      const valueAt = keyAt + keyLength;
      if (valueAt < end) {
        if (bytes[valueAt] !== tags.keyValue.value) {
          throw notCanonical;
        }
        this.#content(bytes, valueAt, end); // an entry that another one replaces must be canonical too
      }
      this.#entries.add(keyAt, keyLength, end);
      at = end;
    }
  }

  /** Go's encoding/json, appendString with escapeHTML off. */
  #jsonString(bytes: Uint8Array, from: number, to: number): void {
    this.#reserve(2 + (to - from) + 5 * escapesAtMost(bytes, from, to));
    const out = this.bytes;
    let length = this.length;
    out[length++] = quote;
    for (let at = from; at < to; at++) {
      const byte = bytes[at] ?? 0;
      if (escaped[byte] === 0) {
        out[length++] = byte;
        continue;
      }
      const short = shortEscapes[byte] ?? 0;
      if (short !== 0) {
        out[length++] = backslash;
        out[length++] = short;
      } else if (byte < 0x20) {
        out.set(unicodeEscape, length);
        out[length + 4] = hexDigits[byte >> 4] ?? 0;
        out[length + 5] = hexDigits[byte & 15] ?? 0;
        length += 6;
      } else if (at + 2 < to && bytes[at + 1] === 0x80 && ((bytes[at + 2] ?? 0) & 0xfe) === 0xa8) {
        // E2 80 A8 and A9 are U+2028 and U+2029, which JavaScript once took for line ends.
        out.set(bytes[at + 2] === 0xa8 ? lineSeparatorEscape : paragraphSeparatorEscape, length);
        length += 6;
        at += 2;
      } else {
        out[length++] = byte;
      }
    }
    out[length++] = quote;
    this.length = length;
  }

  #base64(bytes: Uint8Array, from: number, to: number): void {
    this.#reserve(4 * Math.ceil((to - from) / 3));
    const out = this.bytes;
    for (let at = from; at < to; at += 3) {
      const left = to - at;
      const second = left > 1 ? (bytes[at + 1] ?? 0) : 0;
      const third = left > 2 ? (bytes[at + 2] ?? 0) : 0;
      const bits = ((bytes[at] ?? 0) << 16) | (second << 8) | third;
      out[this.length++] = base64Digits[bits >>> 18] ?? 0;
      out[this.length++] = base64Digits[(bits >>> 12) & 63] ?? 0;
      out[this.length++] = left > 1 ? (base64Digits[(bits >>> 6) & 63] ?? 0) : 0x3d;
      out[this.length++] = left > 2 ? (base64Digits[bits & 63] ?? 0) : 0x3d;
    }
  }

  // --- writing

  #byte(value: number): void {
    this.#reserve(1);
    this.bytes[this.length++] = value;
  }

  #raw(bytes: Uint8Array, from: number, to: number): void {
    this.#reserve(to - from);
    for (let at = from; at < to; at++) {
      this.bytes[this.length++] = bytes[at] ?? 0;
    }
  }

  #ascii(text: string): void {
    this.#reserve(text.length);
    for (let i = 0; i < text.length; i++) {
      this.bytes[this.length++] = text.charCodeAt(i);
    }
  }

  #reserve(count: number): void {
    if (this.length + count > this.bytes.length) {
      const { length } = this.bytes;
      // Not twice as much for a bracket behind a text of 20 MiB.
      const more = length < textBytesKept ? length : length >> 3;
      const larger = new Uint8Array(Math.max(length + more, this.length + count + textBytesFirst));
      larger.set(this.bytes.subarray(0, this.length));
      this.bytes = larger;
      this.view = new DataView(larger.buffer);
    }
  }

  // --- reading

  /** Where the varint that begins at `from` ends, which must be `to`. */
  #varintEnd(bytes: Uint8Array, from: number, to: number): number {
    let at = from;
    while (at < to && (bytes[at] ?? 0) >= 0x80) {
      at++;
    }
    if (at + 1 !== to || to - from > varintBytesMax) {
      throw notCanonical;
    }
    return to;
  }

  /** Where the content of the only field in `[from, to)` begins; it reaches to `to`. */
  #content(bytes: Uint8Array, from: number, to: number): number {
    if (bytes[from + 1] === to - from - 2 && to - from < 0x82) {
      return from + 2; // a length of one byte
    }
    const length = this.#cursor.length(bytes, from + 1);
    if (this.#cursor.at + length !== to) {
      throw notCanonical;
    }
    return this.#cursor.at;
  }

  /** Where the list element at `at` ends; the cursor is where its content begins. */
  #element(bytes: Uint8Array, at: number, to: number): number {
    if (bytes[at] !== tags.list.values) {
      throw notCanonical;
    }
    const end = this.#cursor.length(bytes, at + 1) + this.#cursor.at;
    if (end > to) {
      throw notCanonical;
    }
    return end;
  }
}

/** Bytes that are written as up to six: of a short string all, since to look costs more than room. */
function escapesAtMost(bytes: Uint8Array, from: number, to: number): number {
  if (to - from <= shortStringBytes) {
    return to - from;
  }
  let count = 0;
  for (let at = from; at < to; at++) {
    count += escaped[bytes[at] ?? 0] ?? 0;
  }
  return count;
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

const unicodeEscape = ascii("\\u0000");
const lineSeparatorEscape = ascii("\\u2028");
const paragraphSeparatorEscape = ascii("\\u2029");
