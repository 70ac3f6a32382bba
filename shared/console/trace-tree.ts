/**
 * A trace's spans as a tree, in the order in which a waterfall shows them. What does not fit is shown as it is: a missing
 * parent, spans that are their own ancestors, a span id that came twice, a child that begins before its parent.
 */

/** What of a span its place depends on. Times in nanoseconds since the trace's first start: a Number holds 104 days of them. */
export interface PlacedSpan {
  readonly spanId: string;
  /** Empty: a root. */
  readonly parentSpanId: string;
  readonly startNs: number;
  readonly durationNs: number;
}

export interface TraceNode {
  /** Place of its span in the list that was given; -1: a parent that others name and that is not there. */
  readonly place: number;
  /** The span's id. */
  readonly id: string;
  readonly depth: number;
  /** Place of its parent in `TraceTree.nodes`; -1: it has none. */
  readonly parent: number;
  /** Behind the last of its descendants: `nodes.slice(n + 1, end)` are those. */
  readonly end: number;
  /** Nanoseconds by which it begins before its parent, which clocks that differ explain; 0: it does not. */
  readonly earlyNs: number;
  /** Its ancestors lead back to it; it is shown as a root. */
  readonly isCycle: boolean;
  /** Another span before it has the same id; children are below the first. */
  readonly isRepeated: boolean;
}

export interface TraceTree {
  /** Depth first; siblings by start. */
  readonly nodes: readonly TraceNode[];
  readonly roots: number;
  readonly missingParents: number;
  readonly cycles: number;
  readonly repeated: number;
  readonly early: number;
  readonly depth: number;
}

/** The order does not recurse: a trace may be one chain of 10,000. */
export function buildTree(spans: readonly PlacedSpan[]): TraceTree {
  const family = familyOf(spans);
  const { nodes, cycles } = placeAll(spans, family);
  for (let n = nodes.length - 1; n >= 0; n--) {
    const node = nodes[n];
    const above = node === undefined ? undefined : nodes[node.parent];
    if (node !== undefined && above !== undefined) {
      above.end = Math.max(above.end, node.end);
    }
  }
  return {
    nodes,
    roots: family.roots.length,
    missingParents: family.orphans.size,
    cycles,
    repeated: family.repeated.size,
    early: nodes.filter(({ earlyNs }) => earlyNs > 0).length,
    depth: nodes.reduce((most, { depth }) => Math.max(most, depth + 1), 0),
  };
}

/** Who belongs to whom, by places in the list of spans. */
interface Family {
  readonly roots: readonly number[];
  /** By their parent, in the order of their start. */
  readonly children: ReadonlyMap<number, readonly number[]>;
  /** By the id of the parent that is missing, in the order of their start. */
  readonly orphans: ReadonlyMap<string, readonly number[]>;
  /** Spans whose id an earlier span has. */
  readonly repeated: ReadonlySet<number>;
  readonly byStart: (a: number, b: number) => number;
}

function familyOf(spans: readonly PlacedSpan[]): Family {
  const byId = new Map<string, number>();
  const repeated = new Set<number>();
  spans.forEach(({ spanId }, place) => {
    if (byId.has(spanId)) {
      repeated.add(place);
    } else {
      byId.set(spanId, place);
    }
  });

  const roots: number[] = [];
  const children = new Map<number, number[]>();
  const orphans = new Map<string, number[]>();
  spans.forEach(({ parentSpanId }, place) => {
    const above = byId.get(parentSpanId);
    if (parentSpanId === "") {
      roots.push(place);
    } else if (above === undefined) {
      listOf(orphans, parentSpanId).push(place);
    } else {
      listOf(children, above).push(place);
    }
  });
  const byStart = (a: number, b: number): number => startOf(spans, a) - startOf(spans, b) || a - b;
  for (const list of [...children.values(), ...orphans.values()]) {
    list.sort(byStart);
  }
  return { roots, children, orphans, repeated, byStart };
}

function startOf(spans: readonly PlacedSpan[], place: number): number {
  return spans[place]?.startNs ?? 0;
}

/** All spans as nodes, depth first; the `end` of each node still leaves its descendants out. */
function placeAll(
  spans: readonly PlacedSpan[],
  { roots, children, orphans, repeated, byStart }: Family,
): { readonly nodes: Mutable<TraceNode>[]; readonly cycles: number } {
  const nodes: Mutable<TraceNode>[] = [];
  const placed = new Set<number>();
  const add = (place: number, id: string, parent: number, isCycle: boolean): number => {
    const above = nodes[parent];
    const aboveSpan = above === undefined ? undefined : spans[above.place];
    nodes.push({
      place,
      id,
      depth: above === undefined ? 0 : above.depth + 1,
      parent,
      end: nodes.length + 1,
      earlyNs: aboveSpan === undefined ? 0 : Math.max(0, aboveSpan.startNs - startOf(spans, place)),
      isCycle,
      isRepeated: repeated.has(place),
    });
    return nodes.length - 1;
  };
  /** Places a span and all below it. Spans to come lie on the stack, the first one on top. */
  const addAll = (first: number, above: number, isCycle: boolean): void => {
    const stack = [{ place: first, parent: above, isCycle }];
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      if (placed.has(next.place)) {
        continue; // a cycle, come round
      }
      placed.add(next.place);
      const node = add(next.place, spans[next.place]?.spanId ?? "", next.parent, next.isCycle);
      for (const place of (children.get(next.place) ?? []).toReversed()) {
        stack.push({ place, parent: node, isCycle: false });
      }
    }
  };

  // Spans whose parent is missing are below a node that says so.
  const tops = [
    ...roots.map((place) => ({ at: startOf(spans, place), place, missing: "" })),
    ...[...orphans].map(([missing, [first = -1]]) => ({ at: startOf(spans, first), place: -1, missing })),
  ].sort((a, b) => a.at - b.at);
  for (const { place, missing } of tops) {
    if (missing === "") {
      addAll(place, -1, false);
    } else {
      const node = add(-1, missing, -1, false);
      for (const orphan of orphans.get(missing) ?? []) {
        addAll(orphan, node, false);
      }
    }
  }
  // A span that no root leads to is in a cycle, or below one.
  let cycles = 0;
  for (const place of [...spans.keys()].sort(byStart)) {
    if (!placed.has(place)) {
      cycles += 1;
      addAll(place, -1, true);
    }
  }
  return { nodes, cycles };
}

/** Places of the direct children of the node at `parent`, in their order. */
export function childrenOf({ nodes }: TraceTree, parent: number): number[] {
  const children: number[] = [];
  for (
    let child = parent + 1;
    child < (nodes[parent]?.end ?? 0);
    child = nodes[child]?.end ?? Number.POSITIVE_INFINITY
  ) {
    children.push(child);
  }
  return children;
}

/** Places of the nodes that show where the nodes of `collapsed` hide what is below them. */
export function visibleNodes({ nodes }: TraceTree, collapsed: ReadonlySet<number>): readonly number[] {
  const visible: number[] = [];
  for (let n = 0; n < nodes.length; ) {
    visible.push(n);
    n = collapsed.has(n) ? (nodes[n]?.end ?? n + 1) : n + 1;
  }
  return visible;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function listOf<K>(map: Map<K, number[]>, key: K): number[] {
  const list = map.get(key) ?? [];
  map.set(key, list);
  return list;
}
