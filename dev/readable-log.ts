/** From a Worker's log, one JSON object a line, to what a person at a terminal reads. */
import * as v from "valibot";
import type { RepeatedLine } from "./collapse-lines.ts";
import type { FirstSpans } from "./first-spans.ts";
import { printable } from "./printable.ts";

const charsMax = 500;
/** Of a service's and a span's name. */
const nameCharsMax = 120;
/** A trace's id has 32. */
const traceCharsMax = 32;

const fieldsSchema = v.record(v.string(), v.unknown());
type Fields = v.InferOutput<typeof fieldsSchema>;

/** What the ingress writes of a request that it refused (workers/ingress/worker.ts). */
const refusalSchema = v.object({
  outcome: v.string(),
  reason: v.string(),
  message: v.string(),
  repeated: v.optional(v.number(), 1),
});

/** What the consumer writes of an attempt that did not store its group (workers/consumer/perform.ts). */
const attemptSchema = v.object({
  outcome: v.string(),
  group: v.string(),
  attempt: v.number(),
  payloads: v.number(),
  spans: v.number(),
  reason: v.optional(v.string(), ""),
});

const findingSchema = v.object({
  finding: v.string(),
  state: v.string(),
  severity: v.string(),
  message: v.string(),
});

/** The JSON object that a line is; undefined when it is anything else. */
export function fieldsOf(line: string): Fields | undefined {
  try {
    const read = v.safeParse(fieldsSchema, JSON.parse(line));
    return read.success ? read.output : undefined;
  } catch {
    return undefined;
  }
}

/** A line for programs: one JSON object with its level. */
export function jsonLine(level: string, line: string): string {
  return JSON.stringify({ level, ...(fieldsOf(line) ?? { message: line }) });
}

/** A line for a terminal. Lines of one `key` say the same, and are counted. */
export function readableLine(level: string, line: string): RepeatedLine {
  const fields = fieldsOf(line);
  if (fields === undefined) {
    return plainLine(level, line);
  }
  const refusal = v.safeParse(refusalSchema, fields);
  if (refusal.success && fields["payload"] === undefined) {
    const { reason, message, repeated } = refusal.output;
    return refusedLine(signalIn(message), reason, message, repeated);
  }
  const attempt = v.safeParse(attemptSchema, fields);
  if (attempt.success) {
    const { outcome, payloads, spans, reason } = attempt.output;
    const why = `${outcome}${reason === "" ? "" : `, ${reason}`}`;
    return plainLine(
      level,
      `${counted(payloads, "payload")} with ${counted(spans, "span")} not stored yet (${why}); retrying`,
      `${outcome} ${reason}`,
    );
  }
  const finding = v.safeParse(findingSchema, fields);
  if (finding.success) {
    const { finding: kind, state, severity, message } = finding.output;
    return plainLine(level, `finding ${kind} (${state}, ${severity}): ${message}`);
  }
  const { message, ...others } = fields;
  const rest = Object.entries(others).map(([name, value]) => `${name} ${textOf(value)}`);
  const said = typeof message === "string" ? message : "";
  return plainLine(level, [said, rest.join(", ")].filter((part) => part !== "").join(": "));
}

/**
 * Something that was refused, first with what to do about it, then as a count. `signal`: "metrics", "logs" or "gRPC"; empty: a
 * request of traces, and the reason names it.
 */
export function refusedLine(signal: string, reason: string, message: string, times = 1): RepeatedLine {
  const why = reason.replaceAll("_", " ");
  return {
    key: `refused ${signal} ${reason} ${message}`,
    times,
    first: printable(
      signal === "" ? `request refused, ${why}: ${message}` : `${signal} refused: ${message}`,
      charsMax,
    ),
    again: (all) =>
      signal === "" ? `requests refused, ${all} times: ${why}` : `${signal} refused, ${all} times`,
  };
}

/** `checkout: first 12 spans stored, "POST /orders" 41.2 ms, trace 5b8e…: http://…` */
export function firstSpansText({ service, spans, span, ms, trace }: FirstSpans, link: string): string {
  const who = service === "" ? "(a service without a name)" : service;
  const what = spans === 1 ? "first span" : `first ${counted(spans, "span")}`;
  return `${printable(`${who}: ${what} stored, "${span}" ${ms} ms`, nameCharsMax)}, trace ${printable(trace, traceCharsMax)}: ${link}`;
}

/** Of the sentence with which the ingress refuses another signal (workers/ingress/worker.ts). */
function signalIn(message: string): string {
  return /it does not take (metrics|logs)\./.exec(message)?.[1] ?? "";
}

function plainLine(level: string, said: string, key = said): RepeatedLine {
  const text = printable(`${level === "warn" ? "warning" : level}: ${said}`, charsMax);
  return { key: `${level} ${key}`, times: 1, first: text, again: (all) => `${text} (${all} times)` };
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function counted(count: number, noun: string): string {
  return `${count.toLocaleString("en-US")} ${noun}${count === 1 ? "" : "s"}`;
}
