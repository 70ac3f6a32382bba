/** What the ingress learns of the traces table, from the object that the consumer's cron writes. */
import { expect, test } from "vitest";
import { DAY_MS } from "../../../shared/limits.ts";
import { tableLimitsKey } from "../../../shared/table-limits.ts";
import { publishTableLimits } from "../../../workers/consumer/publish-table-limits.ts";
import { bindings, freshJsonSpan, jsonRequestOf, makeKey, read, send } from "./sender.ts";

const at = (ageMs: number) => `${Date.now() - ageMs}000000`;
const aged = (startAgeMs: number, endAgeMs: number) =>
  freshJsonSpan({ startTimeUnixNano: at(startAgeMs), endTimeUnixNano: at(endAgeMs) });

test("spans older than the table keeps are refused by name, whatever their payload's others are", async () => {
  await publishTableLimits(bindings.PAYLOADS, { kind: "keeps", months: 0, ms: 7 * DAY_MS });
  const key = await makeKey();
  const body = jsonRequestOf(aged(6.5 * DAY_MS, 6.5 * DAY_MS), aged(5 * DAY_MS, 5 * DAY_MS), freshJsonSpan());
  const answer = await read(await send(key, "json", body));
  expect(answer).toMatchObject({ status: 200, rejectedSpans: 1 });
  expect(answer.message).toMatch(/spans\[0\]: start_time_unix_nano is .*, before /);
});

test("the object is written when it says something else, and left as it is while a TTL is not understood", async () => {
  const { PAYLOADS } = bindings;
  const text = async () => await (await PAYLOADS.get(tableLimitsKey))?.text();
  await publishTableLimits(PAYLOADS, { kind: "none" });
  expect(await text()).toBe('{"v":1,"keptMs":null}');
  await publishTableLimits(PAYLOADS, { kind: "keeps", months: 1, ms: 1 });
  const written = await PAYLOADS.head(tableLimitsKey);
  expect(await text()).toBe(`{"v":1,"keptMs":${28 * DAY_MS + 1}}`);
  await publishTableLimits(PAYLOADS, { kind: "keeps", months: 1, ms: 1 });
  await publishTableLimits(PAYLOADS, { kind: "unclear", clause: "?" });
  expect((await PAYLOADS.head(tableLimitsKey))?.version).toBe(written?.version);
});
