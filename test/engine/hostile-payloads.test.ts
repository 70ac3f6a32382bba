/** What hostile bodies survive as, and bodies that once failed, read back by the engine: see ../fuzz/read-back.ts. */
import { expect, test } from "vitest";
import { Random } from "../../bench/random.ts";
import { BlockBuilder } from "../../shared/rows/transcode.ts";
import { manyPayloads } from "../fuzz/check-payload.ts";
import { readKeptBodies } from "../fuzz/kept-bodies.ts";
import { mutate, randomRequest, seedBodies } from "../fuzz/mutations.ts";
import { bodiesABlock, type Engine, firstDifference, type Survivor, survivorOf } from "../fuzz/read-back.ts";
import { insertBlock, newTracesTable, rowsOf } from "./traces-table.ts";

const bodiesWanted = 1500;

const engine: Engine = {
  async storedRows(block, select) {
    const table = await newTracesTable();
    await insertBlock(table, block);
    return await rowsOf(`SELECT ${select} FROM ${table}`);
  },
};

function survivorsOf(random: Random): Survivor[] {
  const seeds = seedBodies(random);
  const refused = new BlockBuilder();
  const survivors: Survivor[] = [];
  while (survivors.length < bodiesWanted) {
    const body =
      survivors.length % 2 === 0
        ? randomRequest(random)
        : mutate(random, random.pick(seeds), random.pick(seeds));
    const survivor = survivorOf(body, refused);
    if (survivor !== undefined) {
      survivors.push(survivor);
    }
  }
  return survivors;
}

test(`${bodiesWanted} surviving bodies are the rows that a plain reader says`, async () => {
  const seed = Number(process.env["FUZZ_SEED"] ?? Date.now() % 2 ** 31);
  const survivors = manyPayloads(() => survivorsOf(new Random(seed)));
  for (let at = 0; at < survivors.length; at += bodiesABlock) {
    const found = await firstDifference(engine, survivors.slice(at, at + bodiesABlock));
    expect(found, `FUZZ_SEED=${seed}`).toBeUndefined();
  }
});

test("bodies that once failed are the rows that a plain reader says", async () => {
  for (const { name, body } of readKeptBodies()) {
    const survivor = survivorOf(body, new BlockBuilder());
    expect(
      survivor === undefined ? undefined : await firstDifference(engine, [survivor]),
      name,
    ).toBeUndefined();
  }
});
