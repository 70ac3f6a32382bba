/** The keys of a tree, as screen readers announce them: what each does where the keyboard is. Pure. */
import type { TraceTree } from "../../../../shared/console/trace-tree.ts";

export type TreeStep =
  | { readonly kind: "go"; readonly node: number }
  | { readonly kind: "fold" | "unfold"; readonly node: number }
  | { readonly kind: "choose"; readonly node: number }
  /** The key is one of the tree's, and there is nowhere to go. */
  | { readonly kind: "stay" };

export interface TreePlace {
  readonly tree: TraceTree;
  /** Nodes that show, in their order. */
  readonly visible: readonly number[];
  readonly collapsed: ReadonlySet<number>;
  /** The node that the keyboard is at. */
  readonly active: number;
}

const rowsPerPage = 15;

/** Undefined: the key is none of the tree's. */
export function treeStep(key: string, { tree, visible, collapsed, active }: TreePlace): TreeStep | undefined {
  const row = rowOf(visible, active);
  const to = (wanted: number): TreeStep => {
    const node = visible[Math.min(visible.length - 1, Math.max(0, wanted))];
    return node === undefined ? { kind: "stay" } : { kind: "go", node };
  };
  const { end = 0, parent = -1 } = tree.nodes[active] ?? {};
  const hasChildren = end > active + 1;
  const isFolded = collapsed.has(active);
  switch (key) {
    case "ArrowDown":
      return to(row + 1);
    case "ArrowUp":
      return to(row - 1);
    case "PageDown":
      return to(row + rowsPerPage);
    case "PageUp":
      return to(row - rowsPerPage);
    case "Home":
      return to(0);
    case "End":
      return to(visible.length - 1);
    case "ArrowRight":
      return !hasChildren ? { kind: "stay" } : isFolded ? { kind: "unfold", node: active } : to(row + 1);
    case "ArrowLeft":
      if (hasChildren && !isFolded) {
        return { kind: "fold", node: active };
      }
      return parent < 0 ? { kind: "stay" } : { kind: "go", node: parent };
    case "Enter":
    case " ":
      return { kind: "choose", node: active };
    default:
      return undefined;
  }
}

/** The row of a node among those that show, or of the nearest one before it. */
export function rowOf(visible: readonly number[], node: number): number {
  let low = 0;
  let high = visible.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if ((visible[middle] ?? 0) <= node) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return Math.max(0, low);
}
