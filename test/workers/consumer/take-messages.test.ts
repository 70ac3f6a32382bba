import { createExecutionContext, createMessageBatch, getQueueResult, reset } from "cloudflare:test";
import { env as given } from "cloudflare:workers";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { limits } from "../../../shared/limits.ts";
import { type Doorbell, deadLetterQueue } from "../../../shared/messages.ts";
import { payloadPrefix } from "../../../shared/payload-key.ts";
import type { ConsumerBindings } from "../../../workers/consumer/bindings.ts";
import consumer from "../../../workers/consumer/worker.ts";
import { doorbell } from "../../ledger/world.ts";

const env = given as unknown as ConsumerBindings;

/** What the consumer asked of ClickHouse, as far as these tests care: the findings that it wrote. */
let findings: string[] = [];

beforeEach(async () => {
  await reset();
  vi.restoreAllMocks();
  findings = [];
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    if (new URL(input instanceof Request ? input.url : input).search.includes("headrace_findings")) {
      findings.push(await new Response(init?.body).text());
    }
    return new Response("", { headers: { "x-clickhouse-summary": "{}" } });
  });
});

type Sent = { readonly id: string; readonly body: unknown; readonly attempts?: number };

/** Hands the messages to the consumer, and says what became of them. */
async function deliver(queue: string, messages: readonly Sent[], bindings = env) {
  const batch = createMessageBatch(
    queue,
    messages.map(({ id, body, attempts = 1 }) => ({
      id,
      body,
      attempts,
      timestamp: new Date("2026-11-24T07:41:29.687Z"),
    })),
  );
  const context = createExecutionContext();
  await consumer.queue(batch, bindings);
  return await getQueueResult(batch, context);
}

async function parked(): Promise<Record<string, unknown>> {
  const { objects } = await env.PAYLOADS.list({ prefix: "parked/" });
  const entries = objects.map(async ({ key }) => {
    const object = await env.PAYLOADS.get(key);
    return [key, await object?.json()] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

const ledger = () => env.LEDGER.getByName("0");

describe("a message that is no bell and no event", () => {
  test.each(["headrace-ring", "headrace-late", deadLetterQueue])(
    "is parked in R2 outside the payloads, reported, and acknowledged: %s",
    async (queue) => {
      const result = await deliver(queue, [{ id: "m1", body: { hello: "world" } }]);
      expect(result.retryMessages).toEqual([]);
      const key = `parked/${queue}/2026-11-24T0741/m1`;
      expect(await parked()).toEqual({
        [key]: {
          queue,
          id: "m1",
          sentAt: "2026-11-24T07:41:29.687Z",
          attempts: 1,
          reason: "it is not a doorbell, a group's notification, an R2 event or a report of the ingress",
          body: { hello: "world" },
        },
      });
      expect(key.startsWith(payloadPrefix)).toBe(false);
      expect(findings).toHaveLength(1);
      expect(JSON.parse(findings[0] ?? "")).toMatchObject({
        kind: "parked_message",
        subject: key,
        state: "open",
      });
    },
  );

  test("does not keep the bells of its batch from being taken", async () => {
    await deliver("headrace-ring", [
      { id: "m1", body: "?" },
      { id: "m2", body: doorbell({ n: 1 }) },
    ]);
    expect(await ledger().holds([doorbell({ n: 1 }).key])).toEqual([true]);
    expect(Object.keys(await parked())).toHaveLength(1);
  });

  test("may hold bytes, a bell of a later version, or what JSON cannot say", async () => {
    await deliver("headrace-ring", [
      { id: "bytes", body: new Uint8Array([0, 255, 7]).buffer },
      { id: "later", body: { ...doorbell({ n: 1 }), v: 2 } },
      { id: "big", body: 12n },
    ]);
    const bodies = Object.values(await parked()).map((kept) => (kept as { body: unknown }).body);
    expect(bodies).toEqual(["12", { base64: "AP8H" }, { ...doorbell({ n: 1 }), v: 2 }]);
  });

  test("is redelivered when R2 cannot keep it", async () => {
    vi.spyOn(env.PAYLOADS, "put").mockRejectedValue(new Error("R2 is away"));
    await expect(deliver("headrace-ring", [{ id: "m1", body: {} }])).rejects.toThrow("R2 is away");
    const dead = deliver(deadLetterQueue, [{ id: "m1", body: {}, attempts: 5 }]);
    expect((await dead).retryMessages).toEqual([{ msgId: "m1" }]);
  });
});

test("an R2 event that leads to no payload is acknowledged and not parked", async () => {
  const event = { account: "a", action: "DeleteObject", bucket: "b", object: { key: "x" }, eventTime: "now" };
  const result = await deliver("headrace-late", [{ id: "m1", body: event }]);
  expect(result.retryMessages).toEqual([]);
  expect(await parked()).toEqual({});
});

describe("the dead-letter queue", () => {
  test("offers doorbells to the ledger again", async () => {
    const result = await deliver(deadLetterQueue, [
      { id: "m1", body: doorbell({ n: 1 }) },
      { id: "m2", body: doorbell({ n: 2 }) },
    ]);
    expect(result.explicitAcks).toEqual(["m1", "m2"]);
    expect(await ledger().holds([doorbell({ n: 1 }).key, doorbell({ n: 2 }).key])).toEqual([true, true]);
    expect(await parked()).toEqual({});
  });

  test("takes a group's bell that nothing is known of any more", async () => {
    const result = await deliver(deadLetterQueue, [
      { id: "m1", body: { v: 1, group: "0123456789abcdef0123456789abcdef" } },
    ]);
    expect(result.explicitAcks).toEqual(["m1"]);
  });

  test("keeps a doorbell that cannot be taken, takes the others, and parks it at its last try", async () => {
    const bad = doorbell({ n: 1 });
    const stub = {
      claim: async (doorbells: readonly Doorbell[], version: number) => {
        if (doorbells.some(({ key }) => key === bad.key)) {
          throw new Error("broken invariant");
        }
        return await ledger().claim(doorbells, version);
      },
    };
    const bindings = {
      ...env,
      LEDGER: { idFromName: () => "0", get: () => stub } as unknown as ConsumerBindings["LEDGER"],
    };
    const good = doorbell({ n: 2 });
    const first = await deliver(
      deadLetterQueue,
      [
        { id: "bad", body: bad },
        { id: "good", body: good },
      ],
      bindings,
    );
    expect(first.explicitAcks).toEqual(["good"]);
    expect(first.retryMessages).toEqual([{ msgId: "bad" }]);
    expect(await ledger().holds([good.key])).toEqual([true]);
    expect(await parked()).toEqual({});

    const last = await deliver(
      deadLetterQueue,
      [{ id: "bad", body: bad, attempts: limits.queueRetriesMax + 1 }],
      bindings,
    );
    expect(last.explicitAcks).toEqual(["bad"]);
    expect(Object.values(await parked())).toMatchObject([
      { id: "bad", body: bad, reason: expect.stringContaining("broken invariant") },
    ]);
    expect(findings).toHaveLength(1);
  });
});
