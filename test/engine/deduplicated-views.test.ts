/**
 * Materialized views and deduplication (docs/facts.md: deduplication), experiment by experiment: `otel_traces_trace_id_ts` is filled
 * by one, and people add their own.
 */
import { describe, expect, test } from "vitest";
import { ask, contents, insert, newName, newTable, type Row } from "./token-inserts.ts";

interface Viewed {
  readonly source: string;
  readonly target: string;
  readonly view: string;
}

/** A table, another one, and a view that copies each row of the first into the second. */
async function newView(
  windows: { readonly source: number; readonly target: number },
  { select = "p, a", targetPartition = "p" } = {},
): Promise<Viewed> {
  const source = await newTable(windows.source);
  const target = await newTable(windows.target, "", { partitionBy: targetPartition });
  const view = newName();
  await ask(`CREATE MATERIALIZED VIEW ${view} TO ${target} AS SELECT ${select} FROM ${source}`);
  return { source, target, view };
}

async function both({ source, target }: Viewed): Promise<readonly string[]> {
  return [await contents(source), await contents(target)];
}

const rows: readonly Row[] = [
  [1, 1],
  [2, 2],
];

describe("a view's target", () => {
  test("needs a window too: then a retry is clean in both", async () => {
    const viewed = await newView({ source: 100, target: 100 });
    await insert(viewed.source, rows, "x");
    await insert(viewed.source, rows, "x");
    expect(await both(viewed)).toEqual(["1.1 2.2", "1.1 2.2"]);
  });

  test("without a window doubles at each retry", async () => {
    const viewed = await newView({ source: 100, target: 0 });
    await insert(viewed.source, rows, "x");
    await insert(viewed.source, rows, "x");
    expect(await both(viewed)).toEqual(["1.1 2.2", "1.1 1.1 2.2 2.2"]);
  });

  test("doubles at each retry without the setting for views", async () => {
    const viewed = await newView({ source: 100, target: 100 });
    const without = { deduplicate_blocks_in_dependent_materialized_views: 0 };
    await insert(viewed.source, rows, "x", without);
    await insert(viewed.source, rows, "x", without);
    expect(await both(viewed)).toEqual(["1.1 2.2", "1.1 1.1 2.2 2.2"]);
  });

  test("keeps equal rows that come of different tokens", async () => {
    const viewed = await newView({ source: 100, target: 100 }, { select: "p, 7 AS a" });
    await insert(viewed.source, [[1, 1]], "x");
    await insert(viewed.source, [[1, 2]], "y");
    expect(await both(viewed)).toEqual(["1.1 1.2", "1.7 1.7"]);
  });

  test("lacks what a token inserts later than its first partition: a group's rows never change (B8)", async () => {
    // The table is right, the view's target is not. So a group that was tried under another codec is verified instead.
    // Days are partitions of otel_traces, weeks of otel_traces_trace_id_ts: the target knows the token already.
    const viewed = await newView({ source: 100, target: 100 }, { targetPartition: "intDiv(p, 7)" });
    await insert(viewed.source, [[1, 1]], "x");
    await insert(viewed.source, rows, "x");
    expect(await both(viewed)).toEqual(["1.1 2.2", "1.1"]);
  });
});

describe("a view that throws", () => {
  test("gives the client an error although the rows are stored, and the same token completes the view", async () => {
    const viewed = await newView({ source: 100, target: 100 });
    const { view } = viewed;
    await ask(`ALTER TABLE ${view} MODIFY QUERY SELECT p, a + throwIf(a = 2) AS a FROM ${viewed.source}`);
    expect(await insert(viewed.source, rows, "x")).toMatchObject({ status: 500, code: 395 });
    expect(await both(viewed)).toEqual(["1.1 2.2", ""]);
    await ask(`ALTER TABLE ${view} MODIFY QUERY SELECT p, a FROM ${viewed.source}`);
    expect(await insert(viewed.source, rows, "x")).toMatchObject({ status: 200 });
    expect(await both(viewed)).toEqual(["1.1 2.2", "1.1 2.2"]);
  });

  test("whose target refuses the row: code 469, which blames the data, and the rows are stored", async () => {
    const viewed = await newView({ source: 100, target: 100 });
    await ask(`ALTER TABLE ${viewed.target} ADD CONSTRAINT small CHECK a < 2`);
    expect(await insert(viewed.source, rows, "x")).toMatchObject({ code: 469 });
    expect(await both(viewed)).toEqual(["1.1 2.2", ""]);
  });
});
