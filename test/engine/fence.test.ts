/**
 * The fence on ClickHouse's side: an INSERT that begins after its deadline stores nothing and answers an error, and one in
 * time is the plain INSERT, with the real schema and a block as the consumer sends it. Both by the statement's own condition,
 * and by the column that the table has for it.
 */
import { once } from "node:events";
import { request } from "node:http";
import { beforeAll, describe, expect, inject, test } from "vitest";
import { corpusBounds, makeCorpus } from "../../bench/corpus.ts";
import { splitLogin } from "../../dev/clickhouse/login.ts";
import { statementRunner } from "../../dev/clickhouse/run-statement.ts";
import { readSchemaFiles } from "../../dev/schema-files.ts";
import { verdict } from "../../shared/clickhouse/errors.ts";
import { defaultSchemaSettings, migrate } from "../../shared/clickhouse/migrations.ts";
import { insertSpansParameters, tableStateQuery } from "../../shared/clickhouse/statements.ts";
import { readAnswer, witnessOf, witnessSql } from "../../shared/clickhouse/table-identity.ts";
import { columnListText } from "../../shared/rows/columns.ts";
import { BlockBuilder } from "../../shared/rows/transcode.ts";
import { type Answered, ask, newName, send } from "./token-inserts.ts";

const database = newName();
const clickHouse = { url: "", user: "", password: "", database, tracesTable: "otel_traces" };
const spans = 200;
const [payload] = makeCorpus(1, 1, spans);

function block(): Uint8Array<ArrayBuffer> {
  const builder = new BlockBuilder();
  const id = new Uint8Array(16).fill(7);
  if (payload === undefined) {
    throw new Error("the corpus has a payload");
  }
  builder.add({ id, tenant: "acme", body: payload.protobuf, bounds: corpusBounds, spans });
  return new Uint8Array(Buffer.concat([...builder.finish().chunks]));
}

const fences = ["statement", "column"] as const;
type Fence = (typeof fences)[number];
let attempts = 0;
let identity = "";
/** An INSERT under a token that may begin for `aheadMs` more. `plain`: without the fence. */
function store(
  token: string,
  aheadMs: number,
  fence: Fence | "plain",
  body = block(),
  table = identity,
): Promise<Answered> {
  const { query = "", ...settings } = insertSpansParameters(
    clickHouse,
    token,
    ++attempts,
    60_000,
    Date.now() + aheadMs,
    table,
    fence === "column",
  );
  const unfenced = `INSERT INTO ${database}.otel_traces (${columnListText}) FORMAT Native`;
  return send(fence === "plain" ? unfenced : query, settings, body);
}

const token = () => crypto.randomUUID().replaceAll("-", "");
const count = async (from: string) => Number(await ask(`SELECT count() FROM ${database}.${from}`));
const judged = ({ status, code, text, headers }: Answered) =>
  verdict({
    httpStatus: status,
    exceptionCode: code === 0 ? null : String(code),
    text,
    clickHouseHeaders: headers.has("x-clickhouse-query-id"),
  });

beforeAll(async () => {
  await migrate(
    readSchemaFiles(),
    { ...defaultSchemaSettings, database },
    statementRunner({ url: inject("clickhouse") }),
  );
  const witness: unknown = JSON.parse(await ask(`${witnessSql(clickHouse, null)} FORMAT TSVRaw`));
  identity = witnessOf(readAnswer(witness)).table ?? "";
});

describe("an INSERT that begins after its deadline", () => {
  test.each(fences)(
    "stores nothing, says so by an error of ours, and leaves its token free: by the %s",
    async (fence) => {
      const own = token();
      const before = await count("otel_traces");
      const late = await store(own, -1, fence);
      expect(late).toMatchObject({ status: 500, code: 395 });
      expect(judged(late)).toMatchObject({ class: "retry", late: true });
      expect(await count("otel_traces")).toBe(before);
      expect(judged(await store(own, 60_000, fence))).toEqual({ class: "stored", reason: "" });
      expect(await count("otel_traces")).toBe(before + spans);
    },
  );

  test("may have been begun in time, by one whose body comes later: the column is asked when the first block is there", async () => {
    const { query = "", ...settings } = insertSpansParameters(
      clickHouse,
      token(),
      ++attempts,
      60_000,
      Date.now() + 500,
      identity,
      true,
    );
    const url = new URL(inject("clickhouse"));
    const { user, password } = splitLogin(inject("clickhouse"));
    url.search = new URLSearchParams({ query, ...settings, max_query_size: "1000" }).toString();
    const before = await count("otel_traces");
    const body = block();
    const sent = request(url.href, {
      method: "POST",
      auth: `${user}:${password}`,
      headers: { "content-length": body.length },
    });
    sent.write(body.subarray(0, body.length - 10));
    await new Promise((resolve) => setTimeout(resolve, 800));
    sent.end(body.subarray(body.length - 10));
    const [response] = await once(sent, "response");
    response.resume();
    expect(response.headers["x-clickhouse-exception-code"]).toBe("395");
    expect(await count("otel_traces")).toBe(before);
  });
});

describe("the column", () => {
  test("is not asked of those who do not name it, and refuses those who name it and say nothing", async () => {
    const before = await count("otel_traces");
    const others = `INSERT INTO ${database}.otel_traces`;
    await ask(`${others} (SpanName) VALUES ('of the exporter')`);
    await ask(`${others} SELECT * FROM ${database}.otel_traces WHERE SpanName = 'of the exporter'`);
    expect(await count("otel_traces")).toBe(before + 2);
    const silent = await send(
      `${others} (SpanName, HeadraceFence) FORMAT JSONEachRow`,
      {},
      '{"SpanName":"x"}',
    );
    expect(silent).toMatchObject({ status: 500, code: 395 });
    expect(await count("otel_traces")).toBe(before + 2);
  });

  test("is missed at once where a table has none: nothing is stored, and nobody's data is at fault", async () => {
    const bare = newName();
    await ask(`CREATE TABLE ${database}.${bare} AS ${database}.otel_traces`);
    await ask(`ALTER TABLE ${database}.${bare} DROP COLUMN HeadraceFence`);
    const { query = "", ...settings } = insertSpansParameters(
      { ...clickHouse, tracesTable: bare },
      token(),
      1,
      60_000,
      Date.now() + 60_000,
      identity,
      true,
    );
    const answer = await send(query, settings, block());
    expect(judged(answer)).toMatchObject({ class: "halted", code: 16 });
    expect(await count(bare)).toBe(0);
  });
});

describe("an INSERT in time", () => {
  test.each(fences)(
    "is one copy with its retries, in the table, its view and its projection, in one part a day: by the %s",
    async (fence) => {
      const own = token();
      const seen = () =>
        Promise.all([
          count("otel_traces"),
          count("otel_traces_trace_id_ts"),
          ask(
            `SELECT sum(rows) FROM (SELECT HeadracePayload, toDate(Timestamp) AS day, count() AS rows FROM ${database}.otel_traces GROUP BY HeadracePayload, day)`,
          ),
        ]);
      const parts = async () =>
        Number(
          await ask(
            `SELECT max(max_block_number) FROM system.parts WHERE database = '${database}' AND table = 'otel_traces' AND active`,
          ),
        );
      await store(token(), 60_000, fence); // what was deduplicated before has taken numbers that no part shows
      const before = await parts();
      await store(own, 60_000, fence);
      const stored = await seen();
      const days = Number(
        await ask(
          `SELECT uniq(toDate(Timestamp)) FROM ${database}.otel_traces WHERE SpanName != 'of the exporter'`,
        ),
      );
      expect((await parts()) - before).toBe(days);
      // The same token, by either fence and without one: the same block.
      for (const other of [...fences, "plain"] as const) {
        await store(own, 60_000, other);
        expect(await seen(), other).toEqual(stored);
      }
    },
  );

  test.each([
    ["statement", "column"],
    ["column", "statement"],
  ] as const)("of several blocks by the %s is one copy with its retry by the %s", async (first, second) => {
    const own = token();
    const blocks = new Uint8Array(Buffer.concat([block(), block(), block()]));
    const before = await count("otel_traces");
    expect(judged(await store(own, 60_000, first, blocks))).toEqual({ class: "stored", reason: "" });
    expect(await count("otel_traces")).toBe(before + 3 * spans);
    expect(judged(await store(own, 60_000, second, blocks))).toEqual({ class: "stored", reason: "" });
    expect(await count("otel_traces")).toBe(before + 3 * spans);
  });

  test.each(fences)("says how many rows it wrote: by the %s", async (fence) => {
    const { headers } = await store(token(), 60_000, fence);
    const summary = JSON.parse(headers.get("x-clickhouse-summary") ?? "{}");
    expect(Number(summary.written_rows)).toBeGreaterThanOrEqual(spans);
  });
});

test("the table check reads the server's clock, and what its login does with INSERT … SELECT", async () => {
  const before = Date.now();
  const state = JSON.parse(await ask(`${tableStateQuery(clickHouse)} FORMAT JSONEachRow`));
  expect(state.now).toBeGreaterThanOrEqual(before - 2);
  expect(state.now).toBeLessThanOrEqual(Date.now() + 2);
  expect(state.deduplicate_insert_select).toBe("enable_when_possible");
});
