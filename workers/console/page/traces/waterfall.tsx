/** A trace's spans over time: a tree on the left, bars on the right, only the rows in sight in the document. */
import { useMemo, useState } from "preact/hooks";
import type { PathSegment } from "../../../../shared/console/critical-path.ts";
import { type TraceNode, type TraceTree, visibleNodes } from "../../../../shared/console/trace-tree.ts";
import type { TraceSpan } from "../../../../shared/console/traces.ts";
import { nanosText } from "../format.ts";
import { VirtualRows } from "./virtual-rows.tsx";

const rowPx = 28;
const rowsPerPage = 15;

interface WaterfallProps {
  readonly spans: readonly TraceSpan[];
  readonly tree: TraceTree;
  readonly path: ReadonlyMap<number, readonly PathSegment[]>;
  readonly showsPath: boolean;
  /** Degrees on the colour wheel, by service. */
  readonly hues: ReadonlyMap<string, number>;
  readonly durationNs: number;
  readonly collapsed: ReadonlySet<number>;
  readonly onCollapse: (collapsed: ReadonlySet<number>) => void;
  /** Nodes that the search found. */
  readonly found: ReadonlySet<number>;
  /** The node that the keyboard is at. */
  readonly active: number;
  readonly onActive: (node: number) => void;
  /** The node whose details are shown; -1: none. */
  readonly chosen: number;
  readonly onChoose: (node: number) => void;
}

export function Waterfall(props: WaterfallProps) {
  const { tree, collapsed, onCollapse, active, onActive, onChoose } = props;
  const { nodes } = tree;
  const visible = useMemo(() => visibleNodes(tree, collapsed), [tree, collapsed]);
  const place = placeOf(visible, active);
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
  const moveTo = (to: number): void => {
    onActive(visible[Math.min(visible.length - 1, Math.max(0, to))] ?? 0);
  };
  /** The keys of a tree, as screen readers announce them. True: the key was one of them. */
  const press = (key: string): boolean => {
    const node = nodes[active];
    const hasChildren = node !== undefined && node.end > active + 1;
    switch (key) {
      case "ArrowDown":
        moveTo(place + 1);
        return true;
      case "ArrowUp":
        moveTo(place - 1);
        return true;
      case "PageDown":
        moveTo(place + rowsPerPage);
        return true;
      case "PageUp":
        moveTo(place - rowsPerPage);
        return true;
      case "Home":
        moveTo(0);
        return true;
      case "End":
        moveTo(visible.length - 1);
        return true;
      case "ArrowRight":
        if (hasChildren && collapsed.has(active)) {
          fold(active, false);
        } else if (hasChildren) {
          moveTo(place + 1);
        }
        return true;
      case "ArrowLeft":
        if (hasChildren && !collapsed.has(active)) {
          fold(active, true);
        } else if (node !== undefined && node.parent >= 0) {
          onActive(node.parent);
        }
        return true;
      case "Enter":
      case " ":
        onChoose(active);
        return true;
      default:
        return false;
    }
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
      shown={place}
      moves={moves}
      onKeyDown={(event) => {
        const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey;
        if (isPlain && press(event.key)) {
          event.preventDefault();
          setMoves(moves + 1);
        }
      }}
      row={(index, top) => {
        const n = visible[index] ?? 0;
        const node = nodes[n];
        return (
          node !== undefined && (
            <Row
              key={n}
              {...props}
              n={n}
              node={node}
              top={top}
              onFold={() => fold(n, !collapsed.has(n))}
              onClick={() => {
                onActive(n);
                onChoose(n);
              }}
            />
          )
        );
      }}
    />
  );
}

interface RowProps extends WaterfallProps {
  readonly n: number;
  readonly node: TraceNode;
  readonly top: number;
  readonly onFold: () => void;
  readonly onClick: () => void;
}

function Row(props: RowProps) {
  const { spans, n, node, top, hues, durationNs, collapsed, found, active, chosen, onFold, onClick } = props;
  const span = spans[node.place];
  const isFolded = collapsed.has(n);
  const hidden = node.end - n - 1;
  const from = share(span?.startNs ?? 0, durationNs);
  const width = share(span?.durationNs ?? 0, durationNs);
  const segments = props.showsPath ? props.path.get(n) : undefined;
  const classes = [
    "row",
    span === undefined ? "missing" : "",
    span?.status === "Error" ? "error" : "",
    found.has(n) ? "found" : "",
    n === active ? "active" : "",
    n === chosen ? "chosen" : "",
    segments === undefined ? "" : "critical",
  ];
  return (
    // biome-ignore lint/a11y/useFocusableInteractive: the tree has the focus, and names the row by aria-activedescendant
    // biome-ignore lint/a11y/useKeyWithClickEvents: the tree takes the keys
    <div
      id={`node-${n}`}
      role="treeitem"
      aria-level={node.depth + 1}
      aria-selected={n === chosen}
      aria-label={rowText(node, span)}
      {...(hidden > 0 ? { "aria-expanded": !isFolded } : {})}
      class={classes.filter((name) => name !== "").join(" ")}
      style={{
        top: `${top}px`,
        "--depth": String(node.depth),
        "--from": from.toFixed(5),
        "--share": width.toFixed(5),
        "--hue": String(hues.get(span?.service ?? "") ?? 0),
        ...(segments === undefined ? {} : { "--path": gradient(segments, span) }),
      }}
      onClick={onClick}
    >
      {hidden > 0 && (
        <button
          type="button"
          class="fold"
          tabIndex={-1}
          aria-hidden="true"
          onClick={(event) => {
            event.stopPropagation();
            onFold();
          }}
        >
          {isFolded ? `+${hidden}` : "–"}
        </button>
      )}
      <span class="name" data-service={span?.service ?? ""}>
        <bdi>{nodeName(node, span)}</bdi>
      </span>
      {span !== undefined && <span class="time">{nanosText(span.durationNs)}</span>}
    </div>
  );
}

export function nodeName(node: TraceNode, span: TraceSpan | undefined): string {
  if (span === undefined) {
    return `parent ${node.id} is not here`;
  }
  return span.name === "" ? "(no name)" : span.name;
}

/** What is odd about a node's place, in words; empty: nothing is. */
export function oddityText(node: TraceNode): string {
  return [
    node.isCycle ? "its ancestors lead back to it" : "",
    node.isRepeated ? "another span has the same id" : "",
    node.earlyNs > 0 ? `begins ${nanosText(node.earlyNs)} before its parent: their clocks may differ` : "",
  ]
    .filter((text) => text !== "")
    .join("; ");
}

function rowText(node: TraceNode, span: TraceSpan | undefined): string {
  const said =
    span === undefined
      ? [nodeName(node, span)]
      : [
          nodeName(node, span),
          span.service,
          nanosText(span.durationNs),
          `at ${nanosText(span.startNs)}`,
          span.status === "Error" ? "error" : "",
          oddityText(node),
        ];
  return said.filter((text) => text !== "").join(", ");
}

/** 0 to 1 of the trace. */
function share(ns: number, durationNs: number): number {
  return durationNs <= 0 ? 0 : Math.min(1, Math.max(0, ns / durationNs));
}

/** More would not be told apart. */
const segmentsDrawn = 60;

/** The parts of a bar that lie on the critical path. */
function gradient(segments: readonly PathSegment[], span: TraceSpan | undefined): string {
  if (span === undefined || span.durationNs <= 0) {
    return "none";
  }
  const percent = (ns: number): string => `${(((ns - span.startNs) / span.durationNs) * 100).toFixed(2)}%`;
  const stops = segments.slice(0, segmentsDrawn).map(({ fromNs, toNs }) => {
    const [from, to] = [percent(fromNs), percent(toNs)];
    return `transparent ${from}, var(--critical) ${from} ${to}, transparent ${to}`;
  });
  return `linear-gradient(90deg, ${stops.join(", ")})`;
}

/** Place of a node among those that show, or of the nearest one before it. */
function placeOf(visible: readonly number[], node: number): number {
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
