import { expect, test } from "vitest";
import { Random } from "../../bench/random.ts";
import { Dictionary } from "../../shared/rows/dictionary.ts";
import { sortedByKey } from "../../shared/rows/sort-keys.ts";

/** The order of these keys, and whether it is the one that a stable sort by bytes gives. */
function sort(texts: readonly Uint8Array[]): { order: number[]; wanted: number[] } {
  const dictionary = new Dictionary();
  const keys = Int32Array.from(texts, (text) =>
    dictionary.intern(text, new DataView(text.buffer, text.byteOffset, text.byteLength), 0, text.byteLength),
  );
  const wanted = texts
    .map((text, i) => ({ text, i }))
    .sort((a, b) => Buffer.compare(a.text, b.text))
    .map(({ i }) => i);
  return { order: [...sortedByKey(dictionary, keys)], wanted };
}

test("keys are sorted as bytes, the shorter first, equal ones in wire order: few and many, alike and not", () => {
  const random = new Random(5);
  for (const alphabet of [1, 2, 26, 256]) {
    for (const count of [0, 1, 2, 23, 24, 25, 60, 1000, 1500]) {
      for (const lengthMax of [1, 4, 40]) {
        const start = Uint8Array.from({ length: random.below(30) }, () => random.below(256));
        const texts = Array.from({ length: count }, () =>
          Uint8Array.of(
            ...start,
            ...Array.from({ length: random.below(lengthMax + 1) }, () => 255 - random.below(alphabet)),
          ),
        );
        const { order, wanted } = sort(texts);
        expect(order, `${count} keys of ${alphabet} letters`).toEqual(wanted);
      }
    }
  }
});

test("keys that begin alike for 200 KB, and a key that is the beginning of the next, cost what they are long", () => {
  const long = Array.from({ length: 16 }, (_, i) => {
    const key = new Uint8Array(200_000).fill(97);
    key[key.length - 1] = 200 - i;
    return key;
  });
  const nested = Array.from({ length: 1500 }, (_, i) => new Uint8Array(1500 - i).fill(98));
  for (const texts of [long, nested]) {
    const dictionary = new Dictionary();
    const keys = Int32Array.from(texts, (text) =>
      dictionary.intern(text, new DataView(text.buffer), 0, text.length),
    );
    const before = process.cpuUsage().user;
    const order = sortedByKey(dictionary, keys);
    expect((process.cpuUsage().user - before) / 1000, "ms").toBeLessThan(1000);
    expect([...order]).toEqual(texts.map((_, i) => texts.length - 1 - i));
  }
});
