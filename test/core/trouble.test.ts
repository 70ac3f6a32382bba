/** Whether payloads can be stored, as the ledger knows it, and what an outside check is answered. */

import * as v from "valibot";
import { assert, describe, expect, test } from "vitest";
import { inFlightSchema } from "../../shared/console/answers.ts";
import { type Failure, failureKinds } from "../../shared/failure.ts";
import type { AttemptReport, Group, GroupTask } from "../../shared/ledger/group.ts";
import type { Head } from "../../shared/ledger/head.ts";
import { inFlightOf } from "../../shared/ledger/in-flight.ts";
import { groupFromRow, groupToRow } from "../../shared/ledger/rows.ts";
import {
  erasureTroubleOf,
  type LedgerHealth,
  queueTroubleOf,
  queueTroubleText,
  troubleOf,
  troubleText,
} from "../../shared/ledger/trouble.ts";
import { nothingWaits } from "../../shared/ledger/view.ts";
import { limits } from "../../shared/limits.ts";
import type { ConsoleBindings } from "../../workers/console/bindings.ts";
import { health, neverAsked } from "../../workers/console/health.ts";
import { lookedInto } from "../ledger/looked-into.ts";
import { failure, groupIn, head, now, one, open, otherId, two } from "../ledger/one-step.ts";
import { doorbell, startMs, storedReport, TestLedger } from "../ledger/world.ts";

const silent: AttemptReport = { kind: "unknown", reason: "no answer: Error: connection refused." };

function troubleIn(ledger: TestLedger) {
  const { head, waiting } = ledger.state;
  const groups = [...ledger.state.dump().groups.values()];
  return troubleOf(head, waiting, groups, groups.length);
}

describe("payloads cannot be stored", () => {
  test("when one quiet group fails; since its first failure, however often it fails", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 }, { n: 2 });
    const task = ledger.takeNotified();
    expect(troubleIn(ledger)).toBeNull();
    const since = ledger.now;
    ledger.report(task, silent);
    ledger.now += 120_000;
    ledger.alarm();
    const again = ledger.take(task.group);
    if (again === null) {
      throw new Error("it is due");
    }
    ledger.report(again, silent);
    const trouble = troubleIn(ledger);
    expect(trouble).toMatchObject({ since, payloads: 2, last: { failed: 2, at: ledger.now } });
    expect(trouble && troubleText(trouble, "10.0.0.7:8443", ledger.now)).toBe(
      `ClickHouse at 10.0.0.7:8443 does not answer since ${new Date(since).toISOString().slice(11, 16)} UTC (connection refused); 2 payloads wait; nothing is lost.`,
    );
  });

  test("no longer when an INSERT was stored that was leased after the last failure", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    ledger.report(ledger.takeNotified(), silent);
    ledger.now += 1;
    ledger.claim({ n: 2, arrival: ledger.now });
    const other = ledger.takeNotified();
    expect(troubleIn(ledger)).not.toBeNull();
    ledger.report(other, storedReport(other));
    expect(troubleIn(ledger)).toBeNull();
  });

  test("is not said of what ClickHouse refuses: that is the payload's own", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    ledger.report(ledger.takeNotified(), { kind: "refused", reason: "no", code: 469 });
    expect(troubleIn(ledger)).toBeNull();
  });

  test.each([
    { reason: "not erased: p/0/…: it is of version 3", left: true },
    { reason: "rows are to be erased: no evidence: r2 lags", left: false },
    { reason: "rows are to be erased: Error: the DELETE in t is running: 3 parts left", left: false },
  ])("is not said of an erasure that fails: $reason", ({ reason, left }) => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    const payload = doorbell({ n: 1, cause: "replay" });
    ledger.step({ kind: "erase", payloads: [payload], reason: "asked for" });
    let task: GroupTask | null = null;
    while (task === null) {
      ledger.now += 1000;
      const [notified] = ledger.alarm();
      task = notified === undefined ? null : ledger.take(notified);
    }
    const rowsByDay = [{ day: 20_781, rows: 10 }];
    const object = { key: payload.key, spans: 10, rejectedSpans: 0, bytes: 1, rowsByDay };
    const evidence = { key: payload.key, receipts: [], rowsByDay: [], object };
    const payloads = [evidence];
    const receipts = ledger.report(task, { kind: "verified", running: false, oldestDay: 0, payloads });
    assert(receipts !== null);
    const report = {
      kind: "retry",
      reason,
      ofErasure: true,
      ...(left ? { left: [payload.key] } : {}),
    } as const;
    ledger.report(receipts, report);
    const failing = { since: ledger.now, text: reason, payloads: 1, isLowerBound: false };
    expect(troubleIn(ledger)).toBeNull();
    const [group] = ledger.state.dump().groups.values();
    assert(group !== undefined);
    expect(erasureTroubleOf(lookedInto([group], 1))).toEqual(failing);
    // Either version reads what the other one wrote: an earlier one knew it by its words alone, and reads no field that it does not know.
    assert(group.failure !== null);
    const { ofErasure, ...before } = group.failure;
    expect(ofErasure).toBe(true);
    expect(
      erasureTroubleOf(lookedInto([groupFromRow(groupToRow({ ...group, failure: before }))], 1)),
    ).toEqual(failing);
    expect(groupFromRow(groupToRow(group))).toEqual(group);
    expect([before.kind, before.text]).toEqual([
      "retry",
      expect.stringMatching(/^(rows are to be erased|not erased): /),
    ]);
    const shown = inFlightOf(null, nothingWaits, lookedInto([group], 1), ledger.now);
    expect(v.parse(inFlightSchema, shown).groups[0]?.failure).toEqual(before);
  });

  const last = { failed: 1, refused: 0, since: startMs, at: startMs, code: null, name: "" } as const;
  test.each([
    [
      { ...last, kind: "retry", code: 241, name: "MEMORY_LIMIT_EXCEEDED", text: "much" },
      "ClickHouse at c stores nothing since 12:00 UTC (MEMORY_LIMIT_EXCEEDED (241): much); 1 payload waits; nothing is lost.",
    ],
    [
      {
        ...last,
        kind: "retry",
        text: "the evidence could not be read: NotReached: ClickHouse at 10.0.0.7:8443 does not answer (no route (1).)",
      },
      "ClickHouse at c does not answer since 12:00 UTC (no route (1)); 1 payload waits; nothing is lost.",
    ],
    [
      { ...last, kind: "retry", text: "the block could not be built: R2" },
      "Payloads cannot be stored since 12:00 UTC (R2); 1 payload waits; nothing is lost.",
    ],
  ] as const)("in words: %j", (failure, expected) => {
    const trouble = { since: startMs, last: failure, payloads: 1, isLowerBound: false };
    expect(troubleText(trouble, "c", startMs)).toBe(expected);
    expect(troubleText({ ...trouble, isLowerBound: true }, "c", startMs + 86_400_000)).toMatch(
      /since 2026-11-24 12:00 UTC .*; at least 1 payloads wait; /,
    );
  });
});

describe("trouble, all of it:", () => {
  const at = (ms: number, more: Partial<Failure> = {}): Partial<Group> => ({
    failure: { ...failure, since: now - 2 * ms, at: now - ms, ...more },
  });
  const waiting = { since: now, payloads: [two, two] };
  const held = groupIn({ at: "held", lease: null, found: [] }, { id: otherId, ...at(1) });
  const inserted = (ms: number): Head => ({ ...head, lastStoredInsertAt: now - ms });

  test("is of the newest failure, since the first, and of all that waits but for what is held", () => {
    const both = [groupIn(open, at(5)), groupIn(open, { id: otherId, payloads: [one, two], ...at(3) }), held];
    expect(troubleOf(inserted(100), waiting, both, 3)).toEqual({
      since: now - 10,
      last: both[1]?.failure,
      payloads: 5,
      isLowerBound: false,
    });
    expect(troubleOf(inserted(100), nothingWaits, [...both].reverse(), 4)).toEqual({
      since: now - 10,
      last: both[1]?.failure,
      payloads: 3,
      isLowerBound: true,
    });
    // Of two at the same time the first one is named.
    const equal = [groupIn(open, at(5, { text: "a" })), groupIn(open, at(5, { text: "b" }))];
    expect(troubleOf(null, nothingWaits, equal, 2)?.last.text).toBe("a");
  });

  test("begins no earlier than the last INSERT that was stored, and is over with one that was leased later", () => {
    const of = (ms: number) => troubleOf(inserted(ms), nothingWaits, [groupIn(open, at(5))], 1);
    expect([11, 10, 9, 5].map((ms) => now - (of(ms)?.since ?? 0))).toEqual([10, 10, 9, 5]);
    expect(of(4)).toBeNull();
    // A ledger that is not born has stored nothing.
    const first = groupIn(open, { failure: { ...failure, since: 0, at: 0 } });
    expect(troubleOf(null, nothingWaits, [first], 1)).toMatchObject({ since: 0 });
  });

  test("is none of a payload's own, and none of what is held", () => {
    const kinds = failureKinds.filter(
      (kind) => troubleOf(inserted(100), nothingWaits, [groupIn(open, at(5, { kind }))], 1) !== null,
    );
    expect(kinds).toEqual(["retry", "unknown", "unlisted", "halted", "unreported"]);
    expect(troubleOf(inserted(100), nothingWaits, [held, groupIn(open, { failure: null })], 2)).toBeNull();
  });

  test("is an erasure's also where its words are others", () => {
    const text = "R2 has its bytes still";
    const of = (failure: Partial<Failure>) => [groupIn(open, at(5, { kind: "retry", text, ...failure }))];
    expect(erasureTroubleOf(lookedInto(of({ ofErasure: true }), 1))).toMatchObject({ text });
    expect(troubleOf(null, nothingWaits, of({ ofErasure: true }), 1)).toBeNull();
    expect(erasureTroubleOf(lookedInto(of({}), 1))).toBeNull();
  });

  test("of erasures is the newest failure's, since the first that is of the group as it is", () => {
    const text = "not erased: R2";
    const some = [
      groupIn(open, { made: now - 9, ...at(5, { kind: "retry", text }) }),
      groupIn(open, {
        made: now - 90,
        payloads: [one, two],
        ...at(4, { kind: "retry", text: `${text}, too` }),
      }),
      groupIn(open, { made: now - 99, ...at(1, { kind: "retry", text: "no answer" }) }),
      groupIn(open, { made: now - 99, ...at(1, { kind: "unknown", text }) }),
      groupIn(open, { failure: null }),
    ];
    expect(erasureTroubleOf(lookedInto(some, 9))).toEqual({
      since: now - 9,
      text: `${text}, too`,
      payloads: 3,
      isLowerBound: false,
    });
    expect(erasureTroubleOf(lookedInto(some, 1))).toEqual({
      since: now - 9,
      text,
      payloads: 1,
      isLowerBound: true,
    });
    expect(erasureTroubleOf(lookedInto(some.slice(2), 9))).toBeNull();
  });

  test("is of the queue where it takes no message, and something waits for it", () => {
    const queue = { since: now - 60_000, text: "the queue headrace-groups takes no message" };
    const groups = [groupIn(open, { payloads: [one, two] }), held];
    const trouble = { ...queue, payloads: 4, isLowerBound: false };
    expect(queueTroubleOf(queue, waiting, groups, 2)).toEqual(trouble);
    expect(queueTroubleOf(queue, nothingWaits, groups, 3)).toEqual({
      ...trouble,
      payloads: 2,
      isLowerBound: true,
    });
    expect(queueTroubleOf(queue, nothingWaits, [held], 1)).toBeNull();
    expect(queueTroubleOf(null, waiting, groups, 2)).toBeNull();
    expect(queueTroubleText(trouble, now)).toBe(
      "the queue headrace-groups takes no message since 11:59 UTC; 4 payloads wait; nothing is lost.",
    );
    expect(queueTroubleText({ ...trouble, payloads: 1 }, now)).toContain("; 1 payload waits; ");
  });

  test("in words: an unknown answer is none of ClickHouse's only where nobody answered", () => {
    const words = (more: Partial<Failure>) =>
      troubleText({ since: now, last: { ...failure, ...more }, payloads: 2, isLowerBound: false }, "c", now);
    const end = "; 2 payloads wait; nothing is lost.";
    expect(words({ kind: "unknown", text: "no answer: TypeError: Network connection lost." })).toBe(
      `ClickHouse at c does not answer since 12:00 UTC (Network connection lost)${end}`,
    );
    expect(words({ kind: "retry", text: "no answer: TypeError: lost" })).toMatch(
      /^Payloads .* since 12:00 UTC \(no answer: TypeError: lost\); 2 payloads wait; /,
    );
    expect(words({ kind: "unknown", text: "3 rows written of 4 sent" })).toMatch(
      /^Payloads .* since 12:00 UTC \(3 rows written of 4 sent\); 2 payloads wait; /,
    );
  });
});

describe("/healthz", () => {
  const well: LedgerHealth = { trouble: "", isFailing: false, refusal: "", reconciledAt: startMs };
  const asked = { front: 0 };
  const answers = async (): Promise<null> => {
    asked.front++;
    return null;
  };
  const bindings = (consumer: { health(): Promise<LedgerHealth> }) =>
    ({
      CONSUMER: consumer,
      PAYLOADS: { head: answers },
      KEYS: { get: answers },
      METER: { idFromName: () => "probe", get: () => ({ usage: answers }) },
    }) as unknown as ConsoleBindings;
  const of = async (said: LedgerHealth) => {
    const response = await health(bindings({ health: async () => said }), neverAsked(), startMs);
    return [response.status, (await response.text()).trim()];
  };

  test("is 503 while payloads cannot be stored, and says why; trouble of a moment is none", async () => {
    expect(await of(well)).toEqual([200, "ok"]);
    expect(await of({ ...well, trouble: "ClickHouse is away." })).toEqual([200, "ok"]);
    expect(await of({ ...well, trouble: "ClickHouse is away.", isFailing: true })).toEqual([
      503,
      "ClickHouse is away.",
    ]);
    expect((await of({ ...well, isFailing: true }))[0]).toBe(503);
    expect(await of({ ...well, refusal: "no window" })).toEqual([503, "no window"]);
    expect((await of({ ...well, reconciledAt: null }))[0]).toBe(503);
    expect((await of({ ...well, reconciledAt: startMs - limits.alertReconcilerMs - 1 }))[0]).toBe(503);
  });

  test("asks each part once in ten seconds, however often it is asked", async () => {
    let ledger = 0;
    const env = bindings({
      health: async () => {
        ledger++;
        return well;
      },
    });
    asked.front = 0;
    const last = neverAsked();
    for (let ms = 0; ms < 30_000; ms += 100) {
      await Promise.all([health(env, last, startMs + ms), health(env, last, startMs + ms)]);
    }
    expect(ledger).toBeLessThanOrEqual(4); // two of them at once, before anything was said
    expect(asked.front).toBe(3 * 3);
  });

  test("asks it as much sooner as its durations are shorter", async () => {
    const last = neverAsked();
    const env = { ...bindings({ health: async () => well }), LEDGER_TIMES_FASTER: "30" };
    await health(env, last, startMs);
    await health(env, last, startMs + 333);
    expect(last.askedAt).toBe(startMs);
    await health(env, last, startMs + 334);
    expect(last.askedAt).toBe(startMs + 334);
  });

  test("a ledger that does not answer is no good health, however good it was", async () => {
    const last = neverAsked();
    await health(bindings({ health: async () => well }), last, startMs);
    const away = bindings({ health: async () => Promise.reject(new Error("away")) });
    const response = await health(away, last, startMs + limits.healthFreshMs);
    expect([response.status, await response.text()]).toEqual([
      503,
      "Not known: the consumer (service binding CONSUMER) does not answer (away).\n",
    ]);
  });
});
