/** How the terminal of `npm run dev` shows things that are repeated. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { collapseLines, kindsMax } from "../../dev/collapse-lines.ts";
import { firstSpansText, jsonLine, readableLine, refusedLine } from "../../dev/readable-log.ts";
import { grpcRefusal } from "../../dev/refuse-grpc.ts";

let printed: string[] = [];
let lines: ReturnType<typeof collapseLines>;

beforeEach(() => {
  vi.useFakeTimers();
  printed = [];
  lines = collapseLines((text) => printed.push(text));
});

afterEach(() => {
  lines.stop();
  vi.useRealTimers();
});

const noMetrics =
  "Headrace takes traces at /v1/traces; it does not take metrics. Set OTEL_METRICS_EXPORTER=none in the exporter.";

/** As the ingress writes it: the first of a report's period, and how many came besides. */
function refusal(reason: string, message: string, repeated?: number): string {
  return JSON.stringify({ outcome: "unsupported", reason, message, repeated });
}

test("metrics that are refused are the sentence of what to set once, and then a count", () => {
  lines.add(readableLine("warn", refusal("unknown_path", noMetrics)));
  expect(printed).toEqual([`metrics refused: ${noMetrics}`]);
  lines.add(readableLine("warn", refusal("unknown_path", noMetrics, 5)));
  lines.add(readableLine("warn", refusal("unknown_path", noMetrics)));
  vi.advanceTimersByTime(10_000);
  expect(printed.slice(1)).toEqual(["metrics refused, 7 times"]);
});

test("what goes on is reported ever more seldom, and what has stopped counts as new again", () => {
  const add = () => lines.add(refusedLine("gRPC", "grpc", "Set what is right."));
  for (let second = 0; second < 3600; second += 5) {
    add();
    vi.advanceTimersByTime(5000);
  }
  expect(printed).toEqual([
    "gRPC refused: Set what is right.",
    ...[2, 8, 26, 80, 200, 320, 440, 560, 680].map((all) => `gRPC refused, ${all} times`),
  ]);
  vi.advanceTimersByTime(20 * 60_000);
  printed = [];
  add();
  expect(printed).toEqual(["gRPC refused: Set what is right."]);
});

test("a flood of lines that all differ is a few lines", () => {
  for (let n = 0; n < 1000; n++) {
    lines.add(readableLine("warn", refusal("unknown_path", `Nothing is at /${n}`)));
  }
  expect(printed).toHaveLength(kindsMax + 1);
  vi.advanceTimersByTime(10_000);
  expect(printed.slice(kindsMax + 1)).toEqual([`… ${1000 - kindsMax} other lines`]);
});

test("each line of a Worker's log is one that a person can read", () => {
  const firstOf = (level: string, fields: object | string) =>
    readableLine(level, typeof fields === "string" ? fields : JSON.stringify(fields)).first;
  expect(
    firstOf("warn", { outcome: "unauthenticated", reason: "unknown_key", message: "No such key." }),
  ).toBe("request refused, unknown key: No such key.");
  const group = "0123456789abcdef0123456789abcdef";
  const attempt = { outcome: "retry", group, attempt: 3, payloads: 1, spans: 12 };
  expect(firstOf("warn", { ...attempt, reason: "ClickHouse: connection refused" })).toBe(
    "warning: 1 payload with 12 spans not stored yet (retry, ClickHouse: connection refused); retrying",
  );
  expect(
    firstOf("error", {
      finding: "breaker_open",
      state: "open",
      severity: "page",
      subject: "ledger",
      message: "Down.",
    }),
  ).toBe("error: finding breaker_open (open, page): Down.");
  expect(
    firstOf("warn", { message: "a quota notice was not taken", tenant: "dev", error: "Error: gone" }),
  ).toBe("warning: a quota notice was not taken: tenant dev, error Error: gone");
  expect(firstOf("warn", { outcome: "empty", inflatedBytes: 0 })).toBe(
    "warning: outcome empty, inflatedBytes 0",
  );
  expect(firstOf("warn", "ClickHouse's process ended (SIGKILL); starting it again")).toBe(
    "warning: ClickHouse's process ended (SIGKILL); starting it again",
  );
});

test("attempts of a group that fail for one reason are one line, whichever attempt it is", () => {
  for (let attempt = 1; attempt < 6; attempt++) {
    const fields = { outcome: "retry", group: "a", attempt, payloads: 1, spans: 2, reason: "refused" };
    lines.add(readableLine("warn", JSON.stringify(fields)));
  }
  expect(printed).toHaveLength(1);
});

test("what an exporter sent neither moves the cursor nor turns the line around", () => {
  const hostile = "Nothing is at /\u001b[2J\u009b31m\u202egnp.exe\nHeadrace is fine";
  const { first } = readableLine("warn", refusal("unknown_path", hostile));
  expect(first).toBe("request refused, unknown path: Nothing is at /�[2J�31m�gnp.exe�Headrace is fine");
  expect([...readableLine("warn", "x".repeat(5000)).first]).toHaveLength(500);
});

test("a program that reads gets one JSON object a line, with its level", () => {
  expect(JSON.parse(jsonLine("warn", refusal("unknown_path", noMetrics)))).toEqual({
    level: "warn",
    outcome: "unsupported",
    reason: "unknown_path",
    message: noMetrics,
  });
  expect(JSON.parse(jsonLine("warn", "no JSON"))).toEqual({ level: "warn", message: "no JSON" });
});

test("docs/local.md shows what is printed", () => {
  const documented = readFileSync(join(import.meta.dirname, "../../docs/local.md"), "utf8");
  const trace = "5b8efff798038103d269b633813fc60c";
  const metrics = readableLine("warn", refusal("unknown_path", noMetrics));
  const lines = [
    firstSpansText(
      { service: "checkout", spans: 12, span: "POST /orders", ms: 41.2, trace },
      "http://127.0.0.1:4319/#…",
    ),
    metrics.first,
    metrics.again(7),
    refusedLine("gRPC", "grpc", grpcRefusal("", "http://127.0.0.1:4318")).first,
  ];
  expect(documented).toContain(`\n\`\`\`\n${lines.join("\n")}\n\`\`\`\n`);
});
