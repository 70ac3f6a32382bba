import { expect, test } from "vitest";
import {
  type AlertFacts,
  alertStateFromNote,
  channels,
  judgeAlerts,
  markReported,
  median,
  noAlerts,
  recordBroken,
  recordWrongTokens,
} from "../../shared/alerts.ts";
import { limits } from "../../shared/limits.ts";
import type { PayloadKey } from "../../shared/payload-key.ts";
import { newCheckpoint, opened } from "../../shared/reconcile/checkpoint.ts";

const now = Date.UTC(2026, 10, 24, 12, 0, 0);
const minuteMs = 60_000;

const quiet: AlertFacts = {
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
  checkpoint: { ...newCheckpoint(now - 5 * minuteMs), ranAt: now },
  runFailure: "",
  recent: { dead: 0, ended: 100 },
  volumes: null,
  frontDoor: null,
};

test("nothing is reported while everything is as it should be", () => {
  expect(judgeAlerts(quiet, noAlerts).findings).toEqual([]);
});

const key = "p/0/t/2026-11-24T1100/acme/00000080000000000000000000" as PayloadKey;
test("a finding about a payload is its tenant's, in a segment too", () => {
  const inSegment = `p/0/t/2026-11-24T1100/_2/${"0".repeat(35)}/003/acme/${key.slice(-26)}` as PayloadKey;
  const facts = {
    held: [{ key: inSegment, reason: "1 of 2 rows" }],
    refused: [{ key: inSegment, since: now, refused: 1, words: "no" }],
  };
  const { findings } = judgeAlerts({ ...quiet, ...facts }, noAlerts);
  expect(findings.map(({ tenant }) => tenant)).toEqual(["acme", "acme"]);
});

test("an erasure that cannot be completed is said to be one, beside work that nobody asked for", () => {
  const since = now - limits.alertInFlightMs;
  const erasure = { since, text: "not erased: s: it is of version 3", payloads: 1, isLowerBound: false };
  expect(judgeAlerts({ ...quiet, erasure }, noAlerts).findings).toEqual([]);
  const facts = { oldestWork: since - 1, erasure: { ...erasure, since: since - 1 } };
  const { findings } = judgeAlerts({ ...quiet, ...facts }, noAlerts);
  expect(findings).toMatchObject([
    { kind: "in_flight", subject: "ledger", severity: "page" },
    {
      kind: "in_flight",
      subject: "erasure",
      severity: "warning",
      message:
        "Since 2026-11-24T11:44:59Z an erasure cannot be completed (not erased: s: it is of version 3); 1 payload waits for it, and everything else continues. It is retried.",
    },
  ]);
});

const pinned = { ...opened(now - 62 * minuteMs, now), listed: 7, pending: 2 };
test.each([
  ["in_flight", "page", { oldestWork: now - limits.alertInFlightMs - 1 }],
  [
    "in_flight",
    "warning",
    {
      erasure: {
        since: now - limits.alertInFlightMs - 1,
        text: "not erased: R2",
        payloads: 2,
        isLowerBound: false,
      },
    },
  ],
  ["breaker_open", "page", { breakerOpen: true }],
  ["breaker_open", "page", { trouble: "ClickHouse at c does not answer" }],
  ["table_check", "page", { tableRefusal: "ALTER TABLE …" }],
  ["table_check", "warning", { clockAheadMs: -10_001 }],
  ["ledger_unborn", "page", { isBorn: false, runFailure: "R2 does not answer" }],
  ["no_evidence", "page", { noEvidence: { since: now - 600_001, reason: "r2 lags" } }],
  ["ledger_size", "warning", { databaseBytes: limits.ledgerDatabaseBytesMax / 2 + 1 }],
  ["wrong_tokens", "warning", { wrongTokens: recordWrongTokens(null, "203.0.113.7", now) }],
  ["refused", "page", { refused: [{ key, since: now, refused: 7, words: "VIOLATED_CONSTRAINT (469): no" }] }],
  ["inexact", "page", { held: [{ key, reason: "1 of 2 rows" }] }],
  ["inexact", "page", { heldOthers: 3 }],
  [
    "reconciler",
    "page",
    { checkpoint: { ...newCheckpoint(now - 9 * minuteMs), ranAt: now - 11 * minuteMs } },
  ],
  ["unsealed", "page", { checkpoint: { ...newCheckpoint(now - 5 * minuteMs), ranAt: now, open: [pinned] } }],
  ["broken_invariant", "page", { broken: recordBroken(null, "a group that ends is there", now - 60_000) }],
  ["rescued", "warning", { rescues: { event: 1, reconcile: 0 } }],
  ["dead_letters", "warning", { recent: { dead: 1, ended: 5 } }],
  ["dead_letters", "page", { recent: { dead: 20, ended: 100 } }],
  [
    "volume",
    "warning",
    {
      volumes: {
        hour: now - 60 * minuteMs,
        tenants: [{ tenant: "acme", spans: 400, before: [900, 1000, 0, 800, 1000, 0, 900] }],
      },
    },
  ],
] as const)("%s is reported once (%s), and resolved when it is over", (kind, severity, changed) => {
  const first = judgeAlerts({ ...quiet, ...changed }, noAlerts);
  expect(first.findings).toMatchObject([{ kind, severity, state: "open", openedAt: now }]);
  const [{ message = "" } = {}] = first.findings;
  expect(message, "what to do is said in the reader's place (console/finding-advice.ts)").not.toContain(
    "/api/",
  );
  expect(message).not.toMatch(/\b1 (payloads|minutes|spans|times)\b|\(s\)/);
  const second = judgeAlerts({ ...quiet, ...changed, now: now + 1 }, first.alertState);
  expect(second.findings).toEqual([]);
  const later = now + 2 * limits.alertRescuedMs;
  const over = judgeAlerts(
    {
      ...quiet,
      now: later,
      rescues: second.alertState.rescues,
      checkpoint: { ...newCheckpoint(later - 5 * minuteMs), ranAt: later },
      volumes: { hour: now, tenants: [] },
    },
    second.alertState,
  );
  expect(over.findings).toMatchObject([{ kind, state: "resolved", openedAt: now }]);
  expect(over.alertState.open).toEqual([]);
});

test("what could not be learnt leaves its findings as they stand", () => {
  const dead = judgeAlerts({ ...quiet, recent: { dead: 1, ended: 5 } }, noAlerts);
  const unknown = judgeAlerts({ ...quiet, recent: null }, dead.alertState);
  expect(unknown.findings).toEqual([]);
  expect(unknown.alertState.open).toEqual(dead.alertState.open);
});

test("a warning that becomes a page is reported again", () => {
  const few = judgeAlerts({ ...quiet, recent: { dead: 1, ended: 500 } }, noAlerts);
  const many = judgeAlerts({ ...quiet, recent: { dead: 30, ended: 500 } }, few.alertState);
  expect(many.findings).toMatchObject([{ kind: "dead_letters", severity: "page", openedAt: now }]);
});

test("a tenant that is new, small, or no smaller than usual is not reported", () => {
  const tenants = [
    { tenant: "new", spans: 10, before: [500, 500, 500, 0, 0, 0, 0] },
    { tenant: "small", spans: 0, before: [50, 50, 50, 50, 50, 50, 50] },
    { tenant: "usual", spans: 500, before: [1000, 1000, 1000, 1000, 1000, 1000, 1000] },
  ];
  expect(judgeAlerts({ ...quiet, volumes: { hour: now, tenants } }, noAlerts).findings).toEqual([]);
});

test("the unsealed minute is named with what it waits for", () => {
  const open = [{ ...pinned, example: key as never }];
  const { findings } = judgeAlerts(
    { ...quiet, checkpoint: { ...newCheckpoint(now), ranAt: now, open } },
    noAlerts,
  );
  expect(findings[0]?.message).toContain(`2 of its 7 payloads have not ended, the first of them ${key}`);
});

test("a median is the middle of odd, the lower middle of even many", () => {
  expect([median([3, 1, 2]), median([4, 1, 2, 3]), median([])]).toEqual([2, 2, 0]);
});

test("a finding stays unreported until each channel took it", () => {
  const broken = { ...quiet, breakerOpen: true };
  const first = judgeAlerts(broken, noAlerts).alertState;
  expect(first.unreported).toMatchObject([{ finding: { kind: "breaker_open", state: "open" }, channels }]);
  const reported = markReported(first, first.unreported, ["log", "table"]);
  const second = judgeAlerts({ ...broken, now: now + minuteMs }, reported).alertState;
  expect(second.unreported).toMatchObject([{ finding: { kind: "breaker_open" }, channels: ["webhook"] }]);
  // Resolved meanwhile: both are reported, in this order.
  const over = judgeAlerts({ ...quiet, now: now + 2 * minuteMs }, second).alertState;
  expect(over.unreported).toMatchObject([
    { finding: { state: "open" }, channels: ["webhook"] },
    { finding: { state: "resolved" }, channels },
  ]);
  // A tick that reported only the first marks only the first.
  expect(markReported(over, second.unreported, channels).unreported).toMatchObject([
    { finding: { state: "resolved" } },
  ]);
  expect(markReported(over, over.unreported, channels).unreported).toEqual([]);
});

test("a webhook that is gone for good costs a bounded memory", () => {
  let alertState = noAlerts;
  for (let n = 0; n < 3 * limits.unreportedFindingsMax; n++) {
    const facts = { ...quiet, now: now + n * minuteMs, breakerOpen: n % 2 === 0 };
    ({ alertState } = judgeAlerts({ ...facts, checkpoint: null }, alertState));
    alertState = markReported(alertState, alertState.unreported, ["log", "table"]);
  }
  expect(alertState.unreported).toHaveLength(limits.unreportedFindingsMax);
  expect(alertState.unreported.at(-1)?.finding.openedAt).toBeGreaterThan(
    now + (3 * limits.unreportedFindingsMax - 3) * minuteMs,
  );
});

test("what an earlier version remembered is read", () => {
  const { unreported, ...earlier } = noAlerts;
  expect(alertStateFromNote({ ...earlier, untold: unreported })).toEqual(noAlerts);
  expect(alertStateFromNote(earlier)).toEqual(noAlerts);
});
