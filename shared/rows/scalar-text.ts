/**
 * The text of the values that stand in nearly every span beside strings, written where it is to stand: bools, doubles,
 * and integers from 0 to 2^28. `value-text.ts` knows all values and gives the same text.
 */
import { tags } from "../otlp/fields.ts";
import type { ByteSink } from "./byte-sink.ts";
import { copyWords } from "./copy-bytes.ts";
import { DoubleTexts } from "./double-texts.ts";

/** What must be reserved: a length and the longest double. */
export const scalarReserve = 25;

/** "true" and "false" behind their lengths, as little-endian words. */
const lengthAndTru = 0x75727404;
const letterE = 0x65;
const lengthAndFal = 0x6c616605;
const lettersSe = 0x6573;
const zero = 0x30;
/** For each number below 100 its two digits, the first in the low half. */
const digitPairs = Uint16Array.from(
  { length: 100 },
  (_, n) => ((n % 10) + zero) * 256 + (Math.floor(n / 10) + zero),
);

const doubles = new DoubleTexts();

/**
 * Appends the String for the AnyValue in `bytes[from, to)`, in whose sink `scalarReserve` bytes are reserved. Returns
 * false, and appends nothing, where the value is of another kind.
 */
export function scalarUnchecked(
  sink: ByteSink,
  bytes: Uint8Array,
  view: DataView,
  from: number,
  to: number,
): boolean {
  const first = bytes[from + 1] ?? 0;
  if (bytes[from] === tags.anyValue.int) {
    if (to - from > 5 || to - from < 2) {
      return false;
    }
    if (first < 10 && to - from === 2) {
      sink.view.setInt16(sink.at, 1 | ((zero + first) << 8), true);
      sink.at += 2;
      return true;
    }
    let value = first & 0x7f;
    let more = first;
    for (let at = from + 2; at < to; at++) {
      if (more < 0x80) {
        return false;
      }
      more = bytes[at] ?? 0;
      value |= (more & 0x7f) << (7 * (at - from - 1));
    }
    if (more >= 0x80) {
      return false;
    }
    digitsUnchecked(sink, value);
    return true;
  }
  if (bytes[from] === tags.anyValue.bool && to - from === 2 && first < 2) {
    const { view: target, at } = sink;
    const four = first === 1 ? lengthAndTru : lengthAndFal;
    const two = first === 1 ? letterE : lettersSe;
    target.setInt32(at, four, true);
    target.setInt16(at + 4, two, true);
    sink.at = at + (first === 1 ? 5 : 6);
    return true;
  }
  if (bytes[from] === tags.anyValue.double && to - from === 9) {
    const { texts } = doubles;
    const found = doubles.find(view, from + 1);
    copyWords(sink.view, sink.at, texts, found, scalarReserve);
    sink.at += 1 + texts.getUint8(found);
    return true;
  }
  return false;
}

/** Appends the decimal digits of `value`, below 10^9, behind their count. */
function digitsUnchecked(sink: ByteSink, value: number): void {
  const { view, at } = sink;
  let count = 1;
  for (let limit = 10; limit <= value; limit *= 10) {
    count++;
  }
  view.setUint8(at, count);
  let end = at + 1 + count;
  sink.at = end;
  let rest = value;
  while (rest >= 10) {
    const hundreds = (rest / 100) | 0;
    end -= 2;
    view.setUint16(end, digitPairs[rest - hundreds * 100] ?? 0, true);
    rest = hundreds;
  }
  // A single first digit is left when the count is odd; otherwise `rest` is 0 and nothing is.
  if ((count & 1) === 1) {
    view.setUint8(end - 1, zero + rest);
  }
}
