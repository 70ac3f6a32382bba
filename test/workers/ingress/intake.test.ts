/**
 * The requests of `npm run compare:intake`, answered by the ingress in workerd and compared with what the Collector's own
 * receiver answered on the fixture's date: taken or refused alike, or in a class that docs/otlp-conformance.md explains.
 */
import { reset } from "cloudflare:test";
import * as v from "valibot";
import { beforeEach, expect, inject, test, vi } from "vitest";
import { bodyCases } from "../../intake/body-cases.ts";
import { answerSchema, compareAnswers, type IntakeAnswer } from "../../intake/compare-answers.ts";
import { itemCases } from "../../intake/item-cases.ts";
import type { IntakeCase } from "../../intake/requests.ts";
import { answerOf } from "../../intake/send-case.ts";
import { bindings, ingress, makeKey, origin } from "./sender.ts";

const keptSchema = v.object({
  receiver: v.string(),
  date: v.string(),
  answers: v.record(v.string(), answerSchema),
});
const kept = v.parse(keptSchema, JSON.parse(inject("collectorAnswers")));
const theirs = new Map(Object.entries(kept.answers));

beforeEach(async () => {
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  await reset();
});

async function answersTo(cases: readonly IntakeCase[]): Promise<Map<string, IntakeAnswer>> {
  const key = await makeKey({ origins: ["*"] });
  const answers = new Map<string, IntakeAnswer>();
  for (const one of cases) {
    const answer = await answerOf(
      one,
      origin,
      { "x-api-key": key },
      (url, init) => ingress.fetch(url, init as never) as never,
    );
    const { objects } = await bindings.PAYLOADS.list({ include: ["customMetadata"] });
    const spans = objects.reduce((sum, { customMetadata }) => sum + Number(customMetadata?.["spans"]), 0);
    await bindings.PAYLOADS.delete(objects.map((object) => object.key));
    answers.set(one.name, { ...answer, spans });
  }
  return answers;
}

const made = { now: Date.now() };

test.each([
  ["one odd or faulty item between two good spans", itemCases(made)],
  ["an odd or faulty whole", bodyCases(made)],
])(
  `%s is answered as by the Collector's receiver ${kept.receiver} on ${kept.date}, or in a class of its own`,
  async (_, cases) => {
    const { unexplained, noDifference, byClass } = compareAnswers(cases, theirs, await answersTo(cases));
    expect(unexplained).toEqual([]);
    expect(noDifference).toEqual([]);
    expect(byClass.size).toBeGreaterThan(5);
  },
  120_000,
);

test("no case is missing, and none has another's name", () => {
  const names = [...itemCases(made), ...bodyCases(made)].map(({ name }) => name);
  expect(names.length).toBeGreaterThanOrEqual(200);
  expect(new Set(names).size).toBe(names.length);
  expect(names.toSorted()).toEqual([...theirs.keys()].toSorted());
});
