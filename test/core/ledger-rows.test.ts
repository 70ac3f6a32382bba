/**
 * Rows of the ledger stay small whatever happens. A Durable Object's SQLite refuses a row above 2 MB, and local workerd
 * takes it: so the widest row of each kind is written here, and the machine is driven to each of its bounds.
 */
import { describe, expect, test } from "vitest";
import { judgeAlerts, noAlerts, recordBroken } from "../../shared/alerts.ts";
import { readReached, readRefused } from "../../shared/front-door/answer.ts";
import type {
  AttemptReport,
  Evidence,
  Group,
  GroupPayload,
  GroupState,
  GroupTask,
} from "../../shared/ledger/group.ts";
import { bornHead } from "../../shared/ledger/head.ts";
import {
  fitsRow,
  groupFromRow,
  groupToRow,
  headFromRow,
  waitingFromRow,
  waitingToRow,
} from "../../shared/ledger/rows.ts";
import { defaultSettings, fenceMs } from "../../shared/ledger/settings.ts";
import { shortText } from "../../shared/ledger/short-text.ts";
import { limits, widestRows } from "../../shared/limits.ts";
import type { Cause, Doorbell } from "../../shared/messages.ts";
import { formatSlotKey, type PayloadKey } from "../../shared/payload-key.ts";
import type { DayRows, Receipt } from "../../shared/receipt.ts";
import type { Doubt } from "../../shared/reconcile/checkpoint.ts";
import { newCheckpoint, opened } from "../../shared/reconcile/checkpoint.ts";
import { formatSegmentKey } from "../../shared/segment/segment-key.ts";
import {
  codecVersion,
  doorbell,
  emptyWorld,
  idAt,
  startMs,
  storedReport,
  TestLedger,
} from "../ledger/world.ts";
import { minutesAgo, noon, ReconcileWorld } from "../reconcile/world.ts";

const minuteMs = 60_000;
const tenant = "t".repeat(64);
/** Text that JSON writes with six bytes a character. */
const control = "\u0007".repeat(2000);
const reason = shortText(control, limits.reasonBytesMax);
const bytesOf = (row: unknown): number => new TextEncoder().encode(JSON.stringify(row)).length;
const longBell = (n: number, minute = 0, cause: Cause = "ingress"): Doorbell => {
  const arrival = startMs + minute * minuteMs;
  // The longest keys are those of payloads in segments.
  const segment = formatSegmentKey(arrival, new Uint8Array(10), [idAt(n)]);
  return { ...doorbell({ n, spans: 20, cause, arrival }), key: formatSlotKey(segment, 127, tenant, idAt(n)) };
};
const days: readonly DayRows[] = Array.from({ length: limits.payloadDaysMax }, (_, i) => ({
  day: 20_700 + i,
  rows: 1_000_000,
}));
const groupId = "f".repeat(32) as Group["id"];

function widestPayload(n: number, keys: number): GroupPayload {
  return {
    key: longBell(n).key,
    spans: limits.spansMax,
    outputBytes: limits.outputBytesMax,
    arrival: startMs,
    cause: "reconcile",
    doorbell: false,
    duplicateKeys: Array.from({ length: keys }, (_, i) => longBell(n, i + 1).key),
    missingDays: { days: days.map(({ day }) => day), complete: days },
    erase: reason,
  };
}

/** As many payloads as a group may have, with as many keys as they may have together. */
const otherKeys = limits.groupKeysMax - limits.groupPayloadsMax;
const widestPayloads = Array.from({ length: limits.groupPayloadsMax }, (_, n) => {
  const [before, behind] = [n, n + 1].map((i) => Math.floor((i * otherKeys) / limits.groupPayloadsMax));
  return widestPayload(n, (behind ?? 0) - (before ?? 0));
});

function widestGroup(state: GroupState, more: Partial<Group> = {}): Group {
  return {
    id: groupId,
    epoch: 999,
    payloads: widestPayloads,
    blocks: 999,
    made: startMs,
    attempts: 1_000_000,
    inserts: 1_000_000,
    firstInsertAt: startMs,
    lastInsertAt: startMs,
    blocksBefore: 1e12,
    codecVersion: 100,
    rows: null,
    outcomeUnknown: true,
    refusals: 3,
    lastRefusalAt: startMs,
    unlisted: 5,
    ownFailures: 3,
    ownFailedAt: startMs,
    failure: {
      failed: 1_000_000,
      refused: 1_000_000,
      since: startMs,
      at: startMs,
      kind: "unreported",
      code: 1002,
      name: "X".repeat(100),
      text: "x".repeat(limits.failureTextBytesMax),
      ofErasure: true,
    },
    failures: 1000,
    rings: 1000,
    due: Number.MAX_SAFE_INTEGER,
    state,
    ...more,
  };
}

const lease = { attempt: 1_000_000, until: startMs };
const rows = widestPayloads.map(({ key }) => ({
  key,
  rowsByDay: days,
  rejectedSpans: 100_000,
  bytes: 4_194_304,
}));
const receiptOf = (key: PayloadKey, rowsByDay: readonly DayRows[]): Receipt => ({
  key,
  outcome: "duplicate",
  group: groupId,
  spans: limits.spansMax,
  rowsByDay,
  rejectedSpans: limits.spansMax,
  bytes: limits.bodyBytesMax,
  reason,
});

describe("the widest row", () => {
  test("of a group that is inserted, counted or verified", () => {
    const verifying = {
      at: "verifying",
      lease,
      fence: startMs,
      split: true,
      code: reason,
      isBlind: true,
    } as const;
    const text = groupToRow(widestGroup(verifying, { rows }));
    expect(text.length).toBeGreaterThan(1_200_000);
    expect(text.length).toBeLessThanOrEqual(widestRows.inserted);
    expect(fitsRow(groupId, text)).toBe(true);
    expect(groupFromRow(text)).toEqual(widestGroup(verifying, { rows }));
  });

  test("of a group that is held", () => {
    const found = widestPayloads.map(({ key }) => ({ key, rowsByDay: days, reason }));
    const group = widestGroup({ at: "held", lease: null, found });
    const text = groupToRow(group);
    expect(text.length).toBeLessThanOrEqual(widestRows.held);
    expect(groupFromRow(text)).toEqual(group);
  });

  test("of a group whose receipts are to be written", () => {
    const payloads = widestPayloads.map((payload) => ({ ...payload, missingDays: null }));
    const receipts = payloads.flatMap(({ key, duplicateKeys }) => [
      { ...receiptOf(key, days), isWritten: true as const },
      ...duplicateKeys.map((other) => ({ ...receiptOf(other, []), isWritten: true as const })),
    ]);
    expect(receipts).toHaveLength(limits.groupKeysMax);
    const ended = payloads.map(({ key }) => ({ key, outcome: "stored" }) as const);
    const group = widestGroup(
      { at: "receipting", lease, receipts, leased: receipts.length, completeView: false, ended },
      { payloads },
    );
    const text = groupToRow(group);
    expect(text.length).toBeGreaterThan(1_200_000);
    expect(text.length).toBeLessThanOrEqual(widestRows.receipting);
    expect(groupFromRow(text)).toEqual(group);
  });

  test("of what waits", () => {
    const waiting = { since: startMs, payloads: widestPayloads };
    const text = waitingToRow(waiting);
    expect(waitingFromRow(text)).toEqual(waiting);
    expect(text.length).toBeLessThanOrEqual(widestRows.waiting);
  });

  test("of the head", () => {
    const identity = `replicated ${"é".repeat(limits.zooKeeperPathCharactersMax)}`;
    const out = Array.from({ length: limits.insertsAtOnceMax }, () => groupId);
    const head = {
      ...bornHead(emptyWorld, startMs, 4),
      breaker: {
        inFlight: out,
        notified: out.map((group) => ({ group, again: startMs })),
        concurrencyLimit: 16,
        suspects: out,
        isOpen: true,
        probeAt: startMs,
        failures: 1e6,
      },
      table: {
        refusal: shortText(control, limits.noteTextBytesMax),
        measure: {
          blocks: 1e12,
          windowBlocks: 1e12,
          windowMs: 1e12,
          clockAheadMs: -45_000,
          ttl: { kind: "unclear", clause: reason } as const,
          identity,
        },
        measuredAt: startMs,
        identity,
        other: { at: startMs, found: identity },
        acceptedAt: startMs,
      },
      noEvidence: { since: startMs, reason },
      pendingRescues: Array.from({ length: limits.pendingRescuesMax }, (_, n) => ({
        id: idAt(n),
        ring: "reconcile" as const,
        at: startMs,
      })),
    };
    expect(bytesOf(head)).toBeLessThanOrEqual(widestRows.head);
    expect(headFromRow(JSON.stringify(head))).toEqual(head);
  });

  test("of the reconciler", () => {
    const key = longBell(1).key;
    const doubts: readonly Doubt[] = Array.from({ length: limits.auditDoubtsMax }, () => ({
      kind: "keys",
      missing: 1000,
      dueAt: startMs,
      tries: 10,
      reportedAt: startMs,
      keys: Array.from({ length: 5 }, () => key),
    }));
    const checkpoint = {
      ...newCheckpoint(startMs),
      open: Array.from({ length: limits.openMinutesMax }, () => ({
        ...opened(startMs, startMs),
        tries: 100_000,
        after: key,
        listed: 10_000_000,
        checksum: String(2n ** 64n - 1n),
        pending: 10_000_000,
        example: key,
      })),
      again: Array.from({ length: limits.againMinutesMax }, () => ({
        minute: startMs,
        at: startMs,
        after: "",
      })),
      doubts,
      expiredReported: Array.from({ length: limits.expiredReportedMax }, () => key),
    };
    const note = { checkpoint, lease: { run: groupId, until: startMs } };
    expect(bytesOf(note)).toBeGreaterThan(1_000_000);
    expect(bytesOf(note)).toBeLessThanOrEqual(widestRows.reconciler);
  });
});

test("a row above the limit is distinguished from one that fits, in bytes and not in characters", () => {
  expect(fitsRow("head", "x".repeat(limits.ledgerRowBytesMax - 4))).toBe(true);
  expect(fitsRow("head", "x".repeat(limits.ledgerRowBytesMax - 3))).toBe(false);
  expect(fitsRow("head", "é".repeat(limits.ledgerRowBytesMax / 2))).toBe(false);
});

test("a text is cut to its bytes of JSON, between two characters", () => {
  expect(shortText("x".repeat(200), 200)).toBe("x".repeat(200));
  expect(shortText("x".repeat(201), 200)).toBe(`${"x".repeat(197)}…`);
  expect(shortText("😀".repeat(100), 20)).toBe("😀😀😀😀…");
  expect(shortText('"'.repeat(100), 11)).toBe('""""…');
});

/** Doorbells of one claim here. */
const claimed = 100;

/** A ledger that has a full group, whose INSERT is in flight. */
function fullGroup(): { readonly ledger: TestLedger; readonly task: GroupTask } {
  const ledger = new TestLedger();
  let task: GroupTask | null = null;
  for (let at = 0; at < limits.groupPayloadsMax; at += claimed) {
    const doorbells = Array.from({ length: claimed }, (_, i) => longBell(at + i));
    task = ledger.step({ kind: "claim", doorbells, codecVersion }).task ?? task;
  }
  if (task === null) {
    throw new Error("a full group is leased");
  }
  return { ledger, task };
}

const missingDays = (ledger: TestLedger): Group => {
  const [group, ...more] = ledger.state.dump().groups.values();
  if (group === undefined || more.length > 0) {
    throw new Error("there is one group");
  }
  return group;
};

describe("the machine keeps to its bounds", () => {
  test("where every client of a full group sends again in each of ten minutes", () => {
    const { ledger, task } = fullGroup();
    for (let minute = 1; minute <= 10; minute++) {
      for (let at = 0; at < limits.groupPayloadsMax; at += claimed) {
        const doorbells = Array.from({ length: claimed }, (_, i) => longBell(at + i, minute));
        ledger.step({ kind: "claim", doorbells, codecVersion });
      }
    }
    const keys = missingDays(ledger).payloads.reduce(
      (sum, { duplicateKeys }) => sum + 1 + duplicateKeys.length,
      0,
    );
    expect(keys).toBe(limits.groupKeysMax);
    expect(missingDays(ledger).payloads.every(({ duplicateKeys }) => duplicateKeys.length >= 1)).toBe(true);
    ledger.report(task, storedReport(task));
    expect(missingDays(ledger).state).toMatchObject({
      at: "receipting",
      receipts: { length: limits.groupKeysMax },
    });
    expect(groupToRow(missingDays(ledger)).length).toBeLessThanOrEqual(widestRows.receipting);
  });

  test("where keys come while receipts are being written", () => {
    const { ledger, task } = fullGroup();
    ledger.report(task, storedReport(task));
    for (let minute = 1; minute <= 4; minute++) {
      for (let at = 0; at < limits.groupPayloadsMax; at += claimed) {
        const doorbells = Array.from({ length: claimed }, (_, i) => longBell(at + i, minute));
        ledger.step({ kind: "claim", doorbells, codecVersion });
      }
    }
    expect(missingDays(ledger).state).toMatchObject({ receipts: { length: limits.groupKeysMax } });
  });

  test("where 6,000 payloads are found by the reconciler within ten minutes", () => {
    const ledger = new TestLedger();
    let n = 0;
    while (n < 6000) {
      let task: GroupTask | null = null;
      while (task === null) {
        task = ledger.claim(
          ...Array.from({ length: 100 }, () => ({ n: n++, spans: 20, cause: "reconcile" as const })),
        );
      }
      ledger.storeAll(task);
      ledger.now += 1000;
    }
    expect(ledger.now - startMs).toBeLessThan(limits.rescueOvertakenMs);
    expect(bytesOf(ledger.state.head)).toBeLessThanOrEqual(widestRows.head);
    ledger.now += limits.rescueOvertakenMs;
    ledger.alarm();
    expect(ledger.state.head?.rescues.reconcile).toBe(limits.pendingRescuesMax);
  });

  const long = "x".repeat(1_000_000);
  const short = (ledger: TestLedger): boolean => groupToRow(missingDays(ledger)).length < 3000;

  test.each([
    ["broken", 1] as const,
    ["unlisted", limits.unlistedAnswersMax] as const,
    ["refused", 1] as const,
  ])("where the reason of a failure is a megabyte: %s", (kind, times) => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    let task: GroupTask | null = ledger.takeNotified();
    for (let i = 0; i < times && task !== null; i++) {
      ledger.report(task, { kind, reason: long });
      expect(short(ledger)).toBe(true);
      for (
        const end = ledger.now + 10 * minuteMs;
        ledger.now < end && missingDays(ledger).state.at === "open";
      ) {
        ledger.now += 1000;
        const [group] = ledger.alarm();
        task = group === undefined ? null : ledger.take(group);
        if (task !== null) {
          break;
        }
      }
    }
    expect(short(ledger)).toBe(true);
  });

  test("where a person's reason, and the table check's, are a megabyte", () => {
    const ledger = new TestLedger();
    ledger.step({ kind: "erase", payloads: [doorbell({ n: 1, cause: "replay" })], reason: long });
    expect(short(ledger)).toBe(true);
    const ttl = { kind: "unclear", clause: long } as const;
    const measure = { blocks: 0, windowBlocks: 1, windowMs: null, ttl };
    ledger.step({ kind: "table", table: { refusal: long, measure } });
    expect(bytesOf(ledger.state.head)).toBeLessThan(widestRows.head);
  });

  test("where an erased payload has receipts under 1,200 keys: each is erased, 60 at a look", () => {
    const ledger = new TestLedger();
    ledger.step({ kind: "erase", payloads: [doorbell({ n: 1, cause: "replay" })], reason: "asked for" });
    const keys = Array.from(
      { length: 1200 },
      (_, i) => doorbell({ n: 1, arrival: startMs - i * minuteMs }).key,
    );
    const erased = new Set<PayloadKey>();
    const looks: number[] = [];
    while (ledger.state.dump().groups.size > 0) {
      ledger.now += fenceMs(defaultSettings);
      const look = ledger.take(missingDays(ledger).id);
      const receipts = keys.map((key) => ({
        ...receiptOf(key, []),
        outcome: erased.has(key) ? ("erased" as const) : ("duplicate" as const),
      }));
      const evidence: Evidence = { key: doorbell({ n: 1 }).key, receipts, rowsByDay: [], object: null };
      const report: AttemptReport = { kind: "verified", running: false, oldestDay: 0, payloads: [evidence] };
      const task = look === null ? null : ledger.report(look, report);
      if (task?.step === "receipts") {
        looks.push(task.receipts.length);
        for (const { key, outcome } of task.receipts) {
          expect(outcome).toBe("erased");
          erased.add(key);
        }
        ledger.receipted(task);
      }
    }
    expect(looks).toEqual(Array.from({ length: 20 }, () => 60));
    expect(erased.size).toBe(1200);
  });

  test("where no minute can be sealed for a week: the walk waits for room, and goes on when there is", () => {
    const world = new ReconcileWorld();
    world.run(noon - 7 * 1440 * minuteMs);
    const held = Array.from({ length: 40 }, (_, i) => world.put(minutesAgo(60 - i), i + 1));
    for (const key of held) {
      world.held.add(key.slice(-26) as never);
    }
    const changed = { openMax: 10, againMax: 3 };
    world.run(noon, changed);
    expect(world.checkpoint?.open).toHaveLength(10);
    for (const key of held) {
      world.end(key, "stored");
    }
    world.held.clear();
    for (let i = 1; i <= 10; i++) {
      world.run(noon + i * 20 * minuteMs, changed);
    }
    expect(world.checkpoint?.open).toEqual([]);
    expect(world.checkpoint?.from).toBeGreaterThan(noon);
  });

  test("where two thousand findings are open: the first stay open, and none is reported as resolved", () => {
    const widestGroups = Array.from({ length: limits.zoneGroupsMax }, () => ({
      count: Number.MAX_SAFE_INTEGER,
      avg: { sampleInterval: Number.MAX_SAFE_INTEGER },
      dimensions: { action: control, source: control, ruleId: control },
    }));
    const answer = { data: { viewer: { zones: [{ groups: widestGroups }] } } };
    const widestFrontDoor = {
      kind: "zone" as const,
      host: "h".repeat(253),
      askedAt: noon,
      notBefore: noon,
      until: noon,
      refused: readRefused({ status: 200, text: JSON.stringify(answer) }, "", "", noon),
      reached: readReached(null, control, "", noon),
    };
    const facts = {
      now: noon,
      isBorn: true,
      oldestWork: null,
      erasure: null,
      refused: [],
      refusedOthers: 0,
      heldOthers: 0,
      wrongTokens: null,
      breakerOpen: false,
      trouble: "",
      noEvidence: { since: noon, reason: control },
      tableRefusal: control,
      clockAheadMs: 0,
      databaseBytes: 0,
      rescues: { event: 0, reconcile: 0 },
      broken: recordBroken(null, control, noon),
      checkpoint: { ...newCheckpoint(noon), ranAt: noon },
      runFailure: "",
      recent: null,
      volumes: null,
      frontDoor: widestFrontDoor,
    };
    const heldOf = (from: number) =>
      Array.from({ length: 2000 }, (_, n) => ({ key: longBell(from + n).key, reason: control }));
    const first = judgeAlerts({ ...facts, held: heldOf(1000) }, noAlerts);
    expect(first.alertState.open).toHaveLength(limits.findingsOpenMax);
    expect(bytesOf(first.alertState)).toBeLessThanOrEqual(widestRows.alerts);
    const next = judgeAlerts({ ...facts, held: heldOf(0) }, first.alertState);
    expect(next.findings).toEqual([]);
    expect(next.alertState.open).toHaveLength(limits.findingsOpenMax);
    expect(bytesOf(recordBroken(null, control, noon))).toBeLessThan(2000);
  });
});

describe("what an earlier version wrote under other names is read", () => {
  test("a group with days as objects, and without the failures that it did not count", () => {
    const state = {
      at: "receipting",
      lease,
      receipts: [receiptOf(longBell(1).key, days)],
      leased: 0,
      completeView: false,
      ended: [],
    } as const;
    const group = widestGroup(state, { rows: rows.slice(0, 2), payloads: widestPayloads.slice(0, 2) });
    const { ownFailures: _, ownFailedAt: __, ...older } = group;
    expect(groupFromRow(JSON.stringify(older))).toEqual({ ...group, ownFailures: 0, ownFailedAt: 0 });
  });

  test("a group with more keys than one may have now: a second key of each payload is kept", () => {
    const payloads = widestPayloads.slice(0, 100).map((_, n) => widestPayload(n, 40));
    const older = widestGroup({ at: "open", lease: null, out: "insert" }, { payloads });
    const read = groupFromRow(JSON.stringify(older));
    expect(read.payloads.map(({ duplicateKeys }) => duplicateKeys.length)).toEqual(payloads.map(() => 1));
    expect(read.payloads.map(({ key }) => key)).toEqual(payloads.map(({ key }) => key));
  });

  test("a head with 30,000 pending rescues", () => {
    const pendingRescues = Array.from({ length: 30_000 }, (_, n) => ({
      id: idAt(n),
      ring: "event" as const,
      at: n,
    }));
    const { lastSplitAt: _, ...older } = { ...bornHead(emptyWorld, startMs, 4), pendingRescues };
    expect(headFromRow(JSON.stringify(older))).toMatchObject({
      lastSplitAt: 0,
      pendingRescues: { length: limits.pendingRescuesMax },
    });
  });
});

describe("what an earlier version wrote is read", () => {
  test("of a head", () => {
    const head = bornHead(emptyWorld, startMs, 4);
    const { inFlight, notified, concurrencyLimit, ...breaker } = head.breaker;
    const earlier = { ...head, breaker: { ...breaker, out: [groupId], slots: 3 } };
    expect(headFromRow(JSON.stringify(earlier)).breaker).toEqual({
      ...breaker,
      inFlight: [groupId],
      notified: [],
      concurrencyLimit: 3,
    });
  });

  test("of a group", () => {
    const verifying = { at: "verifying", lease, fence: startMs, split: true, code: "469" } as const;
    const group = widestGroup(verifying, { payloads: [widestPayload(0, 1)] });
    const { outcomeUnknown, failure: _, ...rest } = group;
    const payloads = group.payloads.map(({ missingDays, ...payload }) => ({
      ...payload,
      only: missingDays && { days: missingDays.days, whole: missingDays.complete },
    }));
    const { split, ...state } = verifying;
    const earlier = { ...rest, payloads, unclean: outcomeUnknown, state: { ...state, halve: split } };
    expect(groupFromRow(JSON.stringify(earlier))).toEqual({ ...group, failure: null });
  });

  test("of a group that says less than one does now", () => {
    const verifying = { at: "verifying", lease: null, fence: startMs, code: "" } as const;
    const payload = { ...widestPayload(0, 0), missingDays: null };
    const group = widestGroup({ ...verifying, split: false }, { payloads: [payload] });
    const { outcomeUnknown: _, blocks: __, ownFailures, ownFailedAt, ...rest } = group;
    const { missingDays, ...older } = payload;
    for (const only of [{}, { only: null }]) {
      const earlier = { ...rest, state: verifying, payloads: [{ ...older, ...only }] };
      expect(groupFromRow(JSON.stringify(earlier))).toEqual({
        ...group,
        outcomeUnknown: false,
        blocks: 1,
        ownFailures: 0,
        ownFailedAt: 0,
      });
    }
    const receipting = {
      at: "receipting",
      lease: null,
      receipts: [],
      completeView: false,
      ended: [],
    } as const;
    const unsent = { ...rest, state: { ...receipting, at: "closing" } };
    expect(groupFromRow(JSON.stringify(unsent)).state).toEqual({ ...receipting, leased: 0 });
    const waiting = { since: 5, payloads: [older] };
    expect(waitingFromRow(JSON.stringify(waiting))).toEqual({ since: 5, payloads: [payload] });
    expect([missingDays, ownFailures, ownFailedAt]).toBeDefined();
  });

  test("of a head that counted nothing", () => {
    const head = bornHead(emptyWorld, startMs, 4);
    const { inFlight: _, notified: __, concurrencyLimit: ___, ...breaker } = head.breaker;
    const { lastSplitAt: ____, ...rest } = head;
    const called = [{ group: groupId, again: 5 }];
    expect(headFromRow(JSON.stringify({ ...rest, breaker: { ...breaker, called } }))).toEqual({
      ...head,
      breaker: { ...breaker, inFlight: [], notified: called, concurrencyLimit: 1 },
    });
    expect(headFromRow(JSON.stringify({ ...rest, lastSplitAt: 7, breaker: head.breaker }))).toEqual({
      ...head,
      lastSplitAt: 7,
    });
  });

  test("of rows by day only where each day has its rows", () => {
    const group = groupToRow(
      widestGroup({ at: "open", lease: null, out: "insert" }, { rows: rows.slice(0, 1) }),
    );
    expect(() => groupFromRow(group.replace("[20700,1000000,", "[20700,1000000,7,"))).toThrow(
      "each day has its rows",
    );
  });

  test("of a group whose receipts are to be written", () => {
    const receipts = [receiptOf(widestPayload(0, 0).key, days)];
    const receipting = { at: "receipting", lease, receipts, completeView: false, ended: [] } as const;
    const earlier = {
      ...widestGroup({ ...receipting, leased: 1 }, { payloads: [] }),
      state: { ...receipting, at: "closing", given: 1 },
    };
    expect(groupFromRow(JSON.stringify(earlier)).state).toEqual({ ...receipting, leased: 1 });
  });
});

test("rows by day are written as plain numbers, and read as they were", () => {
  const rowsByDay = [{ day: 20_781, rows: 10 }];
  const payload: GroupPayload = {
    ...widestPayload(1, 0),
    missingDays: { days: [20_781], complete: rowsByDay },
  };
  const { key } = payload;
  const receipt: Receipt = {
    key,
    outcome: "stored",
    group: groupId,
    spans: 10,
    rowsByDay,
    rejectedSpans: 0,
    bytes: 100,
    reason: "",
  };
  const found = [
    { key, rowsByDay, reason: "" },
    { key, rowsByDay: [], reason: "" },
  ];
  const stored = { key, rowsByDay, rejectedSpans: 0, bytes: 100 };
  const receipts = [receipt, { ...receipt, rowsByDay: [] }];
  for (const [state, times] of [
    [{ at: "open", lease: null, out: "insert" }, 2],
    [{ at: "receipting", lease: null, receipts, leased: 1, completeView: false, ended: [] }, 3],
    [{ at: "held", lease: null, found }, 3],
    [{ at: "clearing", lease: null, found }, 3],
  ] as const) {
    const group = widestGroup(state, { payloads: [payload], rows: [stored] });
    const text = groupToRow(group);
    expect(text.split("[20781,10]")).toHaveLength(1 + times);
    expect(text).not.toContain('"day"');
    expect(groupFromRow(text)).toEqual(group);
  }
});
