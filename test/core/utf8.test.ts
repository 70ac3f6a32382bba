import { describe, expect, test } from "vitest";
import { Random } from "../../bench/random.ts";
import { isUtf8, isUtf8Body } from "../../shared/otlp/utf8.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What the platform's own decoder says. */
function isDecoded(bytes: Uint8Array): boolean {
  try {
    decoder.decode(bytes);
    return true;
  } catch {
    return false;
  }
}

describe("whether bytes are UTF-8", () => {
  test("is said as the platform's decoder says it, of a text and of a whole body at any offset", () => {
    const random = new Random(7);
    const text = new TextEncoder().encode("abcdefgh é € 😀 ﷐ \u0000 日本 z");
    let [right, wrong] = [0, 0];
    for (let i = 0; i < 20_000; i++) {
      const offset = random.below(5);
      const bytes = new Uint8Array(offset + text.length).subarray(offset);
      bytes.set(text);
      for (let k = random.below(3); k > 0; k--) {
        bytes[random.below(bytes.length)] = random.below(256);
      }
      const part = bytes.subarray(0, random.below(bytes.length + 1));
      const expected = isDecoded(part);
      expected ? right++ : wrong++;
      if (isUtf8(part, 0, part.length) !== expected || isUtf8Body(part) !== expected) {
        expect.fail(`${[...part]} at ${part.byteOffset} is ${expected ? "" : "not "}UTF-8`);
      }
    }
    expect(Math.min(right, wrong), "both were tried").toBeGreaterThan(2000);
  });
});
