/** The console's entrance in workerd: wrong tokens, Cloudflare Access's assertions with real RSA keys, headers, who did what. */
import { createExecutionContext, reset, runInDurableObject } from "cloudflare:test";
import { env as given } from "cloudflare:workers";
import { beforeEach, describe, expect, test, vi } from "vitest";
import type { ConsoleBindings } from "../../../workers/console/bindings.ts";
import consoleWorker from "../../../workers/console/worker.ts";
import type { ConsumerBindings } from "../../../workers/consumer/bindings.ts";
import { Operations } from "../../../workers/consumer/worker.ts";

const real = given as unknown as ConsumerBindings & Pick<ConsoleBindings, "KEYS" | "METER">;
const token = "token-of-the-operator-0123456789";
const team = "acme.cloudflareaccess.com";
const audience = "a".repeat(64);

/** As the platform counts: ten in a minute for each key. */
function counter(): RateLimit {
  const seen = new Map<string, number>();
  return {
    limit: async ({ key }: { key: string }) => {
      seen.set(key, (seen.get(key) ?? 0) + 1);
      return { success: (seen.get(key) ?? 0) <= 10 };
    },
  } as unknown as RateLimit;
}

let failures = counter();

function bindings(changed: Partial<ConsoleBindings> = {}): ConsoleBindings {
  return {
    ...real,
    CONSUMER: new Operations(createExecutionContext(), real),
    ADMIN_FAILURES: failures,
    ADMIN_TOKEN: token,
    METRICS_TOKEN: "token-of-the-scraper-01234567890",
    ...changed,
  } as unknown as ConsoleBindings;
}

/** Addresses that no other test has: an instance remembers whom it turned away. */
let address = "192.0.2.1";
let tests = 0;

interface Asking {
  readonly method?: string;
  readonly body?: object;
  readonly bearer?: string | null;
  readonly assertion?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

async function ask(path: string, asking: Asking = {}, env = bindings()): Promise<Response> {
  const { method = "GET", body, bearer = token, assertion, headers = {} } = asking;
  const request = new Request(`https://console.example${path}`, {
    method,
    headers: {
      "cf-connecting-ip": address,
      ...(bearer === null ? {} : { authorization: `Bearer ${bearer}` }),
      ...(assertion === undefined ? {} : { "cf-access-jwt-assertion": assertion }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return await consoleWorker.fetch(request as Parameters<typeof consoleWorker.fetch>[0], env);
}

const status = async (...asked: Parameters<typeof ask>) => (await ask(...asked)).status;

let logged: string[] = [];

beforeEach(async () => {
  await reset();
  vi.restoreAllMocks();
  failures = counter();
  tests += 1;
  address = `192.0.2.${tests}`;
  logged = [];
  for (const level of ["log", "warn", "error"] as const) {
    vi.spyOn(console, level).mockImplementation((line: string) => logged.push(line));
  }
});

describe("wrong tokens", () => {
  test("after ten in a minute the address is turned away unread, its right token too, and no other", async () => {
    const answers: number[] = [];
    for (let n = 0; n < 12; n++) {
      answers.push(await status("/api/about", { bearer: `wrong-${n}` }));
    }
    expect(answers).toEqual([...Array(10).fill(401), 429, 429]);
    const refused = await ask("/api/about");
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(await status("/metrics")).toBe(429);
    expect(await status("/api/about", { headers: { "cf-connecting-ip": "198.51.100.9" } })).toBe(200);
    const later = Date.now() + 61_000;
    vi.spyOn(Date, "now").mockImplementation(() => later);
    expect(await status("/api/about")).toBe(200);
  });

  test("are reported: in the log, and as a finding that names the address", async () => {
    for (let n = 0; n < 12; n++) {
      await ask("/api/about", { bearer: `wrong-${n}` });
    }
    expect(logged.filter((line) => line.includes('"wrong_tokens"'))).toHaveLength(1);
    expect(logged.join("\n")).not.toContain("wrong-1");
    const ledger = real.LEDGER.getByName("0");
    const learnt = { runFailure: "", recent: null, volumes: null, frontDoor: null, bypassed: null };
    const told = await runInDurableObject(ledger, (instance) => instance.judgeAlerts(learnt));
    expect(told.map(({ finding }) => finding)).toContainEqual(
      expect.objectContaining({ kind: "wrong_tokens", message: expect.stringContaining(address) }),
    );
  });

  test("the same one again and again is one try: a page that was opened with it, a scraper with an old one", async () => {
    const answers = await Promise.all(
      Array.from({ length: 30 }, () => status("/api/about", { bearer: "mistyped" })),
    );
    expect(new Set(answers)).toEqual(new Set([401]));
    expect(await status("/api/about")).toBe(200);
  });

  test("no token at all is no try", async () => {
    for (let n = 0; n < 15; n++) {
      expect(await status("/api/about", { bearer: null })).toBe(401);
    }
    expect(await status("/api/about")).toBe(200);
  });

  test("a counter that fails keeps nobody out", async () => {
    const broken = { limit: async () => Promise.reject(new Error("away")) } as unknown as RateLimit;
    expect(await status("/api/about", { bearer: "x" }, bindings({ ADMIN_FAILURES: broken }))).toBe(401);
    expect(await status("/api/about", {}, bindings({ ADMIN_FAILURES: broken }))).toBe(200);
  });
});

test("every answer is for who asked, now, and is what it says it is", async () => {
  for (const [path, asking] of [
    ["/api/about", {}],
    ["/api/about", { bearer: "wrong" }],
    ["/healthz", {}],
    ["/metrics", {}],
    ["/nothing", {}],
    ["/api/keys", { method: "POST", body: { tenant: "acme", name: "a" } }],
  ] as const) {
    const { headers } = await ask(path, asking);
    expect([path, headers.get("cache-control"), headers.get("x-content-type-options")]).toEqual([
      path,
      "no-store",
      "nosniff",
    ]);
  }
});

describe("Cloudflare Access", () => {
  const rsa = {
    name: "RSASSA-PKCS1-v1_5",
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
    hash: "SHA-256",
  };
  const makeKeys = async () =>
    (await crypto.subtle.generateKey(rsa, true, ["sign", "verify"])) as CryptoKeyPair;
  const base64 = (bytes: Uint8Array) => bytes.toBase64({ alphabet: "base64url", omitPadding: true });
  const part = (value: object) => base64(new TextEncoder().encode(JSON.stringify(value)));
  const seconds = () => Math.floor(Date.now() / 1000);
  const claims = (changed: object = {}) => ({
    iss: `https://${team}`,
    aud: [audience],
    email: "alice@example.com",
    iat: seconds(),
    exp: seconds() + 600,
    ...changed,
  });

  async function signed(key: CryptoKey, payload: object, header: object = {}): Promise<string> {
    const text = `${part({ alg: "RS256", kid: "one", typ: "JWT", ...header })}.${part(payload)}`;
    const bytes = await crypto.subtle.sign(rsa.name, key, new TextEncoder().encode(text));
    return `${text}.${base64(new Uint8Array(bytes))}`;
  }

  /** The team's domain, as Cloudflare publishes its keys there. */
  function publish(keys: Readonly<Record<string, CryptoKey>>) {
    const asked: string[] = [];
    vi.spyOn(globalThis, "fetch").mockImplementation(async (input) => {
      asked.push(String(input));
      const jwks = await Promise.all(
        Object.entries(keys).map(async ([kid, key]) => ({
          ...((await crypto.subtle.exportKey("jwk", key)) as JsonWebKey),
          key_ops: undefined,
          kid,
          use: "sig",
        })),
      );
      return Response.json({ keys: jwks, public_cert: {}, public_certs: [] });
    });
    return asked;
  }

  const declared = () => bindings({ ACCESS_TEAM_DOMAIN: team, ACCESS_AUD: audience });

  test("a signed assertion and the token let in, and its identity is who did it", async () => {
    const { privateKey, publicKey } = await makeKeys();
    const asked = publish({ one: publicKey });
    let clock = Date.now() + 2 * 3_600_000; // an instance that remembers other keys asks again
    vi.spyOn(Date, "now").mockImplementation(() => clock++);
    const assertion = await signed(privateKey, claims());
    expect(await status("/api/about", { assertion }, declared())).toBe(200);
    const body = { tenant: "acme", name: "web" };
    expect(await status("/api/keys", { method: "POST", body, assertion }, declared())).toBe(201);
    expect(asked).toEqual([`https://${team}/cdn-cgi/access/certs`]);
    const actions = await (await ask("/api/actions", { assertion }, declared())).json();
    expect(actions).toMatchObject([
      { who: "alice@example.com", what: "POST /api/keys", asked: body, address },
    ]);
    const service = await signed(privateKey, claims({ email: undefined, common_name: "cron.access" }));
    expect(
      await status("/api/replay", { method: "POST", body: { keys: ["x"] }, assertion: service }, declared()),
    ).toBe(200);
    expect(await (await ask("/api/actions", { assertion }, declared())).json()).toMatchObject([
      { who: "service token cron.access", what: "POST /api/replay", keysCount: 1 },
      {},
    ]);
  });

  test("no other is: none, another key, application, team or time, another algorithm, a changed claim, a header", async () => {
    const { privateKey, publicKey } = await makeKeys();
    const stranger = await makeKeys();
    publish({ one: publicKey });
    const later = Date.now() + 4 * 3_600_000;
    vi.spyOn(Date, "now").mockImplementation(() => later);
    const good = await signed(privateKey, claims());
    expect(await status("/api/about", { assertion: good }, declared())).toBe(200);
    const [header = "", , signature = ""] = good.split(".");
    const jwk = JSON.stringify(await crypto.subtle.exportKey("jwk", publicKey));
    const hmac = await crypto.subtle.importKey(
      "raw",
      new TextEncoder().encode(jwk),
      { name: "HMAC", hash: "SHA-256" },
      false,
      ["sign"],
    );
    const confused = `${part({ alg: "HS256", kid: "one" })}.${part(claims())}`;
    const mac = new Uint8Array(await crypto.subtle.sign("HMAC", hmac, new TextEncoder().encode(confused)));
    const wrong: Readonly<Record<string, string | undefined>> = {
      none: undefined,
      empty: "",
      "not three parts": "a.b",
      "of another key": await signed(stranger.privateKey, claims()),
      "of a key that is not published": await signed(privateKey, claims(), { kid: "two" }),
      "for another application": await signed(privateKey, claims({ aud: ["b".repeat(64)] })),
      "of another team": await signed(privateKey, claims({ iss: "https://evil.cloudflareaccess.com" })),
      expired: await signed(privateKey, claims({ exp: seconds() - 1 })),
      "not valid yet": await signed(privateKey, claims({ nbf: seconds() + 600 })),
      unsigned: `${part({ alg: "none", kid: "one" })}.${part(claims())}.`,
      "of a symmetric algorithm": `${confused}.${base64(mac)}`,
      "of changed claims": `${header}.${part(claims({ email: "mallory@example.com" }))}.${signature}`,
    };
    for (const [name, assertion] of Object.entries(wrong)) {
      const headers = { "cf-access-authenticated-user-email": "alice@example.com" };
      const answer = await ask(
        "/api/about",
        assertion === undefined ? { headers } : { assertion, headers },
        declared(),
      );
      expect([name, answer.status]).toEqual([name, 403]);
    }
    expect(await status("/api/about", { assertion: good, bearer: "wrong" }, declared())).toBe(401);
    expect(await status("/healthz", { bearer: null }, declared())).not.toBe(403);
  });

  test("half a declaration lets nobody in", async () => {
    expect(await status("/api/about", {}, bindings({ ACCESS_AUD: audience }))).toBe(403);
    expect(await status("/api/about", {}, bindings({ ACCESS_TEAM_DOMAIN: "evil.example" }))).toBe(403);
  });
});

describe("what people did", () => {
  test("is kept with who, from where, and what was asked, and without secrets", async () => {
    const key = `p/0/t/2026-11-24T1200/acme/${"0".repeat(26)}`;
    await ask("/api/replay", { method: "POST", body: { keys: [key] } });
    const made = await ask("/api/keys", { method: "POST", body: { tenant: "acme", name: "web" } });
    const { id, key: secret } = (await made.json()) as { id: string; key: string };
    await ask(`/api/keys/${id}/revoke`, { method: "POST" });
    const text = await (await ask("/api/actions")).text();
    expect(JSON.parse(text)).toMatchObject([
      { who: "the admin token", what: "POST /api/keys/:id/revoke", id, address },
      { what: "POST /api/keys", asked: { tenant: "acme", name: "web" } },
      { what: "POST /api/replay", asked: { keys: [key] }, keysCount: 1 },
    ]);
    expect(text).not.toContain(secret);
    expect(text).not.toContain(token);
  });

  test("is not done where it cannot be kept", async () => {
    const PAYLOADS = { put: async () => Promise.reject(new Error("away")) } as unknown as R2Bucket;
    const answer = await ask(
      "/api/keys",
      { method: "POST", body: { tenant: "acme", name: "web" } },
      bindings({ PAYLOADS }),
    );
    expect([answer.status, await answer.text()]).toEqual([
      503,
      expect.stringContaining("R2 (bucket binding PAYLOADS) does not answer (away)"),
    ]);
    expect((await real.KEYS.list()).keys).toEqual([]);
  });
});
