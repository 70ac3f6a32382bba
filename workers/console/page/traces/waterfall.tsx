/** A trace's spans over time: a tree on the left, bars on the right, only the rows in sight in the document. */
import { useMemo, useState } from "preact/hooks";
import { visibleNodes } from "../../../../shared/console/trace-tree.ts";
import type { SeenTrace } from "./seen-trace.ts";
import { rowOf, treeStep } from "./tree-keys.ts";
import { VirtualRows } from "./virtual-rows.tsx";
import { WaterfallRow } from "./waterfall-row.tsx";

const rowPx = 28;

interface WaterfallProps {
  readonly seen: SeenTrace;
  readonly showsPath: boolean;
  readonly collapsed: ReadonlySet<number>;
  readonly onCollapse: (collapsed: ReadonlySet<number>) => void;
  /** Nodes that the search found. */
  readonly found: ReadonlySet<number>;
  /** The node that the keyboard is at. */
  readonly active: number;
  /** Another one of it brings the row into sight; spans that arrive before it do not. */
  readonly activeKey: string;
  readonly onActive: (node: number) => void;
  /** The node whose details are shown; -1: none. */
  readonly chosen: number;
  readonly onChoose: (node: number) => void;
}

export function Waterfall(props: WaterfallProps) {
  const { seen, showsPath, collapsed, onCollapse, found, active, activeKey, onActive, chosen, onChoose } =
    props;
  const { tree } = seen;
  const visible = useMemo(() => visibleNodes(tree, collapsed), [tree, collapsed]);
  /** Keys pressed: each brings the row that is active into sight, also where it stays the same. */
  const [moves, setMoves] = useState(0);

  const fold = (node: number, isFolded: boolean): void => {
    const next = new Set(collapsed);
    if (isFolded) {
      next.add(node);
    } else {
      next.delete(node);
    }
    onCollapse(next);
  };
  /** True: the key was one of the tree's. */
  const press = (key: string): boolean => {
    const step = treeStep(key, { tree, visible, collapsed, active });
    switch (step?.kind) {
      case "go":
        onActive(step.node);
        break;
      case "fold":
      case "unfold":
        fold(step.node, step.kind === "fold");
        break;
      case "choose":
        onChoose(step.node);
        break;
      case "stay":
      case undefined:
        break;
    }
    return step !== undefined;
  };

  return (
    <VirtualRows
      class="waterfall"
      role="tree"
      aria-label="Spans of the trace"
      aria-activedescendant={`node-${active}`}
      tabIndex={0}
      count={visible.length}
      rowPx={rowPx}
      shown={rowOf(visible, active)}
      moves={`${moves} ${activeKey} ${collapsed.size}`}
      onKeyDown={(event) => {
        const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey;
        if (isPlain && press(event.key)) {
          event.preventDefault();
          setMoves(moves + 1);
        }
      }}
      row={(index, top) => {
        const n = visible[index] ?? 0;
        return (
          <WaterfallRow
            key={n}
            seen={seen}
            n={n}
            top={top}
            showsPath={showsPath}
            isFolded={collapsed.has(n)}
            isFound={found.has(n)}
            isActive={n === active}
            isChosen={n === chosen}
            onFold={() => fold(n, !collapsed.has(n))}
            onClick={() => {
              onActive(n);
              onChoose(n);
            }}
          />
        );
      }}
    />
  );
}
