/**
 * A span in a link, and a row that is remembered, both by the span's id: which row it has changes with each span that arrives. Where several
 * spans have the id, each is named by its begin too (ns since the epoch), for another of them may arrive: `051581bf3cb55c13`,
 * `051581bf3cb55c13.1764276912123456789`; of those with one begin the second is `….….2`.
 */
import { instantNs } from "../../../../shared/console/instant.ts";
import type { TraceTree } from "../../../../shared/console/trace-tree.ts";
import type { TraceShape } from "../../../../shared/console/traces.ts";

export interface PlacedTrace {
  readonly trace: Pick<TraceShape, "start" | "spans">;
  readonly tree: TraceTree;
}

/** Empty: the node has no span. */
export function linkOf(seen: PlacedTrace, node: number): string {
  const { id = "", place = -1 } = seen.tree.nodes[node] ?? {};
  return place < 0 ? "" : nodesOf(seen, id).length === 1 ? id : keyOf(seen, node);
}

/** The node that a link names; -1: none. An id alone names the first span that has it. */
export function nodeOf(seen: PlacedTrace, link: string): number {
  const [id = "", begin, ordinal = "1"] = link.split(".");
  const same = nodesOf(seen, id).filter((node) => begin === undefined || begin === beginOf(seen, node));
  return id === "" ? -1 : (same[Number(ordinal) - 1] ?? -1);
}

/** As a link with the begin, whether another span has the id or not; of a parent that is not there `?` and its id. */
export function keyOf(seen: PlacedTrace, node: number): string {
  const { id = "", place = -1 } = seen.tree.nodes[node] ?? {};
  if (place < 0) {
    return `?${id}`;
  }
  const begin = beginOf(seen, node);
  const before = nodesOf(seen, id).filter((other) => other < node && beginOf(seen, other) === begin).length;
  return before === 0 ? `${id}.${begin}` : `${id}.${begin}.${before + 1}`;
}

/** The node of a key; of a parent that has arrived meanwhile, its own. -1: none. */
export function nodeOfKey(seen: PlacedTrace, key: string): number {
  if (!key.startsWith("?")) {
    return nodeOf(seen, key);
  }
  const id = key.slice(1);
  const missing = seen.tree.nodes.findIndex((node) => node.place < 0 && node.id === id);
  return missing < 0 ? nodeOf(seen, id) : missing;
}

/** Nodes with one of these ids that have something below them: of several spans with one id only the first has. */
export function parentsWithIds({ nodes }: TraceTree, ids: ReadonlySet<string>): ReadonlySet<number> {
  return new Set(
    ids.size === 0
      ? []
      : [...nodes.keys()].filter((n) => (nodes[n]?.end ?? 0) > n + 1 && ids.has(nodes[n]?.id ?? "")),
  );
}

function nodesOf({ tree: { nodes } }: PlacedTrace, id: string): readonly number[] {
  return [...nodes.keys()].filter((n) => nodes[n]?.id === id && (nodes[n]?.place ?? -1) >= 0);
}

function beginOf({ trace: { start, spans }, tree }: PlacedTrace, node: number): string {
  const { startNs = 0 } = spans[tree.nodes[node]?.place ?? -1] ?? {};
  return String((start === null ? 0n : instantNs(start)) + BigInt(startNs));
}
