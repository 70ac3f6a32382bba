/** What the console finds among the spans, on a real engine: lists, times, one trace, values; with the projection and without. */

import * as v from "valibot";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { loginVariables } from "../../dev/clickhouse/login.ts";
import { statementRunner } from "../../dev/clickhouse/run-statement.ts";
import { readSchemaFiles } from "../../dev/schema-files.ts";
import { insertRows, queryRows } from "../../shared/clickhouse/ask.ts";
import { type ClickHouseConnection, connectClickHouse } from "../../shared/clickhouse/connection.ts";
import { defaultSchemaSettings, migrate } from "../../shared/clickhouse/migrations.ts";
import { receiptColumns, receiptRow } from "../../shared/clickhouse/receipts.ts";
import { isCut } from "../../shared/console/cut-spans.ts";
import { msToNs } from "../../shared/console/instant.ts";
import { parseFilter, type TraceFilter } from "../../shared/console/trace-filter.ts";
import {
  countStepsQuestion,
  countTracesQuestion,
  listRootsQuestion,
  type Question,
} from "../../shared/console/trace-queries.ts";
import {
  type Trace,
  type TraceShape,
  type TraceSpan,
  traceSchema,
  traceShapeSchema,
  traceSpanSchema,
  tracesSchema,
  traceTimesSchema,
  traceValuesSchema,
} from "../../shared/console/traces.ts";
import { fromHex } from "../../shared/hex.ts";
import { DAY_MS, limits } from "../../shared/limits.ts";
import { formatPayloadId, formatPayloadKey } from "../../shared/payload-key.ts";
import type { GroupId } from "../../shared/receipt.ts";
import { answerRequest } from "../../workers/console/answer-request.ts";
import type { NamedBindings } from "../../workers/console/name-dependencies.ts";
import { readTrace } from "../../workers/console/read-trace.ts";
import { readTraceShape } from "../../workers/console/read-trace-shape.ts";
import { readTraceSpan } from "../../workers/console/read-trace-span.ts";
import { traceHandlers } from "../../workers/console/trace-requests.ts";
import { nothingRemembered } from "../../workers/console/trace-search.ts";
import { insertSpans, type SpanRow } from "./traces-table-rows.ts";

const now = Date.now();
const MINUTE_MS = 60_000;
const run = statementRunner({ url: inject("clickhouse") });
const id = (n: number, digits: number): string => n.toString(16).padStart(digits, "0");
const trace = (n: number): string => `a${id(n, 31)}`;
const span = (n: number): string => `b${id(n, 15)}`;
const ago = (minutes: number, ns = 0n): bigint => msToNs(now - minutes * MINUTE_MS) + ns;
const payload = "0123456789abcdef0123456789abcdef";

/** Trace 1: a root and two children over two minutes. 2: an error. 3: no root. 4: hostile texts. 5: two days old. */
const rows: readonly SpanRow[] = [
  {
    trace: trace(1),
    span: span(1),
    at: ago(10),
    durationNs: 90_000_000_000n,
    name: "GET /cart",
    service: "frontend",
    payload,
    attributes: { "http.route": "/cart", "user.id": "7" },
  },
  {
    trace: trace(1),
    span: span(2),
    parent: span(1),
    at: ago(10, 5_000_000n),
    name: "query",
    service: "db",
    kind: "Client",
    attributes: { "db.statement": "SELECT 1" },
    resource: { "service.name": "db", "host.name": "db-1" },
    payload,
  },
  {
    trace: trace(1),
    span: span(3),
    parent: span(2),
    at: ago(9),
    status: "Error",
    name: "query",
    service: "db",
    events: [{ at: ago(9, 7n), name: "exception", attributes: { "exception.message": "boom" } }],
    links: [{ trace: trace(2), span: span(4) }],
  },
  {
    trace: trace(2),
    span: span(4),
    at: ago(5),
    durationNs: 3_000_000n,
    name: "POST /pay",
    service: "frontend",
    status: "Error",
    tenant: "beta",
  },
  { trace: trace(3), span: span(5), parent: span(99), at: ago(3), name: "orphan", service: "worker" },
  {
    trace: trace(4),
    span: span(6),
    at: ago(2),
    name: "'; DROP TABLE x; --\n\t\\",
    service: "ho'stile\\",
    attributes: { "a=b": "{key0:String}", "": "empty key", quote: 'it\'s \\ "x"' },
  },
  { trace: trace(5), span: span(7), at: ago(2 * 24 * 60), name: "old", service: "frontend" },
  // 30 to 36: three roots each, nine days ago, 25 minutes apart; the longest is now the first of them, now the last.
  ...Array.from({ length: 21 }, (_, n) => ({
    trace: trace(30 + (n % 7)),
    span: span(100 + n),
    at: ago(9 * 24 * 60 - 1 - 25 * Math.floor(n / 7), BigInt(n)),
    durationNs: BigInt(1_000_000 * (1 + ((n * 11) % 21))),
    name: "again",
    service: "again",
  })),
];

let clickHouse: ClickHouseConnection;
let without: ClickHouseConnection;
const databases: string[] = [];

async function newDatabase(leaveOut: readonly "trace_projection"[]): Promise<ClickHouseConnection> {
  const database = `t_${crypto.randomUUID().replaceAll("-", "")}`;
  databases.push(database);
  await migrate(readSchemaFiles(), { ...defaultSchemaSettings, database, leaveOut }, run);
  const variables = {
    ...loginVariables(inject("clickhouse")),
    CLICKHOUSE_DATABASE: database,
    CLICKHOUSE_TRACES_TABLE: "otel_traces",
  };
  const made = connectClickHouse(variables, undefined, fetch, "full");
  await insertSpans(made, rows);
  return connectClickHouse(variables, undefined, fetch, "read_only");
}

beforeAll(async () => {
  clickHouse = await newDatabase([]);
  without = await newDatabase(["trace_projection"]);
}, 120_000);

afterAll(async () => {
  for (const database of databases) {
    await run(`DROP DATABASE IF EXISTS ${database}`);
  }
});

const routeOf = {
  traces: "GET /api/traces",
  traceTimes: "GET /api/trace-times",
  traceValues: "GET /api/trace-values",
  trace: "GET /api/trace",
  traceShape: "GET /api/trace-shape",
  traceSpan: "GET /api/trace-span",
} as const;
type Endpoint = keyof typeof routeOf;

/** The answer of the console's own handlers, the query checked by the contract. */
async function answerOf(name: Endpoint, query: string, at: ClickHouseConnection): Promise<Response> {
  const traces = traceHandlers(nothingRemembered());
  const request = new Request(`http://console${routeOf[name].slice("GET ".length)}?${query}`);
  const env = {} as NamedBindings; // these handlers take nothing of it
  switch (name) {
    case "traces":
      return await answerRequest(
        routeOf[name],
        async (asked) => await traces.list(at, asked.query, asked.now),
        request,
        env,
      );
    case "traceTimes":
      return await answerRequest(
        routeOf[name],
        async (asked) => await traces.times(at, asked.query, asked.now),
        request,
        env,
      );
    case "traceValues":
      return await answerRequest(
        routeOf[name],
        async (asked) => await traces.values(at, asked.query, asked.now),
        request,
        env,
      );
    case "trace":
      return await answerRequest(
        routeOf[name],
        async ({ query: { id: traceId, tenant = null } }) => await traces.trace(at, { traceId, tenant }),
        request,
        env,
      );
    case "traceShape":
      return await answerRequest(
        routeOf[name],
        async ({ query: { id: traceId, tenant = null } }) => await traces.shape(at, { traceId, tenant }),
        request,
        env,
      );
    case "traceSpan":
      return await answerRequest(
        routeOf[name],
        async ({ query: { trace: traceId, span: spanId, tenant = null } }) =>
          await traces.span(at, { traceId, span: spanId, tenant }),
        request,
        env,
      );
  }
}

async function ask<S extends v.GenericSchema>(
  name: Endpoint,
  query: string,
  schema: S,
  at: ClickHouseConnection = clickHouse,
): Promise<v.InferOutput<S>> {
  const response = await answerOf(name, query, at);
  const text = await response.text();
  expect(response.status, text).toBe(200);
  return v.parse(schema, JSON.parse(text));
}

function parsed(query: string): TraceFilter {
  const filter = parseFilter(new URLSearchParams(query), now);
  if (!filter.ok) {
    throw new Error(filter.refusal);
  }
  return filter.value;
}

async function refusal(name: Endpoint, query: string): Promise<{ status: number; error: string }> {
  const response = await answerOf(name, query, clickHouse);
  const { error } = v.parse(v.object({ error: v.string() }), await response.json());
  return { status: response.status, error };
}

const ids = (answer: { readonly traces: readonly { readonly traceId: string }[] }): string[] =>
  answer.traces.map(({ traceId }) => traceId);

describe.each([
  ["with the projection", () => clickHouse],
  ["without the projection", () => without],
])("a list %s", (_, at) => {
  test("shows the newest roots first, each with its spans and errors", async () => {
    const listed = await ask("traces", "since=1h", tracesSchema, at());
    expect(ids(listed)).toEqual([trace(4), trace(2), trace(1)]);
    expect(listed.traces[2]).toMatchObject({
      tenant: "acme",
      durationNs: 90e9,
      root: { spanId: span(1), service: "frontend", name: "GET /cart", kind: "Server", status: "Unset" },
      spans: 3,
      errors: 1,
      matched: 0,
      span: null,
    });
    expect(listed).toMatchObject({ searched: { isWhole: true }, cursor: null });
    expect(listed.notes).toEqual([]);
  });

  /** The traces of a question by pages of `limit`, in the order in which they came. */
  const byPages = async (query: string, limit: number): Promise<string[]> => {
    const found: string[] = [];
    let cursor: string | null = "";
    for (let pages = 0; cursor !== null && pages < 50; pages++) {
      const page: v.InferOutput<typeof tracesSchema> = await ask(
        "traces",
        `${query}&limit=${limit}&cursor=${cursor}`,
        tracesSchema,
        at(),
      );
      found.push(...ids(page));
      cursor = page.cursor;
    }
    return found;
  };

  test.each([
    ["of spans, the newest first", "service=again", "time"],
    ["of spans, the longest first", "service=again", "duration"],
    ["of roots, the newest first", "match=root&service=again", "time"],
    ["of roots, the longest first", "match=root&service=again", "duration"],
  ])(
    "%s, has each trace once, on whichever page, also where it matches again further down",
    async (_of, filter, sort) => {
      // Seven traces with three roots each, 25 minutes apart: each is found in several slices, and on both sides of a cursor.
      const range = `from=${new Date(now - 9 * DAY_MS).toISOString()}&to=${new Date(now - 9 * DAY_MS + 75 * MINUTE_MS).toISOString()}`;
      const wanted = ids(await ask("traces", `${range}&${filter}&sort=${sort}`, tracesSchema, at()));
      expect([...wanted].sort()).toEqual([30, 31, 32, 33, 34, 35, 36].map(trace));
      for (const limit of [2, 3]) {
        expect(await byPages(`${range}&${filter}&sort=${sort}`, limit), `pages of ${limit}`).toEqual(wanted);
      }
    },
  );

  test("is the same by pages", async () => {
    expect(await byPages("since=7d", 1)).toEqual([trace(4), trace(2), trace(1), trace(5)]);
  });

  test("ends where it ended when its first page was asked for", async () => {
    const first = await ask("traces", "since=1h&limit=1", tracesSchema, at());
    const [asked = ""] = (first.cursor ?? "").split(".");
    const second = await ask("traces", `since=1h&limit=1&cursor=${first.cursor}`, tracesSchema, at());
    expect(ids(second)).toEqual([trace(2)]);
    const from = (answer: v.InferOutput<typeof tracesSchema>): number => Date.parse(answer.searched.from);
    expect(from(await ask("traces", `since=1h&cursor=${first.cursor}`, tracesSchema, at()))).toBe(
      Number(asked) - 60 * MINUTE_MS,
    );
  });

  test.each([
    ["sort=duration", [1, 2, 4]],
    ["sort=duration&limit=1", [1]],
    ["match=root&service=frontend", [2, 1]],
    ["match=root&status=error", [2]],
    ["tenant=beta", [2]],
    ["match=root&minDuration=2ms&maxDuration=1m", [2]],
    ["service=db", [1]],
    ["name=orphan", [3]],
    ["status=error", [2, 1]],
    ["where=http.route=/cart", [1]],
    ["where=span.http.route=/cart", [1]],
    ["where=resource.http.route=/cart", []],
    ["where=host.name=db-1", [1]],
    ["where=resource.host.name", [1]],
    ["where=http.route=/cart&where=host.name=db-1", []],
    ["where=user.id", [1]],
    ["service=frontend&where=!user.id", [2]],
    ["service=frontend&where=user.id!=7", [2]],
    [`where=${encodeURIComponent('"a=b"={key0:String}')}`, [4]],
    [`where=${encodeURIComponent('quote=it\'s \\ "x"')}`, [4]],
    [`name=${encodeURIComponent("'; DROP TABLE x; --\n\t\\")}`, [4]],
    [`service=${encodeURIComponent("ho'stile\\")}`, [4]],
    ["service=%27)%20OR%201%3D1%20--", []],
  ])("finds %s", async (query, wanted) => {
    expect(ids(await ask("traces", `since=1h&${query}`, tracesSchema, at()))).toEqual(wanted.map(trace));
  });

  test("of spans says what matched, and the root of its trace", async () => {
    const listed = await ask("traces", "since=1h&service=db", tracesSchema, at());
    expect(listed.traces[0]).toMatchObject({
      root: { name: "GET /cart" },
      spans: 3,
      errors: 1,
      matched: 2,
      span: { spanId: span(3), name: "query", status: "Error" },
    });
    const orphan = await ask("traces", "since=1h&service=worker", tracesSchema, at());
    expect(orphan.traces[0]).toMatchObject({ root: null, spans: 1, span: { name: "orphan" } });
  });

  test("over time counts roots, or the spans that match", async () => {
    const sums = async (query: string): Promise<[number, number, string]> => {
      const times = await ask("traceTimes", query, traceTimesSchema, at());
      expect(times.steps.length).toBeLessThanOrEqual(limits.traceStepsMax);
      return [
        times.steps.reduce((sum, step) => sum + (step?.count ?? 0), 0),
        times.steps.reduce((sum, step) => sum + (step?.errors ?? 0), 0),
        times.of,
      ];
    };
    expect(await sums("since=1h")).toEqual([3, 1, "traces"]);
    expect(await sums("since=7d")).toEqual([4, 1, "traces"]);
    expect(await sums("since=1h&match=root&service=frontend")).toEqual([2, 1, "traces"]);
    expect(await sums("since=1h&service=db")).toEqual([2, 1, "spans"]);
    expect(await sums("since=11m&tenant=beta")).toEqual([1, 1, "traces"]);
  });
});

/** The plan of a question, its parameters in it as the server reads them. */
async function planOf({ query, parameters }: Question): Promise<string> {
  const rows = await queryRows(
    clickHouse,
    v.array(v.object({ explain: v.string() })),
    `EXPLAIN ${query}`,
    parameters,
  );
  return rows.map(({ explain }) => explain).join("\n");
}

describe("the projection", () => {
  const filter = parsed("since=1h");
  const slice = { from: msToNs(now - 60 * MINUTE_MS), to: msToNs(now) };
  const options = { sort: "time" as const, limit: 50, after: null };
  const steps = { from: slice.from, seconds: 60 };

  test.each([
    ["the roots of a time", () => listRootsQuestion(clickHouse.settings, filter, slice, options)],
    ["the spans of some traces", () => countTracesQuestion(clickHouse.settings, [trace(1)], slice)],
    ["how many roots a step has", () => countStepsQuestion(clickHouse.settings, filter, slice, steps, true)],
    [
      "how many of a service",
      () => countStepsQuestion(clickHouse.settings, parsed("match=root&service=a"), slice, steps, true),
    ],
  ])("is what is read for %s", async (_, question) => {
    expect(await planOf(question())).toContain("ReadFromMergeTree (headrace_traces)");
  });
});

/** The same, but for the question that reads few spans at once: it finds none, so that they are read as those of a large trace. */
function withoutFewSpans(of: ClickHouseConnection): ClickHouseConnection {
  return {
    ...of,
    send: async (request) => {
      const answer = await of.send(request);
      return request.body.toString().includes("QUALIFY") ? { ...answer, text: "" } : answer;
    },
  };
}

describe("one trace", () => {
  beforeAll(async () => {
    const receipt = {
      key: formatPayloadKey(now - 9 * MINUTE_MS, "acme", formatPayloadId(fromHex(payload))),
      outcome: "stored" as const,
      group: "f".repeat(32) as GroupId,
      spans: 2,
      rowsByDay: [],
      rejectedSpans: 0,
      bytes: 100,
      reason: "",
    };
    await insertRows({ ...clickHouse, access: "full" }, "headrace_receipts", receiptColumns, [
      receiptRow(receipt, now),
    ]);
  });

  test("has its spans by their begin, with all that they carry, and what brought them", async () => {
    const found = await ask("trace", `id=${trace(1)}`, traceSchema);
    expect(found).toMatchObject({
      traceId: trace(1),
      durationNs: 90e9,
      spansCount: 3,
      errorsCount: 1,
      spansOfOthers: 1,
      notes: [],
      payloads: [
        {
          payload: formatPayloadId(fromHex(payload)),
          tenant: "acme",
          spans: 2,
          spansInAll: 2,
          receipts: [{ outcome: "stored", group: "f".repeat(32), reason: "" }],
        },
      ],
    });
    expect(
      found.spans.map((one) => [one.spanId, one.parentSpanId, one.startNs, one.durationNs, one.payload]),
    ).toEqual([
      [span(1), "", 0, 90e9, 0],
      [span(2), span(1), 5e6, 1e6, 0],
      [span(3), span(2), 60e9, 1e6, null],
    ]);
    expect(found.spans[0]?.attributes).toEqual([
      ["http.route", "/cart"],
      ["user.id", "7"],
    ]);
    expect(found.spans[2]).toMatchObject({
      status: "Error",
      statusMessage: "it failed",
      events: [{ startNs: 60e9 + 7, name: "exception", attributes: [["exception.message", "boom"]] }],
      links: [{ traceId: trace(2), spanId: span(4), attributes: [] }],
    });
    expect(found.resources[found.spans[1]?.resource ?? -1]).toEqual({
      service: "db",
      attributes: [
        ["service.name", "db"],
        ["host.name", "db-1"],
      ],
      attributesCount: 2,
    });
  });

  test("has a shape, by one query that reads no wide column, which is what the whole answer says of it", async () => {
    const asked: string[] = [];
    const watched = {
      ...clickHouse,
      send: async (request: Parameters<typeof clickHouse.send>[0]) => {
        asked.push(String(request.body));
        return await clickHouse.send(request);
      },
    };
    for (const id of [1, 3, 5].map(trace)) {
      asked.length = 0;
      const shape = await readTraceShape(watched, { traceId: id, tenant: null });
      expect(asked.filter((query) => /Attributes|Events|Links|headrace_receipts/.test(query))).toEqual([]);
      expect(asked).toHaveLength(1);
      expect(shape).toEqual(
        v.parse(traceShapeSchema, await readTrace(clickHouse, { traceId: id, tenant: null })),
      );
    }
    const none = await ask("traceShape", `id=${trace(77)}`, traceShapeSchema);
    expect(none).toMatchObject({ start: null, durationNs: 0, spans: [], spansCount: 0 });
    expect(none.notes[0]).toMatch(/has no span of this trace/);
  });

  test("whose times the view of trace ids has missed has a shape all the same", async () => {
    const { database } = clickHouse.settings;
    await insertSpans({ ...clickHouse, access: "full" }, [{ trace: trace(13), span: span(1), at: ago(22) }]);
    await run(
      `DELETE FROM ${database}.otel_traces_trace_id_ts WHERE TraceId = '${trace(13)}' SETTINGS lightweight_deletes_sync = 2`,
    );
    expect((await ask("traceShape", `id=${trace(13)}`, traceShapeSchema)).spansCount).toBe(1);
  });

  test("is found by its id in capitals, and says when nothing is there", async () => {
    expect((await ask("trace", `id=${trace(2).toUpperCase()}`, traceSchema)).spansCount).toBe(1);
    const none = await ask("trace", `id=${trace(77)}`, traceSchema);
    expect(none).toMatchObject({ start: null, spans: [], spansCount: 0 });
    expect(none.notes[0]).toMatch(/has no span of this trace/);
    await expect(refusal("trace", "id=xyz")).resolves.toEqual({
      status: 400,
      error: "id must be a trace id: 32 hex digits",
    });
  });

  test("beyond what an answer holds is cut, and says so", async () => {
    const full = { ...clickHouse, access: "full" as const };
    const text = "x".repeat(5000);
    const many = Object.fromEntries(Array.from({ length: 100_000 }, (_, n) => [`key.${n}`, "v"]));
    await insertSpans(full, [
      { trace: trace(8), span: span(20), at: ago(20), attributes: many },
      ...Array.from({ length: 1200 }, (_, n) => ({
        trace: trace(8),
        span: span(1000 + n),
        parent: span(20),
        at: ago(20, BigInt(n + 1)),
        attributes: { text },
      })),
    ]);
    const found = await ask("trace", `id=${trace(8)}`, traceSchema);
    expect(found.spansCount).toBe(1201);
    expect(found.spans[0]).toMatchObject({ attributesCount: 100_000 });
    expect(found.spans[0]?.attributes).toHaveLength(limits.traceSpanMembersMax);
    expect(found.spans[1]?.attributes?.[0]?.[1]).toBe(`${"x".repeat(limits.traceTextCharsMax)}…`);
    expect(found.spans[1200]?.attributes).toBeNull();
    expect(found.notes.join(" ")).toMatch(
      /of \d+ spans are left out to keep.* \d+ spans are shown in part: they have more than 200 attributes/,
    );
    const alone = await ask("traceSpan", `trace=${trace(8)}&span=${span(2199)}`, traceSpanSchema);
    expect(alone.spans[0]).toMatchObject({ startNs: 1200, attributes: [["text", text]] });
    expect(alone.payloads).toEqual(found.payloads);
  });

  test("of which anything is cut says so, and each span alone has all of it", async () => {
    const long = "z".repeat(70_000);
    const many = Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`key.${n}`, `v${n}`]));
    const at = ago(18);
    const plain = { trace: trace(16), at, service: "cut" };
    const event = { at, name: "e", attributes: {} };
    const link = { trace: trace(1), span: span(1) };
    const cut: readonly Partial<SpanRow>[] = [
      { status: "Error", statusMessage: long },
      { attributes: { [long]: "a key" } },
      { attributes: many },
      { resource: { "service.name": "cut", long } },
      { resource: many },
      { events: [{ ...event, name: long }] },
      { events: [{ ...event, attributes: { long } }] },
      { events: [{ ...event, attributes: many }] },
      { events: Array.from({ length: 300 }, () => event) },
      { links: [{ ...link, attributes: { long } }] },
      { links: [{ ...link, attributes: many }] },
      { links: Array.from({ length: 300 }, () => link) },
    ];
    await insertSpans({ ...clickHouse, access: "full" }, [
      ...cut.map((one, n) => ({ ...plain, ...one, span: span(n) })),
      { ...plain, span: span(99), statusMessage: "all of it …", attributes: { "a key": "a value" } },
    ]);
    const isCutIn = (one: TraceSpan, resources: Trace["resources"]): boolean =>
      isCut(one, resources[one.resource]);
    for (const at of [clickHouse, withoutFewSpans(clickHouse)]) {
      const found = await readTrace(at, { traceId: trace(16), tenant: null });
      expect(found.spans.map((one) => isCutIn(one, found.resources))).toEqual([
        ...cut.map(() => true),
        false,
      ]);
      expect(found.notes).toEqual([
        '12 spans are shown in part: they have more than 200 attributes, events or links, or texts longer than 4096 characters (these end in "…"). Open a span to see all of it.',
      ]);
    }
    for (const [n, one] of cut.entries()) {
      const alone = await ask("traceSpan", `trace=${trace(16)}&span=${span(n)}`, traceSpanSchema);
      expect(alone.notes).toEqual([]);
      const [whole] = alone.spans;
      const pairs = (list: Readonly<Record<string, string>> = {}) => Object.entries(list);
      expect(whole).toMatchObject({
        statusMessage: one.statusMessage ?? "",
        attributes: pairs(one.attributes),
        events: (one.events ?? []).map(({ name, attributes }) => ({ name, attributes: pairs(attributes) })),
        links: (one.links ?? []).map(({ attributes }) => ({ attributes: pairs(attributes) })),
      });
      expect(alone.resources[0]?.attributes).toEqual(pairs(one.resource ?? { "service.name": "cut" }));
    }
  });

  test("has spans of which not even one is answered whole, and says of each what it leaves out", async () => {
    const text = "t".repeat(70_000);
    const wide = (n: number, of: string) =>
      Object.fromEntries(Array.from({ length: n }, (_, k) => [`key.${k}`, of]));
    const events = Array.from({ length: 100 }, (_, n) => ({
      at: ago(17, BigInt(n)),
      name: "e",
      attributes: wide(500, text.slice(0, 1000)),
    }));
    await insertSpans({ ...clickHouse, access: "full" }, [
      { trace: trace(17), span: span(1), at: ago(17), attributes: wide(100, text) },
      { trace: trace(17), span: span(2), at: ago(17), events },
      { trace: trace(17), span: span(3), at: ago(17), attributes: wide(50_000, "v") },
    ]);
    const alone = async (n: number) => {
      const {
        spans: [one],
        notes,
      } = await ask("traceSpan", `trace=${trace(17)}&span=${span(n)}`, traceSpanSchema);
      return { one, notes: notes.join(" ") };
    };
    const many = await alone(1);
    expect(many.one?.attributes).toHaveLength(100);
    expect(many.one?.attributes?.[0]?.[1]).toBe(`${"t".repeat(limits.traceTextCharsMax)}…`);
    expect(many.notes).toMatch(
      /texts longer than 4096 characters \(these end in "…"\)\. All of it is in the table/,
    );
    const deep = await alone(2);
    expect(deep.one?.events?.length).toBeGreaterThan(10);
    expect(deep.one?.events?.[0]).toMatchObject({ attributesCount: 500 });
    expect(deep.notes).toMatch(/All of it is in the table/);
    const wideOne = await alone(3);
    expect(wideOne.one?.attributes).toHaveLength(50_000);
    expect(wideOne.notes).toBe("");
  });

  test("of few spans is cut as a larger one is", async () => {
    const long = `é😀${"y".repeat(limits.traceTextCharsMax)}`;
    const many = Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`key.${n}`, `v${n}`]));
    const resource = { "service.name": "few", long, "8": "a number's key" };
    const at = ago(21);
    await insertSpans({ ...clickHouse, access: "full" }, [
      { trace: trace(12), span: span(2), at, name: long, service: "few", resource, attributes: many },
      {
        trace: trace(12),
        span: span(1),
        at,
        status: "Error",
        service: "few",
        resource,
        attributes: { [long]: long },
      },
      { trace: trace(12), span: span(3), at: at - 1n, service: "few", resource, payload },
      { trace: trace(12), span: span(6), at: at - 1n, service: "other", resource },
      {
        trace: trace(12),
        span: span(4),
        at: at + 2n ** 33n,
        events: Array.from({ length: 250 }, (_, n) => ({
          at: at + BigInt(n),
          name: n === 1 ? long : "e",
          attributes: n === 2 ? many : n === 3 ? { long } : {},
        })),
        links: Array.from({ length: 201 }, (_, n) => ({ trace: trace(n), span: span(n) })),
      },
    ]);
    const asked: string[] = [];
    const few = await readTrace(
      {
        ...clickHouse,
        send: async (request) => {
          asked.push(String(request.body));
          return await clickHouse.send(request);
        },
      },
      { traceId: trace(12), tenant: null },
    );
    expect(asked.filter((query) => query.includes("SpanName"))).toHaveLength(1);
    expect(few.spans[0]?.resource).toBe(0);
    expect(few.spans.find(({ spanId }) => spanId === span(2))?.name).toBe(
      `${[...long].slice(0, -2).join("")}…`,
    );
    for (const id of [1, 4, 12].map(trace)) {
      expect(await readTrace(clickHouse, { traceId: id, tenant: null })).toEqual(
        await readTrace(withoutFewSpans(clickHouse), { traceId: id, tenant: null }),
      );
    }
  });

  test("of 10,001 spans shows the first 10,000", async () => {
    await insertSpans(
      { ...clickHouse, access: "full" },
      Array.from({ length: 10_001 }, (_, n) => ({ trace: trace(9), span: span(n), at: ago(20, BigInt(n)) })),
    );
    const found = await ask("trace", `id=${trace(9)}`, traceSchema);
    expect(found.spans).toHaveLength(limits.traceSpansMax);
    expect(found.notes).toEqual(["It has 10001 spans: these are the first 10000 by start time."]);
    expect(await ask("traceShape", `id=${trace(9)}`, traceShapeSchema)).toEqual(
      v.parse(traceShapeSchema, found),
    );
  });

  test("whose id several tenants have says whose it is, and is shown of one alone", async () => {
    const mixed = (n: number, count: number): readonly SpanRow[] =>
      Array.from({ length: count }, (_, at) => ({
        trace: trace(n),
        span: span(at < 4 ? at >> 1 : at),
        at: ago(20, BigInt(at)),
        tenant: at % 2 === 0 ? "acme" : "beta",
        payload: at % 2 === 0 ? payload : `f${payload.slice(1)}`,
      }));
    for (const [n, count] of [
      [43, 6],
      [44, 1200],
      [45, 10_001],
    ] as const) {
      await insertSpans({ ...clickHouse, access: "full" }, mixed(n, count));
      const all = await ask("trace", `id=${trace(n)}`, traceSchema);
      expect(all).toMatchObject({ tenant: null, tenants: ["acme", "beta"], spansCount: count });
      const note = "Its spans are of 2 tenants: acme, beta.";
      expect(all.notes[0]).toBe(note);
      const shape = await ask("traceShape", `id=${trace(n)}`, traceShapeSchema);
      expect(shape).toEqual(v.parse(traceShapeSchema, all));
      const beta = await ask("trace", `id=${trace(n)}&tenant=beta`, traceSchema);
      const spansCount = Math.floor(count / 2);
      expect(beta).toMatchObject({ tenant: "beta", tenants: ["beta"], spansCount, notes: [] });
      expect(beta.spans).toHaveLength(spansCount);
      expect(beta.payloads.map(({ tenant, spans }) => [tenant, spans])).toEqual([["beta", spansCount]]);
      expect(await ask("traceShape", `id=${trace(n)}&tenant=beta`, traceShapeSchema)).toEqual(
        v.parse(traceShapeSchema, beta),
      );
      const both = await ask("traceSpan", `trace=${trace(n)}&span=${span(1)}`, traceSpanSchema);
      expect(both.payloads.map(({ tenant }) => tenant)).toEqual(["acme", "beta"]);
      const one = await ask("traceSpan", `trace=${trace(n)}&span=${span(1)}&tenant=beta`, traceSpanSchema);
      expect(one.payloads).toEqual(beta.payloads);
      expect([one.start, one.spans.length]).toEqual([beta.start, 1]);
      expect(both.notes).toEqual(["2 spans have this id, of 2 tenants: acme, beta."]);
      expect(one.notes).toEqual([]);
    }
    const of = (tenant: string) =>
      ask("traceSpan", `trace=${trace(43)}&span=${span(9)}${tenant}`, traceSpanSchema);
    expect((await of("")).notes).toEqual(["The table has no span with this id in this trace."]);
    expect((await of("&tenant=beta")).notes).toEqual([
      "The table has no span with this id in this trace that is of tenant beta.",
    ]);
    const none = await ask("traceShape", `id=${trace(43)}&tenant=gamma`, traceShapeSchema);
    expect(none).toMatchObject({ tenants: [], spans: [], start: null });
    expect(none.notes).toEqual(["The table has no span of this trace that is of tenant gamma."]);
    await expect(refusal("trace", `id=${trace(43)}&tenant=A'B`)).resolves.toMatchObject({ status: 400 });
  });

  /** Before the question with this text is asked, spans of the trace are erased. */
  const erasingBefore = (text: string, traceId: string, which: string): ClickHouseConnection => ({
    ...clickHouse,
    send: async (request) => {
      if (String(request.body).includes(text)) {
        await run(
          `ALTER TABLE ${clickHouse.settings.database}.otel_traces DELETE WHERE TraceId = '${traceId}' AND ${which} SETTINGS mutations_sync = 2`,
        );
      }
      return await clickHouse.send(request);
    },
  });
  const totals = "countIf(StatusCode = 'Error')";
  const many = (n: number): readonly SpanRow[] =>
    Array.from({ length: 10_001 }, (_, at) => ({ trace: trace(n), span: span(at), at: ago(20, BigInt(at)) }));

  test("that is erased between two questions is not there, and begins at no time", async () => {
    const gone = { start: null, durationNs: 0, spans: [], spansCount: 0 };
    const expectGone = (found: Trace | TraceShape): void => {
      expect(found).toMatchObject({ ...gone, notes: [expect.stringMatching(/has no span of this trace/)] });
    };
    for (const read of [readTrace, readTraceShape]) {
      await insertSpans({ ...clickHouse, access: "full" }, many(41));
      expectGone(await read(erasingBefore(totals, trace(41), "1"), { traceId: trace(41), tenant: null }));
    }
    await insertSpans({ ...clickHouse, access: "full" }, many(41).slice(0, 3));
    const alone = await readTraceSpan(erasingBefore("spansByPayload", trace(41), "1"), {
      traceId: trace(41),
      span: span(1),
      tenant: null,
    });
    expect(alone).toMatchObject({ start: null, spans: [], payloads: [] });
    expect(alone.notes).toEqual(["The table has no span with this id in this trace."]);
  });

  test("of which the first spans are erased between two questions begins with what is listed", async () => {
    for (const read of [readTrace, readTraceShape]) {
      await insertSpans({ ...clickHouse, access: "full" }, many(42));
      const first = `SpanId < '${span(5)}'`;
      const found = await read(erasingBefore(totals, trace(42), first), { traceId: trace(42), tenant: null });
      expect(found.spans[0]?.startNs).toBe(0);
      expect(found.spansCount).toBeGreaterThanOrEqual(found.spans.length);
      await run(
        `ALTER TABLE ${clickHouse.settings.database}.otel_traces DELETE WHERE TraceId = '${trace(42)}' SETTINGS mutations_sync = 2`,
      );
    }
  });

  /** Spans 1 µs apart, each in a payload of its own, those that came first in the payloads that come last by their ids; the last three are another exporter's. */
  const eachInItsPayload = (
    traceId: string,
    count: number,
    payloadOf: (n: number) => string,
  ): readonly SpanRow[] =>
    Array.from({ length: count }, (_, n) => ({
      trace: traceId,
      span: span(n),
      ...(n === 0 ? {} : { parent: span(0) }),
      at: ago(19, BigInt(n * 1000)),
      durationNs: n === count - 1 ? 5_000_000_000n : 1_000_000n,
      status: n % 100 === 99 ? "Error" : "Unset",
      ...(n >= count - 3 ? {} : { payload: payloadOf(n) }),
    }));

  test("in more than 1,000 payloads is counted and timed by all of its spans", async () => {
    const count = 10_500;
    const payloadOf = (n: number): string => id(0xfffff - n, 32);
    await insertSpans({ ...clickHouse, access: "full" }, eachInItsPayload(trace(14), count, payloadOf));
    const found = await ask("trace", `id=${trace(14)}`, traceSchema);
    const durationNs = (count - 1) * 1000 + 5e9;
    expect(found).toMatchObject({
      spansCount: count,
      errorsCount: 105,
      durationNs,
      spansUnlisted: 9497,
      spansOfOthers: 3,
    });
    expect(found.spans.map(({ startNs }) => startNs)).toEqual(found.spans.map((_, n) => n * 1000));
    expect(found.payloads.map(({ payload }) => payload)).toEqual(
      Array.from({ length: 1000 }, (_, n) => formatPayloadId(fromHex(payloadOf(n)))),
    );
    expect(found.spans.map(({ payload }) => payload)).toEqual(found.spans.map((_, n) => (n < 1000 ? n : -1)));
    expect(found.notes.join(" ")).toContain(
      "came in more than 1000 payloads: the first 1000 by start time are listed, and 9497 spans came in others",
    );
    const { notes, ...shape } = await ask("traceShape", `id=${trace(14)}`, traceShapeSchema);
    expect(shape).toMatchObject({ spansCount: count, errorsCount: 105, durationNs, start: found.start });
    expect(notes).toEqual(["It has 10500 spans: these are the first 10000 by start time."]);
  });

  test("in more than 1,000 payloads has each of its spans alone in its time, with the payload that brought it", async () => {
    const count = 1500;
    const payloadOf = (n: number): string => id(0xeffff - n, 32);
    await insertSpans({ ...clickHouse, access: "full" }, eachInItsPayload(trace(15), count, payloadOf));
    const found = await ask("trace", `id=${trace(15)}`, traceSchema);
    expect(found.spans.map(({ payload }) => payload)).toEqual(
      found.spans.map((_, n) => (n < 1000 ? n : n < count - 3 ? -1 : null)),
    );
    for (const n of [0, 1400]) {
      const alone = await ask("traceSpan", `trace=${trace(15)}&span=${span(n)}`, traceSpanSchema);
      expect(alone.start).toBe(found.start);
      expect(alone.spans).toMatchObject([{ startNs: n * 1000, payload: 0 }]);
      expect(alone.payloads).toMatchObject([
        { payload: formatPayloadId(fromHex(payloadOf(n))), spans: 1, spansInAll: 1 },
      ]);
    }
    const others = await ask("traceSpan", `trace=${trace(15)}&span=${span(1499)}`, traceSpanSchema);
    expect(others).toMatchObject({ spans: [{ payload: null }], payloads: [] });
  });

  test("whose spans begin 40 days apart says so", async () => {
    await insertSpans({ ...clickHouse, access: "full" }, [
      { trace: trace(10), span: span(1), at: ago(0) },
      { trace: trace(10), span: span(2), parent: span(1), at: msToNs(now - 40 * DAY_MS) },
    ]);
    const found = await ask("trace", `id=${trace(10)}`, traceSchema);
    expect(found.spans.map(({ spanId }) => spanId)).toEqual([span(2), span(1)]);
    expect(found.notes.join()).toMatch(/begin up to 40 days apart/);
  });
});

test("a DELETE takes a trace out of the lists, and a token that is used up adds nothing to them", async () => {
  const { database } = clickHouse.settings;
  const at = new Date(now - 30 * MINUTE_MS).toISOString().slice(0, 19);
  const row = (one: string, parent: string) =>
    `('${at}', '${trace(20)}', '${one}', '${parent}', 'gone', unhex('${"f".repeat(32)}'))`;
  const insert = `INSERT INTO ${database}.otel_traces (Timestamp, TraceId, SpanId, ParentSpanId, ServiceName, HeadracePayload)
    SETTINGS insert_deduplication_token = 'once', async_insert = 0 VALUES ${row(span(1), "")}, ${row(span(2), span(1))}`;
  const counted = async () => {
    const { traces } = await ask("traces", "since=1h&match=root&service=gone", tracesSchema);
    return traces.map(({ spans }) => spans);
  };
  await run(insert);
  await run(insert);
  expect(await counted()).toEqual([2]);
  await run(
    `DELETE FROM ${database}.otel_traces WHERE HeadracePayload = unhex('${"f".repeat(32)}') SETTINGS lightweight_deletes_sync = 2`,
  );
  expect(await counted()).toEqual([]);
});

test("values complete a filter, by what the spans have", async () => {
  const values = async (query: string) =>
    (await ask("traceValues", `since=15m&${query}`, traceValuesSchema)).values.map(({ value, scope }) =>
      scope === "" ? value : `${scope}.${value}`,
    );
  expect(await values("of=service")).toEqual(
    expect.arrayContaining(["frontend", "db", "worker", "ho'stile\\"]),
  );
  expect(await values("of=name&service=db")).toEqual(["query"]);
  expect(await values("of=tenant")).toEqual(["acme", "beta"]);
  expect(await values("of=key&prefix=HOST")).toEqual(["resource.host.name"]);
  expect(await values("of=value&key=http.route")).toEqual(["span./cart"]);
});

describe("a question that is malformed", () => {
  test.each([
    ["traces", "since=never", "since is a number and a unit: 15m, 1h, 7d"],
    ["traces", "from=2026-01-01T00:00:00Z", /more than 32 days apart/],
    [
      "traces",
      "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
      "from is not before to: no time lies between",
    ],
    [
      "traces",
      "from=%2B275760-09-12T00:00:00Z&to=%2B275760-09-13T00:00:00Z",
      "to lies between 1970 and 2099: no span has another time",
    ],
    [
      "traces",
      "from=1969-12-31T23:00:00Z&to=1970-01-01T01:00:00Z",
      "from lies between 1970 and 2099: no span has another time",
    ],
    ["traces", "from=yesterday", "from is a time as in 2026-11-24T07:41:00Z"],
    ["traces", "since=999999999999999d", /more than 32 days apart/],
    ["traces", "service=a&service=b", "service is given 2 times, and may be given once"],
    ["traceTimes", "since=1h&since=2h&since=3h", "since is given 3 times, and may be given once"],
    ["trace", `id=${trace(1)}&id=${trace(2)}`, "id is given 2 times, and may be given once"],
    ["traces", "cursor=1.9999999999999999999.1.a", /cursor is what an earlier answer/],
    ["traces", "status=bad", "status is one of error, ok, unset"],
    ["traces", "minDuration=5", /number and a unit/],
    ["traces", "minDuration=5s&maxDuration=1s", /above maxDuration/],
    ["traces", "where=%3Dx", /names no attribute/],
    ["traces", "where=!a%3Db", /is not a condition/],
    ["traces", "limit=0", "limit is a whole number from 1 to 200"],
    ["traces", "sort=name", /sort is time/],
    ["traces", "cursor=1;DROP", /cursor is what an earlier answer/],
    ["traces", Array.from({ length: 21 }, (_, n) => `where=a${n}`).join("&"), /at most 20 conditions/],
    [
      "traces",
      Array.from({ length: 10_000 }, (_, n) => `where=a${n}`).join("&"),
      /at most 8192 are accepted/,
    ],
    ["traces", `service=${"x".repeat(1_000_000)}`, /at most 8192 are accepted/],
    ["traceValues", "of=all", /of is one of service, name, tenant, key, value/],
    ["traceValues", "of=value", /key is missing/],
    ["traceSpan", `trace=${trace(1)}&span=1`, /16 hex digits/],
  ] as const)("is refused in words: %s %#", async (name, query, error) => {
    const answer = await refusal(name, query);
    expect(answer.status).toBe(400);
    expect(answer.error).toEqual(typeof error === "string" ? error : expect.stringMatching(error));
  });
});
