/**
 * What hostile bodies survive as is read back by the engine, 100 bodies a block, and compared with rows that share no
 * code with the codec. On a difference the block is halved until one body is left.
 */
import { expect, test } from "vitest";
import { Random } from "../../bench/random.ts";
import { BlockBuilder } from "../../shared/rows/transcode.ts";
import { payloadId } from "../fixtures/blocks.ts";
import { bounds } from "../fixtures/protobuf.ts";
import { referenceRows, referenceSelect } from "../fixtures/reference-rows.ts";
import { checkPayload } from "../fuzz/check-payload.ts";
import { mutate, randomRequest, seedBodies } from "../fuzz/mutations.ts";
import { insertBlock, newTracesTable, rowsOf } from "./traces-table.ts";

const bodiesWanted = 1500;
const bodiesABlock = 100;

interface Survivor {
  readonly body: Uint8Array;
  readonly spans: number;
}

const acceptsStart = (startNanos: bigint): boolean =>
  startNanos >= BigInt(bounds.startMinMs) * 1_000_000n &&
  startNanos < BigInt(bounds.startMaxMs + 1) * 1_000_000n;

function survivorsOf(random: Random): Survivor[] {
  const seeds = seedBodies(random);
  const survivors: Survivor[] = [];
  while (survivors.length < bodiesWanted) {
    const body =
      survivors.length % 2 === 0
        ? randomRequest(random)
        : mutate(random, random.pick(seeds), random.pick(seeds));
    const inspection = checkPayload(body);
    if (inspection !== undefined && inspection.spans > 0) {
      survivors.push({ body, spans: inspection.spans });
    }
  }
  return survivors;
}

/** What the engine prints for the bodies in one block, against the reference. Undefined: the same. */
async function difference(survivors: readonly Survivor[]): Promise<string | undefined> {
  const table = await newTracesTable();
  const builder = new BlockBuilder();
  for (const { body, spans } of survivors) {
    builder.add({ id: payloadId, tenant: "acme", body, bounds, spans });
  }
  await insertBlock(table, builder.finish());
  const expected = survivors
    .flatMap(({ body }) => referenceRows(body, acceptsStart))
    .map((row) => JSON.stringify(row));
  const found = (await rowsOf(`SELECT ${referenceSelect} FROM ${table}`)).map((row) => JSON.stringify(row));
  const same = expected.sort().join("\n") === found.sort().join("\n");
  return same ? undefined : `the engine prints\n${found.join("\n")}\ninstead of\n${expected.join("\n")}`;
}

async function firstDifference(survivors: readonly Survivor[]): Promise<string | undefined> {
  const found = await difference(survivors);
  if (found === undefined || survivors.length === 1) {
    const [only] = survivors;
    return found === undefined ? undefined : `${Buffer.from(only?.body ?? []).toString("base64")}: ${found}`;
  }
  const half = survivors.length >> 1;
  return (
    (await firstDifference(survivors.slice(0, half))) ??
    (await firstDifference(survivors.slice(half))) ??
    found
  );
}

test(`${bodiesWanted} surviving bodies are the rows that a plain reader says`, async () => {
  const seed = Number(process.env["FUZZ_SEED"] ?? Date.now() % 2 ** 31);
  const survivors = survivorsOf(new Random(seed));
  for (let at = 0; at < survivors.length; at += bodiesABlock) {
    expect(
      await firstDifference(survivors.slice(at, at + bodiesABlock)),
      `FUZZ_SEED=${seed}`,
    ).toBeUndefined();
  }
});
