/** The search within a trace. Pure. */
import type { TraceTree } from "../../../../shared/console/trace-tree.ts";
import type { Attributes, ShapeSpan, TraceSpan } from "../../../../shared/console/traces.ts";

/** What the search looks through, by place of the span: in lower case. Of a trace's shape: what is drawn of it. */
export function searchTexts(spans: readonly (ShapeSpan | TraceSpan)[]): readonly string[] {
  return spans.map((span) =>
    [span.name, span.service, span.spanId, span.kind, ...("attributes" in span ? detailTexts(span) : [])]
      .join("\n")
      .toLowerCase(),
  );
}

function detailTexts({ statusMessage, attributes, events }: TraceSpan): readonly string[] {
  const lines = (pairs: Attributes | null): readonly string[] =>
    (pairs ?? []).map(([key, value]) => `${key}=${value}`);
  return [
    statusMessage,
    ...lines(attributes),
    ...(events ?? []).flatMap((event) => [event.name, ...lines(event.attributes)]),
  ];
}

/** Nodes whose span has it, in their order. */
export function findNodes({ nodes }: TraceTree, texts: readonly string[], sought: string): readonly number[] {
  const wanted = sought.trim().toLowerCase();
  return wanted === ""
    ? []
    : [...nodes.keys()].filter((n) => texts[nodes[n]?.place ?? -1]?.includes(wanted) === true);
}

/** The next one behind `from`, or before it, round the end. */
export function neighbour(nodes: readonly number[], from: number, direction: 1 | -1): number | undefined {
  return direction === 1
    ? (nodes.find((node) => node > from) ?? nodes[0])
    : (nodes.findLast((node) => node < from) ?? nodes.at(-1));
}
