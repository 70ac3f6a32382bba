/** What a person asked to be erased outlives the ledger: real R2 and real ledgers; ClickHouse answers as the test says. */

import { reset } from "cloudflare:test";
import { env as given } from "cloudflare:workers";
import { beforeEach, expect, test, vi } from "vitest";
import { connectClickHouse } from "../../../shared/clickhouse/connection.ts";
import { MINUTE_MS } from "../../../shared/limits.ts";
import { formatPayloadId, formatPayloadKey, idOfKey, type PayloadKey } from "../../../shared/payload-key.ts";
import { erase, resumeErasures } from "../../../workers/consumer/asked-erasures.ts";
import type { ConsumerBindings } from "../../../workers/consumer/bindings.ts";
import { putPayloads } from "./put-payloads.ts";

const env = given as unknown as ConsumerBindings;
const bucket = env.PAYLOADS;
let before = env.LEDGER.getByName("0");
/** It knows nothing of what the other one was asked. */
let born = env.LEDGER.getByName("born anew");
const arrival = Date.now() - 60 * MINUTE_MS;
const keyOf = (n: number): PayloadKey =>
  formatPayloadKey(arrival, "acme", formatPayloadId(new Uint8Array(16).fill(n)));
const keys = [keyOf(1), keyOf(2)] as const;

let receipts: readonly { readonly key: PayloadKey; readonly outcome: string }[] = [];
const clickHouse = () => connectClickHouse(env, undefined, fetch);
const look = (ledger: typeof before, later = 10) =>
  resumeErasures({ bucket, clickHouse: clickHouse(), ledger }, Date.now() + later * MINUTE_MS);
const remembered = async () => (await bucket.list({ prefix: "erasures/" })).objects.map(({ key }) => key);

beforeEach(async () => {
  await reset();
  before = env.LEDGER.getByName("0");
  born = env.LEDGER.getByName("born anew");
  vi.restoreAllMocks();
  receipts = [];
  vi.spyOn(globalThis, "fetch").mockImplementation(async (_input, init) => {
    // How keys ended; of the queries for all that receipts say, and for rows, nothing is found.
    const found = /group_id|HeadracePayload/.test(String(init?.body)) ? [] : receipts;
    const headers = { "x-clickhouse-summary": "{}" };
    return new Response(found.map((one) => JSON.stringify(one)).join("\n"), { headers });
  });
  await putPayloads(bucket, keys, arrival);
  await erase({ bucket, clickHouse: clickHouse(), ledger: before }, keys, "asked for", Date.now());
});

test("an erasure that a lost ledger has forgotten is asked for again", async () => {
  expect(await look(born)).toBe(true);
  for (const key of keys) {
    expect(await born.whereIs(idOfKey(key))).toMatchObject({ at: "group", state: "verifying", payloads: 2 });
  }
  expect(await remembered()).toHaveLength(1);
  expect(await look(born, 20)).toBe(false); // it has them now
});

test("one that the ledger has is left to it, and forgotten with the last receipt", async () => {
  expect(await look(before)).toBe(false);
  receipts = [
    { key: keys[0], outcome: "erased" },
    { key: keys[1], outcome: "stored" },
  ];
  expect(await look(before)).toBe(false);
  expect(await remembered()).toHaveLength(1);
  receipts = keys.map((key) => ({ key, outcome: "erased" }));
  expect(await look(born)).toBe(false);
  expect(await remembered()).toEqual([]);
});

test("only what has no receipt is asked for again, and what is nowhere any more is left out", async () => {
  receipts = [{ key: keys[0], outcome: "erased" }];
  await bucket.delete(keys[1]);
  expect(await look(born)).toBe(true);
  expect(await born.whereIs(idOfKey(keys[0]))).toMatchObject({ at: "unknown" });
  expect(await look(born, 20)).toBe(false);
  expect(await remembered()).toEqual([]);
});

test("one that was asked for a moment ago is on its way", async () => {
  expect(await look(born, 1)).toBe(false);
});

test("one that does not end in a week is given up", async () => {
  expect(await look(born, 9 * 24 * 60)).toBe(false);
  expect(await remembered()).toEqual([]);
});
