import { expect, test } from "vitest";
import { limits } from "../../shared/limits.ts";
import { RepeatedLines } from "../../shared/repeated-lines.ts";

const refused = { outcome: "malformed", reason: "corrupt_body", message: "no protobuf" };

test("a line is written once per period, and then how often it was repeated", () => {
  const lines = new RepeatedLines();
  expect(lines.add(refused)).toEqual(refused);
  for (let i = 0; i < 4999; i++) {
    expect(lines.add(refused)).toBeUndefined();
  }
  const alone = { outcome: "unauthorized", reason: "missing_key", message: "no key" };
  expect(lines.add(alone)).toEqual(alone);
  expect(lines.end()).toEqual([{ ...refused, repeated: 4999 }]);
  expect(lines.end()).toEqual([]);
  expect(lines.add(refused)).toEqual(refused);
});

test("lines that all differ are bounded too, and all are counted", () => {
  const lines = new RepeatedLines();
  const written = Array.from({ length: 5000 }, (_, i) =>
    lines.add({ ...refused, message: `no protobuf at byte ${i}` }),
  ).filter((line) => line !== undefined);
  expect(written).toHaveLength(limits.logLinesAPeriod + 1);
  const again = lines.end();
  expect(again).toHaveLength(1);
  expect(again[0]).toMatchObject({ ...refused, message: expect.any(String) });
  expect(written.length + Number(again[0]?.["repeated"])).toBe(5000);
});
