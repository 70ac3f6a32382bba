/**
 * The door before the ingress: what a zone turned away, what never reached the Worker, and that what could not be read is
 * never none. The answers are of an imitation made from Cloudflare's published documents (test/fixtures/zone-analytics.ts).
 */
import { beforeEach, describe, expect, test } from "vitest";
import { type AlertFacts, type AlertState, judgeAlerts, noAlerts } from "../../shared/alerts.ts";
import { perform } from "../../shared/effect.ts";
import type { ZoneAnswer } from "../../shared/front-door/answer.ts";
import {
  type FrontDoor,
  type FrontDoorSettings,
  readFrontDoorSettings,
} from "../../shared/front-door/front-door.ts";
import { periodAt } from "../../shared/front-door/question.ts";
import { frontDoorLines } from "../../shared/front-door/text.ts";
import { limits } from "../../shared/limits.ts";
import { newCheckpoint } from "../../shared/reconcile/checkpoint.ts";
import type { CronPerformer } from "../../shared/reconcile/effects.ts";
import { watchFrontDoor } from "../../shared/reconcile/watch-front-door.ts";
import { askZone } from "../../workers/consumer/ask-zone.ts";
import { failed, ok, ZoneAnalytics, type ZoneEvent } from "../fixtures/zone-analytics.ts";

const host = "otlp.example.com";
const zoneId = "023e105f4ecef8ad9ca31a8372d0c353";
const settings = { kind: "zone", host, zoneId } as const;
const begin = Date.UTC(2026, 10, 27, 7, 38, 20);
const minuteMs = 60_000;
const rule = "5de7edfa648c4d6891dc3e7f84534ffa";
const skip =
  'No Worker saw them, and exporters do not retry a 403: their spans are lost. Let a rule with the action Skip pass http.request.uri.path eq "/v1/traces".';

let zone: ZoneAnalytics;
/** What the ingress counted; null: ClickHouse does not answer. */
let counted: number | null;
let countedAsked = 0;

beforeEach(() => {
  zone = new ZoneAnalytics(zoneId);
  counted = 0;
  countedAsked = 0;
});

/** So many requests of the period that is looked at at `begin`. */
function requests(count: number, changed: Partial<ZoneEvent> = {}): void {
  const one = { host, path: "/v1/traces", method: "POST", source: "eyeball", status: 200 };
  for (let n = 0; n < count; n++) {
    zone.events.push({ at: begin - 30 * minuteMs, ...one, ...changed });
  }
}

function refused(count: number, action = "block", changed: Partial<ZoneEvent> = {}): void {
  requests(count, { status: 403, firewall: { action, source: "firewallManaged", rule }, ...changed });
}

/** One look, its effects performed by the imitation; every other effect would be a mistake. */
async function look(
  before: FrontDoor | null = null,
  now = begin,
  door: FrontDoorSettings = settings,
): Promise<FrontDoor> {
  const performer: Pick<CronPerformer, "askZone" | "countRequests"> = {
    askZone: async (question) => {
      const answer = zone.ask(question);
      if (answer.status === 0) {
        throw new Error(answer.text);
      }
      return answer;
    },
    countRequests: async () => {
      countedAsked += 1;
      if (counted === null) {
        throw new Error("connection refused");
      }
      return counted;
    },
  };
  return await perform(watchFrontDoor(door, before, now), performer as CronPerformer);
}

const textsOf = (frontDoor: FrontDoor | null) => frontDoorLines(frontDoor).map(({ text }) => text);
const verdictsOf = (frontDoor: FrontDoor | null) => frontDoorLines(frontDoor).map(({ verdict }) => verdict);

function judge(frontDoor: FrontDoor | null, before: AlertState = noAlerts, now = begin) {
  const quiet: AlertFacts = {
    now,
    isBorn: true,
    oldestWork: null,
    erasure: null,
    held: [],
    refused: [],
    refusedOthers: 0,
    heldOthers: 0,
    wrongTokens: null,
    breakerOpen: false,
    trouble: "",
    tableRefusal: "",
    noEvidence: null,
    clockAheadMs: 0,
    databaseBytes: 0,
    rescues: { event: 0, reconcile: 0 },
    broken: null,
    checkpoint: newCheckpoint(now),
    runFailure: "",
    recent: null,
    volumes: null,
    frontDoor,
  };
  return judgeAlerts(quiet, before);
}

describe("what the zone's firewall turned away", () => {
  test("is a page with the rule, its action and its source, and what to do", async () => {
    requests(11_000);
    refused(1_180);
    refused(24, "managed_challenge", { path: "/v1/metrics" });
    counted = 11_000;
    const { findings } = judge(await look());
    expect(findings).toEqual([
      {
        kind: "zone_refused",
        subject: host,
        tenant: "",
        state: "open",
        severity: "page",
        openedAt: begin,
        message: `Your zone turned 1,204 requests to ${host}/v1/* away in the hour to 2026-11-27T07:35Z: 1,180 by rule ${rule} (block, firewallManaged); 24 by rule ${rule} (managed_challenge, firewallManaged). Every event was counted. ${skip}`,
      },
    ]);
  });

  test("a handful is a warning, and none resolves it", async () => {
    refused(3);
    const first = judge(await look());
    expect(first.findings).toMatchObject([{ kind: "zone_refused", severity: "warning" }]);
    zone.events.length = 0;
    const after = judge(await look(null, begin + minuteMs), first.alertState, begin + minuteMs);
    expect(after.findings).toMatchObject([{ kind: "zone_refused", state: "resolved" }]);
    expect(textsOf(after.alertState.frontDoor)[0]).toBe(
      `Your zone turned no request to ${host}/v1/* away in the hour to 2026-11-27T07:36Z. Every event was counted.`,
    );
  });

  test.each([
    "log",
    "skip",
    "allow",
    "managed_challenge_non_interactive_solved",
    "jschallengeSolved",
    "simulate",
  ])("what a rule let pass is not turned away: %s", async (action) => {
    refused(50, action, { status: 200 });
    counted = 50;
    expect(judge(await look()).findings).toEqual([]);
  });

  test("an action that no document of ours lists counts as turned away, and is named", async () => {
    refused(12, "force_connection_close");
    counted = 0;
    expect(textsOf(await look())[0]).toContain(
      `12 by rule ${rule} (force_connection_close, firewallManaged)`,
    );
  });

  test("other hosts, other paths and other hours of the zone are not ours", async () => {
    refused(5, "block", { host: "www.example.com" });
    refused(5, "block", { path: "/login" });
    refused(5, "block", { at: begin - 2 * 60 * minuteMs });
    refused(5, "block", { at: begin });
    expect(verdictsOf(await look())).toEqual(["good", "good"]);
  });

  test("a sample's count is taken as the estimate that it is, and said to be one", async () => {
    zone.sampleInterval = 10;
    refused(5_000);
    expect(textsOf(await look())[0]).toMatch(
      /turned 5,000 requests .* Estimated by Cloudflare from a sample: one event in 10\.0\.$/,
    );
    // The figures of Cloudflare's page on confidence intervals: 40,054 sampled events are a count of 42,939.
    const dimensions = { action: "block", source: "waf", ruleId: rule };
    zone.instead.push(ok([{ avg: { sampleInterval: 1.0720277625205972 }, count: 42_939, dimensions }]));
    expect(textsOf(await look())[0]).toMatch(/turned 42,939 requests .* one event in 1\.1\.$/);
  });

  test("more rules than one answer has: at least so many", async () => {
    for (let n = 0; n <= limits.zoneGroupsMax; n++) {
      refused(1, "block", { firewall: { action: "block", source: "firewallCustom", rule: `rule ${n}` } });
    }
    expect(textsOf(await look())[0]).toContain(`turned at least ${limits.zoneGroupsMax} requests`);
  });
});

describe("what reached the zone and not the Worker", () => {
  test("is what neither the firewall turned away nor the ingress counted", async () => {
    requests(11_000);
    refused(1_200);
    requests(900, { status: 522 });
    counted = 11_020;
    const { findings } = judge(await look());
    expect(findings).toMatchObject([
      { kind: "zone_refused" },
      {
        kind: "zone_gap",
        subject: host,
        severity: "warning",
        message: `13,100 requests to ${host}/v1/* reached your zone in the hour to 2026-11-27T07:35Z, and 11,020 of them the ingress, by its own count; the firewall turned 1,200 away: 880 are missing. The zone answered 200 to 11,000 of /v1/traces, 403 to 1,200 of /v1/traces, 522 to 900 of /v1/traces. Every event was counted. Look at the zone's routes and at the ingress's errors: a Worker that is cut off counts nothing.`,
      },
    ]);
  });

  test("no route leads to the Worker any more: a page", async () => {
    requests(500, { status: 404 });
    counted = 0;
    expect(judge(await look()).findings).toMatchObject([{ kind: "zone_gap", severity: "page" }]);
  });

  test("what isolates took along uncounted, and preflights, are no gap", async () => {
    requests(10_000);
    requests(3_000, { method: "OPTIONS" });
    requests(500, { source: "edgeWorkerFetch" });
    counted = 9_600;
    expect(verdictsOf(await look())).toEqual(["good", "good"]);
  });

  test("what a sample may be off by is no gap", async () => {
    zone.sampleInterval = 100;
    requests(10_000);
    counted = 7_500; // 100 kept events: 3 × √10 of each of them
    expect(verdictsOf(await look())).toEqual(["good", "good"]);
    counted = 6_000;
    expect(verdictsOf(await look())).toEqual(["good", "bad"]);
  });

  test("ClickHouse is asked only where its count decides, and without it nothing is said to be well", async () => {
    requests(15);
    expect(verdictsOf(await look())).toEqual(["good", "good"]);
    expect(countedAsked).toBe(0);
    requests(500);
    counted = null;
    const away = await look();
    expect(countedAsked).toBe(1);
    expect(textsOf(away)[1]).toContain("how many of them reached the ingress is not known");
    // A finding that was open stays so.
    counted = 0;
    const open = judge(await look()).alertState;
    expect(open.open).toMatchObject([{ kind: "zone_gap" }]);
    expect(judge(away, open).findings).toEqual([]);
  });

  test("the firewall is not known: what is missing is said with that", async () => {
    zone.notInPlan.add("firewallEventsAdaptiveGroups");
    refused(800);
    const frontDoor = await look();
    expect(textsOf(frontDoor)).toEqual([
      `The zone is not watched for what its firewall refuses: Cloudflare answered 200: zone '${zoneId}' does not have access to the path.`,
      expect.stringContaining("what the firewall turned away is not known: 800 are missing"),
    ]);
    expect(judge(frontDoor).findings).toMatchObject([{ kind: "zone_gap" }]);
  });
});

describe("what could not be read is never none", () => {
  const half = JSON.stringify({ data: { viewer: {} } }).slice(0, 20);
  const partial = {
    data: { viewer: { zones: [{ groups: [] }] } },
    errors: [{ message: "unable to execute query, please try again later" }],
  };
  const cases: readonly [string, ZoneAnswer, RegExp][] = [
    ["no answer in time", { status: 0, text: "The operation timed out" }, /did not answer: .*timed out/],
    ["a page of HTML", { status: 200, text: "<html>" }, /answered 200 with something else than its JSON/],
    ["half a JSON", { status: 200, text: half }, /answered 200 with something else than its JSON/],
    ["an error of a proxy", { status: 502, text: "Bad gateway" }, /answered 502 with something else/],
    ["a part of it", { status: 200, text: JSON.stringify(partial) }, /in part only: unable to execute query/],
    ["an unknown token", failed(401, "Unauthorized"), /answered 401: Unauthorized/],
    ["a token of another zone", failed(403, "zones [x] are not authorized"), /are not authorized/],
    ["a plan without the set", failed(403, "does not have access to the path"), /does not have access/],
    ["a limit", failed(429, "rate limiter budget depleted, try again after 5 minutes"), /budget depleted/],
    ["no zone", { status: 200, text: '{"data":{"viewer":{"zones":[]}},"errors":null}' }, /sees no zone 023e/],
    ["nothing", { status: 200, text: "{}" }, /not as its schema says, at its root/],
    ["a count that is none", ok([{ count: "7" }]), /not as its schema says, at viewer\.zones\.0\.groups\.0/],
    ["no sampling interval", ok([{ count: 7, avg: {}, dimensions: {} }]), /avg\.sampleInterval/],
  ];

  test.each(cases)("%s", async (_name, answer, reason) => {
    zone.instead.push(answer, answer);
    const frontDoor = await look();
    expect(verdictsOf(frontDoor)).toEqual(["unwatched"]);
    expect(textsOf(frontDoor)[0]).toMatch(/^The zone is not watched: /);
    expect(textsOf(frontDoor)[0]).toMatch(reason);
    // What was open stays open; after a quarter of an hour it is reported that nobody watches.
    refused(100);
    const open = judge(await look()).alertState;
    expect(judge(frontDoor, open).findings).toEqual([]);
    zone.instead.push(answer, answer);
    const later = begin + limits.alertZoneUnreadMs;
    const still = judge(await look(frontDoor, later), open, later);
    expect(still.findings.map(({ kind, state }) => [kind, state])).toEqual([
      ["zone_unwatched", "open"],
      ["zone_unwatched", "open"],
    ]);
    expect(still.findings[0]?.message).toContain("since 2026-11-27T07:38Z");
  });

  test("one question fails, the other one's answer holds", async () => {
    requests(100);
    counted = 100;
    zone.instead.push(failed(503, "too many queries in progress, please try again later"));
    expect(verdictsOf(await look())).toEqual(["unwatched", "good"]);
  });

  test("a plan without the data is a note, which wakes nobody", async () => {
    zone.notInPlan.add("firewallEventsAdaptiveGroups");
    const later = begin + limits.alertZoneUnreadMs;
    const { findings } = judge(await look(await look(), later), noAlerts, later);
    expect(findings).toMatchObject([{ kind: "zone_unwatched", severity: "note" }]);
  });
});

describe("how often the zone is asked", () => {
  test("two calls per minute, however often the tick runs", async () => {
    const first = await look();
    expect(zone.asked).toBe(2);
    expect(await look(first, begin + 30_000)).toEqual(first);
    expect(zone.asked).toBe(2);
    await look(first, begin + minuteMs);
    expect(zone.asked).toBe(4);
  });

  test("five minutes not at all when the limit is used up, and the reason is kept meanwhile", async () => {
    zone.instead.push(failed(429, "rate limiter budget depleted, try again after 5 minutes"));
    let frontDoor = await look();
    for (let minute = 1; minute < 5; minute++) {
      frontDoor = await look(frontDoor, begin + minute * minuteMs);
    }
    expect(zone.asked).toBe(2);
    expect(verdictsOf(frontDoor)).toEqual(["unwatched", "good"]);
    expect(verdictsOf(await look(frontDoor, begin + 5 * minuteMs))).toEqual(["good", "good"]);
  });

  test("five minutes not at all also where the second call meets the limit", async () => {
    let calls = 0;
    const performer: Pick<CronPerformer, "askZone"> = {
      askZone: async (question) =>
        ++calls === 2 ? failed(429, "rate limiter budget depleted") : zone.ask(question),
    };
    const frontDoor = await perform(watchFrontDoor(settings, null, begin), performer as CronPerformer);
    expect(frontDoor).toMatchObject({ askedAt: begin, notBefore: begin + 5 * minuteMs });
    expect(await look()).toMatchObject({ askedAt: begin, notBefore: 0 });
  });

  test("another host is another zone: nothing of the last one is kept", async () => {
    const first = await look();
    await look(first, begin, { ...settings, host: "traces.example.com" });
    expect(zone.asked).toBe(4);
  });
});

describe("where nothing is set", () => {
  test("the address of workers.dev has no zone before it, and it is said", async () => {
    const frontDoor = await look(null, begin, readFrontDoorSettings({}));
    expect(textsOf(frontDoor)).toEqual([
      "No zone is in front of the ingress: no domain is declared for it, and a workers.dev address has none.",
    ]);
    expect(zone.asked).toBe(0);
  });

  test("a domain without token or zone is not watched, by the name of what is missing", async () => {
    const missing = async (variables: object) =>
      textsOf(await look(null, begin, readFrontDoorSettings({ INGRESS_HOST: host, ...variables })));
    expect(await missing({})).toEqual([
      "The zone is not watched: ZONE_ID and ZONE_ANALYTICS_TOKEN are not set.",
    ]);
    expect(await missing({ ZONE_ID: zoneId })).toEqual([
      "The zone is not watched: ZONE_ANALYTICS_TOKEN is not set.",
    ]);
    expect(judge(await look(null, begin, readFrontDoorSettings({ INGRESS_HOST: host }))).findings).toEqual(
      [],
    );
    expect(readFrontDoorSettings({ INGRESS_HOST: host, ZONE_ID: zoneId, ZONE_ANALYTICS_TOKEN: "t" })).toEqual(
      settings,
    );
  });

  test("before the first look it is not watched either", async () => {
    expect(textsOf(null)).toEqual(["The zone is not watched: the consumer's cron has not looked yet."]);
  });

  test("who takes the token away gets no more findings", async () => {
    refused(100);
    const open = judge(await look()).alertState;
    const gone = await look(open.frontDoor, begin + minuteMs, readFrontDoorSettings({ INGRESS_HOST: host }));
    expect(judge(gone, open, begin + minuteMs).findings).toMatchObject([
      { kind: "zone_refused", state: "resolved" },
    ]);
  });
});

describe("the call", () => {
  const question = { query: "query", variables: { zone: zoneId } };

  test("has the token in its header alone, and follows no redirect", async () => {
    let called: [unknown, RequestInit | undefined] | undefined;
    const answer = await askZone(question, "secret", async (url, init) => {
      called = [url, init];
      return new Response("{}", { status: 403 });
    });
    expect(answer).toEqual({ status: 403, text: "{}" });
    const [url, init] = called ?? [];
    expect(url).toBe("https://api.cloudflare.com/client/v4/graphql");
    expect(init).toMatchObject({
      method: "POST",
      redirect: "manual",
      headers: { authorization: "Bearer secret", "content-type": "application/json" },
      body: JSON.stringify(question),
    });
    expect(init?.signal).toBeInstanceOf(AbortSignal);
  });

  test("an answer without an end is given up", async () => {
    const endless = new ReadableStream({
      pull: (controller) => controller.enqueue(new Uint8Array(256 * 1024)),
    });
    await expect(askZone(question, "secret", async () => new Response(endless))).rejects.toThrow(
      "its answer is longer than 1048576 bytes",
    );
  });

  test("the period is a whole hour that ends before what is still under way", async () => {
    const { since, until } = periodAt(begin);
    expect([since, until].map((time) => new Date(time).toISOString())).toEqual([
      "2026-11-27T06:35:00.000Z",
      "2026-11-27T07:35:00.000Z",
    ]);
  });
});
