/** When payloads that go alone although a collector was to have them are a finding, and what it says. */
import { describe, expect, test } from "vitest";
import { type AlertFacts, judgeAlerts, noAlerts } from "../../shared/alerts.ts";
import { type BypassMinute, bypassPeriod } from "../../shared/collect/bypass.ts";

const now = Date.UTC(2026, 10, 24, 12, 0, 30);

const facts = (bypassed: readonly BypassMinute[] | null): AlertFacts => ({
  now,
  isBorn: true,
  oldestWork: null,
  erasure: null,
  held: [],
  refused: [],
  refusedOthers: 0,
  heldOthers: 0,
  breakerOpen: false,
  trouble: "",
  tableRefusal: "",
  noEvidence: null,
  clockAheadMs: 0,
  databaseBytes: 1000,
  rescues: { event: 0, reconcile: 0 },
  broken: null,
  wrongTokens: null,
  checkpoint: null,
  runFailure: "",
  recent: null,
  volumes: null,
  frontDoor: null,
  bypassed,
});

const minute = (requests: number, changes: Partial<BypassMinute> = {}): BypassMinute => ({
  requests,
  collector_full: 0,
  collector_failed: 0,
  collector_version: 0,
  ...changes,
});

const minutes = (count: number, requests: number, changes: Partial<BypassMinute>) =>
  Array.from({ length: count }, () => minute(requests, changes));

const judged = (bypassed: readonly BypassMinute[] | null) => judgeAlerts(facts(bypassed), noAlerts).findings;

describe("payloads that bypass the collector", () => {
  test("for most of ten minutes are a warning, with what it costs and what to do", () => {
    const [finding, ...others] = judged([
      ...minutes(8, 1000, { collector_failed: 500, collector_full: 100 }),
      ...minutes(2, 1000, {}),
    ]);
    expect(others).toEqual([]);
    expect(finding).toMatchObject({ kind: "collector_bypassed", severity: "warning", state: "open" });
    expect(finding?.message).toContain(
      "In 8 of the last 10 minutes 4800 payloads of 8000 (60 %) went into R2 one by one",
    );
    expect(finding?.message).toContain(
      "4000 because it did not answer, or its puts failed, 800 because it was full",
    );
    // Ten a second: 26 million per month at $7 per million.
    expect(finding?.message).toContain("$7 per million more, at this rate $181 per month");
    expect(finding?.message).toContain("Look at the ingress's log");
  });

  test.each([
    ["full", { collector_full: 700 }, "look at R2's latency"],
    ["of another version", { collector_version: 700 }, "Deploy the ingress again"],
  ])("because it is %s say what to do about that", (_, changes, text) => {
    expect(judged(minutes(10, 1000, changes))[0]?.message).toContain(text);
  });

  test.each([
    ["a few minutes", minutes(7, 1000, { collector_failed: 900 })],
    ["a twentieth of the requests or less", minutes(10, 1000, { collector_failed: 50 })],
    ["requests too few to share objects", minutes(10, 299, { collector_failed: 299 })],
    ["nothing", minutes(10, 10_000, {})],
    ["no minute", []],
  ])("of %s are none", (_, some) => {
    expect(judged(some)).toEqual([]);
  });

  test("are over when they no longer do, and not because nobody could ask", () => {
    const open = judgeAlerts(facts(minutes(10, 1000, { collector_full: 900 })), noAlerts).alertState;
    expect(judgeAlerts(facts(null), open).findings).toEqual([]);
    expect(judgeAlerts(facts(null), open).alertState.open).toHaveLength(1);
    expect(judgeAlerts(facts(minutes(10, 1000, {})), open).findings).toMatchObject([
      { kind: "collector_bypassed", state: "resolved" },
    ]);
  });

  test("are counted in ten whole minutes that every isolate has reported", () => {
    expect(bypassPeriod(now)).toEqual({
      since: Date.UTC(2026, 10, 24, 11, 49),
      until: Date.UTC(2026, 10, 24, 11, 59),
    });
  });
});
