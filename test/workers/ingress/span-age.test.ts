/** How old a span may be, as its key says. What the table keeps is looked up once in a minute: see table-limits.test.ts. */
import { expect, test } from "vitest";
import { DAY_MS } from "../../../shared/limits.ts";
import { freshJsonSpan, jsonRequestOf, makeKey, read, send } from "./sender.ts";

const at = (ageMs: number) => `${Date.now() - ageMs}000000`;
const aged = (ageMs: number) => freshJsonSpan({ startTimeUnixNano: at(ageMs), endTimeUnixNano: at(ageMs) });

test("a key may take older spans, as far as the table keeps them", async () => {
  const body = () => jsonRequestOf(aged(50 * DAY_MS), freshJsonSpan());
  expect(await read(await send(await makeKey(), "json", body()))).toMatchObject({ rejectedSpans: 1 });
  const wide = await makeKey({ spanAgeDays: 60 });
  const answer = await read(await send(wide, "json", body()));
  expect(answer.status).toBe(200);
  expect(answer.rejectedSpans ?? 0).toBe(0);
});
