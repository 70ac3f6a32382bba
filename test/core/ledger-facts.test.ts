/** What the ledger says of itself to the alerts (shared/delivery/ledger-facts.ts). */
import { expect, test } from "vitest";
import { alertFacts, type KnownFacts, oldestArrival } from "../../shared/delivery/ledger-facts.ts";
import type { Group, GroupPayload } from "../../shared/ledger/group.ts";
import { noneLookedInto } from "../../shared/ledger/group-kinds.ts";
import { defaultSettings } from "../../shared/ledger/settings.ts";
import { nothingWaits } from "../../shared/ledger/view.ts";
import { newCheckpoint } from "../../shared/reconcile/checkpoint.ts";
import { lookedInto } from "../ledger/looked-into.ts";
import { failure, groupIn, open, payloadAt, two } from "../ledger/one-step.ts";
import { doorbell, startMs, TestLedger } from "../ledger/world.ts";

const learnt = {
  runFailure: "R2 is slow",
  recent: { dead: 1, ended: 2 },
  volumes: null,
  frontDoor: null,
  bypassed: null,
};
const unborn: KnownFacts = {
  head: null,
  waiting: nothingWaits,
  looked: noneLookedInto,
  databaseBytes: 7,
  broken: null,
  wrongTokens: null,
  trouble: "",
  settings: defaultSettings,
  checkpoint: null,
};

test("a ledger that is not born has nothing in flight, rescued nothing, and its breaker is closed", () => {
  expect(alertFacts(unborn, learnt, startMs)).toEqual({
    ...learnt,
    now: startMs,
    isBorn: false,
    oldestWork: null,
    held: [],
    heldOthers: 0,
    refused: [],
    refusedOthers: 0,
    breakerOpen: false,
    trouble: "",
    erasure: null,
    noEvidence: null,
    tableRefusal: "",
    clockAheadMs: 0,
    databaseBytes: 7,
    rescues: { event: 0, reconcile: 0 },
    broken: null,
    wrongTokens: null,
    checkpoint: null,
  });
});

test("what the head keeps is reported, and of what lacks evidence the longest", () => {
  const { head } = new TestLedger().state;
  if (head === null) {
    throw new Error("a ledger is born");
  }
  const measure = { blocks: 0, windowBlocks: 9, windowMs: null, clockAheadMs: -5 };
  const noEvidence = { since: startMs - 2, reason: "r2 lags" };
  const checkpoint = { ...newCheckpoint(startMs), noEvidence: { since: startMs - 1, reason: "later" } };
  const known: KnownFacts = {
    ...unborn,
    head: {
      ...head,
      breaker: { ...head.breaker, isOpen: true },
      table: { ...head.table, refusal: "no window", measure },
      rescues: { event: 2, reconcile: 1 },
      noEvidence,
    },
    checkpoint,
  };
  expect(alertFacts(known, learnt, startMs)).toMatchObject({
    isBorn: true,
    breakerOpen: true,
    tableRefusal: "no window",
    clockAheadMs: -5,
    rescues: { event: 2, reconcile: 1 },
    noEvidence,
    checkpoint,
  });
  expect(alertFacts({ ...known, head }, learnt, startMs)).toMatchObject({
    clockAheadMs: 0,
    noEvidence: checkpoint.noEvidence,
  });
});

test("the longest work is of what waits and of the groups, whichever is older", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1, arrival: startMs - 5 }, { n: 2, arrival: startMs - 4 });
  ledger.takeNotified();
  ledger.now = startMs;
  ledger.claim({ n: 3, arrival: startMs - 3 });
  const { waiting, groups } = ledger.state.dump();
  const oldest = (facts: Partial<KnownFacts>) =>
    alertFacts({ ...unborn, ...facts }, learnt, startMs).oldestWork;
  expect(oldest({ waiting, looked: lookedInto(groups.values(), 2) })).toBe(startMs - 5);
  expect(oldest({ waiting })).toBe(startMs - 3);
});

test("only what is held waits for a person, each payload with its reason", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 });
  ledger.takeNotified();
  const [group] = ledger.state.dump().groups.values();
  if (group === undefined) {
    throw new Error("there is a group");
  }
  const { key } = doorbell({ n: 1 });
  const found = [{ key, rowsByDay: [], reason: "1 of 2 rows" }];
  const held: Group = { ...group, state: { at: "held", lease: null, found } };
  expect(alertFacts({ ...unborn, looked: lookedInto([group, held], 2) }, learnt, startMs).held).toEqual([
    { key, reason: "1 of 2 rows" },
  ]);
});

test("what is reported as refused is not reported as in flight too", () => {
  const early = payloadAt({ n: 1, arrival: startMs - 9 });
  const since = startMs - defaultSettings.refusedHeldMs;
  const refusal = { ...failure, kind: "refused" as const, refused: 4, code: 469, name: "X", text: "no" };
  const refused = groupIn(open, { payloads: [early], failure: refusal, lastRefusalAt: since });
  const late = groupIn(open, { payloads: [two] });
  const facts = (groups: readonly Group[]) =>
    alertFacts({ ...unborn, looked: lookedInto(groups, 2) }, learnt, startMs);
  expect(facts([refused, late])).toMatchObject({
    refused: [{ key: early.key, since, refused: 4, words: "X (469): no" }],
    oldestWork: startMs,
  });
  expect(facts([{ ...refused, lastRefusalAt: since + 1 }, late])).toMatchObject({
    refused: [],
    oldestWork: startMs - 9,
  });
});

test("the oldest arrival is of what waits and of the groups; null where nothing is in flight", () => {
  const [early, late] = [3, 9].map((ms, n) => payloadAt({ n, arrival: startMs - ms }));
  if (early === undefined || late === undefined) {
    throw new Error("there are two");
  }
  const waiting = (...payloads: readonly GroupPayload[]) => ({ since: 0, payloads });
  const group = groupIn(open, { payloads: [early, late] });
  expect(oldestArrival(nothingWaits, [])).toBeNull();
  expect(oldestArrival(waiting(late), [groupIn(open, { payloads: [early] })])).toBe(startMs - 9);
  expect(oldestArrival(waiting(early), [group])).toBe(startMs - 9);
  expect(oldestArrival(waiting(early), [])).toBe(startMs - 3);
});
