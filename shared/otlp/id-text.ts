/**
 * How the text of an id that is not hex of the right length travels from the JSON reader to the span check, in the bytes
 * where the id would stand: a mark that begins no text (0xff), and the text. The mark is doubled where the whole would
 * else be as long as an id, so that such a text is never taken for one.
 *
 * `"traceId":"abc"` → `ff 61 62 63`.
 */
import { isUtf8 } from "./utf8.ts";

const mark = 0xff;
const idLengths = [8, 16];
const charsShown = 40;

export function markedIdText(text: Uint8Array): Uint8Array {
  const marks = idLengths.includes(text.length + 1) ? 2 : 1;
  const marked = new Uint8Array(marks + text.length).fill(mark, 0, marks);
  marked.set(text, marks);
  return marked;
}

/** What was sent as an id of a wrong length: `"W47/9…==" is 24 characters, not 32 hex digits`. */
export function wrongId(bytes: Uint8Array, at: number, length: number, expectedBytes: number): string {
  const text = textOf(bytes.subarray(at, at + length));
  if (text === undefined) {
    return length === 0 ? "is missing" : `is ${length} bytes, not ${expectedBytes}`;
  }
  const shown = new TextDecoder().decode(text.subarray(0, charsShown));
  let chars = 0;
  for (const byte of text) {
    chars += (byte & 0xc0) === 0x80 ? 0 : 1;
  }
  const digits = 2 * expectedBytes;
  const what = chars === digits ? `${chars} characters that are not all hex digits` : `${chars} characters`;
  return `${JSON.stringify(text.length > charsShown ? `${shown}…` : shown)} is ${what}, not ${digits} hex digits`;
}

/** The marked text, or undefined for bytes that are none. */
function textOf(bytes: Uint8Array): Uint8Array | undefined {
  if (bytes[0] !== mark) {
    return undefined;
  }
  const text = bytes.subarray(bytes[1] === mark ? 2 : 1);
  return isUtf8(text, 0, text.length) ? text : undefined;
}
