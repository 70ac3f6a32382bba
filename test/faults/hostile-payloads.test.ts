/** Hostile bodies, seeded: the seed of a failure is in its message, and FUZZ_SEED repeats it. */
import { expect, test } from "vitest";
import { Random } from "../../bench/random.ts";
import { checkPayload } from "../fuzz/check-payload.ts";
import { mutate, randomRequest, seedBodies } from "../fuzz/mutations.ts";

const payloads = 50_000;

test(`${payloads} mutated payloads are accepted whole or refused clearly`, () => {
  const seed = Number(process.env["FUZZ_SEED"] ?? Date.now() % 2 ** 31);
  const random = new Random(seed);
  const seeds = seedBodies(random);
  let accepted = 0;
  for (let i = 0; i < payloads; i++) {
    const body = mutate(random, random.pick(seeds), random.pick(seeds));
    try {
      accepted += checkPayload(body) === undefined ? 0 : 1;
    } catch (error) {
      throw new Error(`FUZZ_SEED=${seed}, payload ${i}: ${Buffer.from(body).toString("base64")}`, {
        cause: error,
      });
    }
  }
  console.log(`fuzz: seed ${seed}, ${accepted} of ${payloads} accepted`);
  expect(accepted).toBeGreaterThan(payloads / 10);
});

test("valid bodies in forms that no SDK sends are accepted", () => {
  const random = new Random(77);
  for (let i = 0; i < 2000; i++) {
    expect(checkPayload(randomRequest(random)), `payload ${i}`).toBeDefined();
  }
});
