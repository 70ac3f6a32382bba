/** What does not answer the ingress is named in its log, by its binding and with its error; what clients get is in conformance.test.ts. */
import { reset } from "cloudflare:test";
import { beforeEach, expect, inject, test, vi } from "vitest";
import type { IngressBindings } from "../../../workers/ingress/bindings.ts";
import worker from "../../../workers/ingress/worker.ts";
import { bindings, makeKey, mediaTypes, origin } from "./sender.ts";

const off = async (): Promise<never> => {
  throw new Error("internal error; reference = 4711");
};

beforeEach(async () => {
  await reset();
  vi.restoreAllMocks();
});

test.each([
  ["R2 (bucket binding PAYLOADS)", 503, { COLLECT: "off", PAYLOADS: { put: off, head: off } }],
  ["KV (namespace binding KEYS)", 503, { KEYS: { get: off } }],
  ["the queue of doorbells (binding RING)", 200, { COLLECT: "off", RING: { send: off } }],
  [
    "the collector (Durable Object binding COLLECTOR)",
    200,
    { COLLECTOR: { idFromName: () => "", get: () => ({ add: off }) } },
  ],
  [
    "the Meter (Durable Object binding METER)",
    200,
    { METER: { idFromName: () => "", get: () => ({ leaseUnits: off }) } },
  ],
] as const)("%s is away: the client gets %d, and the log says who it was", async (name, status, changed) => {
  const logged: string[] = [];
  for (const level of ["warn", "error"] as const) {
    vi.spyOn(console, level).mockImplementation((line: string) => logged.push(line));
  }
  const key = await makeKey({ spansPerSecond: 1000 });
  const ctx = { waitUntil: () => undefined } as unknown as ExecutionContext;
  const request = new Request(`${origin}/v1/traces`, {
    method: "POST",
    headers: { "x-api-key": key, "content-type": mediaTypes.pb },
    body: Uint8Array.fromBase64(inject("bodies").protobuf),
  });
  const env = { ...bindings, ...changed } as unknown as IngressBindings;
  const response = await worker.fetch(request as Parameters<typeof worker.fetch>[0], env, ctx);
  expect(response.status).toBe(status);
  await vi.waitFor(() => {
    expect(logged.find((line) => line.includes(name))).toContain("internal error; reference = 4711");
  }, 15_000);
});
