/** One span of a trace as text, with all that it says: nothing is cut, and a text of several lines stays one. Pure. */
import { durationText } from "../shared/console/duration-text.ts";
import { spanName } from "../shared/console/span-name.ts";
import type { Attributes, TraceSpan, TraceSpanDetail } from "../shared/console/traces.ts";
import { counted } from "../shared/counted.ts";
import { printableText } from "./printable-text.ts";
import { payloadLines } from "./waterfall.ts";

/** Several spans where several have the id. */
export function spanLines({ spans, resources, payloads }: TraceSpanDetail): readonly string[] {
  return spans.flatMap((span) => {
    const payload = payloads[span.payload ?? -1];
    const resource = resources[span.resource];
    return [
      ...headLines(span),
      ...payloadLines(
        { payloads: payload === undefined ? [] : [payload], spansUnlisted: 0, spansOfOthers: 0 },
        1,
      ),
      ...(span.payload === null ? ["another exporter wrote it"] : []),
      ...(span.events ?? []).flatMap((event) => [
        `event ${printableText(event.name)}, ${after(event.startNs - span.startNs, "the span's begin")}`,
        ...pairLines(event.attributes, event.attributesCount),
      ]),
      ...(span.links ?? []).flatMap((link) => [
        `link to trace ${printableText(link.traceId)}, span ${printableText(link.spanId)}`,
        ...pairLines(link.attributes, link.attributesCount),
      ]),
      ...listLines("attribute", span.attributes ?? [], span.attributesCount),
      ...listLines("resource attribute", resource?.attributes ?? [], resource?.attributesCount ?? 0),
      "",
    ];
  });
}

function headLines(span: TraceSpan): readonly string[] {
  const { spanId, parentSpanId, service, name, kind, scope, startNs, durationNs, status, statusMessage } =
    span;
  const facts = (
    [
      ["parent", parentSpanId],
      ["kind", kind],
      ["scope", scope],
      ["status", statusMessage === "" ? status : `${status}: ${statusMessage}`],
    ] satisfies Attributes
  ).filter(([, value]) => value !== "");
  return [
    `span ${printableText(spanId)} of ${printableText(service)}: ${printableText(spanName(name))}`,
    `begins ${after(startNs, "the trace's")}, takes ${durationText(durationNs)}`,
    ...pairLines(facts, facts.length),
  ];
}

function after(ns: number, of: string): string {
  return `${durationText(Math.abs(ns))} ${ns < 0 ? "before" : "after"} ${of}`;
}

function listLines(what: string, pairs: Attributes, count: number): readonly string[] {
  return count === 0 ? [] : [counted(count, what), ...pairLines(pairs, count)];
}

/** `  key = value`, the further lines of a value below it. */
function pairLines(pairs: Attributes, count: number): readonly string[] {
  return [
    ...pairs.flatMap(([key, value]) => {
      const [first = "", ...more] = value.split(/\r?\n/).map(printableText);
      return [`  ${printableText(key)} = ${first}`, ...more.map((line) => `      ${line}`)];
    }),
    ...(count > pairs.length ? [`  … and ${count - pairs.length} more in the table`] : []),
  ];
}
