import { describe, expect, test } from "vitest";
import { AttributeScan } from "../../shared/otlp/attribute-scan.ts";
import { Dictionary } from "../../shared/rows/dictionary.ts";
import { type KeyOrder, KeyShapes } from "../../shared/rows/key-shapes.ts";
import { keyValue, value } from "../fixtures/protobuf.ts";

/** Attributes with these keys. */
function scanOf(keys: readonly string[]): { bytes: Uint8Array; view: DataView; scan: AttributeScan } {
  const parts = keys.map((key) => Uint8Array.from(keyValue(key, value.string("v"))));
  const bytes = Uint8Array.from(Buffer.concat(parts));
  const scan = new AttributeScan();
  let at = 0;
  for (const part of parts) {
    scan.add(bytes, at, at + part.length);
    at += part.length;
  }
  return { bytes, view: new DataView(bytes.buffer), scan };
}

class Column {
  readonly dictionary = new Dictionary();
  readonly shapes = new KeyShapes(this.dictionary);

  /** The keys of a message in the order in which the row has them. */
  row(keys: readonly string[]): string[] {
    const { bytes, view, scan } = scanOf(keys);
    const order: KeyOrder = this.shapes.orderOf(bytes, view, scan);
    return Array.from(order.keys, (key, i) => {
      expect(order.narrowKeys.getUint8(i)).toBe(key & 0xff);
      const at = this.dictionary.keyAt[key] ?? 0;
      return Buffer.from(
        this.dictionary.bytes.subarray(at, at + (this.dictionary.keyLength[key] ?? 0)),
      ).toString();
    });
  }
}

describe("a row's keys", () => {
  test("are the message's own, however many other keys and sequences came before", () => {
    const column = new Column();
    for (let i = 0; i < 700; i++) {
      expect(column.row([`first-key-${i}`])).toEqual([`first-key-${i}`]);
    }
    // The first and the second time, and in a block whose dictionary numbers them anew.
    for (let time = 0; time < 3; time++) {
      for (let i = 0; i < 700; i++) {
        const keys = [`key-${i}`, "b", `a-key-of-${i % 70}`];
        expect(column.row(keys)).toEqual(keys.toSorted());
      }
      if (time === 1) {
        column.dictionary.truncate(0);
        column.shapes.forgetNumbers();
        column.row(["z", "y"]);
      }
    }
  });

  test("are told apart when one begins like the other, whatever their lengths", () => {
    const column = new Column();
    const keys = Array.from({ length: 40 }, (_, i) => "k".repeat(i));
    for (const key of [...keys, ...keys.map((key) => `${key}!`), ...keys]) {
      expect(column.row([key])).toEqual([key]);
    }
  });

  test("of more sequences than are remembered are still sorted", () => {
    const column = new Column();
    for (let i = 0; i < 10_000; i++) {
      expect(column.row([`z${i}`, `a${i}`])).toEqual([`a${i}`, `z${i}`]);
    }
    const many = Array.from({ length: 200 }, (_, i) => `key-${(i * 37) % 200}`);
    expect(column.row(many)).toEqual(many.toSorted());
    const long = [`z${"x".repeat(600)}`, "a"];
    expect(column.row(long)).toEqual(long.toSorted());
  });
});
