/**
 * Failures of an INSERT: what each answer says, what the table shows, and what the same token does afterwards
 * (docs/facts.md: deduplication, errors, native). An error may come with all, some or none of the rows stored; only counting tells.
 */
import { describe, expect, test } from "vitest";
import { errorName, errorWords, verdict } from "../../shared/clickhouse/errors.ts";
import { type Answered, ask, contents, insert, newName, newTable, type Row, send } from "./token-inserts.ts";

/** What the consumer makes of the answer. */
function judged({ status, text, headers }: Answered): string {
  return verdict({
    httpStatus: status,
    exceptionCode: headers.get("x-clickhouse-exception-code"),
    text,
    clickHouseHeaders: headers.has("x-clickhouse-query-id"),
  }).class;
}

const days = (count: number): readonly Row[] => Array.from({ length: count }, (_, day) => [day, day]);

describe("code 252 has two meanings, distinguished by the text", () => {
  test("too many partitions: the data's fault; nothing is stored and the token is not used up", async () => {
    const table = await newTable(1000);
    const refused = await insert(table, days(101), "x");
    expect(refused).toMatchObject({ code: 252, text: expect.stringMatching(/too many partitions/i) });
    expect(judged(refused)).toBe("refused");
    expect(await contents(table)).toBe("");
    expect(await insert(table, days(101), "x", { max_partitions_per_insert_block: 0 })).toMatchObject({
      status: 200,
    });
    expect(await ask(`SELECT count() FROM ${table}`)).toBe("101");
  });

  test("a hundred partitions are taken, also where the login's profile allows fewer", async () => {
    const table = await newTable(1000);
    const session_id = crypto.randomUUID();
    await ask("SET max_partitions_per_insert_block = 50", { session_id });
    expect(await insert(table, days(100), "x", { session_id })).toMatchObject({ status: 200 });
  });

  test("too many parts: back-pressure, and the same token stores the rows later", async () => {
    const table = await newTable(1000);
    await ask(`SYSTEM STOP MERGES ${table}`);
    await ask(`ALTER TABLE ${table} MODIFY SETTING parts_to_delay_insert = 0, parts_to_throw_insert = 2`);
    await insert(table, [[1, 1]], "x");
    await insert(table, [[1, 2]], "y");
    const refused = await insert(table, [[1, 3]], "z");
    expect(refused).toMatchObject({ code: 252, text: expect.stringMatching(/too many parts/i) });
    expect(judged(refused)).toBe("retry");
    expect(await contents(table)).toBe("1.1 1.2");
    await ask(`ALTER TABLE ${table} MODIFY SETTING parts_to_throw_insert = 3000`);
    expect(await insert(table, [[1, 3]], "z")).toMatchObject({ status: 200 });
    expect(await contents(table)).toBe("1.1 1.2 1.3");
  });
});

describe("a block that is refused as a whole", () => {
  test("by a constraint: the reason names it, and repeats no value of the rows", async () => {
    const table = await newTable(100);
    await ask(`ALTER TABLE ${table} ADD CONSTRAINT no_secret CHECK a < 1000`);
    const { status, text, headers } = await insert(table, [[1, 47110815]], "x");
    expect(text).toContain("47110815");
    const exceptionCode = headers.get("x-clickhouse-exception-code");
    const { reason, code } = verdict({ httpStatus: status, exceptionCode, text, clickHouseHeaders: true });
    expect(errorName(code ?? 0, reason)).toBe("VIOLATED_CONSTRAINT");
    expect(errorWords(reason)).toMatch(/^Constraint `no_secret` .*Column values: ….$/);
    expect(reason).not.toContain("47110815");
  });

  test("damaged data: nothing is stored and the token is not used up", async () => {
    const table = await newTable(100);
    const settings = { insert_deduplication_token: "x", async_insert: 0 };
    const whole = new Uint8Array([1, 0, 1, 0, 0, 0, 2, 0, 2, 0, 0, 0]); // two rows of UInt16 and UInt32
    const statement = `INSERT INTO ${table} FORMAT RowBinary`;
    const cut = await send(statement, settings, whole.subarray(0, 11));
    expect(cut.code).toBe(33);
    expect(judged(cut)).toBe("refused");
    expect(await contents(table)).toBe("");
    expect(await send(statement, settings, whole)).toMatchObject({ status: 200 });
    expect(await contents(table)).toBe("1.1 2.2");
  });

  test("a CONSTRAINT: 469, nothing is stored and the token is not used up", async () => {
    const table = await newTable(100, ", CONSTRAINT small CHECK a < 3");
    const refused = await insert(
      table,
      [
        [1, 1],
        [2, 3],
      ],
      "x",
    );
    expect(refused.code).toBe(469);
    expect(judged(refused)).toBe("refused");
    expect(await contents(table)).toBe("");
    await insert(table, [[1, 1]], "x");
    expect(await contents(table)).toBe("1.1");
  });
});

/** An index that throws makes an INSERT fail where a part is written; the consumer's own leave it to the merge. */
const indexesNow = { materialize_skip_indexes_on_insert: 1 };

describe("an INSERT that fails half-way", () => {
  test("in one of its partitions has stored earlier ones, and the same token stores the rest", async () => {
    // Partitions are committed one by one: an error code says nothing about those before.
    const table = await newTable(100, ", INDEX i throwIf(a = 4) TYPE minmax");
    expect(await insert(table, days(6), "x", indexesNow)).toMatchObject({ code: 395 });
    const stored = Number(await ask(`SELECT count() FROM ${table}`));
    expect(stored).toBeGreaterThan(0);
    expect(stored).toBeLessThan(5);
    await ask(`ALTER TABLE ${table} DROP INDEX i`);
    expect(await insert(table, days(6), "x")).toMatchObject({ status: 200 });
    expect(await contents(table)).toBe("0.0 1.1 2.2 3.3 4.4 5.5");
  });

  test("and was cut into several blocks has stored the first ones, and the same token stores the rest", async () => {
    const table = await newTable(100, ", INDEX i throwIf(a = 12) TYPE minmax");
    const rows = Array.from({ length: 20 }, (_, a): Row => [1, a]);
    const small = {
      ...indexesNow,
      max_block_size: 4,
      max_insert_block_size: 4,
      min_insert_block_size_rows: 4,
      input_format_parallel_parsing: 0,
      max_threads: 1,
    };
    expect(await insert(table, rows, "x", small)).toMatchObject({ code: 395 });
    const stored = Number(await ask(`SELECT count() FROM ${table}`));
    expect(stored).toBeGreaterThan(0);
    expect(stored).toBeLessThan(12);
    await ask(`ALTER TABLE ${table} DROP INDEX i`);
    expect(await insert(table, rows, "x", small)).toMatchObject({ status: 200 });
    expect(await ask(`SELECT count(), uniqExact(a) FROM ${table}`)).toBe("20\t20");
  });
});

describe("an INSERT that is ended from outside", () => {
  /** A table with a view that takes long for each row: by then the rows are stored. */
  async function slowView(): Promise<string> {
    const table = await newTable(100);
    await ask(
      `CREATE MATERIALIZED VIEW ${newName()} (a UInt32) ENGINE = MergeTree ORDER BY a
        SETTINGS non_replicated_deduplication_window = 100 AS SELECT a + sleepEachRow(0.3) AS a FROM ${table}`,
    );
    return table;
  }

  test("by KILL: code 394, which proves nothing; here the rows are stored", async () => {
    const table = await slowView();
    const group = crypto.randomUUID();
    const killed = insert(table, days(9), "x", { query_id: `${group}.1` });
    await expect
      .poll(() => ask(`SELECT count() FROM system.processes WHERE startsWith(query_id, '${group}.')`))
      .toBe("1");
    await expect.poll(() => ask(`SELECT count() FROM ${table}`)).toBe("9");
    await ask(`KILL QUERY WHERE startsWith(query_id, '${group}.') SYNC`);
    expect(await ask(`SELECT count() FROM system.processes WHERE startsWith(query_id, '${group}.')`)).toBe(
      "0",
    );
    const answer = await killed;
    expect(answer.code).toBe(394);
    expect(judged(answer)).toBe("unknown");
    expect(await ask(`SELECT count() FROM ${table}`)).toBe("9");
  });

  test("by max_execution_time, which may be a part of a second: code 159, which proves nothing", async () => {
    const table = await slowView();
    const late = await insert(table, days(9), "x", { max_execution_time: 0.5 });
    expect(late.code).toBe(159);
    expect(judged(late)).toBe("unknown");
    expect(await ask(`SELECT count() FROM ${table}`)).toBe("9");
  });

  test("by KILL before its rows are complete: nothing is stored, and the token is not used up", async () => {
    const table = await newTable(100);
    const group = crypto.randomUUID();
    const slow = send(`INSERT INTO ${table} SELECT 1, number + sleepEachRow(0.1) FROM numbers(100)`, {
      insert_deduplication_token: "x",
      query_id: `${group}.1`,
      max_block_size: 1,
      async_insert: 0,
    });
    await expect
      .poll(() => ask(`SELECT count() FROM system.processes WHERE startsWith(query_id, '${group}.')`))
      .toBe("1");
    await ask(`KILL QUERY WHERE startsWith(query_id, '${group}.') SYNC`);
    expect((await slow).code).toBe(394);
    expect(await contents(table)).toBe("");
    await insert(table, [[1, 1]], "x");
    expect(await contents(table)).toBe("1.1");
  });
});

describe("a Native block answers 200 where rows are missing", () => {
  /** One block of one UInt32 column. */
  const block = (name: string, ...values: number[]) =>
    new Uint8Array([
      1,
      values.length,
      name.length,
      ...Buffer.from(name),
      6,
      ...Buffer.from("UInt32"),
      ...values.flatMap((value) => [value, 0, 0, 0]),
    ]);
  const empty = new Uint8Array([0, 0]);
  const store = (table: string, parts: readonly Uint8Array[], settings = {}) =>
    send(
      `INSERT INTO ${table} (a) FORMAT Native`,
      { async_insert: 0, ...settings },
      new Uint8Array(Buffer.concat(parts)),
    );

  test("an empty block ends the input: what follows it is dropped, and written_rows says so", async () => {
    const table = await newTable(100);
    const answer = await store(table, [block("a", 1, 2), empty, block("a", 3)]);
    expect(answer).toMatchObject({ status: 200, code: 0 });
    expect(JSON.parse(answer.headers.get("x-clickhouse-summary") ?? "{}")).toMatchObject({
      written_rows: "2",
    });
    expect(await contents(table)).toBe("0.1 0.2");
  });

  test("a misspelt column is ignored, unless input_format_skip_unknown_fields is 0: then it is code 117", async () => {
    const table = await newTable(100);
    expect(await store(table, [block("b", 1)])).toMatchObject({ status: 200, code: 0 });
    expect(await contents(table)).toBe("0.0");
    expect(await store(table, [block("b", 1)], { input_format_skip_unknown_fields: 0 })).toMatchObject({
      code: 117,
    });
  });

  test("a body that is cut or goes on too long is refused: 33 and 32", async () => {
    const table = await newTable(100);
    expect(await store(table, [block("a", 1, 2).subarray(0, -1)])).toMatchObject({ code: 33 });
    expect(await store(table, [block("a", 1, 2), new Uint8Array([7])])).toMatchObject({ code: 32 });
    expect(await contents(table)).toBe("");
  });
});

test("a query id that runs already is refused with 216, which says nothing of the one that runs", async () => {
  const query_id = `${crypto.randomUUID()}.1`;
  const first = send("SELECT sleep(2)", { query_id });
  const running = () => ask(`SELECT count() FROM system.processes WHERE query_id = '${query_id}'`);
  await expect.poll(running).toBe("1");
  const second = await send("SELECT 1", { query_id });
  expect(second.code).toBe(216);
  expect(judged(second)).toBe("unknown");
  expect((await first).status).toBe(200);
});
