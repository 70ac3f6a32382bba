/** A trace's tree and its critical path: drawn by hand, and held by properties over random parents. */
import { describe, expect, test } from "vitest";
import { criticalPath } from "../../shared/console/critical-path.ts";
import { buildTree, type PlacedSpan, visibleNodes } from "../../shared/console/trace-tree.ts";
import { seededRandom } from "../ledger/random-events.ts";

/** `id parent from-to` a line. */
function spansOf(text: string): PlacedSpan[] {
  return text
    .trim()
    .split("\n")
    .map((line) => {
      const [spanId = "", parent = "", time = ""] = line.trim().split(/\s+/);
      const [from = 0, to = 0] = time.split("-").map(Number);
      return { spanId, parentSpanId: parent === "." ? "" : parent, startNs: from, durationNs: to - from };
    });
}

/** The tree as it is shown: two spaces per depth, and what is odd. */
function drawn(spans: readonly PlacedSpan[]): string[] {
  return buildTree(spans).nodes.map(
    ({ id, depth, place, earlyNs, isCycle, isRepeated }) =>
      "  ".repeat(depth) +
      id +
      (place < 0 ? " missing" : "") +
      (earlyNs > 0 ? ` early ${earlyNs}` : "") +
      (isCycle ? " cycle" : "") +
      (isRepeated ? " repeated" : ""),
  );
}

describe("a trace's tree", () => {
  test("has siblings in the order of their start, whatever the order of the spans", () => {
    expect(drawn(spansOf("c a 5-6\na . 0-10\nd b 3-4\nb a 2-5"))).toEqual(["a", "  b", "    d", "  c"]);
  });

  test("has several roots in the order of time", () => {
    expect(drawn(spansOf("b . 5-6\na . 0-10"))).toEqual(["a", "b"]);
  });

  test("shows a parent that is not there, once, with all its children below it", () => {
    expect(drawn(spansOf("a . 4-5\nc x 3-4\nb x 2-3"))).toEqual(["x missing", "  b", "  c", "a"]);
    expect(buildTree(spansOf("a . 4-5\nc x 3-4\nb x 2-3")).missingParents).toBe(1);
  });

  test("opens a cycle at the span that begins first, and shows each once", () => {
    expect(drawn(spansOf("r . 0-9\na b 2-3\nb a 1-4"))).toEqual(["r", "b cycle", "  a"]);
    expect(drawn(spansOf("a a 0-1"))).toEqual(["a cycle"]);
  });

  test("shows a span whose id another has too; children stand below the first", () => {
    expect(drawn(spansOf("a . 0-9\nb a 1-2\nb a 3-4\nc b 5-6"))).toEqual([
      "a",
      "  b",
      "    c",
      "  b repeated",
    ]);
  });

  test("says by how much a child begins before its parent", () => {
    expect(drawn(spansOf("a . 5-9\nb a 3-7"))).toEqual(["a", "  b early 2"]);
  });

  test("of one chain of 20,000 spans is built without recursion", () => {
    const chain = Array.from({ length: 20_000 }, (_, n) => ({
      spanId: `s${n}`,
      parentSpanId: n === 0 ? "" : `s${n - 1}`,
      startNs: n,
      durationNs: 40_000 - 2 * n,
    }));
    const tree = buildTree(chain);
    expect([tree.nodes.length, tree.depth, tree.nodes[0]?.end]).toEqual([20_000, 20_000, 20_000]);
    expect(criticalPath(tree, chain).size).toBe(20_000);
  });

  test("has each span once, children within their parent's range, and hides what is folded", () => {
    const next = seededRandom(7);
    const random = { below: (count: number) => Math.floor(next() * count) };
    for (let round = 0; round < 200; round++) {
      const count = 1 + random.below(30);
      const spans = Array.from({ length: count }, (_, n) => ({
        spanId: `s${random.below(8) === 0 ? random.below(count) : n}`,
        parentSpanId: random.below(5) === 0 ? "" : `s${random.below(count + 2)}`,
        startNs: random.below(50),
        durationNs: random.below(50),
      }));
      const tree = buildTree(spans);
      const places = tree.nodes.map(({ place }) => place).filter((place) => place >= 0);
      expect(places.toSorted((a, b) => a - b)).toEqual([...spans.keys()]);
      tree.nodes.forEach(({ parent, end, depth }, n) => {
        const above = tree.nodes[parent];
        expect(depth).toBe(above === undefined ? 0 : above.depth + 1);
        expect(above === undefined || (parent < n && end <= above.end)).toBe(true);
      });
      const folded = random.below(tree.nodes.length);
      const hidden = (tree.nodes[folded]?.end ?? 0) - folded - 1;
      expect(visibleNodes(tree, new Set([folded]))).toHaveLength(tree.nodes.length - hidden);
    }
  });
});

describe("the critical path", () => {
  const pathOf = (text: string): Record<string, string> => {
    const spans = spansOf(text);
    const tree = buildTree(spans);
    return Object.fromEntries(
      [...criticalPath(tree, spans)].map(([n, segments]) => [
        tree.nodes[n]?.id ?? "",
        segments.map(({ fromNs, toNs }) => `${fromNs}-${toNs}`).join(" "),
      ]),
    );
  };

  test("goes from the end to the child that ended last, and leaves out what held nothing up", () => {
    expect(pathOf("root . 0-10\na root 1-4\nb root 5-9\nc root 2-6")).toEqual({
      root: "0-1 4-5 9-10",
      a: "1-4",
      b: "5-9",
    });
  });

  test("goes down: what a child waits for is not the child's own", () => {
    expect(pathOf("root . 0-10\na root 2-8\nb a 3-7")).toEqual({ root: "0-2 8-10", a: "2-3 7-8", b: "3-7" });
  });

  test("takes a child that goes on after its parent's end until that end", () => {
    expect(pathOf("root . 0-10\na root 2-20")).toEqual({ root: "0-2", a: "2-10" });
  });

  test("is that of the longest root, also of one whose parent is not there", () => {
    expect(pathOf("a . 0-3\nb x 1-9")).toEqual({ b: "1-9" });
  });

  test("covers the longest root without a gap or an overlap", () => {
    const next = seededRandom(11);
    const random = { below: (count: number) => Math.floor(next() * count) };
    for (let round = 0; round < 300; round++) {
      const spans = Array.from({ length: 1 + random.below(25) }, (_, n) => ({
        spanId: `s${n}`,
        parentSpanId: n === 0 ? "" : `s${random.below(n)}`,
        startNs: n === 0 ? 0 : random.below(100),
        durationNs: n === 0 ? 100 : random.below(60),
      }));
      const segments = [...criticalPath(buildTree(spans), spans).values()]
        .flat()
        .sort((a, b) => a.fromNs - b.fromNs);
      let at = 0;
      for (const { fromNs, toNs } of segments) {
        expect(fromNs).toBe(at);
        at = toNs;
      }
      expect(at).toBe(100);
    }
  });
});
