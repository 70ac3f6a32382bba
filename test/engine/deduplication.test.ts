/**
 * What the delivery protocol takes for granted about ClickHouse's deduplication (docs/facts.md: deduplication), experiment by
 * experiment, on the real engine: a version that behaves otherwise fails here first. Tokens and their window; the
 * views are in deduplicated-views.test.ts, crashes in deduplication-crash.test.ts, failures in unproven-answers.test.ts.
 */
import { describe, expect, test } from "vitest";
import { limits } from "../../shared/limits.ts";
import { ask, contents, insert, newTable, type Row, send } from "./token-inserts.ts";

/** Sends the INSERT, which must be answered 200, and says what the table holds then. */
async function holdsAfter(table: string, rows: readonly Row[], token: string | undefined, settings = {}) {
  expect(await insert(table, rows, token, settings)).toMatchObject({ status: 200, code: 0 });
  return await contents(table);
}

describe("a token", () => {
  test("sent twice with the same rows stores them once", async () => {
    const table = await newTable(100);
    expect(await holdsAfter(table, [[1, 1]], "x")).toBe("1.1");
    expect(await holdsAfter(table, [[1, 1]], "x")).toBe("1.1");
  });

  test("sent again with other rows keeps the first ones, and is answered 200 all the same", async () => {
    const table = await newTable(100);
    await holdsAfter(table, [[1, 1]], "x");
    const second = await insert(table, [[1, 2]], "x");
    expect(second).toMatchObject({ status: 200, code: 0, text: "" });
    // Nothing in the answer tells that the rows were dropped.
    expect(JSON.parse(second.headers.get("x-clickhouse-summary") ?? "{}")).toMatchObject({
      written_rows: "1",
    });
    expect(await contents(table)).toBe("1.1");
  });

  test("of its own for the same rows stores them twice", async () => {
    const table = await newTable(100);
    await holdsAfter(table, [[1, 1]], "x");
    expect(await holdsAfter(table, [[1, 1]], "y")).toBe("1.1 1.1");
  });

  test("left out, the hash of the whole block takes its place", async () => {
    const table = await newTable(100);
    await holdsAfter(table, [[1, 1]], undefined);
    expect(await holdsAfter(table, [[1, 1]], undefined)).toBe("1.1");
    const other = await newTable(100);
    await holdsAfter(
      other,
      [
        [1, 1],
        [2, 2],
      ],
      undefined,
    );
    expect(
      await holdsAfter(
        other,
        [
          [1, 1],
          [3, 3],
        ],
        undefined,
      ),
    ).toBe("1.1 1.1 2.2 3.3");
  });

  test("counts for every partition of its block", async () => {
    const table = await newTable(100);
    const rows: Row[] = [
      [1, 1],
      [2, 2],
      [3, 3],
    ];
    await holdsAfter(table, rows, "x");
    expect(await holdsAfter(table, rows, "x")).toBe("1.1 2.2 3.3");
  });

  test("is remembered by partition: a repeat fills in the partitions that lack it", async () => {
    const table = await newTable(100);
    await holdsAfter(table, [[1, 1]], "x");
    expect(
      await holdsAfter(
        table,
        [
          [1, 9],
          [2, 2],
        ],
        "x",
      ),
    ).toBe("1.1 2.2");
  });

  test("sent over five connections at once stores one copy, in forty rounds", async () => {
    const table = await newTable(1000);
    for (let round = 0; round < 40; round++) {
      await Promise.all(
        Array.from({ length: 5 }, () => insert(table, [[1, round]], `round ${round}`, { log_queries: 0 })),
      );
    }
    expect(await ask(`SELECT count(), uniqExact(a) FROM ${table}`)).toBe("40\t40");
  });

  test("is remembered after a merge", async () => {
    const table = await newTable(100);
    await holdsAfter(table, [[1, 1]], "x");
    await holdsAfter(table, [[1, 2]], "y");
    await ask(`OPTIMIZE TABLE ${table} FINAL`);
    expect(await holdsAfter(table, [[1, 1]], "x")).toBe("1.1 1.2");
  });

  test("is remembered after its rows were deleted, and only another token stores them (B8)", async () => {
    for (const how of [
      "ALTER TABLE {t} DELETE WHERE a = 1 SETTINGS mutations_sync = 2",
      "DELETE FROM {t} WHERE a = 1",
    ]) {
      const table = await newTable(100);
      await holdsAfter(table, [[1, 1]], "x");
      await ask(how.replace("{t}", table));
      expect(await holdsAfter(table, [[1, 1]], "x")).toBe("");
      expect(await holdsAfter(table, [[1, 1]], "y")).toBe("1.1");
    }
  });

  test("is forgotten with its partition, and with everything (B8)", async () => {
    const table = await newTable(100);
    const rows: Row[] = [
      [1, 1],
      [2, 2],
    ];
    await holdsAfter(table, rows, "x");
    await ask(`ALTER TABLE ${table} DROP PARTITION 1`);
    expect(await holdsAfter(table, rows, "x")).toBe("1.1 2.2");
    await ask(`TRUNCATE TABLE ${table}`);
    expect(await holdsAfter(table, rows, "x")).toBe("1.1 2.2");
  });
});

describe("the window of a table", () => {
  test("is 0 unless somebody set it, which is no deduplication at all", async () => {
    expect(
      await ask(
        "SELECT value FROM system.merge_tree_settings WHERE name = 'non_replicated_deduplication_window'",
      ),
    ).toBe("0");
    const table = await newTable(0);
    await holdsAfter(table, [[1, 1]], "x");
    expect(await holdsAfter(table, [[1, 1]], "x")).toBe("1.1 1.1");
  });

  test("counts blocks: a token that three later ones pushed out of three is stored again", async () => {
    const table = await newTable(3);
    for (const [index, token] of ["a", "b", "c"].entries()) {
      await holdsAfter(table, [[1, index]], token);
    }
    expect(await holdsAfter(table, [[1, 0]], "a")).toBe("1.0 1.1 1.2");
    await holdsAfter(table, [[1, 3]], "d");
    expect(await holdsAfter(table, [[1, 0]], "a")).toBe("1.0 1.0 1.1 1.2 1.3");
  });

  test("counts each partition of an INSERT: one INSERT over three partitions uses up a window of three", async () => {
    const table = await newTable(3);
    await holdsAfter(table, [[1, 1]], "x");
    await holdsAfter(
      table,
      [
        [1, 2],
        [2, 2],
        [3, 2],
      ],
      "y",
    );
    expect(await holdsAfter(table, [[1, 1]], "x")).toBe("1.1 1.1 1.2 2.2 3.2");
  });

  test("counts over the whole table, not in each partition", async () => {
    const table = await newTable(5);
    const rows = (a: number): Row[] => [
      [1, a],
      [2, a],
      [3, a],
    ];
    await holdsAfter(table, rows(1), "x");
    await holdsAfter(table, rows(2), "y"); // six blocks: x has lost its first partition
    expect(await holdsAfter(table, rows(1), "x")).not.toBe("1.1 1.2 2.1 2.2 3.1 3.2");
  });

  test("can be as large as ours, and is set on a table that has rows", async () => {
    const table = await newTable(0);
    await holdsAfter(table, [[1, 1]], "x");
    await ask(
      `ALTER TABLE ${table} MODIFY SETTING non_replicated_deduplication_window = ${limits.deduplicationWindow}`,
    );
    await holdsAfter(table, [[1, 1]], "x"); // the token was not logged before
    expect(await holdsAfter(table, [[1, 1]], "x")).toBe("1.1 1.1");
  });
});

describe("the settings that deduplication hangs on", () => {
  test("have the defaults that we do not rely on", async () => {
    const names = [
      "async_insert",
      "insert_deduplicate",
      "deduplicate_blocks_in_dependent_materialized_views",
      "deduplicate_insert",
      "max_partitions_per_insert_block",
    ];
    const list = names.map((name) => `'${name}'`).join(", ");
    expect(await ask(`SELECT name, value FROM system.settings WHERE name IN (${list}) ORDER BY name`)).toBe(
      [
        "async_insert\t1", // since 26.3: answers before the rows are written, on a server that has the queue
        "deduplicate_blocks_in_dependent_materialized_views\t1",
        "deduplicate_insert\tenable",
        "insert_deduplicate\t1",
        "max_partitions_per_insert_block\t100",
      ].join("\n"),
    );
  });

  test("Replicated tables forget after 10,000 blocks or an hour by default", async () => {
    expect(
      await ask(
        "SELECT name, value FROM system.merge_tree_settings WHERE name IN ('replicated_deduplication_window', 'replicated_deduplication_window_seconds') ORDER BY name",
      ),
    ).toBe("replicated_deduplication_window\t10000\nreplicated_deduplication_window_seconds\t3600");
  });

  test("insert_deduplicate=0 no longer switches it off, and deduplicate_insert=disable does, whatever we send", async () => {
    // A profile with `deduplicate_insert=disable` would double every retry: the table check refuses such a server.
    const table = await newTable(100);
    await holdsAfter(table, [[1, 1]], "x");
    expect(await holdsAfter(table, [[1, 1]], "x", { insert_deduplicate: 0 })).toBe("1.1");
    expect(
      await holdsAfter(table, [[1, 1]], "x", { insert_deduplicate: 1, deduplicate_insert: "disable" }),
    ).toBe("1.1 1.1");
    expect(
      await holdsAfter(table, [[1, 1]], "x", {
        insert_deduplicate: 1,
        deduplicate_insert: "backward_compatible_choice",
      }),
    ).toBe("1.1 1.1");
  });

  test("async_insert=1 with a token is one copy too, as far as an engine without the queue can show", async () => {
    const table = await newTable(100);
    await holdsAfter(table, [[1, 1]], "x", { async_insert: 1, wait_for_async_insert: 1 });
    expect(await holdsAfter(table, [[1, 1]], "x")).toBe("1.1");
  });
});

describe("a block", () => {
  /** More than twice the rows that ClickHouse puts into one block by itself (1,048,449), a byte each. */
  const rows = 2_500_000;
  const newNumbers = async () => {
    const table = `n_${crypto.randomUUID().replaceAll("-", "")}`;
    await ask(
      `CREATE TABLE ${table} (a UInt8) ENGINE = MergeTree ORDER BY tuple() SETTINGS non_replicated_deduplication_window = 100`,
    );
    return table;
  };
  const store = (table: string, settings = {}) =>
    send(
      `INSERT INTO ${table} FORMAT RowBinary`,
      { insert_deduplication_token: "x", async_insert: 0, ...settings },
      new Uint8Array(rows),
    );
  const shape = (table: string) =>
    ask(`SELECT sum(rows), count() FROM system.parts WHERE table = '${table}' AND active AND level = 0`);

  test("is cut by default, and is one part with the sizes that the consumer sends", async () => {
    const cut = await newNumbers();
    await ask(`SYSTEM STOP MERGES ${cut}`);
    expect((await store(cut)).status).toBe(200);
    expect(await shape(cut)).toBe(`${rows}\t3`);
    expect((await store(cut)).status).toBe(200); // each block has its number under the token
    expect(await shape(cut)).toBe(`${rows}\t3`);
    const whole = await newNumbers();
    const sizes = {
      max_insert_block_size: 10_000_000,
      min_insert_block_size_rows: 10_000_000,
      min_insert_block_size_bytes: 0,
    };
    expect((await store(whole, sizes)).status).toBe(200);
    expect((await store(whole, sizes)).status).toBe(200);
    expect(await shape(whole)).toBe(`${rows}\t1`);
  });
});
