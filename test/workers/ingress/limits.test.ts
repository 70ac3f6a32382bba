import { evictDurableObject, reset, runInDurableObject } from "cloudflare:test";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, inject, onTestFinished, test, vi } from "vitest";
import { apiKeyId } from "../../../shared/api-key.ts";
import { limits } from "../../../shared/limits.ts";
import type { OutcomesMessage, QuotaMessage } from "../../../shared/messages.ts";
import { monthOf, nextMonthMs } from "../../../shared/meter/account.ts";
import type { IngressBindings } from "../../../workers/ingress/bindings.ts";
import { Meter } from "../../../workers/ingress/meter-object.ts";
import { OutcomeReport } from "../../../workers/ingress/report-outcomes.ts";
import { Tally } from "../../../workers/ingress/tally.ts";
import worker from "../../../workers/ingress/worker.ts";
import { leaseAsk } from "../../fixtures/lease-ask.ts";
import {
  bindings,
  freshJsonSpan,
  jsonRequestOf,
  makeKey,
  mediaTypes,
  origin,
  read,
  send,
  storedPayloads,
} from "./sender.ts";

const tenSpans = Uint8Array.fromBase64(inject("bodies").protobuf);

/** As many spans, of traces that no other request has. */
function spans(count: number): string {
  return jsonRequestOf(
    ...Array.from({ length: count }, () => {
      const traceId = crypto.getRandomValues(new Uint8Array(16)).toHex();
      return freshJsonSpan({ traceId });
    }),
  );
}

const broken = (): never => {
  throw new Error("the Meter is down");
};

/** A Meter that cannot be reached, and how often it was asked for. */
function brokenMeter() {
  const asked = vi.fn(broken);
  return { METER: { idFromName: () => "", get: asked } as unknown as IngressBindings["METER"], asked };
}

const noMeter = { METER: { idFromName: broken, get: broken } as unknown as IngressBindings["METER"] };

/** A request to the Worker with some bindings changed. */
async function sendWith(key: string, body: string, changed: Partial<IngressBindings>): Promise<Response> {
  const request = new Request(`${origin}/v1/traces`, {
    method: "POST",
    headers: { "x-api-key": key, "content-type": mediaTypes.json },
    body,
  });
  const ctx = { waitUntil: () => undefined } as unknown as ExecutionContext;
  return await worker.fetch(request as Parameters<typeof worker.fetch>[0], { ...bindings, ...changed }, ctx);
}

beforeEach(async () => {
  await reset();
});

afterEach(() => {
  vi.useRealTimers();
});

describe("a key with a rate", () => {
  test("is answered 429 over it, with the time until the request fits, and nothing is stored", async () => {
    vi.useFakeTimers({ toFake: ["Date"] }); // the rate would refill meanwhile
    const key = await makeKey({ tenant: "rate", spansPerSecond: 2, burstSpans: 10 });
    expect((await send(key, "pb", tenSpans)).status).toBe(200);
    for (const [type, body] of [
      ["pb", tenSpans],
      ["json", spans(10)],
    ] as const) {
      const answer = await read(await send(key, type, body));
      expect(answer).toMatchObject({
        status: 429,
        message: expect.stringMatching(
          /^The API key "test" may send 2 spans per second\. Try again in [45] s\./,
        ),
      });
      expect(Number(answer.headers.get("retry-after"))).toBeGreaterThanOrEqual(4);
      expect(Number(answer.headers.get("retry-after"))).toBeLessThanOrEqual(5);
    }
    expect(await storedPayloads()).toHaveLength(1);
  });

  test("does not pay for requests that could not be stored, and one span for those that bring nothing", async () => {
    vi.useFakeTimers({ toFake: ["Date"] }); // the rate would refill meanwhile
    const key = await makeKey({ tenant: "nothing", spansPerSecond: 1, burstSpans: 30, spansPerMonth: 1000 });
    const down = { PAYLOADS: { put: broken, head: broken } as unknown as R2Bucket };
    for (let i = 0; i < 3; i++) {
      expect((await sendWith(key, spans(10), down)).status).toBe(503);
      expect((await sendWith(key, "{", {})).status).toBe(400);
    }
    const body = spans(10);
    for (let i = 0; i < 5; i++) {
      expect((await sendWith(key, body, {})).status).toBe(200);
    }
    expect((await sendWith(key, "{}", {})).status).toBe(200);
    expect((await sendWith(key, spans(12), {})).status, "3 + 10 + 4 + 1 of 30 are spent").toBe(200);
    expect((await sendWith(key, spans(1), {})).status).toBe(429);
    const meter = bindings.METER.get(bindings.METER.idFromName("nothing"));
    const usage = await meter.usage();
    expect(
      usage[0]?.usedSpans,
      "of the month only what was stored, and what is not reported back yet",
    ).toBeLessThanOrEqual(30);
    vi.setSystemTime(Date.now() + 20_000);
    expect((await sendWith(key, spans(12), {})).status).toBe(200);
    expect((await meter.usage())[0]?.usedSpans).toBe(10 + 12 + 12);
  });

  test("that sends what brings nothing is 429 in the end, before its body is inflated", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const bomb = new Uint8Array(gzipSync("[".repeat(100_000)));
    for (const [name, body] of [
      ["a body that is not OTLP", bomb],
      ["equal bytes", new Uint8Array(gzipSync(spans(1)))],
      ["a body without spans", new Uint8Array(gzipSync('{"resourceSpans":[]}'))],
    ] as const) {
      const key = await makeKey({ spansPerSecond: 1, burstSpans: 16 });
      const statuses: number[] = [];
      for (let i = 0; i < 40; i++) {
        statuses.push((await send(key, "json", body, { "content-encoding": "gzip" })).status);
      }
      expect(statuses.filter((status) => status !== 429).length, name).toBe(16);
      expect(statuses.slice(16), name).toEqual(statuses.slice(16).map(() => 429));
    }
  });

  test("and a burst of one span gets a request of ten through after its Retry-After", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const key = await makeKey({ spansPerSecond: 1, burstSpans: 1 });
    for (let i = 0; i < 3; i++) {
      expect((await send(key, "json", spans(10))).status).toBe(200);
      const answer = await send(key, "json", spans(10));
      expect(answer.status).toBe(429);
      vi.setSystemTime(Date.now() + Number(answer.headers.get("retry-after")) * 1000);
    }
  });

  test("shares its rate with the key that it was rotated into, and with no other", async () => {
    const key = await makeKey({ spansPerSecond: 1, burstSpans: 10 });
    const account = await apiKeyId(key);
    const next = await makeKey({ spansPerSecond: 1, burstSpans: 10, account });
    const other = await makeKey({ spansPerSecond: 1, burstSpans: 10 });
    expect((await send(key, "json", spans(10))).status).toBe(200);
    expect((await send(next, "json", spans(10))).status).toBe(429);
    expect((await send(other, "json", spans(10))).status).toBe(200);
  });
});

describe("a key with a quota", () => {
  test("is answered 429 over it, with the day of the next month and Retry-After of an hour at most", async () => {
    const key = await makeKey({ spansPerMonth: 15 });
    expect((await send(key, "pb", tenSpans)).status).toBe(200);
    const now = Date.now();
    const answer = await read(await send(key, "json", spans(10)));
    const day = new Date(nextMonthMs(now)).toISOString().slice(0, 10);
    expect(answer.status).toBe(429);
    expect(answer.message).toContain(`its 15 spans of ${monthOf(now)}`);
    expect(answer.message).toContain(`begins on ${day} at 00:00 UTC`);
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect(Number(answer.headers.get("retry-after"))).toBeLessThanOrEqual(3600);
    expect((await send(key, "json", spans(5))).status, "what still fits is taken").toBe(200);
    expect(await storedPayloads()).toHaveLength(2);
  });

  test("does not pay for spans that its sampling leaves out", async () => {
    const key = await makeKey({ spansPerMonth: 1, sample: 0.5 });
    const ids = ["ff", "00", "01", "02"].map((first) => `0102030405060708ff${first}0000000000ff`);
    const body = jsonRequestOf(...ids.map((traceId) => freshJsonSpan({ traceId })));
    expect((await send(key, "json", body)).status).toBe(200);
  });

  test("is remembered by its Meter when that starts anew", async () => {
    const key = await makeKey({ tenant: "evicted", spansPerMonth: 15 });
    expect((await send(key, "pb", tenSpans)).status).toBe(200);
    const meter = bindings.METER.get(bindings.METER.idFromName("evicted"));
    await evictDurableObject(meter);
    const account = await apiKeyId(key);
    expect(await meter.usage()).toEqual([
      { account, month: monthOf(Date.now()), usedSpans: 10, usedBytes: 0 },
    ]);
    expect((await send(key, "json", spans(10))).status).toBe(429);
  });
});

/** A request of one span with an attribute of so many bytes, which deflates to next to nothing. */
function wideSpan(bytes: number, letter = "a"): Uint8Array {
  const traceId = crypto.getRandomValues(new Uint8Array(16)).toHex();
  const value = { stringValue: letter.repeat(bytes) };
  return new Uint8Array(
    gzipSync(jsonRequestOf(freshJsonSpan({ traceId, attributes: [{ key: "wide", value }] }))),
  );
}
const gzip = { "content-encoding": "gzip" };

describe("a key with a rate of bytes", () => {
  test("is answered 429 over it by what its bodies inflate to, in one span or in many, and Retry-After is enough", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const key = await makeKey({ tenant: "bytes", bytesPerSecond: 100_000, burstBytes: 1_000_000 });
    expect((await send(key, "json", wideSpan(900_000), gzip)).status).toBe(200);
    for (const body of [wideSpan(900_000), new Uint8Array(gzipSync(spans(5000)))]) {
      const answer = await read(await send(key, "json", body, gzip));
      expect(answer).toMatchObject({
        status: 429,
        message: expect.stringMatching(
          /^The API key "test" may send 100000 bytes \(uncompressed\) per second\. Try again in \d+ s\./,
        ),
      });
      vi.setSystemTime(Date.now() + Number(answer.headers.get("retry-after")) * 1000);
      expect((await send(key, "json", body, gzip)).status).toBe(200);
    }
  });

  test("and no other limit is not asked about spans", async () => {
    const key = await makeKey({ tenant: "bytes-alone", bytesPerSecond: 1_000_000 });
    expect((await send(key, "json", spans(3))).status).toBe(200);
    const usage = await bindings.METER.get(bindings.METER.idFromName("bytes-alone")).usage();
    expect(usage).toMatchObject([{ usedSpans: 0, usedBytes: expect.toSatisfy((bytes) => bytes > 100) }]);
  });

  test("pays for equal bytes and for bodies without a good span with their bytes, until they are 429 before they are inflated", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const equal = wideSpan(100_000);
    const bad = new Uint8Array(
      gzipSync(jsonRequestOf(freshJsonSpan({ traceId: "", name: "a".repeat(100_000) }))),
    );
    // Equal bytes are to be admitted as a whole before R2 is asked whether they are new.
    for (const [body, looks] of [
      [equal, 9],
      [bad, 10],
    ] as const) {
      const key = await makeKey({ bytesPerSecond: 1, burstBytes: 1_000_000, bytesPerMonth: 100_000_000 });
      const statuses: number[] = [];
      for (let i = 0; i < 20; i++) {
        statuses.push((await send(key, "json", body, gzip)).status);
      }
      expect(statuses.filter((status) => status !== 429)).toHaveLength(looks);
      expect(statuses.slice(looks)).toEqual(statuses.slice(looks).map(() => 429));
    }
  });
});

describe("a key with a quota of bytes", () => {
  test("is answered 429 over it until the next month, and pays nothing for equal bytes", async () => {
    const key = await makeKey({ tenant: "byte-quota", spansPerSecond: 1000, bytesPerMonth: 450_000 });
    const body = wideSpan(200_000);
    for (let i = 0; i < 3; i++) {
      expect((await send(key, "json", body, gzip)).status).toBe(200);
    }
    const answer = await read(await send(key, "json", wideSpan(300_000), gzip));
    expect(answer.status).toBe(429);
    expect(answer.message).toContain("has used its 450000 bytes (uncompressed) of");
    expect((await send(key, "json", wideSpan(240_000), gzip)).status, "what still fits is taken").toBe(200);
  });
});

describe("a key without a rate of spans", () => {
  test.each([
    ["nothing but a quota", { spansPerMonth: 1_000_000_000 }],
    ["no limit at all", {}],
  ])(
    "and %s is 429 in the end for what brings nothing to store, and takes good spans again later",
    async (_, limited) => {
      vi.useFakeTimers({ toFake: ["Date"] });
      const key = await makeKey(limited);
      // A field that nobody knows, of 18 MiB.
      const unknownField = Uint8Array.of(0x7a, 0x80, 0x80, 0x80, 0x09);
      const bad = new Uint8Array(
        gzipSync(Buffer.concat([unknownField, new Uint8Array(0x1200000)]), { level: 1 }),
      );
      const statuses: number[] = [];
      for (let i = 0; i < 18; i++) {
        statuses.push((await send(key, "pb", bad, gzip)).status);
      }
      const seen = statuses.indexOf(429);
      expect(seen, "256 MiB of 18 MiB each").toBe(15);
      const answer = await read(await send(key, "json", spans(1)));
      expect(answer).toMatchObject({
        status: 429,
        message: expect.stringContaining("nothing to store"),
      });
      vi.setSystemTime(Date.now() + Number(answer.headers.get("retry-after")) * 1000);
      expect((await send(key, "json", spans(1))).status).toBe(200);
    },
  );
});

describe("the Meter", () => {
  test("is not asked for a key without limits, nor for one without a rate before the body was found good", async () => {
    expect((await sendWith(await makeKey(), spans(1), noMeter)).status).toBe(200);
    const limited = await makeKey({ spansPerMonth: 1 });
    expect((await sendWith(limited, "{", noMeter)).status).toBe(400);
    expect((await sendWith(limited, "{}", noMeter)).status).toBe(200);
  });

  test("that cannot be reached stops nobody, and is not asked again at once", async () => {
    const key = await makeKey({ spansPerSecond: 1, burstSpans: 1 });
    const { METER, asked } = brokenMeter();
    for (let i = 0; i < 5; i++) {
      expect((await sendWith(key, spans(10), { METER })).status).toBe(200);
    }
    expect(asked).toHaveBeenCalledTimes(1);
  });

  test("that does not answer is waited for a second", async () => {
    const key = await makeKey({ spansPerSecond: 1, burstSpans: 1 });
    const leaseUnits = () => new Promise(() => undefined);
    const METER = {
      idFromName: () => "",
      get: () => ({ leaseUnits }),
    } as unknown as IngressBindings["METER"];
    const before = Date.now();
    expect((await sendWith(key, spans(10), { METER })).status).toBe(200);
    expect(Date.now() - before).toBeGreaterThanOrEqual(limits.meterTimeoutMs - 50);
  });

  test("writes few of many leases, and when it starts anew counts all of them and at most a hundredth more", async () => {
    const meter = bindings.METER.get(bindings.METER.idFromName("busy"));
    const account = "b".repeat(64);
    const none = { perSecond: null, burst: null, perMonth: null };
    const limited = { spans: { perSecond: 1_000_000, burst: null, perMonth: 1_000_000 }, bytes: none };
    const ask = leaseAsk(10);
    let written = 0;
    await runInDurableObject(meter, async (instance: Meter, { storage: { sql } }) => {
      vi.spyOn(sql, "exec").mockImplementation(function (
        this: SqlStorage,
        ...given: Parameters<SqlStorage["exec"]>
      ) {
        written++;
        return Object.getPrototypeOf(sql).exec.apply(sql, given);
      } as never);
      for (let i = 0; i < 1000; i++) {
        await instance.leaseUnits({ tenant: "busy", account, limits: limited }, { spans: ask, bytes: null });
      }
    });
    expect(written).toBeGreaterThanOrEqual(100);
    expect(written).toBeLessThan(400);
    expect((await meter.usage()).map(({ usedSpans }) => usedSpans)).toEqual([10_000]);
    await evictDurableObject(meter);
    const [{ usedSpans = 0 } = {}] = await meter.usage();
    expect(usedSpans).toBeGreaterThanOrEqual(10_000);
    expect(usedSpans).toBeLessThanOrEqual(10_100);
  });

  test("reads an account that a version of before wrote, which debited nothing ahead", async () => {
    const meter = bindings.METER.get(bindings.METER.idFromName("older"));
    const [account, month] = ["c".repeat(64), monthOf(Date.now())];
    const unit = { tokens: 5, at: Date.now(), month, reported: 0 };
    const state = JSON.stringify({ ...unit, usedSpans: 7, bytes: { ...unit, used: 900 } });
    await runInDurableObject(meter, (_instance: Meter, { storage: { sql } }) => {
      sql.exec("INSERT INTO accounts (account, state) VALUES (?, ?)", account, state);
    });
    await evictDurableObject(meter);
    expect(await meter.usage()).toEqual([{ account, month, usedSpans: 7, usedBytes: 900 }]);
  });

  test("tells of 80 % and of 100 % of a quota once each, again where the queue did not take it", async () => {
    const stub = bindings.METER.get(bindings.METER.idFromName("acme"));
    const sent: QuotaMessage[] = [];
    const account = "a".repeat(64);
    await runInDurableObject(stub, async (_instance, state) => {
      let tries = 0;
      const send = async (message: QuotaMessage) => (++tries === 1 ? broken() : sent.push(message));
      const meter = new Meter(state, { OUTCOMES: { send } as unknown as IngressBindings["OUTCOMES"] });
      const monthly = { perSecond: null, burst: null, perMonth: 100 };
      const limited = { spans: monthly, bytes: { ...monthly, perMonth: null } };
      for (const amount of [85, 1, 1, 50, 50]) {
        const ask = leaseAsk(amount);
        await meter.leaseUnits({ tenant: "acme", account, limits: limited }, { spans: ask, bytes: null });
        await new Promise((resolve) => setTimeout(resolve, 0)); // the notice is sent beside the answer
      }
    });
    const month = monthOf(Date.now());
    const notice = { v: 1, kind: "quota", tenant: "acme", account, month, state: "open", perMonth: 100 };
    expect(sent).toEqual([
      { ...notice, unit: "spans", percent: 80, used: 86 },
      { ...notice, unit: "spans", percent: 80, state: "resolved", used: 87 },
      { ...notice, unit: "spans", percent: 100, used: 87 },
    ]);
  });
});

describe("how requests ended", () => {
  /** The counts of requests that were tallied like this, as they would be sent. */
  async function reported(...tallies: readonly Tally[]): Promise<OutcomesMessage["counts"]> {
    const report = new OutcomeReport();
    const queue = [] as OutcomesMessage[];
    const fake = { send: async (message: OutcomesMessage) => queue.push(message) };
    for (const tally of tallies) {
      report.count(tally, fake as never, { waitUntil: () => undefined }, Date.now());
    }
    await report.send(fake as never);
    return queue.flatMap(({ counts }) => counts);
  }

  test("is reported once for each request, whatever becomes of it", async () => {
    const sent: OutcomesMessage[] = [];
    const waiting: Promise<unknown>[] = [];
    const OUTCOMES = {
      send: async (message: OutcomesMessage) => sent.push(message),
    } as unknown as IngressBindings["OUTCOMES"];
    const ctx = {
      waitUntil: (promise: Promise<unknown>) => waiting.push(promise),
    } as unknown as ExecutionContext;
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    vi.resetModules(); // an isolate of its own, with nothing counted before
    const { default: fresh } = await import("../../../workers/ingress/worker.ts");
    const ask = async (
      key: string,
      body: BodyInit | null,
      more: RequestInit & { path?: string } = {},
      changed = {},
    ) => {
      const { path = "/v1/traces", ...init } = more;
      const headers = { "x-api-key": key, "content-type": mediaTypes.json };
      const request = new Request(`${origin}${path}`, { method: "POST", headers, body, ...init });
      const response = await fresh.fetch(
        request as Parameters<typeof fresh.fetch>[0],
        { ...bindings, OUTCOMES, ...changed },
        ctx,
      );
      return response.status;
    };

    const key = await makeKey({ tenant: "counted" });
    const over = await makeKey({ tenant: "counted", spansPerSecond: 1, burstSpans: 3 });
    const full = await makeKey({ tenant: "counted", spansPerMonth: 3 });
    const half = await makeKey({ tenant: "counted", sample: 0.5 });
    const unmetered = await makeKey({ tenant: "counted", spansPerMonth: 3 });
    const disabled = await makeKey({ tenant: "counted", status: "disabled" });
    const twice = spans(3);
    const traces = (...firsts: readonly string[]) =>
      jsonRequestOf(
        ...firsts.map((first) => freshJsonSpan({ traceId: `0102030405060708ff${first}0000000000ff` })),
      );
    expect([
      await ask(key, twice),
      await ask(key, twice),
      await ask(key, spans(2), {}, { PAYLOADS: { put: broken, head: broken } }),
      await ask(key, "{}"),
      await ask(key, "{"),
      await ask(key, jsonRequestOf(freshJsonSpan({ traceId: "" }))),
      await ask(key, null, { method: "GET" }),
      await ask(key, null, { path: "/v1/logs" }),
      await ask(key, null, { method: "OPTIONS" }),
      await ask("", "{}"),
      await ask(disabled, "{}"),
      await ask(over, spans(3)),
      await ask(over, spans(4)),
      await ask(full, spans(4)),
      await ask(half, traces("ff", "00", "01")),
      await ask(half, traces("00", "01")),
      await ask(unmetered, spans(4), {}, brokenMeter()),
    ]).toEqual([200, 200, 503, 200, 400, 400, 405, 404, 204, 401, 403, 200, 429, 429, 200, 200, 200]);

    await vi.advanceTimersByTimeAsync(limits.outcomeReportMs - 1);
    expect(sent).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    await Promise.all(waiting);
    const counts = sent.flatMap((message) => message.counts);
    const reported = counts.map(({ tenant, key: id, outcome, reason, requests, spans: good }) =>
      [tenant, id === "" ? "" : "key", outcome, reason, requests, good].join(" "),
    );
    expect(reported.sort()).toEqual(
      [
        "counted key accepted created 1 3",
        "counted key accepted duplicate 1 3",
        "counted key unavailable store_unreachable 1 2",
        "counted key empty no_spans 1 0",
        "counted key malformed corrupt_body 1 0",
        "counted key malformed all_spans_rejected 1 0",
        "  unsupported wrong_method 1 0",
        "  unsupported unknown_path 1 0",
        "  unauthenticated missing_key 1 0",
        "counted key forbidden disabled_key 1 0",
        "counted key accepted created 1 3",
        "counted key rate_limited rate_exceeded 1 0",
        "counted key over_quota quota_exceeded 1 4",
        "counted key accepted created 1 1",
        "counted key sampled some_spans 0 2",
        "counted key sampled all_spans 1 2",
        "counted key accepted unmetered 1 4",
      ].sort(),
    );
    const requests = counts.reduce((sum, count) => sum + count.requests, 0);
    expect(requests, "one outcome a request; a preflight is none").toBe(16);
    const calls = counts.reduce((sum, count) => sum + count.meterCalls, 0);
    expect(calls, "one for each metered key, and one more for what its first request comes to").toBe(5);
    expect(counts.reduce((sum, count) => sum + count.keyLookUps, 0)).toBe(6);
  });

  test("is kept when the queue does not take it, and reported with the next report", async () => {
    const report = new OutcomeReport();
    const sent: OutcomesMessage[] = [];
    let taken = false;
    const queue = {
      send: async (message: OutcomesMessage) => (taken ? sent.push(message) : broken()),
    } as never;
    const tally = new Tally();
    tally.end("empty", "no_spans");
    report.count(tally, queue, { waitUntil: () => undefined }, Date.now());
    await report.send(queue);
    taken = true;
    report.count(tally, queue, { waitUntil: () => undefined }, Date.now());
    await report.send(queue);
    expect(sent.flatMap(({ counts }) => counts).reduce((sum, { requests }) => sum + requests, 0)).toBe(2);
  });

  test("is reported once, five seconds after a refusal, though a later report was armed", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "Date"] });
    const report = new OutcomeReport();
    const sent: OutcomesMessage[] = [];
    const queue = { send: async (message: OutcomesMessage) => sent.push(message) } as never;
    const ctx = { waitUntil: () => undefined };
    const ends = (...outcome: Parameters<Tally["end"]>) => {
      const tally = new Tally();
      tally.end(...outcome);
      report.count(tally, queue, ctx, Date.now());
    };
    await report.send(queue);
    ends("empty", "no_spans");
    await vi.advanceTimersByTimeAsync(limits.outcomeReportMs);
    expect(sent).toEqual([]);
    ends("unauthenticated", "missing_key");
    await vi.advanceTimersByTimeAsync(limits.outcomeReportMs);
    expect(sent.flatMap(({ counts }) => counts.map(({ outcome }) => outcome))).toEqual([
      "empty",
      "unauthenticated",
    ]);
    ends("empty", "no_spans");
    await vi.advanceTimersByTimeAsync(limits.outcomeReportBusyMs - 1);
    expect(sent, "the report that was armed first is none of its own").toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(sent).toHaveLength(2);
  });

  test("does not fail the request when it cannot be counted", () => {
    const ctx = { waitUntil: broken } as unknown as ExecutionContext;
    const tally = new Tally();
    tally.end("empty", "no_spans");
    expect(() => new OutcomeReport().count(tally, {} as never, ctx, Date.now())).not.toThrow();
  });

  test("says nothing of requests that are no exports", async () => {
    expect(await reported(new Tally())).toEqual([]);
  });
});
