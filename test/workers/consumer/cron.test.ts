/** The cron's parts: each fails by itself, and findings are reported all the same. */
import { reset } from "cloudflare:test";
import { env as given } from "cloudflare:workers";
import { beforeEach, expect, test, vi } from "vitest";
import { BrokenInvariant } from "../../../shared/assert.ts";
import type { ConsumerBindings } from "../../../workers/consumer/bindings.ts";
import consumer from "../../../workers/consumer/worker.ts";
import { failed, ZoneAnalytics } from "../../fixtures/zone-analytics.ts";
import { doorbell } from "../../ledger/world.ts";

const env = given as unknown as ConsumerBindings;
const zoneId = "023e105f4ecef8ad9ca31a8372d0c353";
const watched = {
  ...env,
  INGRESS_HOST: "otlp.example.com",
  ZONE_ID: zoneId,
  ZONE_ANALYTICS_TOKEN: "a-zone-token",
};

/** The findings that the consumer wrote into ClickHouse. */
let findings: string[] = [];
/** Stands for Cloudflare's analytics; what it is is said there. */
let zone = new ZoneAnalytics(zoneId);
let zoneTokens: string[] = [];

beforeEach(async () => {
  await reset();
  vi.restoreAllMocks();
  findings = [];
  zone = new ZoneAnalytics(zoneId);
  zoneTokens = [];
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    if (url.host === "api.cloudflare.com") {
      zoneTokens.push(new Headers(init?.headers).get("authorization") ?? "");
      const { status, text } = zone.ask(JSON.parse(String(init?.body)));
      return new Response(text, { status });
    }
    if (url.search.includes("headrace_findings")) {
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

/** Something to report at the next tick. */
async function breakAnInvariant(): Promise<void> {
  const ledger = env.LEDGER.getByName("0");
  await ledger.claim([doorbell({ n: 1 })], 1);
  await ledger.report("0".repeat(32), 1, { kind: "broken", reason: "days ascend" });
}

const scheduled = (bindings: ConsumerBindings) => consumer.scheduled({} as ScheduledController, bindings);

test("a ledger that cannot be woken does not keep findings from being reported", async () => {
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

const frontDoor = async () => (await env.LEDGER.getByName("0").status()).frontDoor;

test("what the zone turned away is a finding, and the ledger answers it to everyone who asks", async () => {
  const firewall = { action: "block", source: "firewallManaged", rule: "5de7edfa648c4d6891dc3e7f84534ffa" };
  for (let n = 0; n < 12; n++) {
    zone.events.push({
      at: Date.now() - 10 * 60_000,
      host: "otlp.example.com",
      path: "/v1/traces",
      method: "POST",
      source: "eyeball",
      status: 403,
      firewall,
    });
  }
  await scheduled(watched);
  expect(findings.join("\n")).toContain("Your zone turned 12 requests to otlp.example.com/v1/* away");
  expect(findings.join("\n")).toContain(`12 by rule ${firewall.rule} (block, firewallManaged)`);
  expect(await frontDoor()).toMatchObject([{ verdict: "bad" }, { verdict: "good" }]);
  // Another tick of the same minute, or a person's reconcile: the zone is not asked again.
  vi.useFakeTimers({ now: Math.floor(Date.now() / 60_000) * 60_000 + 1000, toFake: ["Date"] });
  await scheduled(watched);
  zoneTokens = [];
  await scheduled(watched);
  vi.useRealTimers();
  expect(zoneTokens).toEqual([]);
});

test("a token that may not read the zone is reported, and its text is in no finding, log or status", async () => {
  const log = vi.spyOn(console, "error");
  zone.instead.push(failed(403, `zones [${zoneId}] are not authorized`), failed(401, "Unauthorized"));
  await scheduled(watched);
  expect(zoneTokens).toEqual(["Bearer a-zone-token", "Bearer a-zone-token"]);
  const said = await frontDoor();
  expect(said.map(({ verdict }) => verdict)).toEqual(["unwatched", "unwatched"]);
  expect(JSON.stringify([said, findings, log.mock.calls])).not.toContain("a-zone-token");
});

test("without a domain nothing of Cloudflare's is asked, and it is reported that there is no zone", async () => {
  await scheduled({ ...watched, INGRESS_HOST: "" });
  expect(zoneTokens).toEqual([]);
  expect(await frontDoor()).toMatchObject([{ text: expect.stringContaining("No zone is in front") }]);
});
