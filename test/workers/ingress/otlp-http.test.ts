import { reset } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { gzipSync } from "node:zlib";
import * as v from "valibot";
import { beforeEach, describe, expect, inject, test } from "vitest";
import { apiKeyName, formatApiKey } from "../../../shared/api-key.ts";
import { limits } from "../../../shared/limits.ts";
import { payloadMetadataSchema } from "../../../shared/messages.ts";
import { parsePayloadKey } from "../../../shared/payload-key.ts";
import type { IngressBindings } from "../../../workers/ingress/bindings.ts";
import { bytesField, join } from "../../fixtures/protobuf.ts";
import { freshSpan, requestOf } from "./sender.ts";

const bindings = env as unknown as IngressBindings;
const ingress = exports as unknown as { default: Fetcher };
const key = formatApiKey(crypto.getRandomValues(new Uint8Array(52)));
const record = {
  tenant: "acme",
  name: "test",
  status: "active",
  spansPerSecond: null,
  burstSpans: null,
  spansPerMonth: null,
  bytesPerSecond: null,
  burstBytes: null,
  bytesPerMonth: null,
  origins: ["https://shop.example"],
  sample: 1,
  spanAgeDays: 30,
};
const protobuf = Uint8Array.fromBase64(inject("bodies").protobuf);
const json = Uint8Array.fromBase64(inject("bodies").json);

const url = "https://ingress.example/v1/traces";

function post(body: BodyInit | null, headers: Record<string, string> = {}): Promise<Response> {
  const all = { "x-api-key": key, "content-type": "application/x-protobuf", ...headers };
  const sent = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== ""));
  return ingress.default.fetch(url, { method: "POST", headers: sent, body });
}

async function stored(): Promise<R2Object[]> {
  return (await bindings.PAYLOADS.list({ include: ["customMetadata"] })).objects;
}

/** The message of a google.rpc.Status body, in either encoding: field 2 of the protobuf, `message` of the JSON. */
async function statusMessage(response: Response): Promise<string> {
  if (response.headers.get("content-type") === "application/json") {
    return v.parse(v.object({ message: v.string() }), await response.json()).message;
  }
  const bytes = new Uint8Array(await response.arrayBuffer());
  expect(bytes[0], "field 2, length-delimited").toBe(0x12);
  const start = (bytes[1] ?? 0) < 0x80 ? 2 : 3;
  return new TextDecoder().decode(bytes.subarray(start));
}

beforeEach(async () => {
  await reset();
  await bindings.KEYS.put(await apiKeyName(key), JSON.stringify(record));
});

describe("an accepted request", () => {
  test("is in R2 byte for byte when the 200 arrives, under its key and with its metadata", async () => {
    const before = Date.now();
    const response = await post(protobuf);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("application/x-protobuf");
    expect((await response.arrayBuffer()).byteLength).toBe(0);

    const [object, ...others] = await stored();
    expect(others).toEqual([]);
    const parts = parsePayloadKey(object?.key ?? "");
    expect(parts?.tenant).toBe("acme");
    expect(response.headers.get("x-headrace-payload")).toBe(parts?.id);
    const metadata = v.parse(payloadMetadataSchema, object?.customMetadata);
    expect(metadata).toMatchObject({ type: "pb", encoding: "identity", spans: 10, rejectedSpans: 0 });
    expect(metadata.inflatedBytes).toBe(protobuf.length);
    expect(metadata.outputBytes).toBeGreaterThan(protobuf.length / 2);
    expect(metadata.arrival).toBeGreaterThanOrEqual(before);
    expect(metadata.startMinMs).toBe(metadata.arrival - limits.spanAgeCeilingMs);
    expect(metadata.endMinMs).toBe(metadata.arrival - limits.spanAgeMaxMs);
    const body = await (await bindings.PAYLOADS.get(object?.key ?? ""))?.arrayBuffer();
    expect(new Uint8Array(body ?? new ArrayBuffer(0))).toEqual(protobuf);
  });

  test("as JSON is answered in JSON", async () => {
    const response = await post(json, { "content-type": "application/json; charset=utf-8" });
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({});
    expect((await stored())[0]?.customMetadata).toMatchObject({ type: "json", spans: "10" });
  });

  test("under gzip is stored as received", async () => {
    const body = new Uint8Array(gzipSync(protobuf));
    expect((await post(body, { "content-encoding": "gzip" })).status).toBe(200);
    const [object] = await stored();
    expect(object?.size).toBe(body.length);
    expect(object?.customMetadata).toMatchObject({
      encoding: "gzip",
      inflatedBytes: String(protobuf.length),
    });
  });

  test("that is sent again with equal bytes is the same payload, and the answer says so", async () => {
    // Bytes of its own: this isolate knows those of the tests before, should a minute have ended meanwhile.
    const body = requestOf(join(freshSpan(), bytesField(1, crypto.getRandomValues(new Uint8Array(16)))));
    const first = await post(body);
    const second = await post(body);
    expect(first.headers.get("x-headrace-duplicate")).toBeNull();
    expect(second.status).toBe(200);
    expect(second.headers.get("x-headrace-duplicate")).toBe("1");
    expect(second.headers.get("x-headrace-payload")).toBe(first.headers.get("x-headrace-payload"));
  });

  test("takes the key from Authorization: Bearer as well", async () => {
    expect((await post(protobuf, { "x-api-key": "", authorization: `Bearer ${key}` })).status).toBe(200);
  });

  test("takes a right x-api-key beside another's Authorization", async () => {
    for (const authorization of ["Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "Basic dXNlcjpwYXNz", "Bearer"]) {
      expect((await post(protobuf, { authorization })).status, authorization).toBe(200);
    }
  });

  test("takes a path with a slash too many, as a base endpoint that ends in one gives", async () => {
    for (const path of ["//v1/traces", "/v1//traces", "/v1/traces/", "//v1/traces//?a=1"]) {
      const headers = { "x-api-key": key, "content-type": "application/x-protobuf" };
      const response = await ingress.default.fetch(`https://ingress.example${path}`, {
        method: "POST",
        headers,
        body: protobuf,
      });
      expect(response.status, path).toBe(200);
    }
    expect(await stored()).toHaveLength(1);
  });

  test("without spans is a success, and nothing is stored", async () => {
    expect((await post(new Uint8Array(0))).status).toBe(200);
    expect((await post("{}", { "content-type": "application/json" })).status).toBe(200);
    expect(await stored()).toEqual([]);
  });

  test("with a body that only looks like spans gets a warning instead of silence", async () => {
    const body = JSON.stringify({
      ResourceSpans: [{ scopeSpans: [{ spans: [{ name: "x".repeat(100) }] }] }],
    });
    const response = await post(body, { "content-type": "application/json" });
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      partialSuccess: { errorMessage: expect.stringContaining("holds no span") },
    });
    expect(await stored()).toEqual([]);
  });
});

describe("a refused request", () => {
  const zeros = new Uint8Array(limits.bodyBytesMax + 1);
  const bomb = new Uint8Array(gzipSync(new Uint8Array(limits.inflatedBytesMax + 1)));
  const gzipped = new Uint8Array(gzipSync(protobuf));
  const mistyped = `${key.slice(0, -1)}${key.endsWith("a") ? "b" : "a"}`;
  const unknown = formatApiKey(crypto.getRandomValues(new Uint8Array(52)));

  const refusals: readonly [string, number, RegExp, () => Promise<Response>][] = [
    ["no key", 401, /No API key/, () => post(protobuf, { "x-api-key": "" })],
    ["a mistyped key", 401, /mistyped/, () => post(protobuf, { "x-api-key": mistyped })],
    ["an unknown key", 401, /unknown or was revoked/, () => post(protobuf, { "x-api-key": unknown })],
    [
      "a page of another origin",
      403,
      /https:\/\/evil\.example/,
      () => post(protobuf, { origin: "https://evil.example" }),
    ],
    ["another content type", 415, /text\/plain/, () => post(protobuf, { "content-type": "text/plain" })],
    ["gRPC", 415, /http\/protobuf/, () => post(protobuf, { "content-type": "application/grpc" })],
    ["another encoding", 415, /identity, gzip/, () => post(protobuf, { "content-encoding": "br" })],
    [
      "gzip that is cut off",
      400,
      /not valid gzip/,
      () => post(gzipped.subarray(0, 100), { "content-encoding": "gzip" }),
    ],
    ["gzip that is none", 400, /not valid gzip/, () => post(protobuf, { "content-encoding": "gzip" })],
    [
      "protobuf that is cut off",
      400,
      /resource_spans/,
      () => post(protobuf.subarray(0, protobuf.length - 1)),
    ],
    ["JSON that is none", 400, /not OTLP JSON/, () => post("{nope", { "content-type": "application/json" })],
    ["a body over the limit", 413, /20971520 bytes/, () => post(zeros)],
    [
      "a body that inflates over the limit",
      413,
      /20971520 bytes/,
      () => post(bomb, { "content-encoding": "gzip" }),
    ],
  ];

  test.each(refusals)(
    "for %s is %i, says why, and nothing of it is stored",
    async (_name, status, message, send) => {
      const response = await send();
      expect(response.status).toBe(status);
      expect(await statusMessage(response)).toMatch(message);
      expect(response.headers.get("www-authenticate")).toBe(
        status === 401 ? 'Bearer realm="headrace"' : null,
      );
      expect(await stored()).toEqual([]);
    },
  );

  test("for its key says which header it means and what is missing", async () => {
    const said = async (headers: Record<string, string>) => {
      const response = await post(protobuf, { "x-api-key": "", ...headers });
      expect(response.status).toBe(401);
      return await statusMessage(response);
    };
    expect(await said({ authorization: key })).toMatch(/a key without `Bearer` before it/);
    expect(await said({ authorization: `Api-Token ${key}` })).toMatch(/another scheme than `Bearer`/);
    expect(await said({ authorization: `Bearer%20${key}` })).toMatch(
      /`Bearer%20` where `Bearer` and a space/,
    );
    expect(await said({ authorization: "Basic dXNlcjpwYXNz" })).toMatch(
      /no `Bearer` key, and there is no `x-api-key`/,
    );
    expect(await said({ authorization: "Bearer eyJh.e30.c2ln" })).toMatch(
      /sent in Authorization is not a Headrace API key/,
    );
    expect(await said({ "x-api-key": "abc" })).toMatch(/sent in x-api-key is not a Headrace API key/);
    expect(await said({ "x-api-key": mistyped })).toMatch(/in x-api-key is mistyped/);
    expect(await said({ authorization: `Bearer ${unknown}`, "x-api-key": "x" })).toMatch(
      /in Authorization is unknown/,
    );
  });

  test("for its key repeats nothing of a foreign Authorization", async () => {
    for (const authorization of [
      "s3cr3t",
      "Basic s3cr3t",
      "Bearer s3cr3t",
      "Bearer%20s3cr3t",
      "s3cr3t hr_x",
    ]) {
      const message = await statusMessage(await post(protobuf, { "x-api-key": "", authorization }));
      expect(message, authorization).not.toMatch(/s3cr3t/);
    }
  });

  test("is answered in the request's encoding", async () => {
    expect((await post(protobuf, { "x-api-key": "" })).headers.get("content-type")).toBe(
      "application/x-protobuf",
    );
    const response = await post(json, { "x-api-key": "", "content-type": "application/json" });
    expect(response.headers.get("content-type")).toBe("application/json");
  });

  test("for another method is 405 and names the right one", async () => {
    const response = await ingress.default.fetch(url, { headers: { "x-api-key": key } });
    expect(response.status).toBe(405);
    expect(response.headers.get("allow")).toBe("POST, OPTIONS");
  });

  test("for another path is 404 and says where traces go", async () => {
    for (const path of ["/", "/v1/logs", "/v1/metrics", "/v1/traces/x"]) {
      const response = await ingress.default.fetch(`https://ingress.example${path}`, { method: "POST" });
      expect(response.status, path).toBe(404);
      expect(await statusMessage(response), path).toMatch(/\/v1\/traces/);
    }
  });

  test("over a limit without Content-Length is refused while it is read", async () => {
    let sent = 0;
    const endless = new ReadableStream({
      pull(controller) {
        sent += 65_536;
        controller.enqueue(new Uint8Array(65_536));
      },
    });
    const response = await post(endless);
    expect(response.status).toBe(413);
    expect(sent).toBeLessThan(limits.bodyBytesMax + 1024 * 1024);
  });
});

describe("when a part of the platform fails", () => {
  const broken = (): never => {
    throw new Error("a secret detail of the platform");
  };
  const context = { waitUntil: () => undefined, passThroughOnException: () => undefined, props: {} };

  async function postWith(
    changed: Partial<Record<keyof IngressBindings, unknown>>,
    apiKey = key,
    ctx: object = context,
  ): Promise<Response> {
    const { default: worker } = await import("../../../workers/ingress/worker.ts");
    const request = new Request(url, {
      method: "POST",
      headers: { "x-api-key": apiKey, "content-type": "application/x-protobuf" },
      body: protobuf,
    });
    const typed = request as Parameters<typeof worker.fetch>[0];
    return await worker.fetch(typed, { ...bindings, ...changed } as IngressBindings, ctx as ExecutionContext);
  }

  test("KV down: a remembered key goes on working, an unknown one is 503 and never 401", async () => {
    const other = formatApiKey(crypto.getRandomValues(new Uint8Array(52)));
    expect((await postWith({})).status).toBe(200);
    expect((await postWith({ KEYS: { get: broken } })).status).toBe(200);
    const response = await postWith({ KEYS: { get: broken } }, other);
    expect(response.status).toBe(503);
    expect(response.headers.get("retry-after")).toBe(String(limits.retryAfterSeconds));
  });

  test("a made-up key costs no look-up", async () => {
    const response = await postWith({ KEYS: { get: broken } }, `hr_${"a".repeat(32)}`);
    expect(response.status).toBe(401);
  });

  test("R2 down: 503 with Retry-After, and no word about our insides", async () => {
    const response = await postWith({ PAYLOADS: { put: broken, head: broken } });
    expect(response.status).toBe(503);
    expect(response.headers.get("retry-after")).toBe(String(limits.retryAfterSeconds));
    expect(await statusMessage(response)).not.toMatch(/secret|platform/);
  });

  test("a put that throws but landed is a 200: a head finds the object", async () => {
    const put = async (...args: Parameters<R2Bucket["put"]>) => {
      await bindings.PAYLOADS.put(...args);
      return broken();
    };
    const response = await postWith({
      PAYLOADS: { put, head: bindings.PAYLOADS.head.bind(bindings.PAYLOADS) },
    });
    expect(response.status).toBe(200);
    expect(await stored()).toHaveLength(1);
  });

  test("a doorbell that is not taken changes nothing for the client", async () => {
    expect((await postWith({ RING: { send: broken } })).status).toBe(200);
    expect(await stored()).toHaveLength(1);
  });

  test("a bug of ours is 503, never 500", async () => {
    const response = await postWith({}, key, { waitUntil: undefined });
    expect(response.status).toBe(503);
    expect(await statusMessage(response)).toBe("The request could not be handled at this moment. Try again.");
  });
});

describe("GET /healthz", () => {
  test("is 200, and so is HEAD, without a body", async () => {
    for (const method of ["GET", "HEAD"]) {
      const response = await ingress.default.fetch("https://ingress.example/healthz", { method });
      expect(response.status, method).toBe(200);
      expect(await response.text(), method).toBe(method === "GET" ? "ok\n" : "");
    }
  });
});

describe("a browser", () => {
  test("whose URL is wrong gets its preflight, and can read the 404", async () => {
    for (const path of ["/", "//v1/traces", "/v1/trace", "/v1/metrics", "/healthz"]) {
      const headers = { origin: "https://any.example", "access-control-request-method": "POST" };
      const preflight = await ingress.default.fetch(`https://ingress.example${path}`, {
        method: "OPTIONS",
        headers,
      });
      expect(preflight.status, path).toBe(204);
      expect(preflight.headers.get("access-control-allow-origin"), path).toBe("https://any.example");
    }
    const lost = await ingress.default.fetch("https://ingress.example/v1/trace", {
      method: "POST",
      headers: { origin: "https://any.example" },
    });
    expect(lost.status).toBe(404);
    expect(lost.headers.get("access-control-allow-origin")).toBe("https://any.example");
  });

  test("gets its preflight answered for any origin, and its refusal readable", async () => {
    const preflight = await ingress.default.fetch(url, {
      method: "OPTIONS",
      headers: { origin: "https://any.example", "access-control-request-headers": "content-type,x-api-key" },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("access-control-allow-origin")).toBe("https://any.example");
    expect(preflight.headers.get("access-control-allow-headers")).toBe("content-type,x-api-key");
    const refusal = await post(protobuf, { origin: "https://evil.example" });
    expect(refusal.headers.get("access-control-allow-origin")).toBe("https://evil.example");
    const good = await post(protobuf, { origin: "https://shop.example" });
    expect(good.status).toBe(200);
  });
});
