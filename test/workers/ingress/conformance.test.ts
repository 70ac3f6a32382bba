/**
 * OTLP/HTTP from outside: one test for each rule of the specification (1.11), named by the rule's id in
 * docs/otlp-conformance.md. The ingress runs in workerd; nothing of it is called but its HTTP face.
 */
import { createExecutionContext, reset } from "cloudflare:test";
import { deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, inject, test, vi } from "vitest";
import { limits } from "../../../shared/limits.ts";
import type { RefusalReason } from "../../../shared/refusal-reason.ts";
import { refused } from "../../../workers/ingress/answer.ts";
import type { IngressBindings } from "../../../workers/ingress/bindings.ts";
import type { Refusal } from "../../../workers/ingress/refusal.ts";
import worker from "../../../workers/ingress/worker.ts";
import {
  attribute,
  bytesField,
  fixed64Field,
  join,
  keyValue,
  stringField,
  tag,
  traceId,
  value,
  varint,
  varintField,
} from "../../fixtures/protobuf.ts";
import {
  type Answer,
  bindings,
  freshJsonSpan,
  freshSpan,
  ingress,
  type JsonSpan,
  jsonRequestOf,
  makeKey,
  mediaTypes,
  origin,
  read,
  requestOf,
  send,
  storedPayloads,
  type Type,
  types,
} from "./sender.ts";

/** Ten spans each, made by the OpenTelemetry SDK and its serializers. */
const sdkBody = {
  pb: Uint8Array.fromBase64(inject("bodies").protobuf),
  json: Uint8Array.fromBase64(inject("bodies").json),
};
const gzipped = (body: Uint8Array | string) => new Uint8Array(gzipSync(body));

let key = "";

beforeEach(async () => {
  await reset();
  key = await makeKey();
});

afterEach(() => {
  vi.useRealTimers();
});

async function answerTo(
  type: Type,
  body: BodyInit | null,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return await read(await send(key, type, body, headers));
}

/** The metadata of the one payload that is stored. */
async function onlyPayload(): Promise<Record<string, string>> {
  const [object, ...others] = await storedPayloads();
  expect(others).toEqual([]);
  return object?.customMetadata ?? {};
}

/** One JSON span of these fields is accepted, or refused with a reason. */
async function jsonSpan(changes: JsonSpan): Promise<Answer> {
  return await answerTo("json", jsonRequestOf(freshJsonSpan(changes)));
}

const taken = { status: 200, message: "", rejectedSpans: 0 };

/** A request that meets a broken platform: the Worker's own handler, with one binding replaced. */
async function sendBroken(
  type: Type,
  changed: Partial<Record<keyof IngressBindings, unknown>>,
  body: BodyInit = sdkBody[type],
  ctx: ExecutionContext = createExecutionContext(),
): Promise<Answer> {
  const sent = new Request(`${origin}/v1/traces`, {
    method: "POST",
    headers: { "x-api-key": key, "content-type": mediaTypes[type] },
    body,
  });
  const typed = sent as Parameters<typeof worker.fetch>[0];
  // The bindings of the collector's object are its own: what is broken here is met where a payload is put alone.
  const env = { ...bindings, COLLECT: "off", ...changed } as IngressBindings;
  return await read(await worker.fetch(typed, env, ctx));
}

const broken = (): never => {
  throw new Error("a detail of the platform");
};

describe("transport", () => {
  test.each(types)("T1 POST /v1/traces takes an ExportTraceServiceRequest (%s)", async (type) => {
    expect(await answerTo(type, sdkBody[type])).toMatchObject(taken);
    expect(await onlyPayload()).toMatchObject({ type, spans: "10" });
  });

  test.each(types)("T2 no compression and gzip are taken (%s)", async (type) => {
    expect(await answerTo(type, sdkBody[type], { "content-encoding": "identity" })).toMatchObject(taken);
    expect(await answerTo(type, gzipped(sdkBody[type]), { "content-encoding": "gzip" })).toMatchObject(taken);
    expect(await answerTo(type, gzipped(sdkBody[type]), { "content-encoding": "X-GZIP" })).toMatchObject(
      taken,
    );
  });

  test.each(["br", "compress", "gzip, gzip", "gzip, identity", "snappy"])(
    "T3 Content-Encoding %s is 415 and the answer names what is taken",
    async (encoding) => {
      const answer = await answerTo("pb", sdkBody.pb, { "content-encoding": encoding });
      expect(answer).toMatchObject({ status: 415, message: expect.stringMatching(/identity, gzip/) });
      expect(await storedPayloads()).toEqual([]);
    },
  );

  test("T3 zstd and deflate are taken too, beyond what OTLP asks", async () => {
    const zstd = new Uint8Array(zstdCompressSync(sdkBody.pb));
    expect(await answerTo("pb", zstd, { "content-encoding": "zstd" })).toMatchObject(taken);
    expect(await onlyPayload()).toMatchObject({ encoding: "zstd", spans: "10" });
    await reset();
    key = await makeKey();
    const deflate = new Uint8Array(deflateSync(sdkBody.json));
    expect(await answerTo("json", deflate, { "content-encoding": "deflate" })).toMatchObject(taken);
    expect(await onlyPayload()).toMatchObject({ encoding: "deflate", spans: "10" });
  });

  test("T4 protobuf and JSON share one path and are told apart by Content-Type", async () => {
    for (const [type, media] of [
      ["json", "application/json; charset=utf-8"],
      ["json", "Application/JSON"],
      ["json", "application/json ;charset=UTF-8"],
      ["pb", "APPLICATION/X-PROTOBUF"],
      ["pb", "application/x-protobuf; proto=opentelemetry"],
    ] as const) {
      const answer = await answerTo(type, sdkBody[type], { "content-type": media });
      expect(answer, media).toMatchObject({ ...taken, type: mediaTypes[type] });
    }
  });

  test("T5 another or no Content-Type is 415, another method 405 with Allow, another path 404: each a Status in JSON", async () => {
    for (const media of ["text/plain", "", "application/octet-stream", "application/jsonp", "json"]) {
      const answer = await answerTo("pb", sdkBody.pb, { "content-type": media });
      expect(answer, media).toMatchObject({ status: 415, type: "application/json" });
      expect(answer.message, media).toMatch(/application\/x-protobuf or application\/json/);
    }
    for (const method of ["GET", "PUT", "PATCH", "DELETE"]) {
      const answer = await read(await ingress.fetch(`${origin}/v1/traces`, { method }));
      expect(answer, method).toMatchObject({ status: 405, type: "application/json" });
      expect(answer.headers.get("allow"), method).toBe("POST, OPTIONS");
      expect(answer.message, method).toMatch(/POST/);
    }
    for (const path of ["/", "/v1", "/v1/trace", "/v1/logs", "/v1/metrics", "/v1/traces/x", "/v2/traces"]) {
      const answer = await read(await ingress.fetch(`${origin}${path}`, { method: "POST", body: "x" }));
      expect(answer, path).toMatchObject({ status: 404, type: "application/json" });
      expect(answer.message, path).toMatch(/\/v1\/traces/);
    }
  });
});

describe("limits", () => {
  test("L1 1 MB of gzip that holds 1 GiB is refused at the limit, not after it", async () => {
    const member = gzipSync(new Uint8Array(64 * 1024 * 1024));
    const bomb = new Uint8Array(member.length * 16);
    for (let i = 0; i < 16; i++) {
      bomb.set(member, i * member.length); // RFC 1952: members follow one another
    }
    expect(bomb.length).toBeLessThan(1.1 * 1024 * 1024);
    const answer = await answerTo("pb", bomb, { "content-encoding": "gzip" });
    expect(answer).toMatchObject({ status: 413, message: expect.stringMatching(/20971520 bytes/) });
  });

  test("L1 the limit holds before inflating as well", async () => {
    const incompressible = new Uint8Array(limits.bodyBytesMax + 1);
    for (let at = 0; at < incompressible.length; at += 65_536) {
      crypto.getRandomValues(incompressible.subarray(at, at + 65_536));
    }
    const answer = await answerTo("pb", incompressible, { "content-encoding": "gzip" });
    expect(answer).toMatchObject({ status: 413, message: expect.stringMatching(/20971520 bytes/) });
  });

  test.each(types)("L1 a body of 20 MiB is taken, plain and compressed (%s)", async (type) => {
    const jsonWith = (text: string) =>
      freshJsonSpan({ attributes: [{ key: "prompt", value: { stringValue: text } }] });
    const of = (text: string): Uint8Array<ArrayBuffer> =>
      type === "pb"
        ? new Uint8Array(requestOf(freshSpan(attribute("prompt", value.string(text)))))
        : new Uint8Array(new TextEncoder().encode(jsonRequestOf(jsonWith(text))));
    const largest = limits.inflatedBytesMax;
    const rest = largest - of("x".repeat(largest - 1000)).length;
    const whole = of("x".repeat(largest - 1000 + rest));
    expect(whole.length).toBe(largest);
    for (const encoding of ["identity", "gzip"] as const) {
      const body = encoding === "gzip" ? gzipped(whole) : whole;
      const answer = await answerTo(type, body, { "content-encoding": encoding });
      expect(answer, encoding).toMatchObject({ status: 200, message: "", rejectedSpans: 0 });
    }
    const [first, second] = await storedPayloads();
    for (const payload of [first, second]) {
      // What the consumer sets aside is no less than the body, and within what a group may have.
      const outputBytes = Number(payload?.customMetadata?.["outputBytes"]);
      expect(outputBytes).toBeGreaterThanOrEqual(payload?.size ?? 0);
      expect(outputBytes).toBeLessThanOrEqual(limits.groupOutputBytesMax);
    }
    const longer = gzipped(of("x".repeat(largest - 999 + rest)));
    expect(await answerTo(type, longer, { "content-encoding": "gzip" })).toMatchObject({ status: 413 });
  });

  test.each(types)("L2 over a limit is 413, with and without Content-Length (%s)", async (type) => {
    const known = await answerTo(type, new Uint8Array(limits.bodyBytesMax + 1));
    expect(known).toMatchObject({ status: 413, type: mediaTypes[type] });
    expect(known.headers.get("retry-after")).toBeNull();
    let sent = 0;
    const endless = new ReadableStream({
      pull(controller) {
        sent += 65_536;
        controller.enqueue(new Uint8Array(65_536));
        if (sent >= 4 * limits.bodyBytesMax) {
          controller.close(); // so that a reader without a limit fails this test instead of the machine
        }
      },
    });
    expect(await answerTo(type, endless)).toMatchObject({ status: 413 });
    expect(sent).toBeLessThan(3 * limits.bodyBytesMax);
    expect(await storedPayloads()).toEqual([]);
  });

  test("L2 rows that would be too large are 413, and the answer says why", async () => {
    const wide = bytesField(1, [
      bytesField(1, bytesField(1, keyValue("blob", value.string("x".repeat(200_000))))),
      bytesField(
        2,
        Array.from({ length: 2000 }, () => bytesField(2, freshSpan())),
      ),
    ]);
    expect(wide.length).toBeLessThan(limits.bodyBytesMax);
    expect(await answerTo("pb", wide)).toMatchObject({
      status: 413,
      message: expect.stringMatching(/rows could take/),
    });
  });

  test("L3 a million bad spans are answered in a few kilobytes", async () => {
    const count = 1_000_000;
    const spans = new Uint8Array(2 * count);
    for (let i = 0; i < count; i++) {
      spans[2 * i] = 0x12; // field 2, zero bytes: a span without ids
    }
    const body = join(requestOf(freshSpan()), bytesFieldOf(1, bytesFieldOf(2, spans)));
    const answer = await answerTo("pb", gzipped(body), { "content-encoding": "gzip" });
    expect(answer).toMatchObject({ status: 200, rejectedSpans: count });
    expect(answer.message).toMatch(/and 999995 more/);
    expect(answer.bodyBytes).toBeLessThan(4096);
  });

  test("L3 a message is cut, however long the text that it repeats", async () => {
    const answer = await answerTo("pb", sdkBody.pb, { "content-encoding": "x".repeat(10_000) });
    expect(answer.status).toBe(415);
    expect(answer.bodyBytes).toBeLessThan(1000);
  });
});

describe("responses", () => {
  test.each(types)("R1 every answer has the request's Content-Type (%s)", async (type) => {
    const good = await answerTo(type, sdkBody[type]);
    const partial = await answerTo(type, await badSpans(type, 1, 1));
    const bad = await answerTo(type, "{", {});
    const unknown = await read(await send("", type, sdkBody[type]));
    const headers = { "content-type": mediaTypes[type] };
    const put = await read(await ingress.fetch(`${origin}/v1/traces`, { method: "PUT", headers }));
    const lost = await read(await ingress.fetch(`${origin}/v1/logs`, { method: "POST", headers }));
    const answers = [good, partial, bad, unknown, put, lost];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 400, 401, 405, 404]);
    for (const answer of answers) {
      expect(answer.type, String(answer.status)).toBe(mediaTypes[type]);
    }
    for (const answer of [bad, unknown, put, lost]) {
      expect(answer.message, String(answer.status)).not.toBe("");
    }
  });

  test("R2 success is 200 with an ExportTraceServiceResponse: no byte in protobuf, {} in JSON", async () => {
    const pb = await send(key, "pb", sdkBody.pb);
    expect(new Uint8Array(await pb.arrayBuffer())).toEqual(new Uint8Array(0));
    const json = await send(key, "json", sdkBody.json);
    expect(await json.text()).toBe("{}");
  });

  test("R3 partial_success is unset when everything was taken", async () => {
    expect((await answerTo("pb", sdkBody.pb)).bodyBytes).toBe(0);
    expect(await (await send(key, "json", sdkBody.json)).json()).not.toHaveProperty("partialSuccess");
  });

  test("R4 a request without spans is a success, and nothing is stored", async () => {
    const noSpans = bytesField(1, bytesField(2, []));
    for (const [type, body] of [
      ["pb", new Uint8Array(0)],
      ["pb", null],
      ["pb", noSpans],
      ["json", "{}"],
      ["json", '{"resourceSpans":[]}'],
      ["json", '{"resourceSpans":[{"scopeSpans":[{"spans":[]}]}]}'],
    ] as const) {
      expect(await answerTo(type, body), String(body)).toMatchObject(taken);
    }
    expect(await storedPayloads()).toEqual([]);
  });

  test("R5 an answer is gzip where Accept-Encoding takes it, and plain where it does not", async () => {
    const raw = async (acceptEncoding: string) => {
      const response = await ingress.fetch(`${origin}/v1/traces`, {
        method: "POST",
        headers: { "content-type": "application/json", "accept-encoding": acceptEncoding },
        body: "{}",
      });
      const body = (await read(response.clone() as unknown as Response)).message;
      return { encoding: response.headers.get("content-encoding"), body, status: response.status };
    };
    for (const asked of ["gzip", "deflate, GZIP;q=0.5", "*", "br;q=1, *;q=0.1"]) {
      expect(await raw(asked), asked).toMatchObject({
        status: 401,
        encoding: "gzip",
        body: expect.stringMatching(/No API key/),
      });
    }
    for (const asked of ["", "identity", "br", "gzip;q=0", "*;q=1, gzip;q=0"]) {
      expect(await raw(asked), asked).toMatchObject({
        status: 401,
        encoding: null,
        body: expect.stringMatching(/No API key/),
      });
    }
    const partial = await answerTo("pb", await badSpans("pb", 1, 2), { "accept-encoding": "gzip" });
    expect(partial).toMatchObject({ status: 200, rejectedSpans: 2 });
    expect(partial.headers.get("content-encoding")).toBe("gzip");
    const success = await answerTo("pb", sdkBody.pb, { "accept-encoding": "gzip" });
    expect(success.headers.get("content-encoding")).toBeNull(); // gzip of nothing is 20 bytes
  });
});

describe("partial success", () => {
  test.each(types)("P1 bad spans among good ones: 200, and their number (%s)", async (type) => {
    const answer = await answerTo(type, await badSpans(type, 7, 3));
    expect(answer).toMatchObject({ status: 200, rejectedSpans: 3 });
    expect(await onlyPayload()).toMatchObject({ spans: "7", rejectedSpans: "3" });
  });

  test.each(types)(
    "P1 all spans bad is not a partial success: 400 with the reasons, and nothing is stored (%s)",
    async (type) => {
      const answer = await answerTo(type, await badSpans(type, 0, 2));
      expect(answer).toMatchObject({
        status: 400,
        message: expect.stringMatching(/^2 of 2 spans rejected: /),
      });
      expect(answer.violations).toEqual([{ field: "body", description: answer.message }]);
      expect(await storedPayloads()).toEqual([]);
    },
  );

  test("P1 a span beyond the age bound alone is 400, and the message has the bound", async () => {
    const old = BigInt(Date.now() - 31 * 86_400_000) * 1_000_000n;
    expect(await jsonSpan({ startTimeUnixNano: String(old), endTimeUnixNano: String(old) })).toMatchObject({
      status: 400,
      message: expect.stringMatching(
        /the span ended .*, before .* \(a span is taken up to 30 days after its end\)/,
      ),
    });
    expect(await jsonSpan({ startTimeUnixNano: String(Date.now()) })).toMatchObject({
      status: 400,
      message: expect.stringMatching(
        /that would be in time in milliseconds, and the field counts nanoseconds/,
      ),
    });
  });

  test("P2 the message names the spans, says what is wrong and what is right", async () => {
    const { message } = await answerTo("pb", requestOf(freshSpan(), freshSpan(bytesField(1, [1, 2, 3]))));
    expect(message).toBe(
      "1 of 2 spans rejected: resource_spans[0].scope_spans[0].spans[1]: trace_id is 3 bytes, not 16",
    );
  });

  test("P3 a warning without rejection has 0 rejected spans and a message", async () => {
    const text = JSON.stringify({
      ResourceSpans: [{ scopeSpans: [{ spans: [{ name: "x".repeat(99) }] }] }],
    });
    expect(await answerTo("json", text)).toMatchObject({
      status: 200,
      rejectedSpans: 0,
      message: expect.stringMatching(/holds no span. Are the fields named as in OTLP/),
    });
  });

  test("P4 only what is wrong for good is rejected: what may pass next time is 503, with no span named", async () => {
    const body = await badSpans("pb", 1, 1);
    const partial = { status: 200, rejectedSpans: 1 };
    expect(await answerTo("pb", body)).toMatchObject(partial);
    expect(await answerTo("pb", body)).toMatchObject(partial); // the same span again, the same answer
    const failed = await sendBroken("pb", { PAYLOADS: { put: broken, head: broken } }, body);
    expect(failed).toMatchObject({
      status: 503,
      rejectedSpans: 0,
      message: expect.not.stringMatching(/span/),
    });
  });
});

describe("failures", () => {
  test.each(types)("F1 every failure is a google.rpc.Status in the request's encoding (%s)", async (type) => {
    const answers: readonly (readonly [number, Answer])[] = [
      [400, await answerTo(type, "{")],
      [401, await read(await send("", type, sdkBody[type]))],
      [403, await answerTo(type, sdkBody[type], { origin: "https://evil.example" })],
      [413, await answerTo(type, new Uint8Array(limits.bodyBytesMax + 1))],
      [415, await answerTo(type, sdkBody[type], { "content-encoding": "br" })],
      [503, await sendBroken(type, { PAYLOADS: { put: broken, head: broken } })],
    ];
    for (const [status, answer] of answers) {
      expect(answer).toMatchObject({ status, type: mediaTypes[type] });
      expect(answer.message.length, String(status)).toBeGreaterThan(20);
    }
  });

  test("F2 Status.message says what to do", async () => {
    expect((await answerTo("pb", "{", {})).message).toMatch(/The body is not OTLP protobuf/);
    expect((await read(await send("", "pb", sdkBody.pb))).message).toMatch(/OTEL_EXPORTER_OTLP_HEADERS/);
    expect((await answerTo("pb", new Uint8Array(limits.bodyBytesMax + 1))).message).toMatch(
      /send fewer per request .*OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT/,
    );
  });

  test.each(types)(
    "F3 data that is wrong for good is 400 with a BadRequest in the details (%s)",
    async (type) => {
      const bodies: readonly (readonly [BodyInit, string])[] =
        type === "pb"
          ? [
              [sdkBody.pb.subarray(0, sdkBody.pb.length - 1), ""],
              [gzipped(sdkBody.pb).subarray(0, 50), "gzip"],
              [sdkBody.pb, "gzip"],
              [join(tag(1, 2), varint(2 ** 40)), ""],
              [Uint8Array.of(0x0a), ""],
            ]
          : [
              ["{nope", ""],
              ["[]", ""],
              ['{"resourceSpans":[', ""],
              [gzipped("{").subarray(0, 12), "gzip"],
            ];
      for (const [index, [body, encoding]] of bodies.entries()) {
        const answer = await answerTo(type, body, { "content-encoding": encoding });
        expect(answer.status, `body ${index}`).toBe(400);
        expect(answer.violations, `body ${index}`).toEqual([{ field: "body", description: answer.message }]);
      }
      expect(await storedPayloads()).toEqual([]);
    },
  );

  const never = () => new Promise<never>(() => undefined);
  const rejects = () => Promise.reject(new TypeError("a detail of the platform"));
  const odd = new Proxy({}, { get: broken });

  test("F4 whatever breaks inside is 503 with Retry-After, never 500: each call thrown, rejected, unanswered or absurd", async () => {
    const faults = {
      "KV throws": { KEYS: { get: broken } },
      "KV rejects": { KEYS: { get: rejects } },
      "KV holds a record that is none": { KEYS: { get: () => Promise.resolve({ tenant: 7 }) } },
      "KV is not bound": { KEYS: undefined },
      "R2 throws": { PAYLOADS: { put: broken, head: broken } },
      "R2 rejects": { PAYLOADS: { put: rejects, head: rejects } },
      "R2's put rejects and its head finds nothing": {
        PAYLOADS: { put: rejects, head: () => Promise.resolve(null) },
      },
      "R2 is odd": { PAYLOADS: odd },
      "R2 is not bound": { PAYLOADS: undefined },
    };
    for (const [name, changed] of Object.entries(faults)) {
      key = await makeKey(); // one that no isolate remembers
      const answer = await sendBroken("pb", changed);
      expect(answer, name).toMatchObject({ status: 503, type: mediaTypes.pb });
      expect(answer.headers.get("retry-after"), name).toMatch(/^[1-9][0-9]*$/);
    }
    expect(await storedPayloads()).toEqual([]);
    const bug = await sendBroken("json", {}, sdkBody.json, {} as ExecutionContext);
    expect(bug, "a bug of ours").toMatchObject({ status: 503, type: mediaTypes.json });
    expect(bug.headers.get("retry-after")).toMatch(/^[1-9][0-9]*$/);
    // What was under way goes on: its put must not land in the next test.
    await vi.waitFor(async () => expect(await storedPayloads()).toHaveLength(1), 15_000);
  });

  test("F4 an R2 that does not answer is 503 once the put has had its minute", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    let answer: Answer | undefined;
    const asked = sendBroken("pb", { PAYLOADS: { put: never, head: never } }).then((given) => {
      answer = given;
    });
    for (let passed = 0; passed < 2 * limits.putTimeoutMs + 1000 && answer === undefined; passed += 1000) {
      await new Promise((resolve) => setImmediate(resolve)); // what is no timer goes on meanwhile
      await vi.advanceTimersByTimeAsync(1000);
    }
    await asked;
    expect(answer).toMatchObject({ status: 503 });
    expect(answer?.headers.get("retry-after")).toBe(String(limits.retryAfterSeconds));
  });

  test("F4 a doorbell that cannot be sent changes nothing: the payload is in R2", async () => {
    for (const changed of [
      { RING: { send: broken } },
      { RING: { send: rejects } },
      { RING: odd },
      { RING: undefined },
    ]) {
      expect((await sendBroken("pb", changed)).status).toBe(200);
    }
    expect(await storedPayloads()).toHaveLength(1);
  });

  /** Every reason for which a request can be refused: a new one does not compile until it is listed here. */
  const reasons: Readonly<Record<RefusalReason, number>> = {
    unknown_path: 404,
    wrong_method: 405,
    wrong_content_type: 415,
    wrong_content_encoding: 415,
    missing_key: 401,
    unknown_key: 401,
    revoked_key: 401,
    expired_key: 401,
    unknown_keys_flood: 429,
    rate_exceeded: 429,
    byte_rate_exceeded: 429,
    fruitless_requests: 429,
    quota_exceeded: 429,
    byte_quota_exceeded: 429,
    disabled_key: 403,
    forbidden_origin: 403,
    too_large: 413,
    corrupt_body: 400,
    all_spans_rejected: 400,
    busy: 503,
    slow_body: 503,
    broken_body: 503,
    keys_unreachable: 503,
    store_unreachable: 503,
    internal: 503,
  };

  test("F5 every 429 and 503 says when to try again, in whole seconds of at least 1, and nothing else does", async () => {
    for (const type of types) {
      for (const [reason, status] of Object.entries(reasons) as [RefusalReason, number][]) {
        const answer = await read(refused(type, { reason } as Refusal, "why and what to do"));
        expect(answer, reason).toMatchObject({
          status,
          type: mediaTypes[type],
          message: "why and what to do",
        });
        expect(answer.headers.get("retry-after") ?? "", reason).toMatch(
          [429, 503].includes(status) ? /^[1-9][0-9]*$/ : /^$/,
        );
      }
    }
  });

  test("F6 a bad key is 401 with WWW-Authenticate, a disabled one 403, and neither is to be retried", async () => {
    const bad = await read(await send("hr_no", "pb", sdkBody.pb));
    expect(bad.status).toBe(401);
    expect(bad.headers.get("www-authenticate")).toBe('Bearer realm="headrace"');
    key = await makeKey({ status: "disabled" });
    const disabled = await answerTo("pb", sdkBody.pb);
    expect(disabled).toMatchObject({ status: 403, message: expect.stringMatching(/is disabled/) });
    for (const answer of [bad, disabled]) {
      expect(answer.headers.get("retry-after")).toBeNull();
    }
  });
});

describe("JSON", () => {
  test("J1 ids are hex in any case, and base64 ids are rejected spans", async () => {
    expect(await jsonSpan({ traceId: "5B8EFFF798038103D269B633813FC60C" })).toMatchObject(taken);
    expect(await jsonSpan({ parentSpanId: "", spanId: "eee19b7ec3c1b173" })).toMatchObject(taken);
    for (const changes of [{ traceId: "W47/95gDgQPSabYzgT/GDA==" }, { spanId: "7uGbfsPBsXM=" }]) {
      expect(await jsonSpan(changes), JSON.stringify(changes)).toMatchObject({
        status: 400,
        message: expect.stringMatching(/"(W47|7uG).*" is (24|12) characters, not (32|16) hex digits/),
      });
    }
    for (const [changes, message] of [
      [{ parentSpanId: "7uGbfsPBsXM=" }, /1 parent_span_ids cannot be used/],
      [{ links: [{ traceId: "W47/95gDgQPSabYzgT/GDA==", spanId: "eee19b7ec3c1b173" }] }, /1 links have ids/],
    ] as const) {
      expect(await jsonSpan(changes)).toMatchObject({
        status: 200,
        rejectedSpans: 0,
        message: expect.stringMatching(message),
      });
    }
  });

  test("J2 enums are taken as integers and, as a Collector takes them, by name", async () => {
    expect(await jsonSpan({ kind: 3, status: { code: 2 } })).toMatchObject(taken);
    expect(await jsonSpan({ kind: "SPAN_KIND_SERVER", status: { code: "STATUS_CODE_OK" } })).toMatchObject(
      taken,
    );
    expect(await jsonSpan({ kind: "SERVER" })).toMatchObject({
      status: 200,
      rejectedSpans: 0,
      message: expect.stringMatching(/1 names are none of their enum's/),
    });
  });

  test("J3 unknown fields are ignored at every level", async () => {
    const odd = { surprise: { deep: [1, "x", null, { a: [] }] }, more: [[[]]], other: -1.5e300 };
    const body = {
      ...odd,
      resourceSpans: [
        {
          ...odd,
          resource: { ...odd, attributes: [{ ...odd, key: "a", value: { ...odd, stringValue: "b" } }] },
          scopeSpans: [
            {
              ...odd,
              scope: { ...odd, name: "lib" },
              spans: [
                freshJsonSpan({
                  ...odd,
                  events: [{ ...odd, name: "e" }],
                  links: [{ ...odd, spanId: "a1a2a3a4a5a6a7a8" }],
                  status: { ...odd, code: 1 },
                }),
              ],
            },
          ],
        },
      ],
    };
    expect(await answerTo("json", JSON.stringify(body))).toMatchObject(taken);
    expect(await onlyPayload()).toMatchObject({ spans: "1" });
  });

  test("J4 snake_case is taken, as a Collector takes it", async () => {
    const { traceId: id, startTimeUnixNano: start, ...rest } = freshJsonSpan();
    expect(await jsonSpan({ ...rest, traceId: undefined, trace_id: id })).toMatchObject(taken);
    const spans = [{ ...rest, trace_id: id, start_time_unix_nano: start }];
    const text = JSON.stringify({ resource_spans: [{ scope_spans: [{ spans }] }] });
    expect(await answerTo("json", text)).toMatchObject(taken);
    expect(await storedPayloads()).toHaveLength(2);
  });

  test("J5 64-bit integers are taken as strings and as numbers, without rounding", async () => {
    const attributes = [
      { key: "a", value: { intValue: "5" } },
      { key: "b", value: { intValue: 5 } },
      { key: "c", value: { intValue: "-9223372036854775808" } },
      { key: "d", value: { intValue: 9223372036854775807n.toString() } },
    ];
    expect(await jsonSpan({ attributes })).toMatchObject(taken);
    const startMs = Date.now() - 60_000;
    expect(await jsonSpan({ startTimeUnixNano: startMs * 1e6 })).toMatchObject(taken);
    expect(
      await jsonSpan({ attributes: [{ key: "a", value: { intValue: "9223372036854775808" } }] }),
    ).toMatchObject({ status: 400, message: expect.stringMatching(/integer out of range/) });
  });

  test("J6 bytesValue is base64 of either alphabet, with or without padding", async () => {
    for (const bytesValue of ["+/8=", "-_8=", "-_8", ""]) {
      expect(await jsonSpan({ attributes: [{ key: "b", value: { bytesValue } }] }), bytesValue).toMatchObject(
        taken,
      );
    }
    expect(await jsonSpan({ attributes: [{ key: "b", value: { bytesValue: "*" } }] })).toMatchObject({
      status: 400,
      message: expect.stringMatching(/base64/),
    });
  });

  test("J7 missing fields and null are defaults, and an AnyValue may be empty", async () => {
    const nulls = { name: null, kind: null, attributes: null, events: null, links: null, status: null };
    expect(await jsonSpan({ ...nulls, parentSpanId: null, traceState: null, flags: null })).toMatchObject(
      taken,
    );
    const attributes = [{ key: "a", value: {} }, { key: "b", value: null }, { key: "c" }, { value: {} }];
    expect(await jsonSpan({ attributes })).toMatchObject(taken);
  });

  test("J8 doubles take NaN and the infinities, integers take 1.0 and 1e3", async () => {
    const doubles = ["NaN", "Infinity", "-Infinity", "1.5", 1.5, 2, -0].map((doubleValue, index) => ({
      key: `d${index}`,
      value: { doubleValue },
    }));
    expect(await jsonSpan({ attributes: doubles })).toMatchObject(taken);
    const text = jsonRequestOf(freshJsonSpan({ attributes: [{ key: "i", value: { intValue: "@" } }] }));
    for (const [number, status] of [
      ["1.0", 200],
      ["1e3", 200],
      ['"1e3"', 200],
      ["1.5", 400],
      ["1e999999999", 400],
    ] as const) {
      expect((await answerTo("json", text.replace('"@"', number))).status, number).toBe(status);
    }
  });
});

describe("protobuf", () => {
  test("B1 unknown fields and groups are skipped, the last value wins, messages merge", async () => {
    const group = join(tag(99, 3), varintField(1, 7), bytesField(2, [1, 2]), tag(99, 4));
    const unknown = [varintField(100, 1), bytesField(101, [1]), fixed64Field(102, 1n), group];
    const twice = freshSpan(stringField(5, "later"), varintField(6, 3), unknown);
    const status = [bytesField(15, varintField(3, 2)), bytesField(15, stringField(2, "why"))];
    const body = join(requestOf(freshSpan(status), twice), unknown);
    expect(await answerTo("pb", body)).toMatchObject(taken);
    expect(await onlyPayload()).toMatchObject({ spans: "2" });
    // A resource that appears twice merges: its spans are one resource's.
    const resources = [
      bytesField(1, bytesField(1, keyValue("a", value.string("b")))),
      bytesField(1, bytesField(1, keyValue("c", value.string("d")))),
    ];
    const merged = bytesField(1, [resources, bytesField(2, bytesField(2, freshSpan()))]);
    expect(await answerTo("pb", merged)).toMatchObject(taken);
  });

  test("B1 a group that does not end, or ends another, is 400", async () => {
    for (const group of [tag(99, 3), join(tag(99, 3), tag(98, 4)), tag(99, 4)]) {
      expect((await answerTo("pb", join(requestOf(freshSpan()), group))).status).toBe(400);
    }
  });

  test("B2 a span of invalid ids is rejected, and the others are kept", async () => {
    const bad = [
      bytesField(1, new Uint8Array(16)),
      bytesField(1, traceId.subarray(1)),
      bytesField(1, new Uint8Array(17).fill(1)),
      bytesField(1, []),
      bytesField(2, new Uint8Array(8)),
      bytesField(2, [1]),
    ].map((field) => freshSpan(field));
    const good = [
      freshSpan(),
      freshSpan(bytesField(4, [])),
      freshSpan(bytesField(4, new Uint8Array(8).fill(7))),
      freshSpan(bytesField(4, [1, 2, 3])), // a root, and counted
    ];
    const answer = await answerTo("pb", requestOf(...bad, ...good));
    expect(answer).toMatchObject({ status: 200, rejectedSpans: bad.length });
    expect(answer.message).toMatch(/Stored with changes: 1 parent_span_ids cannot be used/);
    expect(await onlyPayload()).toMatchObject({ spans: String(good.length), repairs: "1" });
  });

  test.each(types)("B2 text that is not UTF-8 is stored with U+FFFD, and reported (%s)", async (type) => {
    const cut = [0x61, 0xc3];
    const [before = "", after = ""] = jsonRequestOf(freshJsonSpan({ name: "@" })).split("@");
    const encoder = new TextEncoder();
    const body =
      type === "pb"
        ? requestOf(freshSpan(), freshSpan(bytesField(5, cut)))
        : join(encoder.encode(before), cut, encoder.encode(after));
    expect(await answerTo(type, body)).toMatchObject({
      status: 200,
      rejectedSpans: 0,
      message: expect.stringMatching(/^Stored with changes: 1 texts are not UTF-8/),
    });
    const spans = type === "pb" ? "2" : "1";
    const repairedTexts = type === "pb" ? "1" : "0"; // those of JSON are repaired on the way to protobuf
    expect(await onlyPayload()).toMatchObject({ spans, repairs: "1", repairedTexts });
  });

  test("B3 no name, an end before the start and a repeated key are accepted", async () => {
    const start = BigInt(Date.now()) * 1_000_000n;
    const twice = [attribute("k", value.string("a")), attribute("k", value.string("b"))];
    const odd = freshSpan(stringField(5, ""), fixed64Field(7, start), fixed64Field(8, start - 1n), twice);
    expect(await answerTo("pb", requestOf(odd))).toMatchObject(taken);
  });

  test("B4 string indices of profiles are not part of traces and are ignored", async () => {
    const indexed = bytesField(9, [varintField(3, 1), bytesField(2, varintField(8, 2))]);
    expect(await answerTo("pb", requestOf(freshSpan(indexed)))).toMatchObject(taken);
  });

  test.each(types)(
    "B5 values nested 10,000 deep are null below the bound, and reported, and the next request is served (%s)",
    async (type) => {
      let nested: Uint8Array | string;
      if (type === "pb") {
        // From the inside out, each level's length written in front: quadratic in bytes, so built in one buffer.
        nested = requestOf(freshSpan(attribute("deep", deepList(10_000))));
      } else {
        const deep = `${'{"arrayValue":{"values":['.repeat(10_000)}${"]}}".repeat(10_000)}`;
        nested = jsonRequestOf(freshJsonSpan({ attributes: [{ key: "deep", value: "@" }] })).replace(
          '"@"',
          deep,
        );
      }
      expect(await answerTo(type, nested)).toMatchObject({
        status: 200,
        rejectedSpans: 0,
        message: expect.stringMatching(/1 values are nested too deep/),
      });
      expect(await answerTo(type, sdkBody[type])).toMatchObject(taken);
    },
  );

  test("B5 unknown fields nested without end are 400, never a crash", async () => {
    const groups = join(
      ...Array.from({ length: 10_000 }, () => tag(99, 3)),
      ...Array.from({ length: 10_000 }, () => tag(99, 4)),
    );
    expect(await answerTo("pb", join(requestOf(freshSpan()), groups))).toMatchObject({
      status: 400,
      message: expect.stringMatching(/groups nested deeper/),
    });
    const arrays = `{"unknown":${"[".repeat(100_000)}${"]".repeat(100_000)}}`;
    expect(await answerTo("json", arrays)).toMatchObject({
      status: 400,
      message: expect.stringMatching(/nested deeper/),
    });
  });
});

describe("a body that is not a trace request", () => {
  const framed = join([0, 0, 0, sdkBody.pb.length >> 8, sdkBody.pb.length & 255], sdkBody.pb);
  const now = BigInt(Date.now()) * 1_000_000n;
  const points = bytesField(1, [fixed64Field(3, now), fixed64Field(4, 0x3ff0000000000000n)]);
  const items = (...item: readonly Uint8Array[]) =>
    bytesField(1, [
      bytesField(1, bytesField(1, keyValue("a", value.string("b")))),
      bytesField(2, bytesField(2, item)),
    ]);
  const json = (text: string) => new TextEncoder().encode(text);
  const mistakes: readonly (readonly [string, Type, Uint8Array, RegExp])[] = [
    [
      "gzip without its header",
      "pb",
      gzipped(sdkBody.pb),
      /^The body is gzip, .*Content-Encoding: gzip\. \(/,
    ],
    ["gzip without its header", "json", gzipped(sdkBody.json), /^The body is gzip, /],
    ["zstd without its header", "pb", new Uint8Array(zstdCompressSync(sdkBody.pb)), /Content-Encoding: zstd/],
    ["zlib without its header", "pb", new Uint8Array(deflateSync(sdkBody.pb)), /Content-Encoding: deflate/],
    ["a gRPC frame", "pb", framed, /framed as gRPC: set OTEL_EXPORTER_OTLP_PROTOCOL=http\/protobuf/],
    ["JSON", "pb", sdkBody.json, /^The body is JSON, .*send application\/json/],
    ["protobuf", "json", sdkBody.pb, /^The body is protobuf, .*send application\/x-protobuf/],
    [
      "a gauge",
      "pb",
      items(stringField(1, "cpu"), stringField(3, "ms"), bytesField(5, points)),
      /^The body holds metrics/,
    ],
    [
      "a sum",
      "pb",
      items(stringField(1, "requests.of.a.da"), bytesField(7, points)),
      /^The body holds metrics/,
    ],
    ["a histogram", "pb", items(stringField(1, "h"), bytesField(9, points)), /^The body holds metrics/],
    [
      "a log",
      "pb",
      items(fixed64Field(1, now), varintField(2, 9), bytesField(5, stringField(1, "x"))),
      /holds logs/,
    ],
    [
      "an observed log",
      "pb",
      items(fixed64Field(11, now), bytesField(5, stringField(1, "x"))),
      /^The body holds logs/,
    ],
    [
      "metrics",
      "json",
      json('{"resourceMetrics":[{"scopeMetrics":[]}]}'),
      /holds metrics.*OTEL_METRICS_EXPORTER=none/,
    ],
    ["logs", "json", json('{ "resource_logs" : [{}]}'), /^The body holds logs/],
  ];

  test.each(mistakes)("F3 %s sent as %s is 400, and named", async (_name, type, body, message) => {
    const answer = await answerTo(type, body);
    expect(answer).toMatchObject({ status: 400, message: expect.stringMatching(message) });
    expect(await storedPayloads()).toEqual([]);
  });

  test("F3 an object where a time belongs is 400, and named", async () => {
    expect(await jsonSpan({ startTimeUnixNano: { low: 1, high: 2 } })).toMatchObject({
      status: 400,
      message: expect.stringMatching(/startTimeUnixNano: expected a number, not an object/),
    });
  });
});

describe("beside the specification", () => {
  test("D1 equal bytes sent again are the same payload: an extension, and the answer names it", async () => {
    // Bytes of its own: this isolate knows those of the tests before, should a minute have ended meanwhile.
    const body = requestOf(join(freshSpan(), bytesField(1, crypto.getRandomValues(new Uint8Array(16)))));
    const first = await answerTo("pb", body);
    const second = await answerTo("pb", body);
    expect(first.headers.get("x-headrace-duplicate")).toBeNull();
    expect(second.headers.get("x-headrace-duplicate")).toBe("1");
    expect(second.headers.get("x-headrace-payload")).toBe(first.headers.get("x-headrace-payload"));
  });

  test("D1 a retry that Python's exporter compressed anew, a second later, is the same payload", async () => {
    const one = gzipped(sdkBody.pb);
    const other = one.slice();
    other.set([1, 2, 3, 4], 4); // MTIME
    other[9] = 255; // OS
    const first = await answerTo("pb", one, { "content-encoding": "gzip" });
    const second = await answerTo("pb", other, { "content-encoding": "gzip" });
    expect(second.headers.get("x-headrace-payload")).toBe(first.headers.get("x-headrace-payload"));
  });

  test("E1 gRPC is 415, and the answer says how to switch", async () => {
    for (const media of ["application/grpc", "application/grpc+proto", "application/grpc-web"]) {
      const answer = await answerTo("pb", sdkBody.pb, { "content-type": media });
      expect(answer).toMatchObject({
        status: 415,
        message: expect.stringMatching(/OTEL_EXPORTER_OTLP_PROTOCOL=http\/protobuf/),
      });
    }
    const path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    const response = await ingress.fetch(`${origin}${path}`, {
      method: "POST",
      headers: { "content-type": "application/grpc" },
      body: new Uint8Array(5),
    });
    expect(response.status).toBe(404);
  });
});

/** A body of good spans and then bad ones. */
async function badSpans(type: Type, good: number, bad: number): Promise<Uint8Array | string> {
  if (type === "pb") {
    return requestOf(
      ...Array.from({ length: good }, () => freshSpan()),
      ...Array.from({ length: bad }, () => freshSpan(bytesField(1, new Uint8Array(16)))),
    );
  }
  return jsonRequestOf(
    ...Array.from({ length: good }, () => freshJsonSpan()),
    ...Array.from({ length: bad }, () => freshJsonSpan({ spanId: "0000000000000000" })),
  );
}

/** `bytesField` for large contents. */
function bytesFieldOf(number: number, content: Uint8Array): Uint8Array {
  const head = join(tag(number, 2), varint(content.length));
  const field = new Uint8Array(head.length + content.length);
  field.set(head);
  field.set(content, head.length);
  return field;
}

/** An AnyValue of arrays in arrays. */
function deepList(levels: number): Uint8Array {
  const heads: Uint8Array[] = [];
  let length = 0;
  for (let level = 0; level < levels; level++) {
    const values = join(tag(1, 2), varint(length));
    const array = join(tag(5, 2), varint(values.length + length));
    heads.push(join(array, values));
    length += array.length + values.length;
  }
  return join(...heads.reverse());
}
