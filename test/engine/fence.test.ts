/**
 * The fence on ClickHouse's side: an INSERT that begins after its deadline stores nothing and answers an error, and one in
 * time is the plain INSERT, with the real schema and a block as the consumer sends it.
 */
import { beforeAll, describe, expect, inject, test } from "vitest";
import { corpusBounds, makeCorpus } from "../../bench/corpus.ts";
import { statementRunner } from "../../dev/clickhouse/run-statement.ts";
import { readSchemaFiles } from "../../dev/schema-files.ts";
import { verdict } from "../../shared/clickhouse/errors.ts";
import { defaultSchemaSettings, migrate } from "../../shared/clickhouse/migrations.ts";
import { insertSpansParameters, tableStateQuery } from "../../shared/clickhouse/statements.ts";
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

let attempts = 0;
/** An INSERT under a token that may begin for `aheadMs` more. `plain`: without the fence. */
function store(token: string, aheadMs: number, plain = false): Promise<Answered> {
  const parameters = insertSpansParameters(clickHouse, token, ++attempts, 60_000, Date.now() + aheadMs, null);
  const { query = "", ...settings } = parameters;
  const unfenced = `INSERT INTO ${database}.otel_traces (${columnListText}) FORMAT Native`;
  return send(plain ? unfenced : query, settings, block());
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
});

describe("an INSERT that begins after its deadline", () => {
  test("stores nothing, says so by an error of ours, and leaves its token free", async () => {
    const own = token();
    const before = await count("otel_traces");
    const late = await store(own, -1);
    expect(late).toMatchObject({ status: 500, code: 395 });
    expect(judged(late)).toMatchObject({ class: "retry", late: true });
    expect(await count("otel_traces")).toBe(before);
    expect(judged(await store(own, 60_000))).toEqual({ class: "stored", reason: "" });
    expect(await count("otel_traces")).toBe(before + spans);
  });
});

describe("an INSERT in time", () => {
  test("is one copy with its retries, in the table, its view and its projection, in one part a day", async () => {
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
    const before = await parts();
    await store(own, 60_000);
    const once = await seen();
    const days = Number(await ask(`SELECT uniq(toDate(Timestamp)) FROM ${database}.otel_traces`));
    expect((await parts()) - before).toBe(days);
    await store(own, 60_000);
    expect(await seen()).toEqual(once);
    // The same token, without the fence: the same block.
    await store(own, 60_000, true);
    expect(await seen()).toEqual(once);
  });

  test("says how many rows it wrote", async () => {
    const { headers } = await store(token(), 60_000);
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
