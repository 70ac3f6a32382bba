/**
 * `npm run fuzz -- --minutes N [--seed S]`: hostile bodies for N minutes, in rounds of a printed seed each. What
 * survives is read back by a real engine, 100 bodies a block. A body that fails is kept as a file in `kept/`, which
 * `npm test` runs from then on; the command then ends with 1, after its time.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Random } from "../../bench/random.ts";
import { fetchClickHouse } from "../../dev/clickhouse/login.ts";
import { startClickHouse } from "../../dev/clickhouse/start-clickhouse.ts";
import { columnListText } from "../../shared/rows/columns.ts";
import { BlockBuilder } from "../../shared/rows/transcode.ts";
import { tracesTableColumns } from "../fixtures/traces-ddl.ts";
import { assertEmpty, manyPayloads } from "./check-payload.ts";
import { keepBody } from "./kept-bodies.ts";
import { seedBodies } from "./mutations.ts";
import {
  bodiesABlock,
  type Engine,
  firstDifference,
  hostileBody,
  type Survivor,
  survivorOf,
} from "./read-back.ts";

const bodiesARound = 2000;
const failuresMax = 20;

function engineAt(url: string): Engine {
  const ask = async (query: string, body?: Uint8Array<ArrayBuffer>): Promise<string> => {
    const target = new URL(url);
    target.search = new URLSearchParams({ query, input_format_skip_unknown_fields: "0" }).toString();
    const response = await fetchClickHouse(target, {
      method: "POST",
      ...(body === undefined ? {} : { body }),
    });
    const text = await response.text();
    if (!response.ok) {
      throw new Error(text);
    }
    return text;
  };
  return {
    async storedRows(block, select) {
      await ask("DROP TABLE IF EXISTS fuzzed");
      await ask(`CREATE TABLE fuzzed (${tracesTableColumns}) ENGINE = Memory`);
      const body = new Uint8Array(Buffer.concat([...block.chunks]));
      await ask(`INSERT INTO fuzzed (${columnListText}) FORMAT Native`, body);
      const settings = "SETTINGS output_format_json_quote_64bit_integers = 1 FORMAT JSONEachRow";
      const text = await ask(`SELECT ${select} FROM fuzzed ${settings}`);
      const lines = text.split("\n").filter((line) => line !== "");
      return lines.map((line): unknown => JSON.parse(line));
    },
  };
}

/** One round: bodies from a seed, their checks, their rows. Returns how many survived; failures are kept. */
async function round(
  engine: Engine,
  seed: number,
  fail: (what: string, body: Uint8Array, text: string) => void,
) {
  const random = new Random(seed);
  const seeds = seedBodies(random);
  const refused = new BlockBuilder();
  const survivors: Survivor[] = [];
  manyPayloads(() => {
    for (let i = 0; i < bodiesARound; i++) {
      const body = hostileBody(random, seeds);
      try {
        const survivor = survivorOf(body, refused);
        if (survivor !== undefined) {
          survivors.push(survivor);
        }
      } catch (error) {
        fail("contradiction", body, String(error));
      }
    }
  });
  assertEmpty(refused);
  for (let at = 0; at < survivors.length; at += bodiesABlock) {
    const found = await firstDifference(engine, survivors.slice(at, at + bodiesABlock));
    for (const body of found?.bodies ?? []) {
      fail("other-rows", body, found?.text ?? "");
    }
  }
  return survivors.length;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { minutes: { type: "string", default: "1" }, seed: { type: "string" } },
  });
  const minutes = Number(values.minutes);
  const first = Number(values.seed ?? Date.now() % 2 ** 31);
  if (!(minutes > 0) || !Number.isSafeInteger(first)) {
    throw new Error("usage: npm run fuzz -- --minutes N [--seed S]");
  }
  const directory = mkdtempSync(join(tmpdir(), "headrace-fuzz-"));
  const clickhouse = await startClickHouse({ directory });
  let failures = 0;
  let bodies = 0;
  let survivors = 0;
  try {
    const engine = engineAt(clickhouse.url);
    const until = performance.now() + minutes * 60_000;
    console.log(`fuzz: seeds from ${first} on, ${bodiesARound} bodies each, for ${minutes} min`);
    for (let seed = first; performance.now() < until && failures < failuresMax; seed++) {
      survivors += await round(engine, seed, (what, body, text) => {
        failures++;
        console.error(`seed ${seed}: ${text.slice(0, 2000)}\nkept as ${keepBody(what, body)}`);
      });
      bodies += bodiesARound;
    }
  } finally {
    await clickhouse.stop();
    rmSync(directory, { recursive: true, force: true });
  }
  console.log(`fuzz: ${bodies} bodies, ${survivors} survived and were read back, ${failures} failed`);
  return failures === 0 ? 0 : 1;
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    console.error(error);
    process.exitCode = 1;
  },
);
