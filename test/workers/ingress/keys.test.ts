import { createExecutionContext, reset } from "cloudflare:test";
import * as v from "valibot";
import { beforeEach, describe, expect, inject, test, vi } from "vitest";
import { apiKeyId, apiKeyName, formatApiKey } from "../../../shared/api-key.ts";
import { limits } from "../../../shared/limits.ts";
import type { ConsoleBindings } from "../../../workers/console/bindings.ts";
import consoleWorker from "../../../workers/console/worker.ts";
import { authenticate, type KeyBindings, KeyMemory } from "../../../workers/ingress/authenticate.ts";
import { Tally } from "../../../workers/ingress/tally.ts";
import worker from "../../../workers/ingress/worker.ts";
import {
  bindings,
  freshJsonSpan,
  ingress,
  jsonRequestOf,
  makeKey,
  mediaTypes,
  origin,
  send,
  storedPayloads,
} from "./sender.ts";

const adminToken = "token-of-the-operator";
const body = Uint8Array.fromBase64(inject("bodies").protobuf);

/** Asks the console, which shares the namespace KEYS with the ingress. */
async function ask(
  method: string,
  path: string,
  sent?: unknown,
  token = adminToken,
): Promise<{ readonly status: number; readonly said: Record<string, unknown> }> {
  const request = new Request(`https://console.example${path}`, {
    method,
    headers: { authorization: `Bearer ${token}` },
    ...(sent === undefined ? {} : { body: typeof sent === "string" ? sent : JSON.stringify(sent) }),
  });
  const { KEYS, PAYLOADS } = bindings;
  const env = { KEYS, PAYLOADS, ADMIN_TOKEN: adminToken } as unknown as ConsoleBindings;
  const response = await consoleWorker.fetch(request as Parameters<typeof consoleWorker.fetch>[0], env);
  return { status: response.status, said: (await response.json()) as Record<string, unknown> };
}

const madeSchema = v.looseObject({ key: v.string(), id: v.string() });

async function make(changes: object = {}): Promise<v.InferOutput<typeof madeSchema>> {
  const { status, said } = await ask("POST", "/api/keys", { tenant: "acme", name: "web", ...changes });
  expect(status).toBe(201);
  return v.parse(madeSchema, said);
}

/** One try with a key, with a memory of one's own and KV as it is or broken. Answers "ok" or the reason of a refusal. */
async function tryKey(
  key: string,
  memory: KeyMemory,
  now: number,
  changed: Partial<KeyBindings> = {},
  address = "192.0.2.1",
): Promise<string> {
  const headers = new Headers({ "x-api-key": key, "cf-connecting-ip": address });
  const found = await authenticate(headers, { ...bindings, ...changed }, memory, now, new Tally());
  return found.ok ? "ok" : found.refusal.reason;
}

const broken = {
  get: (): never => {
    throw new Error("KV is down");
  },
} as unknown as KVNamespace;

/** KV that counts its reads. */
function countingKeys(): { readonly KEYS: KVNamespace; reads(): number } {
  let count = 0;
  const get = (name: string, type: "json"): Promise<unknown> => {
    count++;
    return bindings.KEYS.get(name, type);
  };
  return { KEYS: { get } as unknown as KVNamespace, reads: () => count };
}

beforeEach(async () => {
  await reset();
});

describe("a key made at the console", () => {
  test("sends at once, is shown once, and only its hash is kept", async () => {
    const { key, id } = await make({ origins: ["https://shop.example"], sample: 0.5 });
    expect(id).toBe(await apiKeyId(key));
    expect((await send(key, "pb", body)).status).toBe(200);

    const shown = {
      id,
      tenant: "acme",
      name: "web",
      status: "active",
      spansPerSecond: null,
      burstSpans: null,
      spansPerMonth: null,
      bytesPerSecond: null,
      burstBytes: null,
      bytesPerMonth: null,
      origins: ["https://shop.example"],
      sample: 0.5,
      spanAgeDays: 30,
      account: id,
      createdAt: expect.stringMatching(/^20\d\d-.*Z$/),
      expiresAt: null,
    };
    expect((await ask("GET", "/api/keys")).said).toEqual({ keys: [shown] });
    expect((await ask("GET", `/api/keys/${id}`)).said).toEqual(shown);
    const entries = await bindings.KEYS.list();
    const kept = JSON.stringify([entries, await bindings.KEYS.get(`key:${id}`)]);
    expect(kept).not.toContain(key.slice(3));
  });

  test("is listed from KV's metadata: no entry is read", async () => {
    await make();
    await make({ tenant: "other" });
    const get = (): never => {
      throw new Error("an entry was read");
    };
    const env = {
      KEYS: { list: bindings.KEYS.list.bind(bindings.KEYS), get },
      ADMIN_TOKEN: adminToken,
    } as unknown as ConsoleBindings;
    const request = new Request("https://console.example/api/keys?tenant=other", {
      headers: { authorization: `Bearer ${adminToken}` },
    });
    const response = await consoleWorker.fetch(request as Parameters<typeof consoleWorker.fetch>[0], env);
    expect(await response.json()).toMatchObject({ keys: [{ tenant: "other" }] });
  });

  test("that an older version wrote without metadata is listed too", async () => {
    await makeKey({ name: "old" });
    expect((await ask("GET", "/api/keys")).said).toMatchObject({ keys: [{ name: "old", expiresAt: null }] });
  });

  test("is changed field by field", async () => {
    const { id } = await make({ spansPerSecond: 100, burstSpans: 1000 });
    const { status, said } = await ask("PATCH", `/api/keys/${id}`, { name: "shop", spansPerMonth: 5 });
    expect(status).toBe(200);
    expect(said).toMatchObject({ name: "shop", spansPerSecond: 100, burstSpans: 1000, spansPerMonth: 5 });
    expect((await ask("GET", `/api/keys/${id}`)).said).toEqual(said);
    expect((await ask("PATCH", `/api/keys/${id}`, { spansPerSecond: null })).said).toEqual({
      error: expect.stringMatching(/burstSpans needs spansPerSecond/),
    });
  });

  test("works again after it was disabled and enabled", async () => {
    const { key, id } = await make();
    const memory = () => new KeyMemory();
    await ask("PATCH", `/api/keys/${id}`, { status: "disabled" });
    expect(await tryKey(key, memory(), 0)).toBe("disabled_key");
    await ask("PATCH", `/api/keys/${id}`, { status: "active" });
    expect(await tryKey(key, memory(), 0)).toBe("ok");
  });

  test("that is rotated works until the given time, and its successor has its limits and its allowance", async () => {
    const old = await make({ spansPerSecond: 7, name: "rotated" });
    const until = new Date(Date.now() + 3_600_000);
    const answered = await ask("POST", `/api/keys/${old.id}/rotate`, { until: until.toISOString() });
    expect(answered.status).toBe(201);
    const next = v.parse(madeSchema, answered.said);
    expect(next).toMatchObject({ spansPerSecond: 7, name: "rotated", account: old.id, expiresAt: null });
    expect(next.key).not.toBe(old.key);

    const memory = new KeyMemory();
    const before = until.getTime() - 1;
    expect(await tryKey(old.key, memory, before)).toBe("ok");
    expect(await tryKey(next.key, memory, before)).toBe("ok");
    expect(await tryKey(old.key, memory, until.getTime()), "however well it is remembered").toBe(
      "expired_key",
    );
    expect(await tryKey(next.key, memory, until.getTime())).toBe("ok");

    const again = v.parse(madeSchema, (await ask("POST", `/api/keys/${next.id}/rotate`, {})).said);
    expect(again["account"]).toBe(old.id);
  });

  test("that is revoked stops within the memory time, and for good", async () => {
    const { key, id } = await make();
    const memory = new KeyMemory();
    expect(await tryKey(key, memory, 0)).toBe("ok");
    expect((await ask("POST", `/api/keys/${id}/revoke`)).said).toMatchObject({ status: "revoked" });
    expect(await tryKey(key, memory, limits.keyMemoryMs - 1)).toBe("ok");
    expect(await tryKey(key, memory, limits.keyMemoryMs)).toBe("revoked_key");
    expect((await ask("PATCH", `/api/keys/${id}`, { status: "active" })).status).toBe(409);
    expect((await ask("POST", `/api/keys/${id}/rotate`, {})).status).toBe(409);
    expect((await ask("GET", "/api/keys")).said).toMatchObject({ keys: [{ id, status: "revoked" }] });
    expect((await send(key, "pb", body)).status).toBe(401);
  });
});

describe("an isolate that looks up many keys", () => {
  const lookUps = limits.lookUpsPerKeyList;
  const memoryMs = limits.keyListMemoryMs;

  /** The namespace, of which each operation is noted. */
  function noted(): { readonly KEYS: KVNamespace; readonly operations: string[] } {
    const operations: string[] = [];
    const { KEYS } = bindings;
    const get = (name: string, type: "json"): Promise<unknown> => {
      operations.push("get");
      return KEYS.get(name, type);
    };
    const list = (options: KVNamespaceListOptions): Promise<unknown> => {
      operations.push("list");
      return KEYS.list(options);
    };
    return { KEYS: { get, list } as unknown as KVNamespace, operations };
  }

  async function makeMany(count: number): Promise<{ readonly key: string; readonly id: string }[]> {
    return await Promise.all(Array.from({ length: count }, () => make()));
  }

  test("lists them, and looks none up that the list has", async () => {
    const keys = await makeMany(lookUps + 5);
    const memory = new KeyMemory();
    const { KEYS, operations } = noted();
    for (const { key } of keys.slice(0, lookUps)) {
      expect(memory.list.isDue(0)).toBe(false);
      expect(await tryKey(key, memory, 0, { KEYS })).toBe("ok");
    }
    expect(memory.list.isDue(0)).toBe(true);
    await memory.list.read(KEYS, 0);
    expect(memory.list.isDue(1)).toBe(false);
    operations.splice(0);
    for (const { key } of keys) {
      expect(await tryKey(key, memory, limits.keyMemoryMs, { KEYS })).toBe("ok");
    }
    expect(operations).toEqual([]);
    const made = await make();
    expect(await tryKey(made.key, memory, limits.keyMemoryMs, { KEYS }), "made since").toBe("ok");
    expect(operations).toEqual(["get"]);

    expect(memory.list.isDue(memoryMs)).toBe(true);
    await memory.list.read(KEYS, memoryMs);
    for (const { key } of keys) {
      expect(await tryKey(key, memory, memoryMs, { KEYS })).toBe("ok");
    }
    expect(memory.list.isDue(2 * memoryMs), "those that it spared count").toBe(true);
    expect(memory.list.isDue(4 * memoryMs)).toBe(false);
  });

  test("lets a revoked one send until a minute after the list was begun, and no longer", async () => {
    const keys = await makeMany(lookUps);
    const memory = new KeyMemory();
    await memory.list.read(bindings.KEYS, 0);
    await ask("POST", `/api/keys/${keys[0]?.id}/revoke`);
    const key = keys[0]?.key ?? "";
    expect(await tryKey(key, memory, memoryMs - 1)).toBe("ok");
    expect(await tryKey(key, memory, memoryMs)).toBe("revoked_key");
    await memory.list.read(bindings.KEYS, 2 * memoryMs);
    expect(await tryKey(key, memory, 2 * memoryMs + limits.keyMemoryMs), "and by a list").toBe("revoked_key");
  });

  test("gives a list up that would cost more than its look-ups, and waits for twice as many", async () => {
    const keys = await makeMany(lookUps);
    const memory = new KeyMemory();
    const { KEYS, operations } = noted();
    const endless = {
      get: KEYS.get,
      list: async (options: KVNamespaceListOptions) => ({
        ...(await KEYS.list(options)),
        list_complete: false,
        cursor: "more",
      }),
    } as unknown as KVNamespace;
    for (const { key } of keys) {
      await tryKey(key, memory, 0, { KEYS });
    }
    operations.splice(0);
    await memory.list.read(endless, 0);
    expect(operations).toEqual(["list"]);
    for (const { key } of keys) {
      await tryKey(key, memory, memoryMs, { KEYS });
    }
    expect(memory.list.isDue(memoryMs)).toBe(false);
  });

  test("goes on by look-ups when KV lists nothing, and lists again a minute later", async () => {
    const keys = await makeMany(lookUps);
    const memory = new KeyMemory();
    for (const { key } of keys) {
      await tryKey(key, memory, 0);
    }
    const failing = { list: () => Promise.reject(new Error("KV lists nothing")) } as unknown as KVNamespace;
    await memory.list.read(failing, 0);
    expect(memory.list.isDue(1)).toBe(false);
    expect(await tryKey(keys[0]?.key ?? "", memory, limits.keyMemoryMs)).toBe("ok");
    expect(memory.list.isDue(memoryMs)).toBe(true);

    const hanging = { list: () => new Promise(() => undefined) } as unknown as KVNamespace;
    void memory.list.read(hanging, memoryMs);
    expect(memory.list.isDue(2 * memoryMs - 1), "one that hangs is not begun again").toBe(false);
    for (const { key } of keys) {
      await tryKey(key, memory, 2 * memoryMs);
    }
    expect(memory.list.isDue(2 * memoryMs)).toBe(true);
  });

  test("lists behind its answer", async () => {
    const keys = await makeMany(lookUps + 1);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 10 * memoryMs }); // what other tests looked up is over
    const { KEYS, operations } = noted();
    const env = { ...bindings, KEYS };
    for (const { key } of keys) {
      const headers = { "x-api-key": key, "content-type": mediaTypes.pb };
      const ctx = createExecutionContext();
      const request = new Request(`${origin}/v1/traces`, { method: "POST", headers, body });
      expect((await worker.fetch(request as Parameters<typeof worker.fetch>[0], env, ctx)).status).toBe(200);
      if (operations.length === lookUps) {
        await vi.waitFor(() => expect(operations.at(-1)).toBe("list"), 15_000);
      }
    }
    vi.useRealTimers();
    expect(operations).toEqual([...Array.from({ length: lookUps }, () => "get"), "list"]);
  });
});

describe("the console names what is wrong with", () => {
  const asked = { tenant: "acme", name: "web" };
  test.each<[string, unknown, RegExp]>([
    ["no JSON", "{", /not JSON/],
    ["no object", "5", /the body must be a JSON object/],
    ["no tenant", { name: "web" }, /^tenant is missing/],
    ["a tenant in capitals", { ...asked, tenant: "Acme" }, /^tenant must be 1 to 64 of a-z/],
    ["a tenant that is too long", { ...asked, tenant: "a".repeat(65) }, /^tenant /],
    ["no name", { tenant: "acme" }, /^name is missing/],
    ["a blank name", { ...asked, name: " " }, /^name must not be blank/],
    ["a name of two lines", { ...asked, name: "a\nb" }, /^name .*control/],
    ["a name that is too long", { ...asked, name: "a".repeat(65) }, /^name must be at most 64/],
    ["a field that is not known", { ...asked, rate: 5 }, /^rate is not a field here/],
    ["a limit of nothing", { ...asked, spansPerSecond: 0 }, /^spansPerSecond must be a whole number from 1/],
    ["half a span", { ...asked, spansPerMonth: 0.5 }, /^spansPerMonth must be a whole number/],
    ["a limit as text", { ...asked, spansPerMonth: "5" }, /^spansPerMonth must be a whole number/],
    ["a burst of no rate", { ...asked, burstSpans: 5 }, /^burstSpans needs spansPerSecond/],
    ["a burst of bytes of no rate", { ...asked, burstBytes: 5 }, /^burstBytes needs bytesPerSecond/],
    ["half a byte", { ...asked, bytesPerMonth: 0.5 }, /^bytesPerMonth must be a whole number/],
    [
      "spans of a year",
      { ...asked, spanAgeDays: 365 },
      /^spanAgeDays must be a whole number of days from 1 to 60/,
    ],
    ["a share above 1", { ...asked, sample: 1.5 }, /^sample must be a number from 0/],
    ["a path in an origin", { ...asked, origins: ["https://a.example/x"] }, /^origins\.0 is not an origin/],
    [
      "an origin in capitals",
      { ...asked, origins: ["https://a.example", "https://B.example"] },
      /^origins\.1 /,
    ],
    [
      "too many origins",
      { ...asked, origins: Array.from({ length: 60 }, (_, i) => `https://shop${i}.example`) },
      /^origins are too many/,
    ],
  ])("%s", async (_name, sent, message) => {
    const { status, said } = await ask("POST", "/api/keys", sent);
    expect(said).toEqual({ error: expect.stringMatching(message) });
    expect(status).toBe(400);
    expect((await bindings.KEYS.list()).keys).toEqual([]);
  });

  test("a change of the tenant", async () => {
    const { id } = await make();
    expect(await ask("PATCH", `/api/keys/${id}`, { tenant: "other" })).toEqual({
      status: 400,
      said: { error: expect.stringMatching(/^tenant is not a field here/) },
    });
  });

  test.each([
    ["2020-01-01T00:00:00Z", /^until must not have passed/],
    ["2099-01-01T00:00:00Z", /^until must be within 90 days/],
    ["tomorrow", /^until must be a time/],
  ])("a rotation until %s", async (until, message) => {
    const { id } = await make();
    expect(await ask("POST", `/api/keys/${id}/rotate`, { until })).toEqual({
      status: 400,
      said: { error: expect.stringMatching(message) },
    });
  });

  test.each([
    ["/api/outcomes?hours=0", /^hours must be/],
    ["/api/outcomes?hours=169", /^hours must be/],
    ["/api/outcomes?by=day", /^by must be minute/],
    ["/api/usage?days=1.5", /^days must be a whole number from 1 to 37/],
    ["/api/usage?days=38", /^days must be/],
  ])("the question %s", async (path, message) => {
    expect(await ask("GET", path)).toEqual({ status: 400, said: { error: expect.stringMatching(message) } });
  });

  test("an id that is none, or nobody's", async () => {
    const { key } = await make();
    expect((await ask("GET", `/api/keys/${key}`)).said).toEqual({
      error: expect.stringMatching(/64 hex digits/),
    });
    expect((await ask("POST", `/api/keys/${"0".repeat(64)}/revoke`)).status).toBe(404);
  });
});

test("a key for sending opens nothing at the console", async () => {
  const { key, id } = await make({ origins: ["*"] });
  const paths: readonly [string, string][] = [
    ["GET", "/api/keys"],
    ["POST", "/api/keys"],
    ["GET", `/api/keys/${id}`],
    ["PATCH", `/api/keys/${id}`],
    ["POST", `/api/keys/${id}/rotate`],
    ["POST", `/api/keys/${id}/revoke`],
    ["GET", "/api/balance"],
    ["GET", "/api/status"],
    ["GET", "/api/dead-letters"],
    ["GET", "/api/outcomes"],
    ["GET", "/api/usage"],
    ["GET", "/api/nothing"],
  ];
  for (const [method, path] of paths) {
    expect((await ask(method, path, method === "GET" ? undefined : {}, key)).status, path).toBe(401);
  }
  for (const path of ["/v1/traces", "/api/keys", "/api/balance", "/"]) {
    const response = await ingress.fetch(`${origin}${path}`, { headers: { "x-api-key": key } });
    expect([404, 405], path).toContain(response.status);
  }
});

describe("look-ups", () => {
  test("a mistyped key costs none, and a remembered one costs one in its memory's time", async () => {
    const { KEYS, reads } = countingKeys();
    const memory = new KeyMemory();
    expect(await tryKey(`hr_${"a".repeat(32)}`, memory, 0, { KEYS })).toBe("unknown_key");
    expect(reads()).toBe(0);
    const { key } = await make();
    for (let now = 0; now < limits.keyMemoryMs; now += 1000) {
      expect(await tryKey(key, memory, now, { KEYS })).toBe("ok");
    }
    expect(reads()).toBe(1);
    expect(await tryKey(key, memory, limits.keyMemoryMs, { KEYS })).toBe("ok");
    expect(reads()).toBe(2);
  });

  test("a remembered key costs no hash either", async () => {
    const { key } = await make();
    const memory = new KeyMemory();
    expect(await tryKey(key, memory, 0)).toBe("ok");
    const digest = vi.spyOn(crypto.subtle, "digest");
    expect(await tryKey(key, memory, 1)).toBe("ok");
    expect(digest).not.toHaveBeenCalled();
    expect(await tryKey(key, memory, limits.keyMemoryMs)).toBe("ok");
    expect(digest).toHaveBeenCalled();
    digest.mockRestore();
  });

  test("are counted where they are made", async () => {
    const { key } = await make();
    const memory = new KeyMemory();
    const tally = new Tally();
    const headers = new Headers({ "x-api-key": key });
    await authenticate(headers, bindings, memory, 0, tally);
    expect(tally).toMatchObject({ keyLookUps: 1, tenant: "acme", key: await apiKeyId(key) });
    const second = new Tally();
    await authenticate(headers, bindings, memory, 1, second);
    expect(second).toMatchObject({ keyLookUps: 0, tenant: "acme" });
  });

  test("while KV is down a remembered key works however old, and an unknown one is 503, never 401", async () => {
    const { key } = await make();
    const memory = new KeyMemory();
    expect(await tryKey(key, memory, 0)).toBe("ok");
    const later = 100 * limits.keyMemoryMs;
    expect(await tryKey(key, memory, later, { KEYS: broken })).toBe("ok");
    for (let i = 0; i < 1000; i++) {
      const other = formatApiKey(crypto.getRandomValues(new Uint8Array(52)));
      expect(await tryKey(other, memory, later, { KEYS: broken })).toBe("keys_unreachable");
    }
  });

  test("a key that was unknown a moment ago works as soon as KV has it", async () => {
    const key = formatApiKey(crypto.getRandomValues(new Uint8Array(52)));
    const memory = new KeyMemory();
    expect(await tryKey(key, memory, 0)).toBe("unknown_key");
    const record = { tenant: "acme", name: "new", status: "active", origins: [], sample: 1 };
    // A record as it was written before there were limits of bytes.
    const limitless = { spansPerSecond: null, burstSpans: null, spansPerMonth: null };
    await bindings.KEYS.put(await apiKeyName(key), JSON.stringify({ ...record, ...limitless }));
    expect(await tryKey(key, memory, 1)).toBe("ok");
  });

  test("keys that exist are never held back, however many are new to an isolate at once", async () => {
    const memory = new KeyMemory();
    for (let i = 0; i < 150; i++) {
      expect(await tryKey(await makeKey(), memory, 0)).toBe("ok");
    }
  });

  describe("under a flood of made-up keys with right checksums", () => {
    const floodKeys = Array.from({ length: 2000 }, () =>
      formatApiKey(crypto.getRandomValues(new Uint8Array(52))),
    );

    /** The platform counts in windows of ten seconds by the clock: a flood over the end of one is two smaller ones. */
    async function untilWindowIsYoung(): Promise<void> {
      const windowMs = 10_000;
      while (Date.now() % windowMs > windowMs / 2) {
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }

    /** `address` of the i-th request; 2000 of them within 200 ms are 10,000 a second. */
    async function flood(memory: KeyMemory, env: Partial<KeyBindings>, address: (i: number) => string) {
      await untilWindowIsYoung();
      const answers = new Map<string, number>();
      for (const [i, key] of floodKeys.entries()) {
        const reason = await tryKey(key, memory, i / 10, env, address(i));
        answers.set(reason, (answers.get(reason) ?? 0) + 1);
      }
      return answers;
    }

    test("10,000 a second are not 10,000 reads a second", async () => {
      const { KEYS, reads } = countingKeys();
      const answers = await flood(new KeyMemory(), { KEYS }, () => "192.0.2.66");
      expect(reads()).toBeLessThanOrEqual(105);
      expect(answers.get("unknown_key")).toBe(reads());
      expect(answers.get("unknown_keys_flood")).toBe(2000 - reads());
    });

    test("from one address, a new key at another works with its first try, at the same with its second", async () => {
      const memory = new KeyMemory();
      await flood(memory, {}, () => "192.0.2.66");
      const { key } = await make();
      const other = await make();
      expect(await tryKey(other.key, memory, 300, {}, "192.0.2.1")).toBe("ok");
      expect(await tryKey(key, memory, 300, {}, "192.0.2.66")).toBe("unknown_keys_flood");
      const retry = 300 + limits.unknownKeyRetryMs;
      expect(await tryKey(key, memory, retry, {}, "192.0.2.66")).toBe("ok");
    });

    test("from as many addresses, a new key works with its second try, and a known one all the time", async () => {
      const { key } = await make();
      const memory = new KeyMemory();
      const known = await make();
      expect(await tryKey(known.key, memory, 0)).toBe("ok");
      const env = { UNKNOWN_KEYS: { limit: async () => ({ success: true }) } };
      await flood(memory, env, (i) => `2001:db8:0:${i.toString(16)}::1`);
      expect(await tryKey(known.key, memory, 200)).toBe("ok");
      expect(await tryKey(key, memory, 200)).toBe("unknown_keys_flood");
      expect(await tryKey(key, memory, 200 + limits.unknownKeyRetryMs)).toBe("ok");
    });

    test("one key that is sent again and again is read once in five seconds", async () => {
      const { KEYS, reads } = countingKeys();
      const memory = new KeyMemory();
      await flood(memory, {}, () => "192.0.2.66");
      for (let now = 200; now < 9_000; now += 1) {
        await tryKey(floodKeys.at(-1) ?? "", memory, now, { KEYS }, "192.0.2.66");
      }
      expect(reads()).toBe(2);
    });

    test("the answer is 429 with Retry-After: an exporter retries", async () => {
      const spent = Array.from({ length: 400 }, (_, i) =>
        send(floodKeys[i] ?? "", "json", "{}", { "cf-connecting-ip": "192.0.2.99" }),
      );
      const answers = await Promise.all(spent);
      const held = answers.filter(({ status }) => status === 429);
      expect(held.length).toBeGreaterThan(200);
      expect(held[0]?.headers.get("retry-after")).toBe("1");
      expect(await held[0]?.json()).toMatchObject({
        message: expect.stringMatching(/Too many unknown API keys/),
      });
    });
  });
});

describe("a key that keeps a share of traces", () => {
  const ids = (first: string) => ({
    traceId: `0102030405060708ff${first}0000000000ff`,
    spanId: "a1a2a3a4a5a6a7a8",
  });
  const spans = (...firsts: readonly string[]) =>
    jsonRequestOf(...firsts.map((first) => freshJsonSpan(ids(first))));

  test("stores the payload whole, and its metadata says which spans count", async () => {
    const key = await makeKey({ sample: 0.5 });
    const response = await send(key, "json", spans("80", "7f", "ff", "00"));
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({});
    const [payload] = await storedPayloads();
    expect(payload?.customMetadata).toMatchObject({
      spans: "2",
      rejectedSpans: "0",
      sampleThreshold: "80000000000000",
    });
  });

  test("stores nothing when no trace is kept, and that is a success", async () => {
    for (const [share, first] of [
      [0.5, "7f"],
      [0, "ff"],
    ] as const) {
      const response = await send(await makeKey({ sample: share }), "json", spans(first));
      expect(response.status).toBe(200);
      expect(await response.json()).toEqual({});
    }
    expect(await storedPayloads()).toEqual([]);
  });
});
