/**
 * OTLP/JSON to the equivalent protobuf body, so that one inspection and one transcoder serve both encodings. It reads
 * the bytes once, builds no objects, and copies what it takes straight into protobuf; its output is not longer than
 * its input but by what it repairs (repairs.ts), and is refused beyond `limits.inflatedBytesMax`.
 *
 * Source: opentelemetry-proto docs/specification.md "JSON Protobuf Encoding" and protobuf.dev "ProtoJSON": hex ids,
 * unknown fields ignored, 64-bit integers as numbers or strings, base64 in either alphabet, `null` for a default, "NaN"
 * and infinities as strings. A field that appears twice in one object is malformed, as in ProtoJSON.
 *
 * The specification forbids senders the names of enums and of fields in snake_case. A stock protobuf library writes
 * them, and a Collector takes them (pdata, internal/json): so they are taken, as ProtoJSON asks of parsers.
 *
 * Numbers are read digit by digit: `JSON.parse` would round 64-bit integers, and its object graph could take an
 * isolate's whole memory.
 */
import { limits } from "../limits.ts";
import type { Field } from "./fields.ts";
import { markedIdText } from "./id-text.ts";
import { type JsonField, type JsonMessage, requestMessage } from "./json-fields.ts";
import { MalformedBody } from "./malformed.ts";
import { noRepairs, type Repairs } from "./repairs.ts";
import { isUtf8, isUtf8Body, writeRepaired } from "./utf8.ts";
import { WireWriter } from "./wire-writer.ts";

/** Of what is stepped over: a bound for the list of what is open, far above what anybody nests. */
const skippedDepthMax = 65_536;
/** "-9223372036854775808", or as many digits with zeros after the point or an exponent. */
const numberCharsMax = 400;

const char = {
  tab: 0x09,
  newline: 0x0a,
  return: 0x0d,
  space: 0x20,
  quote: 0x22,
  plus: 0x2b,
  comma: 0x2c,
  minus: 0x2d,
  point: 0x2e,
  zero: 0x30,
  nine: 0x39,
  colon: 0x3a,
  openBracket: 0x5b,
  backslash: 0x5c,
  closeBracket: 0x5d,
  openBrace: 0x7b,
  closeBrace: 0x7d,
  letterE: 0x65,
  letterU: 0x75,
} as const;

const powersOfTen = Array.from({ length: 11 }, (_, exponent) => 10n ** BigInt(exponent));

/** What a letter behind a backslash stands for; 0: nothing, or more than a byte (RFC 8259 section 7). */
const simpleEscapes = new Uint8Array(256);
for (const [letter, meaning] of ['""', "\\\\", "//", "b\b", "f\f", "n\n", "r\r", "t\t"]) {
  simpleEscapes[(letter ?? "").charCodeAt(0)] = (meaning ?? "").charCodeAt(0);
}

/**
 * The protobuf form of an ExportTraceServiceRequest in JSON. Throws `MalformedBody`, which names the JSON path and the
 * byte, for what is not JSON, or of another type than the field. What it repairs is counted in `repairs`.
 */
export function jsonToProtobuf(body: Uint8Array, repairs = noRepairs()): Uint8Array {
  return new JsonReader(body, repairs).request();
}

const enumNameCharsMax = 32;
const noBytes = new Uint8Array(0);
/** Where ids are read: they are written before the next one comes. */
const traceId = new Uint8Array(16);
const spanId = new Uint8Array(8);
/** As many make a small integer. */
const highDigits = 9;

class JsonReader {
  readonly #bytes: Uint8Array;
  readonly #writer: WireWriter;
  /** Fields and indices, worded when something is wrong: a body may have millions of elements. */
  readonly #path: (Field | number)[] = [];
  #at = 0;
  /** The last string read, decoded: `#text[#textFrom, #textTo)`. It is the body itself where the string has no escapes. */
  #text: Uint8Array;
  #textFrom = 0;
  #textTo = 0;
  /** Where strings with escapes are decoded. */
  #decoded = new Uint8Array(256);
  #decodedLength = 0;
  /** The last string had half of a surrogate pair. */
  #textRepaired = false;
  readonly #repairs: Repairs;
  /** Whether the whole body is UTF-8: then no string is looked at for it. */
  readonly #isUtf8: boolean;

  constructor(bytes: Uint8Array, repairs: Repairs) {
    // A Buffer's subarrays cost several times those of a plain array.
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#text = this.#bytes;
    this.#repairs = repairs;
    this.#isUtf8 = isUtf8Body(this.#bytes);
    this.#writer = new WireWriter(bytes.length, Math.max(bytes.length, limits.inflatedBytesMax));
    // RFC 8259 lets a reader ignore a byte order mark.
    if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
      this.#at = 3;
    }
  }

  request(): Uint8Array {
    this.#message(requestMessage, 0);
    this.#space();
    if (this.#at < this.#bytes.length) {
      throw this.#malformed("more text after the end of the JSON value");
    }
    return this.#writer.finish();
  }

  #message(message: JsonMessage, valueDepth: number): void {
    this.#space();
    if (this.#null()) {
      return;
    }
    this.#expect(char.openBrace, "an object");
    let seen = 0;
    let oneofSeen = false;
    let before: JsonField | undefined;
    for (let first = true; !this.#closes(char.closeBrace, first); first = false) {
      this.#string();
      const field = this.#fieldNamed(message, before);
      this.#space();
      this.#expect(char.colon, "a colon");
      this.#space();
      if (field === undefined) {
        this.#skip();
        continue;
      }
      before = field;
      this.#path.push(field.field);
      if ((seen & field.bit) !== 0) {
        throw this.#malformed("the field appears twice");
      }
      seen |= field.bit;
      if (!this.#null()) {
        if (field.isOneof) {
          if (oneofSeen) {
            throw this.#malformed("a second value in one AnyValue");
          }
          oneofSeen = true;
        }
        this.#field(field, valueDepth);
      }
      this.#path.pop();
    }
  }

  /** The field that the last string names, behind the field `before`: mostly the one that stood there in the last object. */
  #fieldNamed(message: JsonMessage, before: JsonField | undefined): JsonField | undefined {
    const likely = before === undefined ? message.first : before.next;
    const text = this.#text;
    const from = this.#textFrom;
    const to = this.#textTo;
    if (likely !== undefined && message.isNameOf(likely, text, from, to)) {
      return likely;
    }
    const field = message.named(text, from, to);
    if (field === undefined) {
      return undefined;
    }
    if (before === undefined) {
      message.first = field;
    } else {
      before.next = field;
    }
    return field;
  }

  #field(field: JsonField, valueDepth: number): void {
    if (!field.isMany) {
      this.#value(field, valueDepth);
      return;
    }
    this.#expect(char.openBracket, "an array");
    for (let index = 0; !this.#closes(char.closeBracket, index === 0); index++) {
      this.#path.push(index);
      this.#value(field, valueDepth);
      this.#path.pop();
    }
  }

  #value(field: JsonField, valueDepth: number): void {
    const writer = this.#writer;
    writer.varint(field.tag);
    switch (field.kind) {
      case "message": {
        const start = writer.open();
        const nested = field.message.isAnyValue ? valueDepth + 1 : valueDepth;
        if (nested > limits.depthMax) {
          this.#skipNested();
        } else {
          this.#message(field.message, nested);
        }
        writer.close(start);
        return;
      }
      case "string":
        this.#space();
        if (this.#null()) {
          this.#textTo = this.#textFrom;
        } else {
          this.#string();
        }
        this.#writeText();
        return;
      case "bytes":
        this.#string();
        this.#writeBytes(this.#base64());
        return;
      case "id":
        this.#string();
        this.#writeBytes(this.#id(field.field.name === "trace_id" ? 16 : 8));
        return;
      case "bool":
        writer.byte(this.#bool() ? 1 : 0);
        return;
      case "int64":
        this.#writeInteger(-(2n ** 63n), 2n ** 63n - 1n);
        return;
      case "uint32":
        this.#writeInteger(0n, 2n ** 32n - 1n);
        return;
      case "enum":
        writer.varint64(this.#enum(field.field));
        return;
      case "fixed64":
        this.#writeFixed64();
        return;
      case "fixed32":
        writer.fixed32(Number(this.#integer(0n, 2n ** 32n - 1n)));
        return;
      case "double":
        writer.double(this.#double());
        return;
    }
  }

  #writeText(): void {
    const writer = this.#writer;
    const [text, from, to] = [this.#text, this.#textFrom, this.#textTo];
    if (this.#isUtf8 || isUtf8(text, from, to)) {
      this.#repairs.texts += this.#textRepaired && to > from ? 1 : 0;
      writer.varint(to - from);
      writer.raw(text, from, to);
      return;
    }
    this.#repairs.texts++;
    const start = writer.open();
    writeRepaired(writer, text, from, to);
    writer.close(start);
  }

  #writeBytes(bytes: Uint8Array): void {
    this.#writer.varint(bytes.length);
    this.#writer.raw(bytes, 0, bytes.length);
  }

  // --- values

  #bool(): boolean {
    if (this.#word("true")) {
      return true;
    }
    if (this.#word("false")) {
      return false;
    }
    throw this.#malformed("expected true or false");
  }

  /** The number of an enum's value, which may be given by its name; -1, which has no text, for a name that it lacks. */
  #enum({ valueNames = [] }: Field): bigint {
    const start = this.#at;
    if (this.#bytes[start] === char.quote) {
      this.#string();
      const number =
        this.#textTo - this.#textFrom <= enumNameCharsMax ? valueNames.indexOf(this.#latin1Text()) : -1;
      if (number >= 0) {
        return BigInt(number);
      }
      if (!isDigit(this.#bytes[start + 1] ?? 0)) {
        this.#repairs.enums++;
        return -1n;
      }
      this.#at = start;
    }
    return this.#integer(-(2n ** 31n), 2n ** 31n - 1n);
  }

  /** A varint of an integer between `min` (0 or less) and `max` (2^32 or more, less 1). */
  #writeInteger(min: bigint, max: bigint): void {
    if (this.#digitsAlone()) {
      const { high, low, lowCount } = this.#digits;
      if (lowCount === 0) {
        this.#writer.varint(high); // below 10^9
        return;
      }
      const value = bigintOf(high, low, lowCount);
      if (value > max) {
        throw this.#malformed("integer out of range");
      }
      this.#writer.varint64(value);
      return;
    }
    this.#writer.varint64(this.#integer(min, max));
  }

  #writeFixed64(): void {
    if (!this.#digitsAlone()) {
      this.#writer.fixed64(this.#integer(0n, 2n ** 64n - 1n));
      return;
    }
    // high × 10^n + low in two 32-bit words, each step below 2^53: 10^n has 34 bits at most, high 30, low 34.
    const { high, low, lowCount } = this.#digits;
    const power = 10 ** lowCount;
    const upper = high * Math.floor(power / 0x10000);
    const rest = high * (power % 0x10000) + low + (upper % 0x10000) * 0x10000;
    this.#writer.fixed64Halves(
      rest % 0x1_0000_0000,
      Math.floor(upper / 0x10000) + Math.floor(rest / 0x1_0000_0000),
    );
  }

  /** An integer between `min` and `max`, as a number or a string; `1.0` and `1e3` are integers too. */
  #integer(min: bigint, max: bigint): bigint {
    if (this.#digitsAlone()) {
      const { high, low, lowCount } = this.#digits;
      const value = bigintOf(high, low, lowCount);
      if (value > max) {
        throw this.#malformed("integer out of range");
      }
      return value;
    }
    const text = this.#numberText();
    const parts = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text);
    if (parts === null) {
      throw this.#malformed("expected an integer");
    }
    const [, sign, whole = "", fraction = "", exponent = "0"] = parts;
    const shift = Number(exponent) - fraction.length;
    let digits = `${whole}${fraction}`;
    if (shift < 0) {
      const tail = digits.slice(shift);
      if (/[1-9]/.test(tail) || -shift > numberCharsMax) {
        throw this.#malformed("expected an integer");
      }
      digits = digits.slice(0, shift);
    } else if (/[1-9]/.test(digits)) {
      if (shift > numberCharsMax) {
        throw this.#malformed("integer out of range");
      }
      digits += "0".repeat(shift);
    }
    const value = sign === "-" ? -BigInt(digits || "0") : BigInt(digits || "0");
    if (value < min || value > max) {
      throw this.#malformed("integer out of range");
    }
    return value;
  }

  /** What `#digitsAlone` read: the value is `high` × 10^`lowCount` + `low`; `high` has up to nine digits, `low` up to ten. */
  readonly #digits = { high: 0, low: 0, lowCount: 0 };

  /** Reads an integer of up to 19 digits and nothing else, as nearly all are. False: it is not, and nothing was read. */
  #digitsAlone(): boolean {
    this.#space();
    const bytes = this.#bytes;
    const isQuoted = bytes[this.#at] === char.quote;
    const start = isQuoted ? this.#at + 1 : this.#at;
    let at = start;
    let high = 0;
    let low = 0;
    for (let byte = bytes[at] ?? 0; isDigit(byte); byte = bytes[++at] ?? 0) {
      if (at - start < highDigits) {
        high = high * 10 + byte - char.zero;
      } else {
        low = low * 10 + byte - char.zero;
      }
    }
    const count = at - start;
    const end = bytes[at] ?? 0;
    // Without quotes no digit follows a leading zero, and a point or an exponent makes it another kind of number.
    const isWhole = isQuoted
      ? end === char.quote
      : end !== char.point && (end | 0x20) !== char.letterE && (count === 1 || bytes[start] !== char.zero);
    if (!isWhole || count === 0 || count > 19) {
      return false;
    }
    this.#at = isQuoted ? at + 1 : at;
    const digits = this.#digits;
    digits.high = high;
    digits.low = low;
    digits.lowCount = Math.max(0, count - highDigits);
    return true;
  }

  #double(): number {
    this.#space();
    const short = this.#shortDouble();
    if (short !== undefined) {
      return short;
    }
    const text = this.#numberText();
    switch (text) {
      case "NaN":
        return Number.NaN;
      case "Infinity":
        return Number.POSITIVE_INFINITY;
      case "-Infinity":
        return Number.NEGATIVE_INFINITY;
    }
    const value = /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(text) ? Number(text) : Number.NaN;
    if (!Number.isFinite(value)) {
      throw this.#malformed("expected a number");
    }
    return value;
  }

  /**
   * A number without quotes and exponent, of up to 15 digits. Undefined: it is another, and nothing was read. Exact: the digits as an
   * integer and the power of ten are doubles without loss, and one division rounds once, to the nearest.
   */
  #shortDouble(): number | undefined {
    const bytes = this.#bytes;
    const isNegative = bytes[this.#at] === char.minus;
    const start = isNegative ? this.#at + 1 : this.#at;
    let at = start;
    let digits = 0;
    let byte = bytes[at] ?? 0;
    for (; isDigit(byte); byte = bytes[++at] ?? 0) {
      digits = digits * 10 + byte - char.zero;
    }
    let count = at - start;
    if (count === 0 || (count > 1 && bytes[start] === char.zero)) {
      return undefined;
    }
    let fraction = 0;
    if (byte === char.point) {
      const pointAt = at;
      for (byte = bytes[++at] ?? 0; isDigit(byte); byte = bytes[++at] ?? 0) {
        digits = digits * 10 + byte - char.zero;
      }
      fraction = at - pointAt - 1;
      count += fraction;
      if (fraction === 0) {
        return undefined;
      }
    }
    if (count > 15 || (byte | 0x20) === char.letterE) {
      return undefined;
    }
    this.#at = at;
    const value = fraction === 0 ? digits : digits / 10 ** fraction;
    return isNegative ? -value : value;
  }

  /** The text of a number, with or without quotes. */
  #numberText(): string {
    this.#space();
    if (this.#bytes[this.#at] === char.quote) {
      this.#string();
      if (this.#textTo - this.#textFrom > numberCharsMax) {
        throw this.#malformed("number too long");
      }
      return this.#latin1Text();
    }
    const start = this.#at;
    if (this.#bytes[start] === char.openBrace) {
      throw this.#malformed(
        "expected a number, not an object (a 64-bit number is written as a string of digits)",
      );
    }
    this.#skipNumber();
    if (this.#at - start > numberCharsMax) {
      throw this.#malformed("number too long");
    }
    return latin1(this.#bytes, start, this.#at);
  }

  /** The last string's bytes from hex; other text as id-text.ts marks it, so that the span's refusal can say what came. */
  #id(bytesExpected: 8 | 16): Uint8Array {
    const [text, from, to] = [this.#text, this.#textFrom, this.#textTo];
    if (from === to) {
      return noBytes;
    }
    const id = bytesExpected === traceId.length ? traceId : spanId;
    let isId = to - from === 2 * bytesExpected;
    for (let i = 0; isId && i < bytesExpected; i++) {
      const high = hexDigit(text[from + 2 * i] ?? 0);
      const low = hexDigit(text[from + 2 * i + 1] ?? 0);
      isId = high >= 0 && low >= 0;
      id[i] = (high << 4) | low;
    }
    return isId ? id : markedIdText(text.subarray(from, to));
  }

  /** The last string's bytes from base64, standard or URL-safe, with or without padding. */
  #base64(): Uint8Array {
    const [text, from] = [this.#text, this.#textFrom];
    const padded = this.#textTo - from;
    let length = padded;
    while (length > 0 && length > padded - 2 && text[from + length - 1] === 0x3d) {
      length--;
    }
    if (length % 4 === 1 || (length < padded && padded % 4 !== 0)) {
      throw this.#malformed("expected base64");
    }
    const bytes = new Uint8Array(Math.floor((length * 3) / 4));
    let bits = 0;
    let value = 0;
    let at = 0;
    for (let i = 0; i < length; i++) {
      const digit = base64Digit(text[from + i] ?? 0);
      if (digit < 0) {
        throw this.#malformed("expected base64");
      }
      value = ((value << 6) | digit) & 0xffff;
      bits += 6;
      if (bits >= 8) {
        bits -= 8;
        bytes[at++] = (value >>> bits) & 0xff;
      }
    }
    return bytes;
  }

  // --- JSON

  /** Steps over a value that is nested too deep. `null` and `{}` are not a loss. */
  #skipNested(): void {
    this.#space();
    const start = this.#at;
    this.#skip();
    if (this.#at - start > "null".length) {
      this.#repairs.nested++;
    }
  }

  /** Steps over a value of any kind, by a list of what is open: a body cannot make it overflow the stack. */
  #skip(): void {
    const open: number[] = [];
    this.#skipStart(open);
    while (open.length > 0) {
      const end = open[open.length - 1] ?? 0;
      if (this.#closes(end, this.#isFirst)) {
        open.pop();
        this.#isFirst = false;
        continue;
      }
      if (end === char.closeBrace) {
        this.#string();
        this.#space();
        this.#expect(char.colon, "a colon");
      }
      this.#skipStart(open);
    }
  }

  /** Whether `#skip` is just behind an opening bracket. */
  #isFirst = false;

  /** Steps over a string, a number or a word, or over the bracket that begins an object or array. */
  #skipStart(open: number[]): void {
    this.#space();
    this.#isFirst = false;
    switch (this.#bytes[this.#at]) {
      case char.quote:
        this.#string();
        return;
      case char.openBrace:
      case char.openBracket:
        if (open.length >= skippedDepthMax) {
          throw this.#malformed(`JSON nested deeper than ${skippedDepthMax} levels`);
        }
        open.push(this.#bytes[this.#at] === char.openBrace ? char.closeBrace : char.closeBracket);
        this.#at++;
        this.#isFirst = true;
        return;
      default:
        if (!(this.#word("true") || this.#word("false") || this.#word("null"))) {
          this.#skipNumber();
        }
    }
  }

  /** Whether the object or array ends here; if not, the cursor is at its next member, past the comma. */
  #closes(end: number, first: boolean): boolean {
    this.#space();
    if (this.#bytes[this.#at] === end) {
      this.#at++;
      return true;
    }
    if (!first) {
      this.#expect(char.comma, "a comma");
      this.#space();
    }
    return false;
  }

  /** `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`, RFC 8259 section 6. */
  #skipNumber(): void {
    if (this.#bytes[this.#at] === char.minus) {
      this.#at++;
    }
    if (this.#bytes[this.#at] === char.zero) {
      this.#at++;
    } else {
      this.#skipDigits();
    }
    if (this.#bytes[this.#at] === char.point) {
      this.#at++;
      this.#skipDigits();
    }
    if (((this.#bytes[this.#at] ?? 0) | 0x20) === 0x65) {
      this.#at++;
      const sign = this.#bytes[this.#at];
      if (sign === char.plus || sign === char.minus) {
        this.#at++;
      }
      this.#skipDigits();
    }
  }

  #skipDigits(): void {
    const start = this.#at;
    for (;;) {
      if (!isDigit(this.#bytes[this.#at] ?? 0)) {
        break;
      }
      this.#at++;
    }
    if (this.#at === start) {
      throw this.#malformed("expected a value");
    }
  }

  /** Reads a string, and decodes it where it has escapes. */
  #string(): void {
    this.#space();
    this.#expect(char.quote, "a string");
    const bytes = this.#bytes;
    const start = this.#at;
    const at = this.#endOfPlain(start);
    this.#textRepaired = false;
    if (bytes[at] === char.quote) {
      this.#text = bytes;
      this.#textFrom = start;
      this.#textTo = at;
      this.#at = at + 1;
      return;
    }
    this.#decodedLength = 0;
    this.#stringWithEscapes(start, at);
    this.#text = this.#decoded;
    this.#textFrom = 0;
    this.#textTo = this.#decodedLength;
  }

  /** The position of a string's first byte that does not stand for itself: its end, an escape or a defect. */
  #endOfPlain(start: number): number {
    const bytes = this.#bytes;
    let at = start;
    let byte = bytes[at] ?? 0;
    while (byte >= char.space && byte !== char.quote && byte !== char.backslash) {
      byte = bytes[++at] ?? 0;
    }
    return at;
  }

  /** The rest of a string whose plain part `[start, at)` was seen. */
  #stringWithEscapes(start: number, at: number): void {
    const bytes = this.#bytes;
    for (let [from, to] = [start, at]; ; from = this.#at, to = this.#endOfPlain(from)) {
      this.#at = to;
      this.#decode(from, to);
      if (bytes[to] === char.quote) {
        this.#at++;
        return;
      }
      if (bytes[to] !== char.backslash) {
        throw this.#malformed(to >= bytes.length ? "string without an end" : "control character in a string");
      }
      this.#escape();
    }
  }

  #decode(from: number, to: number): void {
    const count = to - from;
    if (count === 0) {
      return;
    }
    this.#reserveDecoded(count);
    this.#decoded.set(this.#bytes.subarray(from, to), this.#decodedLength);
    this.#decodedLength += count;
  }

  /** Makes room for `count` bytes, and for the rest of the string: a text of 20 MiB is never there twice. */
  #reserveDecoded(count: number): void {
    if (this.#decodedLength + count > this.#decoded.length) {
      const larger = new Uint8Array(this.#decodedLength + count + this.#endOfString() - this.#at);
      larger.set(this.#decoded.subarray(0, this.#decodedLength));
      this.#decoded = larger;
    }
  }

  /** Where the string ends that is read at present: no escape is shorter than what it stands for. */
  #endOfString(): number {
    const bytes = this.#bytes;
    let at = this.#endOfPlain(this.#at);
    while (bytes[at] === char.backslash) {
      at = this.#endOfPlain(at + 2);
    }
    return at;
  }

  #escape(): void {
    const letter = this.#bytes[this.#at + 1] ?? 0;
    const simple = simpleEscapes[letter] ?? 0;
    if (simple !== 0) {
      this.#at += 2;
      this.#reserveDecoded(1);
      this.#decoded[this.#decodedLength++] = simple;
      return;
    }
    if (letter !== char.letterU) {
      throw this.#malformed("unknown escape in a string");
    }
    const unit = this.#unit();
    const isHigh = unit >= 0xd800 && unit <= 0xdbff;
    if (isHigh && this.#bytes[this.#at] === char.backslash && this.#bytes[this.#at + 1] === 0x75) {
      const before = this.#at;
      const low = this.#unit();
      if (low >= 0xdc00 && low <= 0xdfff) {
        this.#appendCodePoint(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
        return;
      }
      this.#at = before;
    }
    // Half of a pair has no UTF-8 form. A protobuf exporter's encoder writes U+FFFD for it, and so do we.
    const isHalf = unit >= 0xd800 && unit <= 0xdfff;
    this.#textRepaired ||= isHalf;
    this.#appendCodePoint(isHalf ? 0xfffd : unit);
  }

  /** The four digits of `\uXXXX`. */
  #unit(): number {
    let unit = 0;
    for (let i = 2; i < 6; i++) {
      const digit = hexDigit(this.#bytes[this.#at + i] ?? 0);
      if (digit < 0) {
        throw this.#malformed("unknown escape in a string");
      }
      unit = unit * 16 + digit;
    }
    this.#at += 6;
    return unit;
  }

  #appendCodePoint(code: number): void {
    this.#reserveDecoded(4);
    const text = this.#decoded;
    if (code < 0x80) {
      text[this.#decodedLength++] = code;
      return;
    }
    if (code < 0x800) {
      text[this.#decodedLength++] = 0xc0 | (code >> 6);
    } else {
      if (code < 0x10000) {
        text[this.#decodedLength++] = 0xe0 | (code >> 12);
      } else {
        text[this.#decodedLength++] = 0xf0 | (code >> 18);
        text[this.#decodedLength++] = 0x80 | ((code >> 12) & 0x3f);
      }
      text[this.#decodedLength++] = 0x80 | ((code >> 6) & 0x3f);
    }
    text[this.#decodedLength++] = 0x80 | (code & 0x3f);
  }

  #null(): boolean {
    return this.#word("null");
  }

  #word(word: string): boolean {
    if (this.#bytes[this.#at] !== word.charCodeAt(0)) {
      return false;
    }
    for (let i = 1; i < word.length; i++) {
      if (this.#bytes[this.#at + i] !== word.charCodeAt(i)) {
        return false;
      }
    }
    this.#at += word.length;
    return true;
  }

  #space(): void {
    for (;;) {
      const byte = this.#bytes[this.#at];
      if (byte !== char.space && byte !== char.newline && byte !== char.return && byte !== char.tab) {
        return;
      }
      this.#at++;
    }
  }

  #expect(byte: number, what: string): void {
    if (this.#bytes[this.#at] !== byte) {
      throw this.#malformed(`expected ${what}`);
    }
    this.#at++;
  }

  #latin1Text(): string {
    return latin1(this.#text, this.#textFrom, this.#textTo);
  }

  #malformed(reason: string): MalformedBody {
    const path = this.#path.map((step) => (typeof step === "number" ? `[${step}]` : `.${step.jsonName}`));
    return new MalformedBody(`$${path.join("")}: ${reason} at byte ${this.#at}`);
  }
}

function bigintOf(high: number, low: number, lowCount: number): bigint {
  return lowCount === 0 ? BigInt(high) : BigInt(high) * (powersOfTen[lowCount] ?? 0n) + BigInt(low);
}

function latin1(bytes: Uint8Array, from: number, to: number): string {
  let text = "";
  for (let at = from; at < to; at++) {
    text += String.fromCharCode(bytes[at] ?? 0);
  }
  return text;
}

function isDigit(code: number): boolean {
  return code >= char.zero && code <= char.nine;
}

/** The value of an ASCII hex digit, or -1. */
function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) {
    return code - 0x30;
  }
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** The value of an ASCII base64 digit of either alphabet, or -1. */
function base64Digit(code: number): number {
  if (code >= 0x41 && code <= 0x5a) {
    return code - 0x41;
  }
  if (code >= 0x61 && code <= 0x7a) {
    return code - 0x47;
  }
  if (code >= 0x30 && code <= 0x39) {
    return code + 4;
  }
  if (code === 0x2b || code === 0x2d) {
    return 62;
  }
  return code === 0x2f || code === 0x5f ? 63 : -1;
}
