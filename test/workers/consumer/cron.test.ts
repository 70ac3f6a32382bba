/** The cron's parts: each fails by itself, and people are told all the same. */
import { reset } from "cloudflare:test";
import { env as given } from "cloudflare:workers";
import { beforeEach, expect, test, vi } from "vitest";
import { BrokenInvariant } from "../../../shared/assert.ts";
import type { ConsumerBindings } from "../../../workers/consumer/bindings.ts";
import consumer from "../../../workers/consumer/worker.ts";
import { doorbell } from "../../ledger/world.ts";

const env = given as unknown as ConsumerBindings;

/** The findings that the consumer wrote into ClickHouse. */
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

/** The real ledger, of which some calls fail. */
function bindingsWith(failing: Readonly<Record<string, Error>>): ConsumerBindings {
  const ledger = env.LEDGER.getByName("0");
  const get = () =>
    new Proxy(ledger, {
      get(target, name) {
        const error = failing[String(name)];
        return async (...given: unknown[]) => {
          if (error !== undefined) {
            throw error;
          }
          const call = Reflect.get(target, name) as (...given: unknown[]) => Promise<unknown>;
          return await Reflect.apply(call, target, given);
        };
      },
    });
  return {
    ...env,
    LEDGER: { idFromName: () => "0", get } as unknown as ConsumerBindings["LEDGER"],
  };
}

/** Something that people are to be told at the next tick. */
async function breakAnInvariant(): Promise<void> {
  const ledger = env.LEDGER.getByName("0");
  await ledger.claim([doorbell({ n: 1 })], 1);
  await ledger.report("0".repeat(32), 1, { kind: "broken", reason: "days ascend" });
}

const scheduled = (bindings: ConsumerBindings) => consumer.scheduled({} as ScheduledController, bindings);

test("a ledger that cannot be woken does not keep people from being told", async () => {
  await breakAnInvariant();
  const bindings = bindingsWith({ wake: new Error("the ledger cannot be woken") });
  await expect(scheduled(bindings)).rejects.toThrow("the ledger cannot be woken");
  expect(findings.join("\n")).toContain("days ascend");
});

test("a broken invariant is what the cron fails with, whatever failed before it", async () => {
  await breakAnInvariant();
  const wake = new Error("the ledger cannot be woken");
  const bindings = bindingsWith({ wake, beginReconcile: new BrokenInvariant("one run at a time") });
  await expect(scheduled(bindings)).rejects.toThrow("one run at a time");
  expect(findings.join("\n")).toContain("days ascend");
});
