/**
 * A wide payload's rows in several Native blocks of one body: the number of blocks is part of what ClickHouse remembers
 * under a token, where they are cut is not. So the ledger says the number once and keeps it (docs/decisions/0031).
 */
import { randomBytes } from "node:crypto";
import { beforeEach, describe, expect, inject, test } from "vitest";
import { fetchClickHouse } from "../../dev/clickhouse/login.ts";
import { columnListText } from "../../shared/rows/columns.ts";
import { Slices } from "../../shared/rows/slices.ts";
import { BlockBuilder } from "../../shared/rows/transcode.ts";
import { compressParts } from "../../workers/consumer/compress-block.ts";
import { everySpan, wideBody } from "../fixtures/wide-bodies.ts";
import { consumersSettings } from "./token-inserts.ts";
import { ask, newTracesTable } from "./traces-table.ts";

const rows = 2000;
const body = wideBody({ spans: rows, resourceBytes: 1000 });
const id = randomBytes(16);
let table: string;

beforeEach(async () => {
  table = await newTable();
});

/** One that remembers tokens. */
async function newTable(): Promise<string> {
  const name = await newTracesTable();
  await ask(`ALTER TABLE ${name} MODIFY SETTING non_replicated_deduplication_window = 1000`);
  return name;
}

/** The rows as so many blocks. `bytes` moves the cuts, but for the last ones: the fewer, the earlier. */
function blocksOf(blocks: number, bytes = 4_000_000): Uint8Array[] {
  const parts: Uint8Array[] = [];
  const slices = new Slices(blocks, rows, bytes, (chunks) => parts.push(Buffer.concat(chunks)));
  const payload = { id, tenant: "t", body, bounds: everySpan, spans: rows };
  new BlockBuilder().addSliced(payload, slices);
  expect(parts).toHaveLength(blocks);
  return parts;
}

async function send(
  parts: readonly Uint8Array[],
  token: string,
  encoding?: "zstd" | "gzip",
): Promise<number> {
  const url = new URL(inject("clickhouse"));
  const query = `INSERT INTO ${table} (${columnListText}) FORMAT Native`;
  const all = { ...consumersSettings(), query, insert_deduplication_token: token };
  for (const [name, value] of Object.entries(all)) {
    url.searchParams.set(name, String(value));
  }
  const sent = encoding === undefined ? parts : parts.flatMap((part) => compressParts([part], encoding));
  const response = await fetchClickHouse(url, {
    method: "POST",
    body: new Uint8Array(Buffer.concat(sent)),
    ...(encoding === undefined ? {} : { headers: { "content-encoding": encoding } }),
  });
  const text = await response.text();
  expect([response.status, text]).toEqual([200, ""]);
  return Number((await ask(`SELECT count() FROM ${table} FORMAT TSVRaw`)).trim());
}

describe("the same rows under one token", () => {
  test.each([
    [1, 2],
    [2, 1],
    [4, 2],
    [2, 4],
  ])("in %i and then in %i blocks are stored twice", async (first, second) => {
    expect(await send(blocksOf(first), "x")).toBe(rows);
    expect(await send(blocksOf(second), "x")).toBe(2 * rows);
  });

  test.each([1, 2, 4, 12])("in %i blocks and again are stored once", async (blocks) => {
    expect(await send(blocksOf(blocks), "x")).toBe(rows);
    expect(await send(blocksOf(blocks), "x")).toBe(rows);
  });

  test.each([2, 4])("in %i blocks that are cut elsewhere are stored once", async (blocks) => {
    const elsewhere = blocksOf(blocks, 400_000);
    expect(elsewhere[0]?.length).not.toBe(blocksOf(blocks)[0]?.length);
    expect(await send(blocksOf(blocks), "x")).toBe(rows);
    expect(await send(elsewhere, "x")).toBe(rows);
  });
});

test.each(["zstd", "gzip"] as const)(
  "blocks that are compressed one by one with %s are one body, and one part",
  async (encoding) => {
    expect(await send(blocksOf(12), "x", encoding)).toBe(rows);
    const parts = `SELECT count() FROM system.parts WHERE table = '${table}' AND active FORMAT TSVRaw`;
    expect((await ask(parts)).trim()).toBe("1");
  },
);

test("blocks hold the rows of one block, in its order", async () => {
  const read = async (): Promise<string> =>
    await ask(`SELECT * FROM ${table} ORDER BY SpanId FORMAT JSONEachRow`);
  await send(blocksOf(1), "x");
  const whole = await read();
  table = await newTable();
  await send(blocksOf(7), "x");
  expect(await read()).toBe(whole);
  expect(whole).toContain("library-1-1.2.3.jar");
});
