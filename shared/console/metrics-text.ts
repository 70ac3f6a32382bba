/**
 * Prometheus' text format, version 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats): families with their
 * help and type, each series once. Pure.
 */
import { assert } from "../assert.ts";

export interface MetricSample {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface MetricFamily {
  /** Base units last (`_seconds`, `_bytes`); a counter's name ends in `_total`. */
  readonly name: string;
  readonly type: "gauge" | "counter";
  readonly help: string;
  /** None: the family is left out, for what is not known is not 0. */
  readonly samples: readonly MetricSample[];
}

const namePattern = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const labelPattern = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

export const metricsContentType = "text/plain; version=0.0.4; charset=utf-8";

export function metricsText(families: readonly MetricFamily[]): string {
  const names = new Set(families.map(({ name }) => name));
  assert(names.size === families.length, "a family appears once");
  return families
    .filter(({ samples }) => samples.length > 0)
    .map(familyText)
    .join("");
}

function familyText({ name, type, help, samples }: MetricFamily): string {
  assert(namePattern.test(name), "a metric's name is one");
  assert((type === "counter") === name.endsWith("_total"), "counters and nothing else end in _total");
  const lines = samples.map(({ labels = {}, value }) => `${name}${labelsText(labels)} ${valueText(value)}\n`);
  assert(
    new Set(samples.map(({ labels = {} }) => labelsText(labels))).size === samples.length,
    "a series appears once",
  );
  return `# HELP ${name} ${escaped(help)}\n# TYPE ${name} ${type}\n${lines.join("")}`;
}

function labelsText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([label, value]) => {
    assert(labelPattern.test(label) && !label.startsWith("__"), "a label's name is one");
    return `${label}="${escaped(value).replaceAll('"', '\\"')}"`;
  });
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escaped(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function valueText(value: number): string {
  if (Number.isNaN(value)) {
    return "NaN";
  }
  return Number.isFinite(value) ? String(value) : value > 0 ? "+Inf" : "-Inf";
}
