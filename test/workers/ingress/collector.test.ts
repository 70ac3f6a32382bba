/** The collector on workerd: payloads of concurrent requests in few objects, and what happens to a request when it fails. */
import { reset } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { CollectorPause } from "../../../shared/collect/pause.ts";
import { limits } from "../../../shared/limits.ts";
import { doorbellsOf, type SegmentDoorbell } from "../../../shared/messages.ts";
import { isInSegment, objectOf, type PayloadKey } from "../../../shared/payload-key.ts";
import { fetchObject } from "../../../shared/segment/payload-objects.ts";
import type { IngressBindings } from "../../../workers/ingress/bindings.ts";
import { budget } from "../../../workers/ingress/bytes-in-hand.ts";
import type { CollectAnswer } from "../../../workers/ingress/collector-object.ts";
import worker from "../../../workers/ingress/worker.ts";
import { join, stringField } from "../../fixtures/protobuf.ts";
import {
  bindings,
  freshSpan,
  makeKey,
  mediaTypes,
  origin,
  read,
  requestOf,
  storedPayloads,
} from "./sender.ts";

let messages: unknown[] = [];
let key = "";

beforeEach(async () => {
  await reset();
  vi.restoreAllMocks();
  // Each test begins anew.
  vi.spyOn(CollectorPause.prototype, "failed").mockImplementation(() => undefined);
  vi.spyOn(CollectorPause.prototype, "full").mockImplementation(() => undefined);
  messages = [];
  vi.spyOn(Object.getPrototypeOf(bindings.RING), "send").mockImplementation(async (message: unknown) => {
    messages.push(message);
  });
  key = await makeKey();
});

afterEach(() => {
  vi.restoreAllMocks();
});

const body = (name = crypto.randomUUID()) => requestOf(join(freshSpan(), stringField(5, name)));

/** POST /v1/traces to an ingress whose bindings are as they are, but for `changed`. */
async function post(bytes: Uint8Array, changed: object = {}) {
  const request = new Request(`${origin}/v1/traces`, {
    method: "POST",
    headers: { "x-api-key": key, "content-type": mediaTypes.pb },
    body: new Uint8Array(bytes),
  });
  const ctx = { waitUntil: () => undefined } as unknown as ExecutionContext;
  const all = { ...bindings, COLLECT: "on", ...changed } as unknown as IngressBindings;
  const answer = await read(await worker.fetch(request as Parameters<typeof worker.fetch>[0], all, ctx));
  return {
    ...answer,
    id: answer.headers.get("x-headrace-payload"),
    isDuplicate: answer.headers.has("x-headrace-duplicate"),
  };
}

/** Another collector. */
const collectors = (add: () => Promise<CollectAnswer>) => ({
  COLLECTOR: { idFromName: () => "", get: () => ({ add }) },
});

/** What would take so long takes 50 ms. */
function hurry(patienceMs: number): void {
  const { setTimeout } = globalThis;
  vi.spyOn(globalThis, "setTimeout").mockImplementation(((run: () => void, ms?: number) =>
    setTimeout(run, ms === patienceMs ? 50 : ms)) as typeof setTimeout);
}

const segmentBells = () => messages.filter((one): one is SegmentDoorbell => (one as { v: number }).v === 2);

/** A payload's bytes as every reader finds them. */
async function bytesOf(payload: PayloadKey): Promise<Uint8Array | undefined> {
  const object = await fetchObject(objectOf(payload), async (name) => {
    const found = await bindings.PAYLOADS.get(name);
    return found === null ? null : { object: found, bytes: new Uint8Array(await found.arrayBuffer()) };
  });
  return (await object.payload(payload))?.body;
}

describe("payloads of concurrent requests", () => {
  test("are in few objects, each readable by its key, and one message names each object's", async () => {
    const bodies = Array.from({ length: 32 }, () => body());
    const answers = await Promise.all(bodies.map((bytes) => post(bytes)));
    expect(answers.map(({ status }) => status)).toEqual(bodies.map(() => 200));
    const objects = await storedPayloads();
    expect(objects.length).toBeLessThanOrEqual(6);
    const sent = segmentBells();
    expect(sent.map((bell) => bell.key).toSorted()).toEqual(objects.map((object) => object.key).toSorted());
    const bells = sent.flatMap(doorbellsOf);
    expect(bells).toHaveLength(32);
    for (const [i, bytes] of bodies.entries()) {
      const bell = bells.find((one) => one.key.endsWith(`/acme/${answers[i]?.id}`));
      expect(bell).toMatchObject({ cause: "ingress", spans: 1 });
      expect(await bytesOf(bell?.key as PayloadKey)).toEqual(bytes);
    }
  });

  test("of equal bytes are one payload, and so is one that is sent again", async () => {
    const bytes = body();
    const answers = await Promise.all(Array.from({ length: 8 }, () => post(bytes)));
    const again = await post(bytes);
    expect([...answers, again].map(({ status }) => status)).toEqual(Array.from({ length: 9 }, () => 200));
    expect(answers.filter((one) => !one.isDuplicate)).toHaveLength(1);
    expect(again).toMatchObject({ isDuplicate: true, id: answers[0]?.id });
    expect(await storedPayloads()).toHaveLength(1);
    expect(segmentBells().flatMap(({ payloads }) => payloads)).toHaveLength(1);
  });

  test("are answered too where the queue takes no doorbell: R2's event is the second", async () => {
    vi.mocked(Object.getPrototypeOf(bindings.RING).send).mockImplementation(async () => {
      throw new Error("the queue is away");
    });
    const lines: string[] = [];
    vi.spyOn(console, "warn").mockImplementation((line) => void lines.push(line));
    expect((await post(body())).status).toBe(200);
    expect(await storedPayloads()).toHaveLength(1);
    await vi.waitFor(() => expect(lines.join()).toContain("the queue of doorbells (binding RING)"));
  });
});

describe("a put of a segment", () => {
  const put = () => vi.spyOn(Object.getPrototypeOf(bindings.PAYLOADS), "put");

  test("that throws and has landed is found by its name", async () => {
    const real = bindings.PAYLOADS.put.bind(bindings.PAYLOADS) as (...given: unknown[]) => Promise<unknown>;
    const puts = put().mockImplementation(async (...given: unknown[]) => {
      puts.mockRestore();
      await real(...given);
      throw new Error("the answer was lost");
    });
    expect((await post(body())).status).toBe(200);
    const objects = await storedPayloads();
    expect(objects.map((object) => isInSegment(object.key as PayloadKey))).toEqual([true]);
  });

  test("that hangs is given up, looked for, and tried once more under the same name", async () => {
    hurry(limits.segmentPutTimeoutMs);
    const real = bindings.PAYLOADS.put.bind(bindings.PAYLOADS) as (...given: unknown[]) => Promise<unknown>;
    const names: unknown[] = [];
    put().mockImplementation((...given: unknown[]) => {
      names.push(given[0]);
      return names.length === 1 ? new Promise(() => undefined) : real(...given);
    });
    expect((await post(body())).status).toBe(200);
    expect(names).toHaveLength(2);
    expect((await storedPayloads()).map((object) => object.key)).toEqual([names[0]]);
    expect(names[1]).toBe(names[0]);
  });

  test("that throws is tried once more under the same name, and then each payload goes alone", async () => {
    const names: unknown[] = [];
    const puts = put().mockImplementation(async (name: unknown) => {
      names.push(name);
      if (isInSegment(name as PayloadKey)) {
        throw new Error("R2 is away");
      }
      return {};
    });
    expect((await post(body())).status).toBe(200);
    expect(names).toHaveLength(3);
    expect(names[1]).toBe(names[0]);
    expect(isInSegment(names[2] as PayloadKey)).toBe(false);
    expect(segmentBells()).toEqual([]);
    puts.mockImplementation(async () => {
      throw new Error("R2 is away");
    });
    expect((await post(body())).status, "no put, no 200").toBe(503);
  });
});

describe("a collector that", () => {
  test.each([
    ["throws", async () => Promise.reject(new Error("The object is overloaded"))],
    ["is full", async () => ({ kind: "full" })],
    ["has failed", async () => ({ kind: "failed" })],
  ] as const)("%s costs an own put and nothing else", async (_, add) => {
    const bytes = body();
    expect((await post(bytes, collectors(add as () => Promise<CollectAnswer>))).status).toBe(200);
    const [object] = await storedPayloads();
    expect(await bytesOf(object?.key as PayloadKey)).toEqual(bytes);
    expect(messages).toEqual([expect.objectContaining({ v: 1, key: object?.key })]);
  });

  test("hangs is waited for no longer than its time", async () => {
    const { setTimeout } = globalThis;
    vi.spyOn(globalThis, "setTimeout").mockImplementation(((run: () => void, ms?: number) =>
      setTimeout(run, ms === limits.collectPatienceMs ? 50 : ms)) as typeof setTimeout);
    expect(
      (
        await post(
          body(),
          collectors(() => new Promise(() => undefined)),
        )
      ).status,
    ).toBe(200);
    expect((await storedPayloads()).map((object) => isInSegment(object.key as PayloadKey))).toEqual([false]);
  });

  test("has no bytes left says so at once, and takes payloads again when it has some", async () => {
    const all = budget.take("collector", limits.ingressKeyBytesMax, Date.now(), Date.now() + 60_000);
    expect((await post(body())).status).toBe(200);
    all?.give();
    expect((await post(body())).status).toBe(200);
    const keys = (await storedPayloads()).map((object) => object.key as PayloadKey);
    expect(keys.map(isInSegment).toSorted()).toEqual([false, true]);
    expect(budget.bytesAt(Date.now()), "what was taken is given back").toBe(0);
  });

  test("is of another version refuses, and does not guess", async () => {
    const collector = bindings.COLLECTOR.get(bindings.COLLECTOR.idFromName("of another version"));
    expect(await collector.add({ v: 2 } as never, new Uint8Array(1))).toMatchObject({
      kind: "unknown_version",
    });
  });
});

test("a body above 256 KiB goes alone, and so does every one where COLLECT is not on", async () => {
  const large = requestOf(join(freshSpan(), stringField(5, "x".repeat(limits.collectBodyBytesMax))));
  expect((await post(large)).status).toBe(200);
  for (const COLLECT of ["off", "", undefined, "On"]) {
    expect((await post(body(), { COLLECT })).status).toBe(200);
  }
  const objects = await storedPayloads();
  expect(objects).toHaveLength(5);
  expect(objects.filter((object) => isInSegment(object.key as PayloadKey))).toEqual([]);
});

// The last: this isolate leaves the collector alone for a second from here on.
test("a collector that has failed is left alone for a while", async () => {
  vi.mocked(CollectorPause.prototype.failed).mockRestore();
  let calls = 0;
  const failing = collectors(async () => {
    calls++;
    return { kind: "failed" };
  });
  for (let i = 0; i < 5; i++) {
    expect((await post(body(), failing)).status).toBe(200);
  }
  expect(calls).toBe(1);
});
