import { expect, test } from "vitest";
import { metricsText } from "../../shared/console/metrics-text.ts";
import { readExposition } from "../console/exposition.ts";

test("metrics are what Prometheus' text format says, whatever a label or a help contains", () => {
  const label = 'a"b\\c\nd,e="f"} 1';
  const text = metricsText([
    { name: "headrace_x", type: "gauge", help: "A \\ and\na line.", samples: [{ value: 0.5 }] },
    {
      name: "headrace_y_total",
      type: "counter",
      help: "Y",
      samples: [
        { labels: { tenant: label, ring: "" }, value: 1e21 },
        { labels: { tenant: "ü", ring: "event" }, value: Number.POSITIVE_INFINITY },
      ],
    },
    { name: "headrace_unknown", type: "gauge", help: "Left out: nobody knows it.", samples: [] },
  ]);
  expect(readExposition(text)).toEqual([
    { name: "headrace_x", type: "gauge", labels: {}, value: 0.5 },
    { name: "headrace_y_total", type: "counter", labels: { tenant: label, ring: "" }, value: 1e21 },
    {
      name: "headrace_y_total",
      type: "counter",
      labels: { tenant: "ü", ring: "event" },
      value: Number.POSITIVE_INFINITY,
    },
  ]);
  expect(text).not.toContain("headrace_unknown");
});

test("a repeated series, or a counter by another name, is a bug and not an answer", () => {
  const family = { name: "headrace_x", type: "gauge", help: "X", samples: [{ value: 1 }] } as const;
  expect(() => metricsText([family, family])).toThrow("a family appears once");
  expect(() => metricsText([{ ...family, samples: [{ value: 1 }, { value: 2 }] }])).toThrow(
    "a series appears once",
  );
  expect(() => metricsText([{ ...family, type: "counter" }])).toThrow("_total");
});
