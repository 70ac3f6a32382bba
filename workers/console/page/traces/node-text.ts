/** A node of the tree in words. */
import { durationText } from "../../../../shared/console/duration-text.ts";
import { spanName } from "../../../../shared/console/span-name.ts";
import type { TraceNode } from "../../../../shared/console/trace-tree.ts";
import type { ShapeSpan } from "../../../../shared/console/traces.ts";

export function nodeName(node: TraceNode, span: ShapeSpan | undefined): string {
  if (span === undefined) {
    return `parent ${node.id} is not here`;
  }
  return spanName(span.name);
}

/** What is odd about a node's place; empty: nothing is. */
export function oddityText(node: TraceNode): string {
  return [
    node.isCycle ? "its ancestors lead back to it" : "",
    node.isRepeated ? "another span has the same id" : "",
    node.earlyNs > 0 ? `begins ${durationText(node.earlyNs)} before its parent: their clocks may differ` : "",
  ]
    .filter((text) => text !== "")
    .join("; ");
}

/** What a screen reader says of its row. */
export function rowText(node: TraceNode, span: ShapeSpan | undefined): string {
  const said =
    span === undefined
      ? [nodeName(node, span)]
      : [
          nodeName(node, span),
          span.service,
          durationText(span.durationNs),
          `at ${durationText(span.startNs)}`,
          span.status === "Error" ? "error" : "",
          oddityText(node),
        ];
  return said.filter((text) => text !== "").join(", ");
}
