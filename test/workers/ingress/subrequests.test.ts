/**
 * What a request really asks of R2, KV, queues and Durable Objects, counted at its bindings in workerd: at most what
 * shared/limits.ts adds up (`requestSubrequests`). The consumer's invocations are counted in test/core/subrequests.test.ts.
 */
import { createExecutionContext, reset, waitOnExecutionContext } from "cloudflare:test";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { limits } from "../../../shared/limits.ts";
import worker from "../../../workers/ingress/worker.ts";
import { join, stringField } from "../../fixtures/protobuf.ts";
import { bindings, freshSpan, makeKey, mediaTypes, origin, requestOf } from "./sender.ts";

/** Each request leaves a report of outcomes behind: what it calls is counted, and its five or fifteen seconds are not waited for. */
const reportMs = 50;
const isReport = (ms = 0): boolean =>
  ms === limits.outcomeReportMs ||
  (ms > limits.outcomeReportBusyMs - 1000 && ms <= limits.outcomeReportBusyMs);

beforeEach(async () => {
  await reset();
  const { setTimeout } = globalThis;
  vi.spyOn(globalThis, "setTimeout").mockImplementation(((run: () => void, ms?: number) =>
    setTimeout(run, isReport(ms) ? reportMs : ms)) as typeof setTimeout);
});

afterEach(() => {
  vi.restoreAllMocks();
});

/** Of a Durable Object's namespace: they ask nothing, and what they give is asked. */
const stubMakers = ["get", "getByName", "idFromName"];

/** The same binding, of which each call is written down. */
function counted<T extends object>(binding: T, name: string, calls: string[]): T {
  return new Proxy(binding, {
    get(target, property) {
      const member: unknown = Reflect.get(target, property, target);
      if (typeof member !== "function" || typeof property === "symbol") {
        return member;
      }
      return (...given: unknown[]) => {
        const isMaker = ["METER", "COLLECTOR"].includes(name) && stubMakers.includes(property);
        const made: unknown = Reflect.apply(member, target, given);
        if (isMaker) {
          return property === "idFromName" ? made : counted(made as object, `${name} stub`, calls);
        }
        calls.push(`${name}.${property}`);
        return made;
      };
    },
  });
}

/** What one request calls, what it leaves to be done after its answer included. */
async function callsOf(key: string, body: Uint8Array, status: number, COLLECT = "off"): Promise<string[]> {
  const calls: string[] = [];
  const env = Object.fromEntries(
    Object.entries(bindings).map(([name, binding]) => [
      name,
      typeof binding === "object" && binding !== null ? counted(binding, name, calls) : binding,
    ]),
  ) as unknown as typeof bindings;
  const headers = { "x-api-key": key, "content-type": mediaTypes.pb };
  const request = new Request(`${origin}/v1/traces`, { method: "POST", headers, body: new Uint8Array(body) });
  const context = createExecutionContext();
  const response = await worker.fetch(request as never, { ...env, COLLECT } as never, context);
  await response.arrayBuffer();
  await waitOnExecutionContext(context);
  expect(response.status).toBe(status);
  return calls;
}

test("a request takes no more subrequests than are counted for one, whatever becomes of it", async () => {
  const limited = await makeKey({ spansPerSecond: 1000, spansPerMonth: 1_000_000 });
  const body = requestOf(freshSpan(), freshSpan());
  const collected = await callsOf(limited, requestOf(freshSpan()), 200, "on");
  const created = await callsOf(limited, body, 200);
  const again = await callsOf(limited, body, 200);
  const wrong = await callsOf(limited, new Uint8Array([1, 2, 3]), 400);
  const unknown = await callsOf("hr_nonsense", body, 401);
  const partly = await callsOf(await makeKey(), requestOf(freshSpan(), join(stringField(5, "no ids"))), 200);
  for (const calls of [collected, created, again, wrong, unknown, partly]) {
    expect(calls.length, calls.join(", ")).toBeLessThanOrEqual(limits.requestSubrequests);
    expect(calls).toContain("OUTCOMES.send");
  }
  expect(created).toEqual(expect.arrayContaining(["PAYLOADS.put", "RING.send"]));
  expect(created.some((call) => call.startsWith("METER stub."))).toBe(true);
  expect(collected).toEqual(expect.arrayContaining(["KEYS.get", "PAYLOADS.get", "COLLECTOR stub.add"]));
  expect(collected).not.toContain("PAYLOADS.put");
  expect(again).toEqual(expect.arrayContaining(["PAYLOADS.put"]));
});
