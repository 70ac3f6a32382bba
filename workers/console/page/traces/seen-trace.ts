/** What of a trace is worked out once, and looked at by everything that draws it. */
import { criticalPath, type PathSegment } from "../../../../shared/console/critical-path.ts";
import { buildTree, type TraceTree } from "../../../../shared/console/trace-tree.ts";
import type { Trace, TraceShape } from "../../../../shared/console/traces.ts";
import { serviceHues } from "./service-hues.ts";

export interface SeenTrace {
  readonly trace: TraceShape;
  /** What its spans say; undefined: it is on its way, or could not be read. */
  readonly details: Trace | undefined;
  readonly tree: TraceTree;
  /** By node. */
  readonly path: ReadonlyMap<number, readonly PathSegment[]>;
  /** Degrees on the colour wheel, by service. */
  readonly hues: ReadonlyMap<string, number>;
  /** Nodes whose span failed, in their order. */
  readonly errors: readonly number[];
}

export function seeTrace(shape: TraceShape, details: Trace | undefined): SeenTrace {
  const trace = details ?? shape;
  const { spans } = trace;
  const tree = buildTree(spans);
  const isError = (node: number): boolean => spans[tree.nodes[node]?.place ?? -1]?.status === "Error";
  return {
    trace,
    details,
    tree,
    path: criticalPath(tree, spans),
    hues: serviceHues(spans),
    errors: [...tree.nodes.keys()].filter(isError),
  };
}
