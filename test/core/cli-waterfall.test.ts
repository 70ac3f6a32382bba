/** A trace in the terminal: where bars lie, what is marked and said, and that text of others stays text. */
import { expect, test } from "vitest";
import { printableText, shortText } from "../../cli/printable-text.ts";
import { spanLines } from "../../cli/span-text.ts";
import { payloadLines, waterfall } from "../../cli/waterfall.ts";
import type { Trace, TraceSpan } from "../../shared/console/traces.ts";

function span(
  spanId: string,
  parentSpanId: string,
  startNs: number,
  durationNs: number,
  more: Partial<TraceSpan> = {},
): TraceSpan {
  return {
    spanId,
    parentSpanId,
    startNs,
    durationNs,
    service: "shop",
    name: `span ${spanId}`,
    kind: "Server",
    status: "Unset",
    statusMessage: "",
    scope: "",
    payload: null,
    resource: 0,
    eventsCount: 0,
    linksCount: 0,
    attributesCount: 0,
    attributes: [],
    events: [],
    links: [],
    ...more,
  };
}

function trace(spans: readonly TraceSpan[], durationNs = 100e6): Trace {
  return {
    traceId: "0".repeat(32),
    tenant: null,
    tenants: ["acme"],
    start: "2026-11-27T00:00:00.000000000Z",
    durationNs,
    spansCount: spans.length,
    errorsCount: 0,
    spans: [...spans],
    resources: [],
    payloads: [],
    spansUnlisted: 0,
    spansOfOthers: 0,
    notes: [],
  };
}

test("a child is below its parent, its bar where it lies in the trace's time", () => {
  const lines = waterfall(
    trace([span("a", "", 0, 100e6), span("b", "a", 50e6, 25e6, { status: "Error" })]),
    80,
    10,
  );
  expect(lines[0]).toMatch(/^shop {5}span a +\S+ +100 ms$/);
  expect(lines[1]).toMatch(/^shop {7}✗ span b +█+ +25 ms$/);
  const [, width = 0] = [0, (lines[0] ?? "").indexOf(" 100 ms")];
  expect((lines[1] ?? "").indexOf("█")).toBeGreaterThan((lines[0] ?? "").indexOf("█") + (width - 40) / 4);
});

test("missing parents, cycles, repeated ids and clocks that disagree are marked and explained", () => {
  const text = waterfall(
    trace([
      span("a", "", 10e6, 50e6),
      span("b", "a", 5e6, 1e6),
      span("c", "gone", 0, 1e6),
      span("d", "e", 0, 1e6),
      span("e", "d", 1e6, 1e6),
      span("a", "", 20e6, 1e6),
    ]),
    100,
    100,
  ).join("\n");
  expect(text).toContain("(gone: missing parent)");
  expect(text).toMatch(/« span b/);
  expect(text).toMatch(/↻ span d/);
  expect(text).toMatch(/= span a/);
  expect(text).toMatch(/1 parent of spans is missing/);
  expect(text).toMatch(/↻ 1 cycle of parents/);
  expect(text).toMatch(/« 1 span that begins before the parent: the clocks/);
  expect(text).toMatch(/= 1 span with an id that another span has/);
});

test("a span without a name says so", () => {
  expect(waterfall(trace([span("a", "", 0, 1, { name: "" })]), 80, 10)[0]).toMatch(/^shop {5}\(no name\)/);
});

test("a trace without a root, one of no length, and one of 10,000 spans in a chain are shown", () => {
  expect(waterfall(trace([span("b", "gone", 0, 1)]), 80, 10).join("\n")).toMatch(/The root span is missing/);
  expect(waterfall(trace([span("a", "", 0, 0)], 0), 80, 10)[0]).toMatch(/0 ns$/);
  const chain = Array.from({ length: 10_000 }, (_, n) =>
    span(`s${n}`, n === 0 ? "" : `s${n - 1}`, n, 10_000 - n),
  );
  const lines = waterfall(trace(chain, 10_000), 80, 200);
  expect(lines[200]).toMatch(/and 9800 further lines/);
  expect(Math.max(...lines.slice(0, 200).map((line) => line.length))).toBeLessThan(100);
});

test("hostile text moves no cursor and turns no writing", () => {
  const hostile = "\u001b[2J\u001b]0;title\u0007\r\n\u202eevil\u2028";
  expect(printableText(hostile)).toBe("\ufffd[2J\ufffd]0;title\ufffd\ufffd\ufffd\ufffdevil\ufffd");
  expect(shortText("ab\u{1f600}cd", 4)).toBe("ab\u{1f600}…");
  const [line = ""] = waterfall(trace([span("a", "", 0, 1, { name: hostile, service: hostile })]), 80, 10);
  expect(line).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}]/u);
});

test("what brought the spans is a line per payload, with how it ended", () => {
  const lines = payloadLines(
    {
      ...trace([]),
      spansOfOthers: 2,
      payloads: [
        { payload: "p1", tenant: "acme", spans: 3, spansInAll: 512, keys: [], receipts: [] },
        {
          payload: "p2",
          tenant: "acme",
          spans: 1,
          spansInAll: 1,
          keys: ["k"],
          receipts: [
            {
              key: "k",
              arrival: "2026-11-27T00:01:00.000Z",
              outcome: "stored",
              group: "f1",
              reason: "",
              at: "2026-11-27T00:01:02.000Z",
            },
          ],
        },
      ],
    },
    1,
  );
  expect(lines).toEqual([
    "payload p1 of acme: 3 of its 512 spans; no receipt yet",
    "… and 1 further payload",
    "2 spans came another way (the Collector's exporter)",
  ]);
});

test("one span says all that it has, a stack in its lines, and what is hostile in it is text", () => {
  const attributesCount = 1;
  const lines = spanLines({
    traceId: "0".repeat(32),
    start: "2026-11-27T00:00:00.000000000Z",
    spans: [
      span("a", "", 5e6, 1e6, {
        status: "Error",
        statusMessage: "it\u001b[31m failed",
        attributes: [["empty", ""]],
        attributesCount: 3,
        events: [
          {
            startNs: 4e6,
            name: "exception",
            attributes: [["exception.stacktrace", "at a\nat b"]],
            attributesCount,
          },
        ],
        links: [{ traceId: "1".repeat(32), spanId: "2".repeat(16), attributes: [], attributesCount: 0 }],
      }),
    ],
    resources: [{ service: "shop", attributes: [["service.name", "shop"]], attributesCount }],
    payloads: [],
    notes: [],
  });
  expect(lines).toEqual([
    "span a of shop: span a",
    "begins 5 ms after the trace's, takes 1 ms",
    "  kind = Server",
    "  status = Error: it\uFFFD[31m failed",
    "another exporter wrote it",
    "event exception, 1 ms before the span's begin",
    "  exception.stacktrace = at a",
    "      at b",
    `link to trace ${"1".repeat(32)}, span ${"2".repeat(16)}`,
    "3 attributes",
    "  empty = ",
    "  … and 2 more in the table",
    "1 resource attribute",
    "  service.name = shop",
    "",
  ]);
});
