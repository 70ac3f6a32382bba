/**
 * A trace as a waterfall of text: one line per span, in the tree's order, its bar where it lies in the trace's time. What does
 * not fit into a tree is marked in its line and said below. Pure.
 */
import { criticalPath, type PathSegment } from "../shared/console/critical-path.ts";
import { durationText } from "../shared/console/duration-text.ts";
import { spanName } from "../shared/console/span-name.ts";
import { buildTree, type TraceNode } from "../shared/console/trace-tree.ts";
import type { ShapeSpan, Trace, TraceShape } from "../shared/console/traces.ts";
import { nodeMarks, type Oddity, oddityMark, treeOddities } from "../shared/console/tree-oddities.ts";
import { counted } from "../shared/counted.ts";
import { printableText, shortText } from "./printable-text.ts";

/** Indentation beyond this says nothing to a reader. */
const depthShownMax = 20;
const barMin = 20;

/** `columns`: the terminal's width. `linesMax`: spans that are shown. */
export function waterfall(trace: TraceShape, columns: number, linesMax: number): readonly string[] {
  const tree = buildTree(trace.spans);
  const path = criticalPath(tree, trace.spans);
  const shown = tree.nodes.slice(0, linesMax);
  const serviceWidth = Math.min(18, Math.max(7, ...trace.spans.map(({ service }) => [...service].length)));
  const nameWidth = Math.max(24, Math.floor((columns - serviceWidth) * 0.42));
  const barWidth = Math.max(barMin, columns - serviceWidth - nameWidth - 16);
  const lines = shown.map((node, n) => {
    const span = trace.spans[node.place];
    const indent = "  ".repeat(Math.min(node.depth, depthShownMax));
    if (span === undefined) {
      return `${"".padEnd(serviceWidth)}  ${indent}(${node.id}: missing parent)`;
    }
    const marks = marksOf(node, span);
    const name = shortText(`${indent}${marks}${spanName(span.name)}`, nameWidth).padEnd(nameWidth);
    const bar = barOf(span, path.get(n) ?? [], trace.durationNs, barWidth);
    return `${shortText(span.service, serviceWidth).padEnd(serviceWidth)}  ${name} ${bar} ${durationText(span.durationNs).padStart(9)}`;
  });
  const more = tree.nodes.length - shown.length;
  return [
    ...lines,
    ...(more > 0 ? [`… and ${counted(more, "further line")}: --all shows them, --json has all spans`] : []),
    "",
    ...(shown.length > 0 ? ["█ on the critical path   ░ off it   ✗ error"] : []),
    ...treeOddities(tree).map(oddityLine),
  ];
}

/** `✗ « `; empty: nothing is to be marked. */
function marksOf(node: TraceNode, { status }: ShapeSpan): string {
  return [status === "Error" ? "✗" : "", ...nodeMarks(node)]
    .filter((mark) => mark !== "")
    .map((mark) => `${mark} `)
    .join("");
}

function barOf(
  { startNs, durationNs }: ShapeSpan,
  path: readonly PathSegment[],
  wholeNs: number,
  width: number,
): string {
  const column = (ns: number): number =>
    wholeNs <= 0 ? 0 : Math.min(width - 1, Math.max(0, Math.floor((ns / wholeNs) * width)));
  const [first, last] = [column(startNs), column(startNs + durationNs)];
  const cells = Array.from({ length: width }, (_, at): string => (at < first || at > last ? " " : "░"));
  for (const { fromNs, toNs } of path) {
    for (let at = column(fromNs); at <= column(toNs); at++) {
      cells[at] = "█";
    }
  }
  return cells.join("");
}

function oddityLine({ kind, text }: Oddity): string {
  return `${oddityMark(kind)} ${text}`.trimStart();
}

/** What brought the spans in, and how that ended: one line per payload. */
export function payloadLines(
  { payloads, spansUnlisted, spansOfOthers }: Pick<Trace, "payloads" | "spansUnlisted" | "spansOfOthers">,
  linesMax: number,
): readonly string[] {
  const lines = payloads.slice(0, linesMax).map(({ payload, tenant, spans, spansInAll, receipts }) => {
    const [receipt] = receipts;
    const ended =
      receipt === undefined
        ? "no receipt yet"
        : `${receipt.outcome} ${receipt.at}${receipt.group === "" ? "" : ` by group ${receipt.group}`}, arrived ${receipt.arrival.slice(0, 16)}Z`;
    return `payload ${payload} of ${printableText(tenant)}: ${spans} of its ${counted(spansInAll, "span")}; ${ended}`;
  });
  const more = payloads.length - lines.length;
  return [
    ...lines,
    ...(more > 0
      ? [
          `… and ${counted(more, "further payload")}${spansUnlisted > 0 ? ", and those that are not listed" : ""}`,
        ]
      : []),
    ...(spansOfOthers > 0
      ? [`${counted(spansOfOthers, "span")} came another way (the Collector's exporter)`]
      : []),
  ];
}
