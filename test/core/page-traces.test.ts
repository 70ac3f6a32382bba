/** What the page does with a link, a value and a span's time, without a browser. */
import { describe, expect, test } from "vitest";
import { formatInstant, instantNs } from "../../shared/console/instant.ts";
import { pageLink, parseRoute, tracePagePath, tracesPagePath } from "../../shared/console/page-routes.ts";
import { buildTree, type PlacedSpan, visibleNodes } from "../../shared/console/trace-tree.ts";
import { isSameShape, lookAgain } from "../../workers/console/page/traces/arriving.ts";
import { findNodes, neighbour, searchTexts } from "../../workers/console/page/traces/find-spans.ts";
import { isSameSpan } from "../../workers/console/page/traces/same-span.ts";
import { serviceHues } from "../../workers/console/page/traces/service-hues.ts";
import {
  keyOf,
  linkOf,
  nodeOf,
  nodeOfKey,
  type PlacedTrace,
  parentsWithIds,
} from "../../workers/console/page/traces/span-link.ts";
import { type TreeStep, treeStep } from "../../workers/console/page/traces/tree-keys.ts";
import { jsonText, readableValue, sqlText } from "../../workers/console/page/traces/value-text.ts";
import { widerOf } from "../../workers/console/page/traces/wider-time.ts";

const trace = "5b8efff798038103d269b633813fc60c";

describe("a link", () => {
  test("to a place of the page is read back as that place", () => {
    expect(parseRoute(`#${tracePagePath(trace, "eee19b7ec3c1b174")}`)).toEqual({
      page: "trace",
      trace,
      span: "eee19b7ec3c1b174",
      tenant: "",
    });
    expect(parseRoute(`#${tracePagePath(trace, "eee19b7ec3c1b174", "acme")}`)).toMatchObject({
      span: "eee19b7ec3c1b174",
      tenant: "acme",
    });
    const search = new URLSearchParams([
      ["since", "1h"],
      ["where", "http.route=/cart?a=1&b=#2"],
      ["where", "!user.id"],
    ]);
    const route = parseRoute(`#${tracesPagePath(search)}`);
    expect(route.page === "traces" ? [...route.search] : route).toEqual([...search]);
  });

  test("may be empty, of an upper-case trace, or to a place that is none", () => {
    expect(["", "#", "#/", "#/traces", "#/traces/"].map((hash) => parseRoute(hash).page)).toEqual([
      "overview",
      "overview",
      "overview",
      "traces",
      "traces",
    ]);
    expect(parseRoute(`#/traces/${trace.toUpperCase()}`)).toMatchObject({ trace });
    expect(parseRoute("#/traces/%E0%A4%A")).toMatchObject({ page: "trace", trace: "%e0%a4%a" });
    expect(parseRoute("#/nowhere")).toEqual({ page: "unknown", path: "/nowhere" });
    expect(parseRoute("#/traces/a/b").page).toBe("unknown");
  });

  test("of a local pipeline signs in, and then leads on", () => {
    const link = pageLink("http://127.0.0.1:4319/", tracePagePath(trace), { token: "a b", key: "hr_1" });
    const fragment = new URLSearchParams(new URL(link).hash.slice(1));
    expect(Object.fromEntries(fragment)).toEqual({ token: "a b", key: "hr_1", to: `/traces/${trace}` });
    expect(pageLink("https://console.example", "/")).toBe("https://console.example/#/");
  });
});

describe("a value", () => {
  test("that is JSON is indented, and keeps each of its characters but white space", () => {
    const text = '{"a":[1, {"b":"x, {y}: \\" z"}],"e":{ },"n":12345678901234567890}';
    const indented = jsonText(text);
    expect(indented.split("\n")).toEqual([
      "{",
      '  "a": [',
      "    1,",
      "    {",
      '      "b": "x, {y}: \\" z"',
      "    }",
      "  ],",
      '  "e": {},',
      '  "n": 12345678901234567890',
      "}",
    ]);
  });

  test("that is not JSON, or a number, stays as it is", () => {
    for (const text of ["", "12", "{not json}", "[1,", "plain"]) {
      expect(jsonText(text)).toBe(text);
    }
  });

  test("that is SQL has a line per clause; what is quoted is left alone", () => {
    expect(
      sqlText("select a from t left join u on t.a = u.a where x = 'and  or from' and y = 1 order by a").split(
        "\n",
      ),
    ).toEqual([
      "select a",
      "from t",
      "left join u on t.a = u.a",
      "where x = 'and  or from'",
      "  and y = 1",
      "order by a",
    ]);
  });

  test("of another attribute is not taken for SQL", () => {
    expect(readableValue("message", "select from where")).toBe("select from where");
    expect(readableValue("db.query.text", "select 1 from t")).toBe("select 1\nfrom t");
  });
});

test("a trace is looked at again while it is not there, and while its spans may still arrive", () => {
  const now = Date.parse("2026-11-24T12:00:00Z");
  const shape = (start: string | null, durationNs = 0) => ({
    start,
    durationNs,
    spansCount: start === null ? 0 : 3,
    errorsCount: 0,
  });
  const looked = (start: string | null, durationNs = 0) => lookAgain(shape(start, durationNs), now);
  expect(looked(null)).toBe(3000);
  expect(looked("2026-11-24T11:59:00.000000001Z")).toBe(5000);
  expect(looked("2026-11-24T10:00:00.000000001Z")).toBeNull();
  expect(looked("2026-11-24T10:00:00.000000001Z", 2 * 3600e9)).toBe(5000);
  expect(looked("2026-11-24T15:00:00.000000001Z")).toBeNull();
  const one = shape("2026-11-24T10:00:00.000000001Z");
  expect(isSameShape(one, { ...one })).toBe(true);
  for (const change of [{ spansCount: 4 }, { errorsCount: 1 }, { durationNs: 1 }, { start: null }]) {
    expect(isSameShape(one, { ...one, ...change })).toBe(false);
  }
});

test("an empty list leads to a longer time, never to a shorter one", () => {
  const now = Date.parse("2026-11-24T12:00:00Z");
  const wider = (search: string) => widerOf(new URLSearchParams(search), now);
  expect(["", "since=15m", "since=24h", "since=20d", "since=30d", "since=31d"].map(wider)).toEqual([
    "24h",
    "24h",
    "7d",
    "30d",
    undefined,
    undefined,
  ]);
  expect(wider("from=2026-11-21T12:00:00Z&to=2026-11-21T13:00:00Z")).toBe("7d");
});

test("fifty services have fifty colours, the same ones each time", () => {
  const spans = Array.from({ length: 100 }, (_, n) => ({ service: `s${n % 50}` }));
  const hues = serviceHues(spans);
  expect(new Set(hues.values()).size).toBe(50);
  expect([...serviceHues(spans)]).toEqual([...hues]);
});

/** a with b and d below it, c below b; then a second a, and e below a parent that is not there. */
const spans = (
  [
    ["a", ""],
    ["b", "a"],
    ["c", "b"],
    ["d", "a"],
    ["a", ""],
    ["e", "gone"],
  ] as const
).map(([spanId, parentSpanId], n) => ({ spanId, parentSpanId, startNs: n, durationNs: 10 }));
const tree = buildTree(spans);

/** A trace that begins at `begin`, ns since the epoch. */
function seen(begin: bigint, placed: readonly PlacedSpan[]): PlacedTrace {
  const drawn = placed.map((one) => ({ ...one, service: "", name: "", kind: "", status: "" }));
  return { trace: { start: formatInstant(begin), spans: drawn }, tree: buildTree(placed) };
}

test("a span in a link is found again, also where several have its id, and a parent that is not there is none", () => {
  const there = seen(100n, spans);
  const links = tree.nodes.map((_, node) => linkOf(there, node));
  expect(links).toEqual(["a.100", "b", "c", "d", "a.104", "", "e"]);
  expect(links.map((link) => nodeOf(there, link))).toEqual([0, 1, 2, 3, 4, -1, 6]);
  expect(nodeOf(there, "a")).toBe(0);
  expect(["", "x", "a.3", "a.x", "gone"].map((link) => nodeOf(there, link))).toEqual([-1, -1, -1, -1, -1]);
  // Twice the same span: nothing but their order tells them apart.
  const [a] = spans;
  const twice = a === undefined ? there : seen(100n, [a, a]);
  expect([0, 1].map((node) => nodeOf(twice, linkOf(twice, node)))).toEqual([0, 1]);
});

test("what is remembered of a row is of its span, whatever arrives before it", () => {
  const before = seen(100n, spans);
  const keys = tree.nodes.map((_, node) => keyOf(before, node));
  // 50 ns earlier: a first span with the id a, and the parent of e.
  const after = seen(50n, [
    { spanId: "a", parentSpanId: "", startNs: 0, durationNs: 500 },
    { spanId: "gone", parentSpanId: "", startNs: 1, durationNs: 500 },
    ...spans.map((one) => ({ ...one, startNs: one.startNs + 50 })),
  ]);
  const begins = (of: PlacedTrace, nodes: readonly number[]) =>
    nodes.map((node) => of.trace.spans[of.tree.nodes[node]?.place ?? -1]?.startNs);
  const found = keys.map((key) => nodeOfKey(after, key));
  expect(begins(after, found)).toEqual([50, 51, 52, 53, 54, 1, 55]);
  // What is below a and below the missing parent was folded, and is: now they are other rows.
  const folded = parentsWithIds(before.tree, new Set(["a", "gone"]));
  expect([...folded]).toEqual([0, 5]);
  expect(begins(after, [...parentsWithIds(after.tree, new Set(["a", "gone"]))])).toEqual([0, 1]);
});

test("a span is the same one in an answer that begins earlier, and another one where an id is there twice", () => {
  const drawn = {
    start: "2026-11-27T20:55:12.000000009Z",
    span: { name: "query", startNs: 1, durationNs: 5 },
  };
  const same = (start: string, change: object = {}): boolean =>
    isSameSpan({ start, span: { ...drawn.span, ...change } }, drawn);
  expect(same(drawn.start)).toBe(true);
  // The root came in between, 2 s and 4 ns before.
  expect(same("2026-11-27T20:55:10.000000005Z", { startNs: 2_000_000_005 })).toBe(true);
  expect(same("2026-11-27T20:55:10.000000005Z")).toBe(false);
  expect([{ startNs: 2 }, { durationNs: 6 }, { name: "quer" }].map((one) => same(drawn.start, one))).toEqual([
    false,
    false,
    false,
  ]);
  const long = { ...drawn, span: { ...drawn.span, name: "que…" } };
  expect(isSameSpan(drawn, long)).toBe(true);
});

test("a time of an answer is read to the nanosecond, also before 1970", () => {
  for (const ns of [0n, 1_764_276_912_123_456_789n, -1n, -1_500_000_000n]) {
    expect(instantNs(formatInstant(ns))).toBe(ns);
  }
});

describe("the keys of the tree", () => {
  const press = (key: string, active: number, folded: readonly number[] = []): TreeStep | undefined => {
    const collapsed = new Set(folded);
    return treeStep(key, { tree, collapsed, active, visible: visibleNodes(tree, collapsed) });
  };

  test("go from row to row, and not beyond the first and the last", () => {
    expect(press("ArrowDown", 0)).toEqual({ kind: "go", node: 1 });
    expect(press("ArrowDown", 0, [0])).toEqual({ kind: "go", node: 4 });
    expect(press("ArrowUp", 4, [0])).toEqual({ kind: "go", node: 0 });
    expect(press("ArrowUp", 0)).toEqual({ kind: "go", node: 0 });
    expect(press("End", 0)).toEqual({ kind: "go", node: 6 });
    expect(press("PageDown", 3)).toEqual({ kind: "go", node: 6 });
    expect(press("PageUp", 3)).toEqual({ kind: "go", node: 0 });
  });

  test("fold, unfold, and go to the parent and the first child", () => {
    expect(press("ArrowLeft", 1)).toEqual({ kind: "fold", node: 1 });
    expect(press("ArrowLeft", 1, [1])).toEqual({ kind: "go", node: 0 });
    expect(press("ArrowLeft", 2)).toEqual({ kind: "go", node: 1 });
    expect(press("ArrowLeft", 4)).toEqual({ kind: "stay" });
    expect(press("ArrowRight", 1, [1])).toEqual({ kind: "unfold", node: 1 });
    expect(press("ArrowRight", 1)).toEqual({ kind: "go", node: 2 });
    expect(press("ArrowRight", 2)).toEqual({ kind: "stay" });
    expect(press("Enter", 2)).toEqual({ kind: "choose", node: 2 });
    expect(press("x", 2)).toBeUndefined();
  });
});

test("the search within a trace looks into names, attributes and events, and goes round", () => {
  const span = (name: string, more: object = {}) => ({
    spanId: name,
    parentSpanId: "",
    service: "shop",
    name,
    kind: "Server",
    startNs: 0,
    durationNs: 1,
    status: "Unset",
    statusMessage: "",
    scope: "",
    payload: null,
    resource: 0,
    eventsCount: 0,
    linksCount: 0,
    attributesCount: 0,
    attributes: null,
    events: null,
    links: null,
    ...more,
  });
  const spans = [
    span("one", { attributes: [["http.route", "/Cart"]] }),
    span("two", {
      events: [{ startNs: 0, name: "gave up", attributes: [["exception.message", "out of Cart"]] }],
    }),
    span("three"),
  ];
  const texts = searchTexts(spans as unknown as Parameters<typeof searchTexts>[0]);
  const found = (sought: string) => findNodes(buildTree(spans), texts, sought);
  expect(found("cart")).toEqual([0, 1]);
  expect(found("http.route=/cart")).toEqual([0]);
  expect(found(" GAVE UP ")).toEqual([1]);
  expect(found("")).toEqual([]);
  expect([
    neighbour([0, 4], 0, 1),
    neighbour([0, 4], 4, 1),
    neighbour([0, 4], 0, -1),
    neighbour([], 0, 1),
  ]).toEqual([4, 0, 4, undefined]);
});
