/** Hostile bodies, seeded: the seed of a failure is in its message, and FUZZ_SEED repeats it. */
import { expect, test } from "vitest";
import { Random } from "../../bench/random.ts";
import { BlockBuilder } from "../../shared/rows/transcode.ts";
import { assertEmpty, checkPayload, manyPayloads } from "../fuzz/check-payload.ts";
import { readKeptBodies } from "../fuzz/kept-bodies.ts";
import { mutate, randomRequest, seedBodies } from "../fuzz/mutations.ts";

/** `npm run test:all` makes more of them, `npm run fuzz` as many as somebody wants. */
const payloads = process.env["HEADRACE_LONG"] === undefined ? 6000 : 50_000;

test(`${payloads} mutated payloads are accepted whole or refused clearly`, () => {
  const seed = Number(process.env["FUZZ_SEED"] ?? Date.now() % 2 ** 31);
  const random = new Random(seed);
  const seeds = seedBodies(random);
  let accepted = 0;
  const refused = new BlockBuilder();
  manyPayloads(() => {
    for (let i = 0; i < payloads; i++) {
      const body = mutate(random, random.pick(seeds), random.pick(seeds));
      try {
        accepted += checkPayload(body, refused) === undefined ? 0 : 1;
      } catch (error) {
        throw new Error(`FUZZ_SEED=${seed}, payload ${i}: ${Buffer.from(body).toString("base64")}`, {
          cause: error,
        });
      }
    }
  });
  assertEmpty(refused);
  console.log(`fuzz: seed ${seed}, ${accepted} of ${payloads} accepted`);
  expect(accepted).toBeGreaterThan(payloads / 10);
});

test("valid bodies in forms that no SDK sends are accepted", () => {
  const random = new Random(77);
  const refused = new BlockBuilder();
  for (let i = 0; i < 1000; i++) {
    expect(checkPayload(randomRequest(random), refused), `payload ${i}`).toBeDefined();
  }
});

test("bodies that once failed are accepted whole or refused clearly", () => {
  const kept = readKeptBodies();
  expect(kept.length).toBeGreaterThan(0);
  for (const { name, body } of kept) {
    const refused = new BlockBuilder();
    expect(() => checkPayload(body, refused), name).not.toThrow();
    assertEmpty(refused);
  }
});
