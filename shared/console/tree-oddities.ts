/** What of a trace does not fit into a tree, in words for the page and the terminal: it is shown as it is, and said. */
import { counted } from "../counted.ts";
import type { TraceNode, TraceTree } from "./trace-tree.ts";

export type OddityKind = "missing_parent" | "cycle" | "repeated" | "early" | "no_root" | "several_roots";

export interface Oddity {
  readonly kind: OddityKind;
  /** A sentence. */
  readonly text: string;
}

const marks = { cycle: "↻", repeated: "=", early: "«" } as const;

/** What the rows of such spans have before their name, and the sentence about them too; empty: the row itself says it. */
export function oddityMark(kind: OddityKind): string {
  return Object.entries(marks).find(([name]) => name === kind)?.[1] ?? "";
}

/** Of one row; empty: nothing is odd about its place. */
export function nodeMarks({ isCycle, isRepeated, earlyNs }: TraceNode): readonly string[] {
  return [
    ...(isCycle ? [marks.cycle] : []),
    ...(isRepeated ? [marks.repeated] : []),
    ...(earlyNs > 0 ? [marks.early] : []),
  ];
}

/** One for each kind that the tree has. */
export function treeOddities(tree: TraceTree): readonly Oddity[] {
  const { missingParents, cycles, repeated, early, roots, nodes } = tree;
  const found: Oddity[] = [];
  const say = (kind: OddityKind, isSo: boolean, text: string): void => {
    if (isSo) {
      found.push({ kind, text });
    }
  };
  say(
    "missing_parent",
    missingParents > 0,
    `${counted(missingParents, "parent")} of spans ${missingParents === 1 ? "is" : "are"} missing: not sent, sampled out, not arrived yet, erased, or beyond the answer's limit.`,
  );
  say(
    "cycle",
    cycles > 0,
    `${counted(cycles, "cycle")} of parents: a span is its own ancestor, and is shown at the top.`,
  );
  say(
    "repeated",
    repeated > 0,
    `${counted(repeated, "span")} with an id that another span has; their children are shown below the first.`,
  );
  say(
    "early",
    early > 0,
    `${counted(early, "span")} that ${early === 1 ? "begins" : "begin"} before the parent: the clocks of their machines may differ. Times are shown as they were sent.`,
  );
  say("no_root", roots === 0 && nodes.length > 0, "The root span is missing: every span names a parent.");
  say("several_roots", roots > 1, `${counted(roots, "span")} have no parent: the trace has several roots.`);
  return found;
}
