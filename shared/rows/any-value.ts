/**
 * The text of an attribute's value, byte for byte what the Collector's `Value.AsString` gives.
 *
 * Source: opentelemetry-collector pdata/pcommon/value.go (AsString, AsRaw, float64AsString), v1.65/v0.159. Scalars:
 * `true`, decimal int64, ES6 numbers with `-0`, NaN, Infinity, -Infinity, bytes as base64. Arrays and maps: Go's JSON
 * encoder without HTML escaping, keys sorted, the last of equal keys wins; NaN or an infinity anywhere inside makes
 * the whole text empty, because the encoder fails and the error is ignored.
 */

import { limits } from "../limits.ts";
import { tags } from "../otlp/fields.ts";
import { notPlain } from "../otlp/malformed.ts";
import { VarintCursor } from "../otlp/plain-reader.ts";

const cursor = new VarintCursor();
const decoder = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });

/**
 * The text of the AnyValue in `bytes[from, to)`. `view` shows the same bytes. Throws `notPlain` where the value is not
 * in the plain form.
 */
export function anyValueText(bytes: Uint8Array, view: DataView, from: number, to: number): string {
  if (from === to) {
    return "";
  }
  switch (bytes[from]) {
    case tags.anyValue.string:
      return decoder.decode(bytes.subarray(content(bytes, from, to), to));
    case tags.anyValue.array:
    case tags.anyValue.kvlist: {
      const parts: string[] = [];
      return writeJson(parts, bytes, view, from, to, 1) ? parts.join("") : "";
    }
    case tags.anyValue.bytes:
      return base64(bytes, content(bytes, from, to), to);
    default:
      return scalarText(bytes, view, from, to);
  }
}

/** The text of a bool, int or double. */
function scalarText(bytes: Uint8Array, view: DataView, from: number, to: number): string {
  switch (bytes[from]) {
    case tags.anyValue.bool:
      return varint64(bytes, from + 1, to) === 0n ? "false" : "true";
    case tags.anyValue.int:
      return BigInt.asIntN(64, varint64(bytes, from + 1, to)).toString();
    case tags.anyValue.double:
      if (to - from !== 9) {
        throw notPlain;
      }
      return doubleText(view.getFloat64(from + 1, true));
    default:
      throw notPlain;
  }
}

/** Go's ES6 style differs from JavaScript's own in minus zero alone. */
export function doubleText(value: number): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

/** Writes the value as Go's JSON. Returns false when it holds NaN or an infinity. */
function writeJson(
  parts: string[],
  bytes: Uint8Array,
  view: DataView,
  from: number,
  to: number,
  depth: number,
): boolean {
  if (depth > limits.depthMax) {
    throw notPlain;
  }
  if (from === to) {
    parts.push("null");
    return true;
  }
  switch (bytes[from]) {
    case tags.anyValue.string:
      parts.push(jsonString(decoder.decode(bytes.subarray(content(bytes, from, to), to))));
      return true;
    case tags.anyValue.bytes: {
      const at = content(bytes, from, to);
      // AsRaw copies into a nil slice; an empty one stays nil, and Go writes nil as null.
      parts.push(at === to ? "null" : `"${base64(bytes, at, to)}"`);
      return true;
    }
    case tags.anyValue.array:
      return writeArray(parts, bytes, view, from, to, depth);
    case tags.anyValue.kvlist:
      return writeMap(parts, bytes, view, from, to, depth);
    default: {
      const text = scalarText(bytes, view, from, to);
      parts.push(text);
      return text !== "NaN" && text !== "Infinity" && text !== "-Infinity";
    }
  }
}

function writeArray(
  parts: string[],
  bytes: Uint8Array,
  view: DataView,
  from: number,
  to: number,
  depth: number,
): boolean {
  let finite = true;
  let separator = "[";
  for (let at = content(bytes, from, to); at < to; ) {
    const end = element(bytes, at, to);
    parts.push(separator);
    finite = writeJson(parts, bytes, view, cursor.at, end, depth + 1) && finite;
    separator = ",";
    at = end;
  }
  parts.push(separator === "[" ? "[]" : "]");
  return finite;
}

function writeMap(
  parts: string[],
  bytes: Uint8Array,
  view: DataView,
  from: number,
  to: number,
  depth: number,
): boolean {
  const entries = new Map<string, { readonly at: number; readonly end: number }>();
  for (let at = content(bytes, from, to); at < to; ) {
    const end = element(bytes, at, to);
    let valueAt = cursor.at;
    let key = "";
    if (valueAt < end && bytes[valueAt] === tags.keyValue.key) {
      const length = cursor.length(bytes, valueAt + 1);
      valueAt = cursor.at + length;
      if (valueAt > end) {
        throw notPlain;
      }
      key = decoder.decode(bytes.subarray(cursor.at, valueAt));
    }
    if (valueAt < end) {
      if (bytes[valueAt] !== tags.keyValue.value) {
        throw notPlain;
      }
      valueAt = content(bytes, valueAt, end);
    }
    entries.set(key, { at: valueAt, end });
    at = end;
  }
  let finite = true;
  let separator = "{";
  for (const [key, value] of [...entries].sort(([a], [b]) => compareCodePoints(a, b))) {
    parts.push(separator, jsonString(key), ":");
    finite = writeJson(parts, bytes, view, value.at, value.end, depth + 1) && finite;
    separator = ",";
  }
  parts.push(separator === "{" ? "{}" : "}");
  return finite;
}

/** JSON.stringify escapes as Go does, but for the two line separators that JavaScript once could not hold. */
function jsonString(text: string): string {
  return JSON.stringify(text).replaceAll("\u2028", "\\u2028").replaceAll("\u2029", "\\u2029");
}

/** The order of UTF-8 bytes, which JavaScript's order of UTF-16 units is not above U+FFFF. */
function compareCodePoints(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) {
      const xPair = x >= 0xd800 && x <= 0xdfff;
      const yPair = y >= 0xd800 && y <= 0xdfff;
      return xPair === yPair ? x - y : xPair ? 1 : -1;
    }
  }
  return a.length - b.length;
}

const base64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

function base64(bytes: Uint8Array, from: number, to: number): string {
  const parts: string[] = [];
  for (let at = from; at < to; at += 3) {
    const left = to - at;
    const bits =
      ((bytes[at] ?? 0) << 16) |
      ((left > 1 ? (bytes[at + 1] ?? 0) : 0) << 8) |
      (left > 2 ? (bytes[at + 2] ?? 0) : 0);
    parts.push(
      base64Digits.charAt(bits >>> 18),
      base64Digits.charAt((bits >>> 12) & 63),
      left > 1 ? base64Digits.charAt((bits >>> 6) & 63) : "=",
      left > 2 ? base64Digits.charAt(bits & 63) : "=",
    );
  }
  return parts.join("");
}

/** The varint that fills `bytes[from, to)`, as 64 unsigned bits. */
function varint64(bytes: Uint8Array, from: number, to: number): bigint {
  cursor.low32(bytes, from);
  if (cursor.at !== to) {
    throw notPlain;
  }
  let value = 0n;
  for (let at = to - 1; at >= from; at--) {
    value = (value << 7n) | BigInt((bytes[at] ?? 0) & 0x7f);
  }
  return BigInt.asUintN(64, value);
}

/** Where the content of the only field in `[from, to)` begins; it reaches to `to`. */
function content(bytes: Uint8Array, from: number, to: number): number {
  const length = cursor.length(bytes, from + 1);
  if (cursor.at + length !== to) {
    throw notPlain;
  }
  return cursor.at;
}

/** Where the list element at `at` ends; the cursor stands where its content begins. */
function element(bytes: Uint8Array, at: number, to: number): number {
  if (bytes[at] !== tags.list.values) {
    throw notPlain;
  }
  const end = cursor.length(bytes, at + 1) + cursor.at;
  if (end > to) {
    throw notPlain;
  }
  return end;
}
