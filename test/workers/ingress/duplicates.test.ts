/** Equal bytes that come twice: the object that came first says what is stored of them. */
import { reset } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Advised } from "../../../shared/collect/advice.ts";
import { everyTime, formatIdTimeFrom } from "../../../shared/id-time.ts";
import { limits } from "../../../shared/limits.ts";
import { formatPayloadId, formatPayloadKey, payloadId } from "../../../shared/payload-key.ts";
import type { IngressBindings } from "../../../workers/ingress/bindings.ts";
import { NotifiedKeys } from "../../../workers/ingress/perform-acceptance.ts";
import worker from "../../../workers/ingress/worker.ts";
import { bytesField, fixed64Field, join } from "../../fixtures/protobuf.ts";
import {
  bindings,
  freshSpan,
  makeKey,
  mediaTypes,
  origin,
  read,
  requestOf,
  send,
  storedPayloads,
} from "./sender.ts";

let notified: Record<string, unknown>[] = [];

beforeEach(async () => {
  // The clock does not advance: two requests on both sides of a minute's end would be two objects, and no duplicate.
  vi.useFakeTimers({ toFake: ["Date"] });
  await reset();
  vi.restoreAllMocks();
  // Each payload goes alone: what a collector knows of equal bytes is in collector.test.ts.
  vi.spyOn(Advised.prototype, "takeAlone").mockReturnValue(true);
  notified = [];
  vi.spyOn(Object.getPrototypeOf(bindings.RING), "send").mockImplementation(async (message: unknown) => {
    notified.push(message as Record<string, unknown>);
  });
});

afterEach(() => {
  vi.useRealTimers();
});

/** Of forty traces, about half are kept by a key that samples. */
const body = () =>
  requestOf(
    ...Array.from({ length: 40 }, () =>
      join(freshSpan(), bytesField(1, crypto.getRandomValues(new Uint8Array(16)))),
    ),
  );

async function sendTwice(first: string, second: string) {
  const bytes = body();
  const answers = [await read(await send(first, "pb", bytes)), await read(await send(second, "pb", bytes))];
  const objects = await storedPayloads();
  expect(objects).toHaveLength(1);
  return { answers, spans: Number(objects[0]?.customMetadata?.["spans"]) };
}

test("a duplicate notifies nobody whose doorbell this isolate has just sent", async () => {
  const key = await makeKey();
  const { answers } = await sendTwice(key, key);
  expect(answers.map(({ status }) => status)).toEqual([200, 200]);
  expect(notified).toHaveLength(1);
});

test("duplicates that come while the first copy's doorbell is being sent send none", async () => {
  const key = await makeKey();
  vi.mocked(Object.getPrototypeOf(bindings.RING).send).mockImplementation(async (message: unknown) => {
    notified.push(message as Record<string, unknown>);
    await new Promise((resolve) => setTimeout(resolve, 200));
  });
  const bytes = body();
  const answers = await Promise.all(Array.from({ length: 10 }, () => send(key, "pb", bytes)));
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
  expect(notified.length).toBe(1);
});

describe("what an isolate remembers of its doorbells", () => {
  const start = Date.UTC(2026, 10, 24, 7);
  const keyOf = async (name: string) => {
    const id = await payloadId("acme", "pb", "identity", new TextEncoder().encode(name), {
      contentMinute: 0,
      from: 0,
    });
    return { id, key: formatPayloadKey(start, "acme", id) };
  };

  test("more payloads that take turns than it knows get one doorbell each in 10 s, and again later", async () => {
    const known = new NotifiedKeys();
    const payloads = await Promise.all(
      Array.from({ length: limits.notifiedKeysMax + 50 }, (_, i) => keyOf(String(i))),
    );
    const doorbells = (now: number) => {
      let sent = 0;
      for (const { key, id } of payloads) {
        if (!known.has(key, id, now)) {
          known.add(key, id, now);
          sent++;
        }
      }
      return sent;
    };
    const first = doorbells(start);
    expect(first, "as many as it knows, and one that showed that it forgets").toBe(
      limits.notifiedKeysMax + 1,
    );
    expect(doorbells(start + limits.duplicateNotifyMs - 1)).toBe(0);
    expect(doorbells(start + limits.duplicateNotifyMs)).toBeGreaterThan(0);
  });

  test("a doorbell that was not taken may be sent again at once", async () => {
    const known = new NotifiedKeys();
    const { key, id } = await keyOf("a");
    known.add(key, id, start);
    expect(known.has(key, id, start)).toBe(true);
    known.remove(key, id);
    expect(known.has(key, id, start)).toBe(false);
  });
});

test("a duplicate of another isolate's notifies with what its object says, not with what it counted itself", async () => {
  const [all, some] = [await makeKey({ sample: 1 }), await makeKey({ sample: 0.5 })];
  vi.mocked(Object.getPrototypeOf(bindings.RING).send).mockImplementationOnce(async () => {
    throw new Error("the queue is away"); // so this isolate has sent no doorbell
  });
  const { answers, spans } = await sendTwice(all, some);
  expect(answers.map(({ status }) => status)).toEqual([200, 200]);
  expect(spans).toBe(40);
  expect(notified).toEqual([expect.objectContaining({ v: 1, cause: "ingress", spans: 40 })]);
});

test("equal bytes of a later minute are answered as a duplicate by an isolate that knows them, for as long as the ledger does", async () => {
  const key = await makeKey();
  const bytes = body();
  const lines: string[] = [];
  vi.spyOn(console, "log").mockImplementation((line) => void lines.push(line));
  const answerAfter = async (ms: number) => {
    vi.setSystemTime(Date.now() + ms);
    const { headers } = await send(key, "pb", bytes);
    return [headers.get("x-headrace-duplicate"), headers.get("x-headrace-payload")];
  };
  const [first, id] = await answerAfter(0);
  expect(first).toBeNull();
  expect(await answerAfter(2 * 60_000)).toEqual(["1", id]);
  const keys = (await storedPayloads()).map((object) => object.key);
  expect(keys).toHaveLength(2);
  expect(lines.map((line) => JSON.parse(line))).toContainEqual({
    outcome: "accepted",
    payload: keys[1],
    duplicate: true,
  });
  // The ledger may have forgotten it by now, and stores it anew: who could still call it a duplicate?
  expect(await answerAfter(25 * 3_600_000)).toEqual([null, id]);
});

test("the answer to equal bytes whose key keeps more than what is stored says how many spans are not", async () => {
  const [all, some] = [await makeKey({ sample: 1 }), await makeKey({ sample: 0.5 })];
  const { answers, spans } = await sendTwice(some, all);
  expect(spans).toBeGreaterThan(0);
  expect(spans).toBeLessThan(40);
  expect(answers[1]).toMatchObject({ status: 200, rejectedSpans: 40 - spans });
  expect(answers[1]?.message).toContain(`with ${spans} of their 40 spans`);
});

test("a duplicate of an object whose metadata is not ours notifies with its bare key", async () => {
  const key = await makeKey();
  const bytes = body();
  vi.mocked(Object.getPrototypeOf(bindings.RING).send).mockImplementationOnce(async () => {
    throw new Error("the queue is away");
  });
  await send(key, "pb", bytes);
  const [object] = await storedPayloads();
  await bindings.PAYLOADS.put(object?.key ?? "", bytes, { customMetadata: { Version: "1" } });
  expect((await send(key, "pb", bytes)).status).toBe(200);
  expect(notified).toEqual([{ v: 1, key: object?.key, cause: "ingress" }]);
});

describe("a payload's id", () => {
  const ctx = { waitUntil: () => undefined } as unknown as ExecutionContext;
  const sendAs = async (changed: Partial<IngressBindings>, key: string, bytes: Uint8Array) => {
    const request = new Request(`${origin}/v1/traces`, {
      method: "POST",
      headers: { "x-api-key": key, "content-type": mediaTypes.pb },
      body: bytes,
    });
    const env = { ...bindings, ...changed } as IngressBindings;
    return await worker.fetch(request as Parameters<typeof worker.fetch>[0], env, ctx);
  };
  const hashOf = async (bytes: Uint8Array) => {
    const head = new TextEncoder().encode("acme\0pb\0identity\0");
    return new Uint8Array(await crypto.subtle.digest("SHA-256", join(head, bytes)));
  };
  const year2020 = Date.UTC(2020, 0, 1);

  test("begins with the newest time in it from ID_TIME_FROM on, whichever of its spans are accepted, and is its hash before", async () => {
    const [all, some] = [await makeKey({ sample: 1 }), await makeKey({ sample: 0.5 })];
    const ahead = Date.now() + 30 * 3_600_000; // too far, until six hours have passed
    const time = BigInt(ahead) * 1_000_000n;
    const bytes = join(body(), requestOf(join(freshSpan(), fixed64Field(7, time), fixed64Field(8, time))));
    const minute = Math.floor((ahead - year2020) / 60_000);
    const hash = await hashOf(bytes);
    const version2 = formatPayloadId(
      Uint8Array.of(minute >>> 16, (minute >>> 8) & 255, minute & 255, ...hash.subarray(0, 13)),
    );
    const idAs = async (from: string | undefined, key: string) => {
      const response = await sendAs(from === undefined ? {} : { ID_TIME_FROM: from }, key, bytes);
      expect(response.status).toBe(200);
      return response.headers.get("x-headrace-payload");
    };
    const at = (offset: number) => formatIdTimeFrom(year2020 + (minute + offset) * 60_000);
    expect(await idAs(everyTime, all)).toBe(version2);
    expect(await idAs(at(0), some)).toBe(version2);
    vi.setSystemTime(Date.now() + 7 * 3_600_000);
    expect(await idAs(at(0), all)).toBe(version2);
    for (const from of [at(1), "", undefined]) {
      expect(await idAs(from, all)).toBe(formatPayloadId(hash.subarray(0, 16)));
    }
  });

  test("is given to nothing while ID_TIME_FROM is no time: 503, and the log names it", async () => {
    const lines: string[] = [];
    vi.spyOn(console, "error").mockImplementation((line) => void lines.push(line));
    const { status } = await sendAs({ ID_TIME_FROM: "soon" }, await makeKey(), body());
    expect(status).toBe(503);
    expect(lines.join()).toContain("ID_TIME_FROM is a time");
    expect(await storedPayloads()).toEqual([]);
  });
});
