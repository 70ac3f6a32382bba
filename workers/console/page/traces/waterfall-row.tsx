/** One span of the waterfall: its place in the tree, and its bar. */
import type { PathSegment } from "../../../../shared/console/critical-path.ts";
import { durationText } from "../../../../shared/console/duration-text.ts";
import type { ShapeSpan } from "../../../../shared/console/traces.ts";
import { nodeMarks } from "../../../../shared/console/tree-oddities.ts";
import { nodeName, oddityText, rowText } from "./node-text.ts";
import type { SeenTrace } from "./seen-trace.ts";

interface WaterfallRowProps {
  readonly seen: SeenTrace;
  /** The node. */
  readonly n: number;
  /** Pixels from the first row. */
  readonly top: number;
  readonly showsPath: boolean;
  readonly isFolded: boolean;
  readonly isFound: boolean;
  readonly isActive: boolean;
  readonly isChosen: boolean;
  readonly onFold: () => void;
  readonly onClick: () => void;
}

export function WaterfallRow(props: WaterfallRowProps) {
  const { seen, n, top, showsPath, isFolded, isFound, isActive, isChosen, onFold, onClick } = props;
  const { trace, tree, path, hues } = seen;
  const node = tree.nodes[n];
  if (node === undefined) {
    return null;
  }
  const span = trace.spans[node.place];
  const hidden = node.end - n - 1;
  const segments = showsPath ? path.get(n) : undefined;
  const marks = nodeMarks(node).join(" ");
  const classes = [
    "row",
    span === undefined ? "missing" : "",
    span?.status === "Error" ? "error" : "",
    isFound ? "found" : "",
    isActive ? "active" : "",
    isChosen ? "chosen" : "",
    segments === undefined ? "" : "critical",
  ];
  return (
    // biome-ignore lint/a11y/useFocusableInteractive: the tree has the focus, and names the row by aria-activedescendant
    // biome-ignore lint/a11y/useKeyWithClickEvents: the tree takes the keys
    <div
      id={`node-${n}`}
      role="treeitem"
      aria-level={node.depth + 1}
      aria-selected={isChosen}
      aria-label={rowText(node, span)}
      {...(hidden > 0 ? { "aria-expanded": !isFolded } : {})}
      class={classes.filter((name) => name !== "").join(" ")}
      style={{
        top: `${top}px`,
        "--depth": String(node.depth),
        "--from": share(span?.startNs ?? 0, trace.durationNs).toFixed(5),
        "--share": share(span?.durationNs ?? 0, trace.durationNs).toFixed(5),
        "--hue": String(hues.get(span?.service ?? "") ?? 0),
        ...(segments === undefined ? {} : { "--path": gradient(segments, span) }),
      }}
      onClick={onClick}
    >
      {hidden > 0 && <FoldButton hidden={isFolded ? hidden : 0} onFold={onFold} />}
      <span
        class="name"
        data-service={span?.service ?? ""}
        {...(marks === "" ? {} : { title: oddityText(node) })}
      >
        {marks !== "" && <span class="mark-odd">{marks} </span>}
        <bdi>{nodeName(node, span)}</bdi>
      </span>
      {span !== undefined && <span class="time">{durationText(span.durationNs)}</span>}
    </div>
  );
}

interface FoldButtonProps {
  /** Nodes that are folded away; 0: all show. */
  readonly hidden: number;
  readonly onFold: () => void;
}

/** For the pointer: the keyboard folds by arrow keys. */
function FoldButton({ hidden, onFold }: FoldButtonProps) {
  return (
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
      {hidden > 0 ? `+${hidden}` : "–"}
    </button>
  );
}

/** 0 to 1 of the trace. */
function share(ns: number, durationNs: number): number {
  return durationNs <= 0 ? 0 : Math.min(1, Math.max(0, ns / durationNs));
}

/** More would not be told apart. */
const segmentsDrawn = 60;

/** The parts of a bar that lie on the critical path. */
function gradient(segments: readonly PathSegment[], span: ShapeSpan | undefined): string {
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
