/** The cron's effects on real parts: what R2 lists and the ledger keeps. What is decided is tried in test/core. */
import { reset } from "cloudflare:test";
import { env as given } from "cloudflare:workers";
import { beforeEach, describe, expect, test } from "vitest";
import { connectClickHouse } from "../../../shared/clickhouse/connection.ts";
import {
  deadLetterPrefix,
  formatPayloadId,
  formatPayloadKey,
  type ObjectKey,
  type PayloadKey,
  payloadPrefix,
} from "../../../shared/payload-key.ts";
import { newCheckpoint } from "../../../shared/reconcile/checkpoint.ts";
import type { ConsumerBindings } from "../../../workers/consumer/bindings.ts";
import { cronPerformerOf } from "../../../workers/consumer/perform-tick.ts";
import { putPayloads } from "./put-payloads.ts";

const env = given as unknown as ConsumerBindings;
const arrival = Date.UTC(2026, 10, 24, 12);

const performer = (bindings = env) =>
  cronPerformerOf(bindings, connectClickHouse(env, undefined, fetch), env.LEDGER.getByName("0"), arrival);

/** R2 cuts pages as it likes (it does with metadata, and for its own reasons): these have at most `most` objects. */
function cutting(most: number): ConsumerBindings {
  const list = (options: R2ListOptions = {}) =>
    env.PAYLOADS.list({ ...options, limit: Math.min(options.limit ?? most, most) });
  const bucket = new Proxy(env.PAYLOADS, {
    get: (target, name) => (name === "list" ? list : Reflect.get(target, name)),
  });
  return { ...env, PAYLOADS: bucket };
}

function keyAt(n: number): PayloadKey {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint32(0, n);
  return formatPayloadKey(arrival, "acme", formatPayloadId(bytes));
}

/** So many payloads, in order of keys. */
async function putSome(count: number): Promise<readonly PayloadKey[]> {
  const keys = Array.from({ length: count }, (_, n) => keyAt(n));
  await putPayloads(env.PAYLOADS, keys, arrival);
  return keys.toSorted();
}

beforeEach(async () => {
  await reset();
});

/** All pages of a listing, as the reconciler asks for them. */
async function listAll(atMost: number, bindings = env) {
  const { list } = performer(bindings);
  const keys: ObjectKey[] = [];
  let pages = 0;
  let cursor: string | null = null;
  do {
    const page: Awaited<ReturnType<typeof list>> = await list({ after: payloadPrefix, cursor, atMost });
    keys.push(...page.objects.map(({ key }) => key));
    expect(page.through >= (keys.at(-1) ?? "")).toBe(true);
    ({ cursor } = page);
    pages += 1;
  } while (cursor !== null);
  return { keys, pages };
}

describe("a listing", () => {
  test("has as many keys in a page as were asked for, and goes on behind it", async () => {
    const keys = await putSome(250);
    expect(await listAll(1000), "R2 would list 100 objects with their metadata").toEqual({ keys, pages: 1 });
    expect(await listAll(120)).toEqual({ keys, pages: 3 });
  });

  test("goes on behind a page that R2 cut short", async () => {
    const keys = await putSome(7);
    expect(await listAll(1000, cutting(3))).toEqual({ keys, pages: 3 });
  });

  test("passes over what is not a payload of ours, and says how far it has come", async () => {
    const keys = await putSome(3);
    await env.PAYLOADS.put(`${payloadPrefix}zzz`, "somebody's");
    expect((await listAll(1000)).keys).toEqual(keys);
    const page = await performer().list({ after: keys.at(-1) ?? "", cursor: null, atMost: 10 });
    expect(page).toMatchObject({ objects: [], through: `${payloadPrefix}zzz` });
  });
});

test("objects and dead letters' records are found by key, and only those that were asked for", async () => {
  const keys = await putSome(4);
  const absent = keyAt(99);
  const found = await performer().find([...keys.slice(1, 3), absent]);
  expect(found).toEqual(keys.slice(1, 3));
  await Promise.all(
    [keys[0], keys[2], keys[3]].map((key) => env.PAYLOADS.put(`${deadLetterPrefix}${key}`, "{}")),
  );
  expect(await performer().deadLetters(keys.slice(0, 3))).toEqual([keys[0], keys[2]]);
  expect(await performer().deadLetters([])).toEqual([]);
});

test("one run has the lease until it gives it back or another is taken over, and then keeps no book", async () => {
  const { beginRun, save, endRun } = performer();
  const checkpoint = newCheckpoint(arrival);
  const first = await beginRun({ takesOver: false });
  expect(first).toMatchObject({ checkpoint: null });
  expect(await beginRun({ takesOver: false })).toBeNull();
  expect(await save({ run: first?.run ?? "", checkpoint })).toBe(true);
  const second = await beginRun({ takesOver: true });
  expect(second).toMatchObject({ checkpoint });
  expect(await save({ run: first?.run ?? "", checkpoint: newCheckpoint(0) })).toBe(false);
  await endRun(first?.run ?? ""); // not its lease any more
  expect(await beginRun({ takesOver: false })).toBeNull();
  await endRun(second?.run ?? "");
  expect(await beginRun({ takesOver: false })).toMatchObject({ checkpoint });
});
