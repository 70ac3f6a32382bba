/** Many dead letters are chosen with one click: the page asks for as many at once as a request may name. */

import * as v from "valibot";
import { expect, test } from "vitest";
import { askInParts } from "../../shared/console/ask-in-parts.ts";
import { eraseBody, replayBody } from "../../shared/console/questions.ts";
import { limits } from "../../shared/limits.ts";

const keys = Array.from({ length: limits.deadLettersListed }, (_, n) => `key ${n}`);

test("all that are listed are asked for, none twice, in requests that the console takes", async () => {
  const asked: string[] = [];
  const answer = await askInParts(keys, async (part) => {
    v.parse(replayBody, { keys: part });
    v.parse(eraseBody, { keys: part, reason: "a test" });
    asked.push(...part);
    return { taken: part.slice(1), missing: part.slice(0, 1) };
  });
  expect(asked).toEqual(keys);
  expect(answer.failed).toBeNull();
  expect([...answer.taken, ...answer.missing].sort()).toEqual(keys.toSorted());
});

test("what one request ends of leaves what was asked before, and says how many were not", async () => {
  let requests = 0;
  const error = new Error("it does not answer");
  const answer = await askInParts(keys, async (part) => {
    requests++;
    if (requests === 2) {
      throw error;
    }
    return { taken: [...part], missing: [] };
  });
  expect(requests).toBe(2);
  expect(answer).toEqual({
    taken: keys.slice(0, limits.keysAskedMax),
    missing: [],
    failed: { error, keys: keys.length - limits.keysAskedMax },
  });
});
