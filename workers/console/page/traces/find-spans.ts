/** The search within a trace. Pure. */
import type { TraceTree } from "../../../../shared/console/trace-tree.ts";
import type { Attributes, Trace } from "../../../../shared/console/traces.ts";

/** What the search looks through, by place of the span: in lower case. */
export function searchTexts({ spans }: Trace): readonly string[] {
  const lines = (pairs: Attributes | null): readonly string[] =>
    (pairs ?? []).map(([key, value]) => `${key}=${value}`);
  return spans.map(({ name, service, spanId, statusMessage, kind, attributes, events }) =>
    [
      name,
      service,
      spanId,
      statusMessage,
      kind,
      ...lines(attributes),
      ...(events ?? []).flatMap((event) => [event.name, ...lines(event.attributes)]),
    ]
      .join("\n")
      .toLowerCase(),
  );
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
