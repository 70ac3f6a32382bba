import { describe, expect, test } from "vitest";
import { type Answer, verdict } from "../../shared/clickhouse/errors.ts";
import { elsewhereText, lateText } from "../../shared/clickhouse/table-fence.ts";

const answer = (changed: Partial<Answer>): Answer => ({
  httpStatus: 200,
  exceptionCode: null,
  text: "",
  clickHouseHeaders: true,
  ...changed,
});
const exception = (code: number, text: string) =>
  answer({ httpStatus: 500, exceptionCode: String(code), text: `Code: ${code}. DB::Exception: ${text}` });

describe("stored", () => {
  test("is a 200 with ClickHouse's own headers and no exception", () => {
    expect(verdict(answer({}))).toEqual({ class: "stored", reason: "" });
  });

  test("is not a 200 of something in between", () => {
    const html = answer({ clickHouseHeaders: false, text: "<html>Just a moment…</html>" });
    expect(verdict(html)).toMatchObject({
      class: "unknown",
      reason: expect.stringContaining("Just a moment"),
    });
  });

  test("is not a 200 whose body holds an exception", () => {
    const late = answer({ text: "Code: 241. DB::Exception: Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)" });
    expect(verdict(late)).toMatchObject({ class: "retry", code: 241 });
  });
});

test.each([
  [201, "retry"],
  [202, "retry"],
  [242, "retry"],
  [243, "retry"],
  [285, "retry"],
  [286, "retry"],
  [289, "retry"],
  [216, "unknown"],
  [319, "unknown"],
  [341, "unknown"],
  [735, "unknown"],
  [344, "halted"],
  [452, "halted"],
  [159, "unknown"],
  [395, "unknown"],
  [117, "refused"],
  [469, "refused"],
  [60, "halted"],
  [516, "halted"],
  [115, "halted"],
] as const)("code %i is %s, whatever the status", (code, expected) => {
  expect(verdict(exception(code, "…")).class).toBe(expected);
  expect(verdict({ ...exception(code, "…"), httpStatus: 404, exceptionCode: null }).class).toBe(expected);
});

test("code 395 is our own fence's by its text, and then nothing was stored; any other is unknown", () => {
  const late = exception(395, `${lateText}: while executing 'FUNCTION throwIf(...)'`);
  expect(verdict(late)).toMatchObject({ class: "retry", late: true });
  expect(verdict(exception(395, "Value passed to 'throwIf' function is non-zero"))).toMatchObject({
    class: "unknown",
  });
});

test("of two fences' texts the first one counts: ClickHouse quotes the functions with both", () => {
  const late = exception(395, `${lateText}: while executing 'FUNCTION and(throwIf(…, '${elsewhereText}'))'`);
  expect(verdict(late)).toMatchObject({ class: "retry", late: true });
  const elsewhere = exception(395, `${elsewhereText}: while executing 'FUNCTION throwIf(…, '${lateText}')'`);
  expect(verdict(elsewhere)).toMatchObject({ class: "halted", elsewhere: true });
  const view = exception(395, `a view's own: while executing 'FUNCTION throwIf(…, '${lateText}')'`);
  expect(verdict(view)).toEqual(expect.objectContaining({ class: "unknown" }));
});

test("code 252 is back-pressure or the data's fault by its text", () => {
  expect(
    verdict(exception(252, "Too many parts (3000). Merges are processing slower than inserts")),
  ).toMatchObject({
    class: "retry",
  });
  expect(
    verdict(exception(252, "Too many partitions for single INSERT block (more than 100).")),
  ).toMatchObject({
    class: "refused",
  });
});

test("a code in no list is unknown and says so, never a drop", () => {
  expect(verdict(exception(4711, "something new"))).toMatchObject({
    class: "unknown",
    code: 4711,
    unlisted: true,
  });
});

test("an error status without a code or headers is unknown; a closed door is everybody's", () => {
  const from = (httpStatus: number) => verdict(answer({ httpStatus, clickHouseHeaders: false })).class;
  expect([502, 503, 504, 429, 500].map(from)).toEqual(Array(5).fill("unknown"));
  expect([401, 403, 404].map(from)).toEqual(Array(3).fill("halted"));
});

test("a redirect is everybody's, and names where it leads: nothing was sent on", () => {
  for (const httpStatus of [301, 302, 303, 307, 308]) {
    const judged = verdict(
      answer({ httpStatus, clickHouseHeaders: false, text: "https://login.example.com/" }),
    );
    expect(judged).toMatchObject({
      class: "halted",
      reason: expect.stringMatching(/set CLICKHOUSE_URL .*https:\/\/login\.example\.com\//),
    });
  }
});

test("code 452 halts with the setting's name", () => {
  const text = "Setting max_execution_time shouldn't be greater than 10. (SETTING_CONSTRAINT_VIOLATION)";
  expect(verdict(exception(452, text))).toMatchObject({
    class: "halted",
    reason: expect.stringContaining("max_execution_time"),
  });
});
