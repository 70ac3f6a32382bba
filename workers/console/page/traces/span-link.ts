/** A span in a link: its id, and which one of those with it where several have it: `051581bf3cb55c13`, `051581bf3cb55c13.2`. */
import type { TraceTree } from "../../../../shared/console/trace-tree.ts";

export function linkOf({ nodes }: TraceTree, node: number): string {
  const { id = "", place = -1 } = nodes[node] ?? {};
  const before = nodes.slice(0, node).filter((one) => one.id === id && one.place >= 0).length;
  return place < 0 ? "" : before === 0 ? id : `${id}.${before + 1}`;
}

/** The node that a link names; -1: none. */
export function nodeOf({ nodes }: TraceTree, link: string): number {
  const [id = "", ordinal = "1"] = link.split(".");
  const same = [...nodes.keys()].filter((n) => nodes[n]?.id === id && (nodes[n]?.place ?? -1) >= 0);
  return id === "" ? -1 : (same[Number(ordinal) - 1] ?? -1);
}
