/**
 * Requests made to hurt: slow, broken and oversized bodies, bombs, made-up keys, odd paths. Each is refused in words
 * that an exporter understands, costs what it may cost, and the next good request is served. What comes over real
 * sockets is in test/e2e/on-the-wire.test.ts.
 */
import { createExecutionContext, reset } from "cloudflare:test";
import { deflateSync, gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, inject, test, vi } from "vitest";
import { formatApiKey } from "../../../shared/api-key.ts";
import { limits } from "../../../shared/limits.ts";
import type { IngressBindings } from "../../../workers/ingress/bindings.ts";
import worker from "../../../workers/ingress/worker.ts";
import { emptyDynamicBlocks, gzipOf, zstdOf } from "../../fixtures/hostile-encodings.ts";
import { bytesField, stringField } from "../../fixtures/protobuf.ts";
import {
  type Answer,
  bindings,
  freshJsonSpan,
  freshSpan,
  ingress,
  jsonRequestOf,
  makeKey,
  mediaTypes,
  origin,
  read,
  requestOf,
  send,
  storedPayloads,
} from "./sender.ts";

const body = Uint8Array.fromBase64(inject("bodies").protobuf);
const madeUpKey = `hr_${"a".repeat(32)}`;
let key = "";

beforeEach(async () => {
  await reset();
  key = await makeKey();
});

afterEach(async () => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  expect((await send(key, "pb", body)).status, "a good request afterwards").toBe(200);
});

type AskedRequest = Parameters<typeof worker.fetch>[0];

const good = { status: 200, message: "", rejectedSpans: 0 };

/** Asks the Worker's own handler, in this isolate: with a body that is under way, a header that is a lie, or a broken binding. */
async function ask(
  content: BodyInit,
  headers: Record<string, string> = {},
  changed: Partial<Record<keyof IngressBindings, unknown>> = {},
): Promise<Answer> {
  const request = new Request(`${origin}/v1/traces`, {
    method: "POST",
    headers: { "x-api-key": key, "content-type": mediaTypes.pb, ...headers },
    body: content,
  });
  const env = { ...bindings, ...changed } as IngressBindings;
  return await read(await worker.fetch(request as AskedRequest, env, createExecutionContext()));
}

/** A body that stays under way until the test says otherwise. */
function openBody() {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const write = (bytes: Uint8Array) => writer.write(bytes).catch(() => undefined);
  return { readable, write, end: () => writer.close().catch(() => undefined) };
}

describe("a body", () => {
  test.each([
    ["gzip", () => gzipOf(emptyDynamicBlocks(8_000_000))],
    ["zstd", () => zstdOf(Uint8Array.of(0, 0, 0), 8_000_000)],
  ] as const)("in %s of millions of empty blocks is 400 before it is inflated", async (encoding, make) => {
    const answer = await read(await send(key, "pb", make(), { "content-encoding": encoding }));
    expect(answer).toMatchObject({ status: 400, message: expect.stringMatching(/blocks/) });
  });

  test.each([
    ["one byte", 1, limits.bodyGraceMs, /too slowly/],
    ["2 KiB", 2048, limits.bodyTimeoutMs, /not complete after 30 s/],
  ])("of %s per second is refused with 503 when its time is over", async (_, bytes, timeoutMs, message) => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
    const slowly = new Uint8Array(bytes);
    const { readable, write } = openBody();
    let answer: Answer | undefined;
    const asked = ask(readable).then((given) => {
      answer = given;
    });
    for (let second = 0; second < timeoutMs / 1000 - 1; second++) {
      await write(slowly.slice());
      await vi.advanceTimersByTimeAsync(1000);
    }
    expect(answer).toBeUndefined();
    await vi.advanceTimersByTimeAsync(1100);
    await vi.advanceTimersByTimeAsync(limits.drainTimeoutMs);
    await asked;
    expect(answer).toMatchObject({ status: 503, message: expect.stringMatching(message) });
    expect(answer?.headers.get("retry-after")).toBe("5");
    expect(await storedPayloads()).toEqual([]);
  });

  test("shorter than its Content-Length is not taken for a body, though it is a valid one: the retry will be whole", async () => {
    const half = requestOf(freshSpan());
    const { readable, write, end } = openBody();
    const asked = ask(readable, { "content-length": String(2 * half.length) });
    await write(half);
    await end();
    expect(await asked).toMatchObject({
      status: 503,
      message: expect.stringMatching(/ended before it was complete/),
    });
    expect(await storedPayloads()).toEqual([]);
  });

  test("of a refused request is read to its end, so that a client that is still sending sees the answer, but not beyond the limit", async () => {
    for (const [parts, read] of [
      [16, 16 * 65_536],
      [1000, limits.bodyBytesMax],
    ] as const) {
      let sent = 0;
      const sending = new ReadableStream<Uint8Array>(
        {
          pull(controller) {
            sent += 65_536;
            controller.enqueue(new Uint8Array(65_536));
            if (sent === parts * 65_536) {
              controller.close();
            }
          },
        },
        { highWaterMark: 0 },
      );
      expect(await ask(sending, { "x-api-key": madeUpKey })).toMatchObject({ status: 401 });
      expect(sent).toBeGreaterThanOrEqual(read);
      expect(sent).toBeLessThanOrEqual(read + 2 * 65_536);
    }
  });

  test("beyond the isolate's budget of bytes in hand is 503 with Retry-After, and taken when the others are done", async () => {
    const others = await fillBudget();
    const refused = await ask(body);
    expect(refused).toMatchObject({ status: 503, message: expect.stringMatching(/Too many bodies/) });
    expect(refused.headers.get("retry-after")).toBe("5");
    await Promise.all(others.map(({ end }) => end()));
    expect((await Promise.all(others.map(({ asked }) => asked))).map(({ status }) => status)).toEqual(
      others.map(() => 400), // zeros are no protobuf
    );
    expect(await ask(body)).toMatchObject(good);
  });

  test("that stops halfway holds its bytes of the budget until the read deadline, and no longer", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const others = await fillBudget();
    expect(await ask(body)).toMatchObject({ status: 503, message: expect.stringMatching(/Too many bodies/) });
    await vi.advanceTimersByTimeAsync(limits.bodyTimeoutMs);
    await vi.advanceTimersByTimeAsync(limits.drainTimeoutMs);
    const answers = await Promise.all(others.map(({ asked }) => asked));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([503]));
    expect(await ask(body)).toMatchObject(good);
  });

  test("is 503 where the isolate has no bytes left to inflate it, and taken when it has", async () => {
    const others = await fillBudget(65_536);
    const text = "x".repeat(15_000_000); // inflated and once more: 30 MB, and 25 MB are free
    const large = new Uint8Array(gzipSync(requestOf(freshSpan(stringField(5, text)))));
    const gzip = { "content-encoding": "gzip" };
    const refused = await ask(large, gzip);
    expect(refused).toMatchObject({ status: 503, message: expect.stringMatching(/Too many bodies/) });
    expect(refused.headers.get("retry-after")).toBe("5");
    expect(await ask(body)).toMatchObject(good); // a small one fits beside them
    await Promise.all(others.map(({ end }) => end()));
    await Promise.all(others.map(({ asked }) => asked));
    expect(await ask(large, gzip)).toMatchObject(good);
  });

  test("that only claims its length, however large, holds nothing of the budget before its bytes come", async () => {
    const claims = { "content-length": String(limits.bodyBytesMax) };
    const idle = Array.from({ length: 40 }, () => {
      const { readable, write, end } = openBody();
      return { write, end, asked: ask(readable, claims) };
    });
    await Promise.all(idle.map(({ write }) => write(new Uint8Array(1))));
    expect(await ask(body)).toMatchObject(good);
    await Promise.all(idle.map(({ end }) => end()));
    await Promise.all(idle.map(({ asked }) => asked));
  });
});

/** As many of the largest bodies as an isolate holds at once, all of them under way. */
async function fillBudget(bytesFree = 0) {
  const largest = new Uint8Array(limits.bodyBytesMax);
  const last = largest.subarray(bytesFree);
  const count = limits.ingressBodyBytesMax / limits.bodyBytesMax;
  const eachKey = Math.floor(limits.ingressKeyBytesMax / limits.bodyBytesMax); // one key has a part of it
  const keys = await Promise.all(Array.from({ length: count / eachKey }, () => makeKey()));
  const others = Array.from({ length: count }, (_, at) => {
    const { readable, write, end } = openBody();
    return { write, end, asked: ask(readable, { "x-api-key": keys[at % keys.length] ?? "" }) };
  });
  await Promise.all(others.map(({ write }, at) => write(at === 0 ? last : largest)));
  return others;
}

describe("a bomb", () => {
  const zeros = new Uint8Array(4 * limits.inflatedBytesMax);
  const bombs = {
    gzip: new Uint8Array(gzipSync(zeros)),
    deflate: new Uint8Array(deflateSync(zeros)),
    zstd: Uint8Array.fromBase64(inject("zstdBomb")),
  };

  test.each(["gzip", "deflate", "zstd"] as const)(
    "of %s is stopped at the limit of inflated bytes: 413",
    async (encoding) => {
      expect(bombs[encoding].length).toBeLessThan(limits.bodyBytesMax / 8);
      const answer = await send(key, "pb", bombs[encoding], { "content-encoding": encoding });
      expect(await read(answer)).toMatchObject({
        status: 413,
        message: expect.stringMatching(/inflates to more than 20971520 bytes/),
      });
    },
  );
});

describe("JSON", () => {
  test("with a million unknown keys is read past, and the span among them is taken", async () => {
    const keys = Array.from({ length: 1_000_000 }, (_, index) => `"${index.toString(36)}":0`).join();
    const text = jsonRequestOf(freshJsonSpan()).replace("{", `{${keys},`);
    const answer = await send(key, "json", new Uint8Array(gzipSync(text, { level: 1 })), {
      "content-encoding": "gzip",
    });
    expect(await read(answer)).toMatchObject(good);
  });

  test("with a million attributes in one span is taken, and its rows are within the bound", async () => {
    const attributes = `[${'{"key":"a"},'.repeat(999_999)}{"key":"a"}]`;
    const text = jsonRequestOf(freshJsonSpan({ attributes: "@" })).replace('"@"', attributes);
    const answer = await send(key, "json", new Uint8Array(gzipSync(text, { level: 1 })), {
      "content-encoding": "gzip",
    });
    expect(await read(answer)).toMatchObject(good);
    const [payload] = await storedPayloads();
    const outputBytes = Number(payload?.customMetadata?.["outputBytes"]);
    expect(outputBytes).toBeGreaterThan(1_000_000);
    expect(outputBytes).toBeLessThanOrEqual(limits.outputBytesMax);
  });

  test("with more attributes than 2^20 is 413: their keys could take the consumer's memory", async () => {
    const attributes = `[${'{"key":"a"},'.repeat(limits.attributesMax)}{"key":"a"}]`;
    const text = jsonRequestOf(freshJsonSpan({ attributes: "@" })).replace('"@"', attributes);
    const answer = await send(key, "json", new Uint8Array(gzipSync(text, { level: 1 })), {
      "content-encoding": "gzip",
    });
    expect(await read(answer)).toMatchObject({
      status: 413,
      message: expect.stringMatching(/more than 1048576 attributes in one list/),
    });
    expect(await storedPayloads()).toEqual([]);
  });

  test("nested 10,000 deep is read past in members that nobody knows, and 400 where it does not end", async () => {
    for (const [open, close, status, message] of [
      ["[", "]", 200, /holds no span/],
      ['{"a":', "}", 200, /holds no span/],
      ["[", "", 400, /JSON/],
    ] as const) {
      const text = `{"x":${open.repeat(10_000)}0${close.repeat(10_000)}}`;
      const answer = await read(await send(key, "json", text));
      expect(answer, open).toMatchObject({ status, message: expect.stringMatching(message) });
    }
  });
});

describe("protobuf", () => {
  test("with more events in one span than 2^20 is 413 before their list takes the isolate's memory", async () => {
    const events = new Uint8Array(2 * (limits.membersMax + 1));
    for (let at = 0; at < events.length; at += 2) {
      events[at] = 0x5a; // field 11, zero bytes: an event without anything
    }
    for (const [count, status, message] of [
      [limits.membersMax, 200, /^$/],
      [limits.membersMax + 1, 413, /more than 1048576 members.*OTEL_SPAN_EVENT_COUNT_LIMIT/],
    ] as const) {
      const body = new Uint8Array(gzipSync(requestOf(freshSpan(events.subarray(0, 2 * count)))));
      const answer = await read(await send(key, "pb", body, { "content-encoding": "gzip" }));
      expect(answer, `${count}`).toMatchObject({ status, message: expect.stringMatching(message) });
    }
  });

  test("whose resource is in ten million pieces is 400: merged they would take the isolate's memory", async () => {
    const pieces = new Uint8Array(limits.inflatedBytesMax - 1000);
    for (let at = 0; at < pieces.length; at += 2) {
      pieces[at] = 0x0a;
    }
    const body = new Uint8Array(gzipSync(bytesField(1, pieces)));
    const answer = await read(await send(key, "pb", body, { "content-encoding": "gzip" }));
    expect(answer).toMatchObject({ status: 400, message: expect.stringMatching(/more than 65536 pieces/) });
  });
});

describe("a path", () => {
  const tricks: readonly (readonly [string, number])[] = [
    ["/V1/TRACES", 404],
    ["/v1/%74races", 404],
    ["/v1/traces%2f", 404],
    ["/v1/traces%00", 404],
    ["/v1/traces;jsessionid=1", 404],
    ["/v1/traces/..%2f..%2fhealthz", 404],
    ["/v1/tracesx", 404],
    ["/%", 404],
    ["/%E0%A4%A", 404],
    ["/__proto__", 404],
    ["/x/v1/traces", 404],
    ["/?/v1/traces", 404],
    ["/healthz?/v1/traces", 404],
    [`/${"x".repeat(8000)}`, 404],
    ["/v1/traces/", 401],
    ["//v1/traces", 401],
    ["/v1//traces", 401],
    ["///v1///traces///", 401],
    ["/v1/./traces", 401],
    ["/v1/traces?/v1/traces", 401],
    ["/v1/%2e/traces", 401],
    ["/x/%2E%2e/v1/traces", 401],
    ["/v1/traces?api_key=x&a=%&a=%E0", 401],
    [`/v1/traces?${"a=1&".repeat(2000)}`, 401],
    ["/v1/traces?__proto__=1&constructor=2", 401],
  ];

  test("of any trick leads nowhere, or to the door that asks for a key", async () => {
    for (const [path, status] of tricks) {
      const response = await ingress.fetch(`${origin}${path}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: jsonRequestOf(freshJsonSpan()),
      });
      const answer = await read(response);
      expect(answer, path).toMatchObject({ status, type: "application/json" });
      expect(answer.bodyBytes, path).toBeLessThan(1000);
    }
    expect(await storedPayloads()).toEqual([]);
  });
});

test("10,000 made-up keys cost no look-up in KV, and each is 401", async () => {
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  const get = vi.fn(() => {
    throw new Error("KV was asked");
  });
  const env = { ...bindings, KEYS: { get } } as unknown as IngressBindings;
  const alphabet = "abcdefghijklmnopqrstuvwxyz";
  for (let index = 0; index < 10_000; index++) {
    const tail = index.toString(26).replace(/./g, (digit) => alphabet.charAt(Number.parseInt(digit, 26)));
    const madeUp = `hr_${tail.padStart(32, "x")}`;
    const headers = { "x-api-key": madeUp, "content-type": mediaTypes.pb };
    const request = new Request(`${origin}/v1/traces`, { method: "POST", headers }) as AskedRequest;
    const { status } = await worker.fetch(request, env, createExecutionContext());
    expect(status, madeUp).toBe(401);
  }
  expect(get).not.toHaveBeenCalled();
});

describe("no answer and no line of the log", () => {
  const secretOfBody = "what-a-customer-wrote";
  const otherSecret = "otherVendorsSecretToken";
  const platformSays = `connect to kv.internal failed for ${madeUpKey}`;
  const broken = () => {
    throw new Error("a call of ours failed", { cause: new TypeError(platformSays) });
  };

  test("holds a key, a word of a body, another's secret, or a stack trace; an answer holds no word of the platform's", async () => {
    const lines: string[] = [];
    for (const level of ["log", "info", "warn", "error", "debug"] as const) {
      vi.spyOn(console, level).mockImplementation((...said) => void lines.push(said.join(" ")));
    }
    const unknownKey = formatApiKey(crypto.getRandomValues(new Uint8Array(52)));
    const span = freshSpan(stringField(5, secretOfBody));
    const spans = requestOf(span);
    const json = { "content-type": mediaTypes.json };
    const oddMetadata = new Proxy({}, { get: broken });
    const answers = [
      await ask(spans, { "x-api-key": unknownKey }),
      await ask(spans, { "x-api-key": `${key}x` }),
      await ask(spans, { "x-api-key": otherSecret }),
      await ask(spans, { "x-api-key": "", authorization: `Bearer ${otherSecret}` }),
      await ask(spans, { "x-api-key": "", authorization: `Basic ${otherSecret}` }),
      await ask(spans, { origin: "https://evil.example" }),
      await ask(spans.subarray(0, spans.length - 1)),
      await ask(`{"resourceSpans":[{"scopeSpans":"${secretOfBody}"}]}`, json),
      await ask(`{"${secretOfBody}":nope}`, json),
      await ask(`{"${secretOfBody}":"${secretOfBody.repeat(10)}"}`, json),
      await ask(spans, { "content-encoding": "gzip" }),
      await ask(requestOf(span, freshSpan(bytesField(1, [1]), stringField(5, secretOfBody)))),
      await ask(spans, {}, { KEYS: { get: broken } }),
      await ask(spans, { "x-api-key": unknownKey }, { KEYS: { get: broken } }),
      await ask(spans, {}, { PAYLOADS: { put: broken, head: broken } }),
      await ask(spans, {}, { RING: { send: broken } }),
      await ask(spans, {}, { PAYLOADS: oddMetadata, RING: oddMetadata }),
    ];
    const noContext = new Request(`${origin}/v1/traces`, {
      method: "POST",
      headers: { "x-api-key": key, "content-type": mediaTypes.pb },
      body: spans,
    }) as AskedRequest;
    answers.push(await read(await worker.fetch(noContext, bindings, {} as ExecutionContext)));

    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([401, 403, 400, 200, 503]));
    expect(lines.length).toBeGreaterThanOrEqual(15);
    const said = answers.map(({ message, headers }) => `${message} ${JSON.stringify([...headers])}`);
    for (const text of [...lines, ...said]) {
      for (const secret of [key, unknownKey, madeUpKey, otherSecret, otherSecret.slice(0, 6), secretOfBody]) {
        expect(text).not.toContain(secret);
      }
      expect(text).not.toMatch(/\n|\bat .*:\d+|\.[jt]s\b/);
    }
    for (const text of said) {
      expect(text).not.toMatch(/kv\.internal|TypeError|waitUntil|undefined|null|R2|KV\b/);
    }
    // An operator still reads what broke, and why.
    expect(lines.join("\n")).toContain(
      "Error: a call of ours failed, because of TypeError: connect to kv.internal",
    );
  });

  test("is longer than a person reads, whatever a header or the platform says", async () => {
    const lines: string[] = [];
    vi.spyOn(console, "error").mockImplementation((line) => void lines.push(line));
    vi.spyOn(console, "warn").mockImplementation((line) => void lines.push(line));
    const long = "x".repeat(15_000);
    for (const headers of [
      { origin: `https://${long}` },
      { "content-type": long },
      { "content-encoding": long },
      { "x-api-key": long },
    ]) {
      const { bodyBytes } = await ask(body, headers);
      expect(bodyBytes, Object.keys(headers).join()).toBeLessThan(1000);
    }
    const wordy = () => Promise.reject(new Error(long));
    await ask(body, {}, { PAYLOADS: { put: wordy, head: wordy } });
    // Of seven: those that the tests before had in the same period are counted, and not written.
    expect(lines.length).toBeGreaterThanOrEqual(2);
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThan(2000);
  });
});
