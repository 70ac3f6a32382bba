/**
 * What hostile bodies survive as is read back by the engine, many bodies per block, and compared with rows that share no
 * code with the codec. On a difference the block is split until one body is left.
 */
import type { Random } from "../../bench/random.ts";
import { type Block, BlockBuilder } from "../../shared/rows/transcode.ts";
import { payloadId } from "../fixtures/blocks.ts";
import { bounds } from "../fixtures/protobuf.ts";
import { referenceRows, referenceSelect } from "../fixtures/reference-rows.ts";
import { checkPayload } from "./check-payload.ts";
import { mutate, randomRequest } from "./mutations.ts";

export const bodiesABlock = 100;

export interface Survivor {
  readonly body: Uint8Array;
  readonly spans: number;
  readonly textsRepaired: boolean;
}

/** A real engine, as the comparison needs it. */
export interface Engine {
  /** Stores a block in a new table and selects from it. */
  readonly storedRows: (block: Block, select: string) => Promise<unknown[]>;
}

const acceptsStart = (startNanos: bigint): boolean =>
  startNanos >= BigInt(bounds.startMinMs) * 1_000_000n &&
  startNanos < BigInt(bounds.startMaxMs + 1) * 1_000_000n;

/** A body of either kind: damaged, or whole in a form that no SDK sends. */
export function hostileBody(random: Random, seeds: readonly Uint8Array[]): Uint8Array {
  return random.chance(0.25) ? randomRequest(random) : mutate(random, random.pick(seeds), random.pick(seeds));
}

/** The body as survivor, or undefined where it is refused or has no span. Throws as `checkPayload`. */
export function survivorOf(body: Uint8Array, refused: BlockBuilder): Survivor | undefined {
  const inspection = checkPayload(body, refused);
  if (inspection === undefined || inspection.spans === 0) {
    return undefined;
  }
  return { body, spans: inspection.spans, textsRepaired: inspection.repairs.texts > 0 };
}

/** What the engine prints for the bodies in one block, against the reference. Undefined: the same. */
async function difference(engine: Engine, survivors: readonly Survivor[]): Promise<string | undefined> {
  const builder = new BlockBuilder();
  for (const { body, spans, textsRepaired } of survivors) {
    builder.add({ id: payloadId, tenant: "acme", body, bounds: { ...bounds, textsRepaired }, spans });
  }
  const expected = survivors
    .flatMap(({ body }) => referenceRows(body, acceptsStart))
    .map((row) => JSON.stringify(row));
  const rows = await engine.storedRows(builder.finish(), referenceSelect);
  const found = rows.map((row) => JSON.stringify(row));
  const same = expected.sort().join("\n") === found.sort().join("\n");
  return same ? undefined : `the engine prints\n${found.join("\n")}\ninstead of\n${expected.join("\n")}`;
}

/** The bodies that make the difference: one, or all of them where only together they do. Undefined: none. */
export async function firstDifference(
  engine: Engine,
  survivors: readonly Survivor[],
): Promise<{ readonly bodies: readonly Uint8Array[]; readonly text: string } | undefined> {
  const found = await difference(engine, survivors);
  if (found === undefined) {
    return undefined;
  }
  const half = survivors.length >> 1;
  const inHalf =
    half === 0
      ? undefined
      : ((await firstDifference(engine, survivors.slice(0, half))) ??
        (await firstDifference(engine, survivors.slice(half))));
  return inHalf ?? { bodies: survivors.map(({ body }) => body), text: found };
}
