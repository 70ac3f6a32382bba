import { expect, test } from "vitest";
import {
  type AlertFacts,
  channels,
  judgeAlerts,
  markTold,
  median,
  nothingStands,
  recordBroken,
} from "../../shared/alerts.ts";
import { limits } from "../../shared/limits.ts";
import { newBook, opened } from "../../shared/reconcile/minute-book.ts";

const now = Date.UTC(2026, 10, 24, 12, 0, 0);
const minuteMs = 60_000;

const quiet: AlertFacts = {
  now,
  isBorn: true,
  oldestArrival: null,
  held: [],
  breakerOpen: false,
  tableRefusal: "",
  noEvidence: null,
  clockAheadMs: 0,
  databaseBytes: 1000,
  rescues: { event: 0, reconcile: 0 },
  broken: null,
  book: { ...newBook(now - 5 * minuteMs), ranAt: now },
  runFailure: "",
  recent: { dead: 0, ended: 100 },
  volumes: null,
};

test("nothing is told while everything is as it should be", () => {
  expect(judgeAlerts(quiet, nothingStands).findings).toEqual([]);
});

const key = "p/0/t/2026-11-24T1100/acme/00000080000000000000000000";
const pinned = { ...opened(now - 62 * minuteMs, now), listed: 7, pending: 2 };
test.each([
  ["in_flight", "page", { oldestArrival: now - limits.alertInFlightMs - 1 }],
  ["breaker_open", "page", { breakerOpen: true }],
  ["table_check", "page", { tableRefusal: "ALTER TABLE …" }],
  ["table_check", "warning", { clockAheadMs: -10_001 }],
  ["ledger_unborn", "page", { isBorn: false, runFailure: "R2 does not answer" }],
  ["no_evidence", "page", { noEvidence: { since: now - 600_001, reason: "r2 lags" } }],
  ["ledger_size", "warning", { databaseBytes: limits.ledgerDatabaseBytesMax / 2 + 1 }],
  ["inexact", "page", { held: [{ key, reason: "1 of 2 rows" }] }],
  ["reconciler", "page", { book: { ...newBook(now - 9 * minuteMs), ranAt: now - 11 * minuteMs } }],
  ["unsealed", "page", { book: { ...newBook(now - 5 * minuteMs), ranAt: now, open: [pinned] } }],
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
] as const)("%s is told once (%s), and resolved when it is over", (kind, severity, changed) => {
  const first = judgeAlerts({ ...quiet, ...changed }, nothingStands);
  expect(first.findings).toMatchObject([{ kind, severity, state: "open", openedAt: now }]);
  const second = judgeAlerts({ ...quiet, ...changed, now: now + 1 }, first.standing);
  expect(second.findings).toEqual([]);
  const later = now + 2 * limits.alertRescuedMs;
  const over = judgeAlerts(
    {
      ...quiet,
      now: later,
      rescues: second.standing.rescues,
      book: { ...newBook(later - 5 * minuteMs), ranAt: later },
      volumes: { hour: now, tenants: [] },
    },
    second.standing,
  );
  expect(over.findings).toMatchObject([{ kind, state: "resolved", openedAt: now }]);
  expect(over.standing.open).toEqual([]);
});

test("what could not be learnt leaves its findings as they stand", () => {
  const dead = judgeAlerts({ ...quiet, recent: { dead: 1, ended: 5 } }, nothingStands);
  const unknown = judgeAlerts({ ...quiet, recent: null }, dead.standing);
  expect(unknown.findings).toEqual([]);
  expect(unknown.standing.open).toEqual(dead.standing.open);
});

test("a warning that becomes a page is told again", () => {
  const few = judgeAlerts({ ...quiet, recent: { dead: 1, ended: 500 } }, nothingStands);
  const many = judgeAlerts({ ...quiet, recent: { dead: 30, ended: 500 } }, few.standing);
  expect(many.findings).toMatchObject([{ kind: "dead_letters", severity: "page", openedAt: now }]);
});

test("a tenant that is new, small, or no smaller than usual is not told", () => {
  const tenants = [
    { tenant: "new", spans: 10, before: [500, 500, 500, 0, 0, 0, 0] },
    { tenant: "small", spans: 0, before: [50, 50, 50, 50, 50, 50, 50] },
    { tenant: "usual", spans: 500, before: [1000, 1000, 1000, 1000, 1000, 1000, 1000] },
  ];
  expect(judgeAlerts({ ...quiet, volumes: { hour: now, tenants } }, nothingStands).findings).toEqual([]);
});

test("the unsealed minute is named with what it waits for", () => {
  const open = [{ ...pinned, example: key as never }];
  const { findings } = judgeAlerts({ ...quiet, book: { ...newBook(now), ranAt: now, open } }, nothingStands);
  expect(findings[0]?.message).toContain(`2 of its 7 payloads have not ended, the first of them ${key}`);
});

test("a median is the middle of odd, the lower middle of even many", () => {
  expect([median([3, 1, 2]), median([4, 1, 2, 3]), median([])]).toEqual([2, 2, 0]);
});

test("a finding stays to be told until each channel took it", () => {
  const broken = { ...quiet, breakerOpen: true };
  const first = judgeAlerts(broken, nothingStands).standing;
  expect(first.untold).toMatchObject([{ finding: { kind: "breaker_open", state: "open" }, channels }]);
  const told = markTold(first, first.untold, ["log", "table"]);
  const second = judgeAlerts({ ...broken, now: now + minuteMs }, told).standing;
  expect(second.untold).toMatchObject([{ finding: { kind: "breaker_open" }, channels: ["webhook"] }]);
  // Resolved meanwhile: people are told both, in this order.
  const over = judgeAlerts({ ...quiet, now: now + 2 * minuteMs }, second).standing;
  expect(over.untold).toMatchObject([
    { finding: { state: "open" }, channels: ["webhook"] },
    { finding: { state: "resolved" }, channels },
  ]);
  // A tick that told the first alone marks the first alone.
  expect(markTold(over, second.untold, channels).untold).toMatchObject([{ finding: { state: "resolved" } }]);
  expect(markTold(over, over.untold, channels).untold).toEqual([]);
});

test("a webhook that is gone for good costs a bounded memory", () => {
  let standing = nothingStands;
  for (let n = 0; n < 3 * limits.untoldFindingsMax; n++) {
    const facts = { ...quiet, now: now + n * minuteMs, breakerOpen: n % 2 === 0 };
    ({ standing } = judgeAlerts({ ...facts, book: null }, standing));
    standing = markTold(standing, standing.untold, ["log", "table"]);
  }
  expect(standing.untold).toHaveLength(limits.untoldFindingsMax);
  expect(standing.untold.at(-1)?.finding.openedAt).toBeGreaterThan(
    now + (3 * limits.untoldFindingsMax - 3) * minuteMs,
  );
});
