/** What of a trace is worked out once, and looked at by everything that draws it. */
import { criticalPath, type PathSegment } from "../../../../shared/console/critical-path.ts";
import { buildTree, type TraceTree } from "../../../../shared/console/trace-tree.ts";
import type { Trace } from "../../../../shared/console/traces.ts";
import { serviceHues } from "./service-hues.ts";

export interface SeenTrace {
  readonly trace: Trace;
  readonly tree: TraceTree;
  /** By node. */
  readonly path: ReadonlyMap<number, readonly PathSegment[]>;
  /** Degrees on the colour wheel, by service. */
  readonly hues: ReadonlyMap<string, number>;
  /** Nodes whose span failed, in their order. */
  readonly errors: readonly number[];
}

export function seeTrace(trace: Trace): SeenTrace {
  const { spans } = trace;
  const tree = buildTree(spans);
  const isError = (node: number): boolean => spans[tree.nodes[node]?.place ?? -1]?.status === "Error";
  return {
    trace,
    tree,
    path: criticalPath(tree, spans),
    hues: serviceHues(spans),
    errors: [...tree.nodes.keys()].filter(isError),
  };
}
