import { describe, expect, test } from "vitest";
import type { AttemptReport, Group, GroupPayload, GroupState } from "../../shared/ledger/group.ts";
import { noneLookedInto } from "../../shared/ledger/group-kinds.ts";
import type { Head } from "../../shared/ledger/head.ts";
import { inFlightOf, oldestWork } from "../../shared/ledger/in-flight.ts";
import { fenceMs } from "../../shared/ledger/settings.ts";
import { byMinute, unsettledOf } from "../../shared/ledger/unsettled.ts";
import { nothingWaits } from "../../shared/ledger/view.ts";
import { formatPayloadKey } from "../../shared/payload-key.ts";
import { lookedInto } from "../ledger/looked-into.ts";
import { failure, groupId, groupIn, head, lease, now, one, open, payloadAt } from "../ledger/one-step.ts";
import { codecVersion, doorbell, idAt, startMs, storedReport, TestLedger } from "../ledger/world.ts";

function inFlight(ledger: TestLedger) {
  const { waiting, groups } = ledger.state.dump();
  return inFlightOf(ledger.state.head, waiting, lookedInto(groups.values(), 9), ledger.now);
}
const firstWait = (ledger: TestLedger) => {
  const [group] = inFlight(ledger).groups;
  return group === undefined
    ? null
    : [group.waitsFor, group.until === null ? null : group.until - ledger.now];
};
const unknown: AttemptReport = { kind: "unknown", reason: "reset" };

describe("what a group waits for", () => {
  test("the attempt in flight, until its lease ends", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    ledger.takeNotified();
    expect(firstWait(ledger)).toEqual(["attempt", ledger.settings.leaseMs]);
  });

  test("its next try after a failure, and then an INSERT's place", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    ledger.report(ledger.takeNotified(), unknown);
    const [why, wait] = firstWait(ledger) ?? [];
    expect(why).toBe("back_off");
    expect(wait).toBeGreaterThan(0);
    ledger.now += Number(wait);
    expect(firstWait(ledger)).toEqual(["slot", 0]);
    expect(inFlight(ledger).groups[0]).toMatchObject({
      outcomeUnknown: true,
      attempts: 1,
      inserts: 1,
      state: "open",
    });
  });

  test("the fence, and then its rows to be counted", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1, cause: "replay" });
    const [why, wait] = firstWait(ledger) ?? [];
    expect(why).toBe("fence");
    expect(wait).toBe(fenceMs(ledger.settings));
    ledger.now += Number(wait);
    expect(firstWait(ledger)?.[0]).toBe("evidence");
  });

  test("its receipts", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    const task = ledger.takeNotified();
    ledger.report(task, storedReport(task));
    ledger.now += 2 * ledger.settings.leaseMs;
    ledger.alarm();
    expect(firstWait(ledger)?.[0]).toBe("receipts");
  });

  test("the table and the breaker, whatever it would wait for else", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    ledger.now += ledger.settings.caps.ageReadyMs;
    ledger.alarm();
    ledger.step({ kind: "table", table: { refusal: "no window", measure: null } });
    expect(firstWait(ledger)).toEqual(["table", null]);
    ledger.step({ kind: "table", table: { refusal: "", measure: null } });
    const [group] = inFlight(ledger).groups;
    const task = group === undefined ? null : ledger.take(group.group);
    if (task !== null) {
      ledger.report(task, { kind: "halted", reason: "read-only" });
    }
    expect(firstWait(ledger)?.[0]).toBe("breaker");
  });

  test("the breaker, until its probe, also where it is due itself before that", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    ledger.report(ledger.takeNotified(), { kind: "halted", reason: "read-only" });
    ledger.claim({ n: 2 });
    ledger.now += ledger.settings.caps.ageReadyMs;
    ledger.alarm();
    const waits = inFlight(ledger).groups.find(({ attempts }) => attempts === 0);
    const probeAt = ledger.state.head?.breaker.probeAt;
    expect(probeAt).toBeGreaterThan(ledger.now);
    expect(waits && [waits.waitsFor, waits.until]).toEqual(["breaker", probeAt]);
  });
});

test("payloads that wait and those in groups are counted by minute and tenant, the oldest named", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1, arrival: startMs - 90_000 }, { n: 2, arrival: startMs - 80_000 }, { n: 3 });
  ledger.claim({ n: 4, spans: 7 });
  const found = inFlight(ledger);
  expect(found).toMatchObject({ waiting: 1, payloads: 4, groupsCount: 1, oldestArrival: startMs - 90_000 });
  expect(found.groups[0]).toMatchObject({ payloads: 3, spans: 30, tenants: ["acme"], made: ledger.now });
});

test("of a group with many tenants and payloads five of each are shown, the tenants in order", () => {
  const ledger = new TestLedger();
  const tenants = ["g", "f", "e", "d", "c", "b", "a", "a"];
  const doorbells = tenants.map((tenant, n) => ({
    ...doorbell({ n }),
    key: formatPayloadKey(startMs, tenant, idAt(n)),
  }));
  ledger.step({ kind: "claim", doorbells, codecVersion });
  ledger.takeNotified();
  const [group] = inFlight(ledger).groups;
  expect(group).toMatchObject({
    payloads: 8,
    tenants: ["a", "b", "c", "d", "e"],
    keys: doorbells.slice(0, 5).map(({ key }) => key),
  });
});

test("nothing in flight is nothing, and no oldest arrival", () => {
  expect(inFlight(new TestLedger())).toEqual({
    waiting: 0,
    groupsCount: 0,
    kinds: noneLookedInto.counts,
    groups: [],
    payloads: 0,
    oldestArrival: null,
    oldestWork: null,
  });
});

describe("what of the sums is not settled", () => {
  const unsettled = (ledger: TestLedger, keysMax: number) => {
    const { waiting, groups } = ledger.state.dump();
    return unsettledOf(waiting, [...groups.values()], groups.size, keysMax);
  };

  test("is each key in flight, and by minute what there is no room for; what somebody asked for is named first", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1, arrival: startMs - 90_000 }, { n: 2, arrival: startMs - 80_000 }, { n: 3 });
    ledger.claim({ n: 4, spans: 7 }, { n: 5, cause: "replay" });
    const all = unsettled(ledger, 100);
    expect(all).toMatchObject({ others: [], isWhole: true });
    expect(all.keys.map(({ spans }) => spans).sort()).toEqual([10, 10, 10, 10, 7]);
    const some = unsettled(ledger, 1);
    expect(some.keys).toEqual([{ key: doorbell({ n: 5 }).key, spans: 10 }]);
    expect(some.others).toEqual([
      { minute: "2026-11-24T1158", tenant: "acme", payloads: 2, spans: 20 },
      { minute: "2026-11-24T1200", tenant: "acme", payloads: 2, spans: 17 },
    ]);
  });
});

test("what of the sums is not settled, key by key: what may have a receipt first, each under all of its keys", () => {
  const second = doorbell({ n: 1, arrival: startMs + 60_000 }).key;
  const closing = {
    at: "receipting",
    lease: null,
    receipts: [],
    leased: 0,
    completeView: false,
    ended: [],
  } as const;
  const at = (n: number, more: Partial<GroupPayload> = {}): GroupPayload => payloadAt({ n, spans: n }, more);
  const groups = [
    groupIn(open, {
      payloads: [at(1, { duplicateKeys: [second] }), at(2, { cause: "event" }), at(3, { cause: "audit" })],
    }),
    groupIn(closing, { payloads: [at(4)] }),
  ];
  const waiting = {
    since: now,
    payloads: [at(5), at(6, { erase: "asked for" }), at(7, { cause: "reconcile" })],
  };
  const keyOf = (n: number) => ({ key: doorbell({ n }).key, spans: n });
  const all = [3, 4, 6, 7, 1].map(keyOf);
  expect(unsettledOf(waiting, groups, 2, 100)).toEqual({
    keys: [...all, { key: second, spans: 0 }, keyOf(2), keyOf(5)],
    others: [],
    isWhole: true,
  });
  const [one_, two_] = ["2026-11-24T1200", "2026-11-24T1201"];
  expect(unsettledOf(waiting, groups, 3, 4)).toEqual({
    keys: all.slice(0, 4),
    others: [
      { minute: one_, tenant: "acme", payloads: 3, spans: 1 + 2 + 5 },
      { minute: two_, tenant: "acme", payloads: 1, spans: 0 },
    ],
    isWhole: false,
  });
  const named = [second, doorbell({ n: 1 }).key].map((key) => ({ key, spans: 1 }));
  expect(byMinute(named).map(({ minute }) => minute)).toEqual([one_, two_]);
});

describe("the longest work", () => {
  const weekMs = 7 * 86_400_000;

  test("on what has just arrived began when it arrived", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1, arrival: startMs - 90_000 });
    expect(inFlight(ledger).oldestWork).toBe(startMs - 90_000);
  });

  test("that a person asked for is none", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1, arrival: startMs - weekMs, cause: "replay" });
    const { v: _, ...payload } = doorbell({ n: 2, arrival: startMs - weekMs });
    ledger.step({ kind: "erase", payloads: [{ v: 1, ...payload }], reason: "asked for" });
    expect(inFlight(ledger)).toMatchObject({ groupsCount: 2, oldestWork: null });
  });

  test("on what was missed a week later began with its group", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1, arrival: startMs - weekMs, cause: "audit" });
    ledger.now += 60_000;
    expect(inFlight(ledger)).toMatchObject({ oldestArrival: startMs - weekMs, oldestWork: startMs });
  });
});

describe("a group in flight, all that is shown of it:", () => {
  const second = payloadAt({ n: 2, arrival: startMs - 9, spans: 20 });
  const known = { ...head, lastStoredInsertAt: 0 };
  const shownOf = (state: GroupState, more: Partial<Group> = {}, of: Head | null = known) => {
    const group = groupIn(state, { payloads: [one, second], due: now + 7, ...more });
    return inFlightOf(of, nothingWaits, lookedInto([group], 1), now).groups[0];
  };
  const waits = (...args: Parameters<typeof shownOf>) => {
    const { waitsFor, until } = shownOf(...args) ?? {};
    return [waitsFor, until];
  };

  test("what it is and was", () => {
    expect(shownOf({ at: "counting", lease: null, why: "stored", code: "" })).toEqual({
      group: groupId,
      state: "counting",
      waitsFor: "evidence",
      until: now + 7,
      made: now - 650_000,
      oldestArrival: startMs - 9,
      payloads: 2,
      spans: 30,
      attempts: 11,
      inserts: 2,
      refusals: 1,
      failure,
      outcomeUnknown: false,
      tenants: ["acme"],
      keys: [one.key, second.key],
    });
  });

  test("what it waits for, and until when", () => {
    expect(waits({ ...open, lease })).toEqual(["attempt", lease.until]);
    const verifying = (fence: number) =>
      waits({ at: "verifying", lease: null, fence, split: false, code: "" });
    expect(verifying(now + 1)).toEqual(["fence", now + 1]);
    expect(verifying(now)).toEqual(["evidence", now + 7]);
    const closing = {
      at: "receipting",
      lease: null,
      receipts: [],
      leased: 0,
      completeView: false,
      ended: [],
    } as const;
    expect(waits(closing)).toEqual(["receipts", now + 7]);
    expect(waits({ at: "clearing", lease: null, found: [] })).toEqual(["clearing", now + 7]);
    expect(waits({ at: "held", lease: null, found: [] })).toEqual(["person", null]);
  });

  test("what keeps it from being inserted", () => {
    const headOf = (breaker: Partial<Head["breaker"]>, refusal = "") => ({
      ...known,
      breaker: { ...known.breaker, ...breaker },
      table: { ...known.table, refusal },
    });
    expect(waits(open, {}, headOf({ isOpen: true }, "full"))).toEqual(["table", null]);
    const probes = (probeAt: number) => waits(open, {}, headOf({ isOpen: true, probeAt }));
    expect(probes(now + 9)).toEqual(["breaker", now + 9]);
    expect(probes(now + 5)).toEqual(["breaker", now + 7]);
    expect(waits(open)).toEqual(["back_off", now + 7]);
    const refused = { payloads: [one], failure: { ...failure, kind: "refused" as const } };
    expect(waits(open, refused)).toEqual(["others", now + 7]);
    expect(waits(open, { due: now })).toEqual(["slot", now]);
    expect(waits(open, { due: now }, headOf({ concurrencyLimit: 1 }))).toEqual(["slot", null]);
    expect(waits(open, { due: now }, null)).toEqual(["slot", null]);
    expect(waits(open, {}, null)).toEqual(["back_off", now + 7]);
  });

  test("since when it has been under way", () => {
    const since = (more: Partial<GroupPayload>, group: Partial<Group> = {}) =>
      oldestWork(nothingWaits, [groupIn(open, { payloads: [{ ...one, ...more }], ...group })]);
    const { made } = groupIn(open);
    expect(since({})).toBe(startMs);
    expect(since({ cause: "event" })).toBe(startMs);
    for (const cause of ["audit", "reconcile"] as const) {
      expect(since({ cause })).toBe(made);
      expect(since({ cause }, { failure: { ...failure, since: made - 5 } })).toBe(made - 5);
      expect(since({ cause }, { failure: null })).toBe(made);
    }
    expect(since({ cause: "replay" })).toBeNull();
    expect(since({ erase: "asked for" })).toBeNull();
    const waiting = (...payloads: readonly GroupPayload[]) => oldestWork({ since: now, payloads }, []);
    expect(waiting(one, second)).toBe(startMs - 9);
    expect(waiting(second, one)).toBe(startMs - 9);
    expect(waiting({ ...one, cause: "replay" }, { ...second, erase: "asked for" })).toBeNull();
  });

  test("with what waits: how many, and since when", () => {
    const group = groupIn(open, { payloads: [one] });
    const found = inFlightOf(
      known,
      { since: now, payloads: [second, one] },
      lookedInto([group, group, group], 1),
      now,
    );
    expect({ ...found, groups: found.groups.length }).toEqual({
      waiting: 2,
      groupsCount: 3,
      kinds: { ...noneLookedInto.counts, failing: 3 },
      groups: 1,
      payloads: 3,
      oldestArrival: startMs - 9,
      oldestWork: startMs - 9,
    });
  });
});
