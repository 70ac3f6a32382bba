/**
 * The text of the two kinds of value that stand in nearly every span beside strings, written where it is to stand:
 * bools, and integers from 0 to 2^28. `value-text.ts` knows all values and gives the same text.
 */
import { tags } from "../otlp/fields.ts";
import type { ByteSink } from "./byte-sink.ts";

/** What must be reserved: a length and nine digits. */
export const scalarReserve = 10;

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

/**
 * Appends the String for the AnyValue in `bytes[from, to)`, in whose sink `scalarReserve` bytes are reserved. Returns
 * false, and appends nothing, where the value is of another kind.
 */
export function scalarReserved(sink: ByteSink, bytes: Uint8Array, from: number, to: number): boolean {
  const first = bytes[from + 1] ?? 0;
  if (bytes[from] === tags.anyValue.int) {
    if (to - from > 5 || to - from < 2) {
      return false;
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
    digitsReserved(sink, value);
    return true;
  }
  if (bytes[from] === tags.anyValue.bool && to - from === 2 && first < 2) {
    const { view, at } = sink;
    view.setInt32(at, first === 1 ? lengthAndTru : lengthAndFal, true);
    view.setInt16(at + 4, first === 1 ? letterE : lettersSe, true);
    sink.at = at + (first === 1 ? 5 : 6);
    return true;
  }
  return false;
}

/** Appends the decimal digits of `value`, below 10^9, behind their count. */
function digitsReserved(sink: ByteSink, value: number): void {
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
