/**
 * The critical path of a trace: of each moment of its longest root, the one span without which the root would have ended
 * sooner. Read backwards from the end: the child that ended last holds its parent up, then the one that ended last before
 * that one began, and so on; between them the parent itself works.
 *
 *     root   |==========|        own: 0-1, 4-5, 9-10
 *     a       |===|              a: 1-4
 *     b           |====|         b: 5-9
 *     c         |===|            c: nothing; when a ended (4), c was to take until 6, but what followed it (b) had begun at 5
 */
import { childrenOf, type PlacedSpan, type TraceTree } from "./trace-tree.ts";

/** Nanoseconds as `PlacedSpan.startNs`. */
export interface PathSegment {
  readonly fromNs: number;
  readonly toNs: number;
}

/** By place in `tree.nodes`, in the order of time; nodes that the path does not touch are absent. Takes no recursion. */
export function criticalPath(
  tree: TraceTree,
  spans: readonly PlacedSpan[],
): ReadonlyMap<number, readonly PathSegment[]> {
  const { nodes } = tree;
  const endOf = (n: number): number => {
    const span = spans[nodes[n]?.place ?? -1];
    return span === undefined ? 0 : span.startNs + span.durationNs;
  };
  const startOf = (n: number): number => spans[nodes[n]?.place ?? -1]?.startNs ?? 0;

  const longest = longestTop(tree, spans);
  const path = new Map<number, PathSegment[]>();
  const stack = longest < 0 ? [] : [{ node: longest, since: startOf(longest), until: endOf(longest) }];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    const { node, since } = next;
    const own: PathSegment[] = [];
    let until = next.until;
    // By end, the last one first.
    for (const child of childrenOf(tree, node).sort((x, y) => endOf(y) - endOf(x))) {
      // What goes on after its parent's end held it up until then; what is said to begin before it did so from its start.
      const end = Math.min(endOf(child), next.until);
      const from = Math.max(startOf(child), since);
      // One that ended after what follows it had begun (`until`) held nothing up; nor did one of no length.
      if (end > until || end <= from) {
        continue;
      }
      own.push({ fromNs: end, toNs: until });
      stack.push({ node: child, since: from, until: end });
      until = from;
    }
    own.push({ fromNs: since, toNs: until });
    const segments = own.filter(({ fromNs, toNs }) => toNs > fromNs).reverse();
    if (segments.length > 0) {
      path.set(node, segments);
    }
  }
  return path;
}

/** The node without a parent that takes longest; -1: there is none. */
function longestTop({ nodes }: TraceTree, spans: readonly PlacedSpan[]): number {
  let longest = -1;
  let most = -1;
  for (let n = 0; n < nodes.length; n = nodes[n]?.end ?? n + 1) {
    // Below a parent that is not there each child is a top of its own.
    const isMissing = nodes[n]?.place === -1;
    for (let top = isMissing ? n + 1 : n; top < (nodes[n]?.end ?? 0); top = nodes[top]?.end ?? top + 1) {
      const { durationNs = -1 } = spans[nodes[top]?.place ?? -1] ?? {};
      if (durationNs > most) {
        most = durationNs;
        longest = top;
      }
    }
  }
  return longest;
}
