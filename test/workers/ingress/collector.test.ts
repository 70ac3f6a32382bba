/** The collector on workerd: payloads of concurrent requests in few objects, and what happens to a request when it fails. */
import { reset } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { BrokenInvariant } from "../../../shared/assert.ts";
import { Advised, type Caller } from "../../../shared/collect/advice.ts";
import { CollectorPause } from "../../../shared/collect/pause.ts";
import { limits } from "../../../shared/limits.ts";
import { type Doorbell, doorbellsOf, type SegmentDoorbell } from "../../../shared/messages.ts";
import { isInSegment, objectOf, type PayloadKey } from "../../../shared/payload-key.ts";
import { fetchObject } from "../../../shared/segment/payload-objects.ts";
import type { IngressBindings } from "../../../workers/ingress/bindings.ts";
import { budget } from "../../../workers/ingress/bytes-in-hand.ts";
import type { CollectAnswer, CollectHeader } from "../../../workers/ingress/collector-object.ts";
import { OutcomeReport } from "../../../workers/ingress/report-outcomes.ts";
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
/** Of the requests' outcomes. */
let reasons: string[] = [];
let key = "";

beforeEach(async () => {
  await reset();
  vi.restoreAllMocks();
  // Each test begins anew.
  vi.spyOn(CollectorPause.prototype, "failed").mockImplementation(() => undefined);
  vi.spyOn(CollectorPause.prototype, "full").mockImplementation(() => undefined);
  vi.spyOn(Advised.prototype, "takeAlone").mockReturnValue(false);
  vi.spyOn(Advised.prototype, "unanswered").mockImplementation(() => undefined);
  reasons = [];
  vi.spyOn(OutcomeReport.prototype, "count").mockImplementation(({ reason }) => void reasons.push(reason));
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
  const all = { ...bindings, ...changed } as unknown as IngressBindings;
  const answer = await read(await worker.fetch(request as Parameters<typeof worker.fetch>[0], all, ctx));
  return {
    ...answer,
    id: answer.headers.get("x-headrace-payload"),
    isDuplicate: answer.headers.has("x-headrace-duplicate"),
  };
}

/** Another collector. */
const collectors = (add: (header: CollectHeader, body: Uint8Array) => Promise<CollectAnswer>) => ({
  COLLECTOR: { idFromName: () => "", get: () => ({ add }) },
});

/** The real one, and what its callers say of themselves. */
function listenedTo(callers: (Caller | undefined)[]) {
  const collector = bindings.COLLECTOR.get(bindings.COLLECTOR.idFromName(crypto.randomUUID()));
  return collectors(async (header, bytes) => {
    callers.push(header.caller);
    return await collector.add(header, bytes);
  });
}

/** Eight at once: the first is put alone, and while it is in flight others meet. */
async function postEight() {
  const answers = await Promise.all(Array.from({ length: 8 }, () => post(body())));
  return answers.map(({ status }) => status);
}
const eight = (status: number) => Array.from({ length: 8 }, () => status);

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
    const alone = messages.filter((one): one is Doorbell => (one as { v: number }).v === 1);
    expect([...sent, ...alone].map((bell) => bell.key).toSorted()).toEqual(
      objects.map((object) => object.key).toSorted(),
    );
    expect(sent.every(({ payloads }) => payloads.length > 1)).toBe(true);
    const bells = [...sent.flatMap(doorbellsOf), ...alone];
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
    const [object, ...others] = await storedPayloads();
    expect(others).toEqual([]);
    expect(messages).toEqual([expect.objectContaining({ v: 1, key: object?.key })]);
  });

  test("that nobody shares an object with have their own, as where there is no collector", async () => {
    const [first, second] = [body(), body()];
    await post(first);
    await post(second, { COLLECT: "off" });
    const objects = await storedPayloads();
    expect(objects.map((object) => isInSegment(object.key as PayloadKey))).toEqual([false, false]);
    expect(Object.keys(objects[0]?.customMetadata ?? {})).toEqual(
      Object.keys(objects[1]?.customMetadata ?? {}),
    );
    expect(messages).toHaveLength(2);
    expect(messages.map((one) => Object.keys(one as object))).toEqual([
      Object.keys(messages[0] as object),
      Object.keys(messages[0] as object),
    ]);
    // The collector has never heard of it.
    expect(await post(second)).toMatchObject({ status: 200, isDuplicate: true });
    expect(await storedPayloads()).toHaveLength(2);
    expect(reasons).toEqual(["created", "created", "duplicate"]);
  });

  test("that come seldom go alone, and the next call tells how many did", async () => {
    vi.mocked(Advised.prototype.takeAlone).mockRestore();
    const callers: (Caller | undefined)[] = [];
    const changed = listenedTo(callers);
    const payloads = 2 * (1 + limits.collectAlonePayloads);
    for (let i = 0; i < payloads; i++) {
      expect((await post(body(), changed)).status).toBe(200);
    }
    expect(callers).toHaveLength(2);
    expect(callers[1]?.alone).toBe(limits.collectAlonePayloads);
    expect(await storedPayloads()).toHaveLength(payloads);
    expect(new Set(reasons)).toEqual(new Set(["created"]));
  });

  test("of an isolate that knows of no advice are a segment, of one if need be", async () => {
    const header = listenedTo([]);
    const answer = await post(
      body(),
      collectors((said, bytes) => {
        const { caller: _, ...older } = said;
        return header.COLLECTOR.get().add(older, bytes);
      }),
    );
    expect(answer.status).toBe(200);
    expect((await storedPayloads()).map((object) => isInSegment(object.key as PayloadKey))).toEqual([true]);
  });

  test("are answered too where the queue takes no doorbell: R2's event is the second", async () => {
    vi.mocked(Object.getPrototypeOf(bindings.RING).send).mockImplementation(async () => {
      throw new Error("the queue is away");
    });
    const lines: string[] = [];
    vi.spyOn(console, "warn").mockImplementation((line) => void lines.push(line));
    expect((await post(body())).status).toBe(200);
    expect(await storedPayloads()).toHaveLength(1);
    await vi.waitFor(() => expect(lines.join()).toContain("the queue of doorbells (binding RING)"), {
      timeout: 15_000,
    });
  });
});

describe("a put of a segment", () => {
  const put = () => vi.spyOn(Object.getPrototypeOf(bindings.PAYLOADS), "put");

  test("that throws and has landed is found by its name", async () => {
    const real = bindings.PAYLOADS.put.bind(bindings.PAYLOADS) as (...given: unknown[]) => Promise<unknown>;
    const names: unknown[] = [];
    put().mockImplementation(async (...given: unknown[]) => {
      await real(...given);
      if (isInSegment(given[0] as PayloadKey)) {
        names.push(given[0]);
        throw new Error("the answer was lost");
      }
      return {};
    });
    expect(await postEight()).toEqual(eight(200));
    expect(names.length).toBeGreaterThan(0);
    expect(new Set(names).size, "each is put once").toBe(names.length);
    const objects = await storedPayloads();
    expect(objects.filter((object) => isInSegment(object.key as PayloadKey))).toHaveLength(names.length);
    expect(new Set(reasons)).toEqual(new Set(["created"]));
  });

  test("that hangs is given up, looked for, and tried once more under the same name", async () => {
    hurry(limits.segmentPutTimeoutMs);
    const real = bindings.PAYLOADS.put.bind(bindings.PAYLOADS) as (...given: unknown[]) => Promise<unknown>;
    const names: unknown[] = [];
    put().mockImplementation((...given: unknown[]) => {
      if (!isInSegment(given[0] as PayloadKey)) {
        return real(...given);
      }
      names.push(given[0]);
      return names.length === 1 ? new Promise(() => undefined) : real(...given);
    });
    expect(await postEight()).toEqual(eight(200));
    expect(names.filter((name) => name === names[0])).toHaveLength(2);
    expect((await storedPayloads()).map((object) => object.key)).toContain(names[0]);
  });

  test("that throws is tried once more under the same name, and then each payload goes alone", async () => {
    const names: unknown[] = [];
    const real = bindings.PAYLOADS.put.bind(bindings.PAYLOADS) as (...given: unknown[]) => Promise<unknown>;
    const puts = put().mockImplementation(async (...given: unknown[]) => {
      if (isInSegment(given[0] as PayloadKey)) {
        names.push(given[0]);
        throw new Error("R2 is away");
      }
      return await real(...given);
    });
    expect(await postEight()).toEqual(eight(200));
    expect(names.length).toBeGreaterThan(0);
    expect(names.length).toBe(2 * new Set(names).size);
    expect(segmentBells()).toEqual([]);
    expect(await storedPayloads()).toHaveLength(8);
    expect(reasons).toContain("collector_failed");
    puts.mockImplementation(async () => {
      throw new Error("R2 is away");
    });
    expect((await post(body())).status, "no put, no 200").toBe(503);
  });
});

describe("a collector that", () => {
  test.each([
    ["throws", "collector_failed", async () => Promise.reject(new Error("The object is overloaded"))],
    ["breaks an invariant", "collector_failed", async () => Promise.reject(new BrokenInvariant("a place"))],
    ["is full", "collector_full", async () => ({ kind: "full" })],
    ["has failed", "collector_failed", async () => ({ kind: "failed" })],
    ["is of another version", "collector_version", async () => ({ kind: "unknown_version" })],
  ] as const)("%s costs an own put and nothing else, and that is counted: %s", async (_, reason, add) => {
    const bytes = body();
    expect((await post(bytes, collectors(add as () => Promise<CollectAnswer>))).status).toBe(200);
    const [object] = await storedPayloads();
    expect(await bytesOf(object?.key as PayloadKey)).toEqual(bytes);
    expect(messages).toEqual([expect.objectContaining({ v: 1, key: object?.key })]);
    expect(reasons).toEqual([reason]);
  });

  test("fails while the Meter does too is counted as both", async () => {
    key = await makeKey({ spansPerSecond: 1 });
    const absent = () => {
      throw new Error("The object is overloaded");
    };
    expect((await post(body(), { COLLECTOR: { get: absent }, METER: { get: absent } })).status).toBe(200);
    expect(reasons).toEqual(["unmetered_collector_failed"]);
  });

  test("is overloaded has its payloads go to another one besides", async () => {
    vi.mocked(Advised.prototype.unanswered).mockRestore();
    const overloaded = Object.assign(new Error("too many requests"), { overloaded: true });
    const callers: (Caller | undefined)[] = [];
    const failing = collectors(async ({ caller }) => {
      callers.push(caller);
      throw overloaded;
    });
    for (let i = 0; i < 5; i++) {
      expect((await post(body(), failing)).status).toBe(200);
    }
    expect(callers.map((caller) => caller?.collectors)).toEqual([1, 2, 4, 8, 8]);
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
    expect(reasons).toEqual(["collector_failed"]);
  });

  test("has no bytes left says so at once, and takes payloads again when it has some", async () => {
    const all = budget.take("collector", limits.ingressKeyBytesMax, Date.now(), Date.now() + 60_000);
    expect((await post(body())).status).toBe(200);
    all?.give();
    expect((await post(body())).status).toBe(200);
    expect(reasons).toEqual(["collector_full", "created"]);
    expect(await storedPayloads()).toHaveLength(2);
    expect(budget.bytesAt(Date.now()), "what was taken is given back").toBe(0);
  });

  test("is of another version refuses, and does not guess", async () => {
    const collector = bindings.COLLECTOR.get(bindings.COLLECTOR.idFromName("of another version"));
    expect(await collector.add({ v: 2 } as never, new Uint8Array(1))).toMatchObject({
      kind: "unknown_version",
    });
  });
});

test("a body above 256 KiB goes alone, and so does every one where COLLECT is off, and only there", async () => {
  const callers: (Caller | undefined)[] = [];
  const changed = listenedTo(callers);
  const large = requestOf(join(freshSpan(), stringField(5, "x".repeat(limits.collectBodyBytesMax))));
  expect((await post(large, changed)).status).toBe(200);
  expect((await post(body(), { ...changed, COLLECT: "off" })).status).toBe(200);
  expect(callers).toEqual([]);
  for (const COLLECT of ["on", "", undefined]) {
    expect((await post(body(), { ...changed, COLLECT })).status).toBe(200);
  }
  expect(callers).toHaveLength(3);
  expect(await storedPayloads()).toHaveLength(5);
  expect(new Set(reasons)).toEqual(new Set(["created"]));
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
