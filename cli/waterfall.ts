/**
 * A trace as a waterfall of text: one line per span, in the tree's order, its bar where it lies in the trace's time. What does
 * not fit into a tree is marked in its line and said below. Pure.
 */
import { criticalPath, type PathSegment } from "../shared/console/critical-path.ts";
import { durationText } from "../shared/console/duration-text.ts";
import { buildTree, type TraceNode, type TraceTree } from "../shared/console/trace-tree.ts";
import type { Trace, TraceSpan } from "../shared/console/traces.ts";
import { counted } from "../shared/counted.ts";
import { printableText, shortText } from "./printable-text.ts";

/** Indentation beyond this says nothing to a reader. */
const depthShownMax = 20;
const barMin = 20;

/** `columns`: the terminal's width. `linesMax`: spans that are shown. */
export function waterfall(trace: Trace, columns: number, linesMax: number): readonly string[] {
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
    const name = shortText(`${indent}${marks}${span.name}`, nameWidth).padEnd(nameWidth);
    const bar = barOf(span, path.get(n) ?? [], trace.durationNs, barWidth);
    return `${shortText(span.service, serviceWidth).padEnd(serviceWidth)}  ${name} ${bar} ${durationText(span.durationNs).padStart(8)}`;
  });
  const more = tree.nodes.length - shown.length;
  return [
    ...lines,
    ...(more > 0 ? [`… and ${counted(more, "further line")}: --all shows them, --json has all spans`] : []),
    "",
    ...(shown.length > 0 ? ["█ on the critical path   ░ off it   ✗ error"] : []),
    ...problemsOf(tree),
  ];
}

function marksOf(node: TraceNode, { status }: TraceSpan): string {
  return [
    status === "Error" ? "✗ " : "",
    node.isCycle ? "↻ " : "",
    node.isRepeated ? "= " : "",
    node.earlyNs > 0 ? "« " : "",
  ].join("");
}

function barOf(
  { startNs, durationNs }: TraceSpan,
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

/** One sentence for each kind of what does not fit. */
function problemsOf(tree: TraceTree): readonly string[] {
  const { missingParents, cycles, repeated, early, roots, nodes } = tree;
  return [
    ...(missingParents > 0
      ? [
          `${counted(missingParents, "parent")} of spans ${missingParents === 1 ? "is" : "are"} missing: not sent, not arrived yet, erased, or beyond the answer's limit.`,
        ]
      : []),
    ...(cycles > 0
      ? [`↻ ${counted(cycles, "cycle")} of parents: a span is its own ancestor, and is shown at the top.`]
      : []),
    ...(repeated > 0
      ? [
          `= ${counted(repeated, "span")} with an id that another span has; their children are shown below the first.`,
        ]
      : []),
    ...(early > 0
      ? [
          `« ${counted(early, "span")} that ${early === 1 ? "begins" : "begin"} before the parent: two clocks disagree.`,
        ]
      : []),
    ...(roots === 0 && nodes.length > 0 ? ["The root span is missing: every span names a parent."] : []),
    ...(roots > 1 ? [`${roots} spans have no parent: the trace has several roots.`] : []),
  ];
}

/** What brought the spans in, and how that ended: one line per payload. */
export function payloadLines({ payloads, spansOfOthers }: Trace, linesMax: number): readonly string[] {
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
    ...(more > 0 ? [`… and ${counted(more, "further payload")}`] : []),
    ...(spansOfOthers > 0
      ? [`${counted(spansOfOthers, "span")} came another way (the Collector's exporter)`]
      : []),
  ];
}
