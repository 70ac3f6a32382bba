/** What doorbells make of the ledger, by where it has the payload that they name: all that a claim changes and leases. */
import { describe, expect, test } from "vitest";
import type { GroupPayload, GroupState } from "../../shared/ledger/group.ts";
import type { Head } from "../../shared/ledger/head.ts";
import { type Step, step } from "../../shared/ledger/machine.ts";
import { defaultSettings, fenceMs } from "../../shared/ledger/settings.ts";
import type { Change } from "../../shared/ledger/view.ts";
import type { Doorbell } from "../../shared/messages.ts";
import { idOfKey } from "../../shared/payload-key.ts";
import type { Receipt } from "../../shared/receipt.ts";
import {
  type Before,
  groupId,
  groupIn,
  head,
  made,
  newGroup,
  now,
  one,
  open,
  otherId,
  payloadAt,
  stateOf,
  stepOf,
  today,
  toGroup,
  toHead,
  tokenAt,
  two,
} from "../ledger/one-step.ts";
import { type Bell, codecVersion, doorbell, knownTable, startMs } from "../ledger/world.ts";

const settings = defaultSettings;
const { caps, leaseMs } = settings;
const fence = fenceMs(settings);
const until = now + leaseMs;

const claimOf = (before: Before, ...bells: readonly (Bell | Doorbell)[]): Step =>
  stepOf(before, {
    kind: "claim",
    doorbells: bells.map((bell) => ("v" in bell ? bell : doorbell(bell))),
    codecVersion,
  });
const changesOf = (...args: Parameters<typeof claimOf>): readonly Change[] => claimOf(...args).changes;
const keyAt = (n: number, minute: number) => doorbell({ n, arrival: startMs + minute * 60_000 }).key;
const bellAt = (n: number, minute: number, more: Partial<Bell> = {}): Bell => ({
  n,
  arrival: startMs + minute * 60_000,
  ...more,
});
const wait = (since: number, ...payloads: readonly GroupPayload[]): Change => ({
  kind: "waiting",
  waiting: { since, payloads },
});
const waiting = (...payloads: readonly GroupPayload[]): Before => ({
  waiting: { since: now - 400, payloads },
});
const nobodyWaits = wait(0);
const verifyingAt = (at: number) =>
  ({ at: "verifying", lease: null, fence: at, split: false, code: "" }) as const;
/** A group that the claim takes along. */
const leased = (n: number, payloads: readonly GroupPayload[]): Change =>
  made(
    newGroup(n, {
      payloads,
      attempts: 1,
      inserts: 1,
      firstInsertAt: now,
      lastInsertAt: now,
      blocksBefore: 50,
      codecVersion,
      due: until,
      state: { at: "open", lease: { attempt: 1, until }, out: "insert" },
    }),
  );
const taskOf = (n: number, payloads: readonly GroupPayload[]): Step["task"] => ({
  step: "insert",
  group: tokenAt(n),
  attempt: 1,
  deadline: until,
  payloads,
  table: knownTable,
  blocks: 1,
  isFirstInsert: true,
  serverDeadline: until + 7,
  byColumn: false,
});
const inFlight = (n: number): Change =>
  toHead({ breaker: { ...head.breaker, inFlight: [otherId, tokenAt(n)] } });

describe("a payload that the ledger has never seen", () => {
  test("waits, with what its doorbell says of it", () => {
    const full = { ...doorbell({ n: 1, cause: "event" }), inflatedBytes: 9, oldestDay: 8 };
    const { v: _, ...rest } = full;
    const payload = { ...rest, doorbell: false, duplicateKeys: [], missingDays: null, erase: null };
    expect(claimOf({}, full)).toEqual({ changes: [wait(now, payload)], rings: [], task: null });
    expect(changesOf(waiting(one), { n: 2, spans: 20 })).toEqual([wait(now - 400, one, two)]);
  });

  test("goes at once with those that wait where they are enough together, or have waited for long enough", () => {
    const large = payloadAt({ n: 2, spans: caps.rowsReady - one.spans });
    expect(claimOf(waiting(one), { n: 2, spans: large.spans })).toEqual({
      changes: [inFlight(0), nobodyWaits, leased(0, [one, large])],
      rings: [],
      task: taskOf(0, [one, large]),
    });
    expect(claimOf(waiting(one), { n: 2, spans: large.spans - 1 }).task).toBeNull();
    const since = now - caps.ageReadyMs;
    expect(claimOf({ waiting: { since, payloads: [one] } }, { n: 2, spans: 20 })).toEqual({
      changes: [inFlight(0), nobodyWaits, leased(0, [one, two])],
      rings: [],
      task: taskOf(0, [one, two]),
    });
  });

  test("for which there is no room begins the next group", () => {
    const large = payloadAt({ n: 2, spans: caps.rowsMax - one.spans + 1 });
    const small = payloadAt({ n: 3, spans: caps.rowsMax });
    expect(claimOf(waiting(one), { n: 2, spans: large.spans })).toEqual({
      changes: [
        inFlight(0),
        nobodyWaits,
        leased(0, [one]),
        made(newGroup(1, { payloads: [large], state: open })),
      ],
      rings: [],
      task: taskOf(0, [one]),
    });
    expect(small.spans).toBe(caps.rowsMax);
  });

  test("is looked for where it may be older than the memory, or somebody asks: behind the fence of the ledger before", () => {
    const memSince = startMs - settings.clientRetryMs;
    const known = { ...head, memSince, birth: now - 5 };
    const at = now - 5 + fence;
    expect(claimOf({ head: known }, { n: 1 })).toEqual({
      changes: [made(newGroup(0, { payloads: [one], state: verifyingAt(at), due: at }))],
      rings: [],
      task: null,
    });
    expect(changesOf({ head: { ...known, memSince: memSince - 1 } }, { n: 1 })).toEqual([wait(now, one)]);
    for (const cause of ["audit", "replay"] as const) {
      const payload = payloadAt({ n: 1, cause });
      expect(changesOf({}, { n: 1, cause })).toEqual([
        made(newGroup(0, { payloads: [payload], state: verifyingAt(head.birth + fence), due: now })),
      ]);
    }
    // Its other keys are looked for with it; a doorbell that came too is remembered.
    const payload = { ...payloadAt({ n: 1, cause: "audit" }), doorbell: true, duplicateKeys: [keyAt(1, 1)] };
    expect(changesOf({}, { n: 1, cause: "audit" }, bellAt(1, 1), { n: 1, cause: "event" })).toEqual([
      made(newGroup(0, { payloads: [payload], state: verifyingAt(head.birth + fence), due: now })),
    ]);
  });

  test("is looked up together with the others of its claim", () => {
    const state = stateOf({});
    const asked: number[] = [];
    const places = state.places.bind(state);
    state.places = (ids) => {
      asked.push(ids.length);
      return places(ids);
    };
    const doorbells = [1, 2, 3].map((n) => doorbell({ n }));
    const event = { kind: "claim", doorbells, codecVersion } as const;
    step(state, event, { now, tokens: [], databaseBytes: 0 }, settings);
    expect(asked).toEqual([3]);
  });

  test("is looked for together with others, as many as a group has room for", () => {
    const few = { ...settings, caps: { ...caps, payloadsMax: 2 } };
    const payloads = [1, 2, 3].map((n) => payloadAt({ n, cause: "replay" }));
    const bells = payloads.map((_, n) => ({ n: n + 1, cause: "replay" as const }));
    const state = verifyingAt(head.birth + fence);
    expect(changesOf({ settings: few }, ...bells)).toEqual([
      made(newGroup(0, { payloads: payloads.slice(0, 2), state })),
      made(newGroup(1, { payloads: payloads.slice(2), state })),
    ]);
  });
});

describe("a payload that waits", () => {
  const is = (more: Partial<GroupPayload>, ...bells: readonly Bell[]) =>
    expect(changesOf(waiting(one, two), ...bells)).toEqual([wait(now - 400, { ...one, ...more }, two)]);

  test("is one, whatever rings for it again; another key is kept with it", () => {
    is({}, { n: 1 });
    is({}, { n: 1, cause: "event" });
    is({ duplicateKeys: [keyAt(1, 1)] }, bellAt(1, 1), bellAt(1, 1));
    is({ duplicateKeys: [keyAt(1, 1), keyAt(1, 2)] }, bellAt(1, 1), bellAt(1, 2));
  });

  test("is asked for by the first who looked", () => {
    is({ cause: "audit" }, { n: 1, cause: "audit" }, { n: 1, cause: "replay" });
    is({ cause: "replay" }, { n: 1, cause: "replay" }, { n: 1, cause: "audit" }, { n: 1 });
  });

  test("and was brought by an event has a doorbell of its own later", () => {
    const event = payloadAt({ n: 1, cause: "event" });
    expect(changesOf(waiting(event), { n: 1 })).toEqual([wait(now - 400, { ...event, doorbell: true })]);
    expect(changesOf(waiting(event), { n: 1, cause: "reconcile" })).toEqual([wait(now - 400, event)]);
  });

  test("keeps no more keys than there is room for, of its own or of its group", () => {
    const few = { ...settings, duplicateKeysMax: 1 };
    const kept = { ...one, duplicateKeys: [keyAt(1, 1)] };
    expect(changesOf({ ...waiting(one), settings: few }, bellAt(1, 1), bellAt(1, 2))).toEqual([
      wait(now - 400, kept),
    ]);
    // A second key takes no room of the group: each payload counts as two.
    const full = { ...settings, caps: { ...caps, keysMax: 4 } };
    expect(changesOf({ ...waiting(one, two), settings: full }, bellAt(1, 1), bellAt(1, 2))).toEqual([
      wait(now - 400, kept, two),
    ]);
    const roomy = { ...settings, caps: { ...caps, keysMax: 5 } };
    const both = { ...one, duplicateKeys: [keyAt(1, 1), keyAt(1, 2)] };
    expect(
      changesOf({ ...waiting(one, two), settings: roomy }, bellAt(1, 1), bellAt(1, 2), bellAt(1, 3)),
    ).toEqual([wait(now - 400, both, two)]);
    // What has no room is heard all the same.
    expect(changesOf({ ...waiting(kept, two), settings: full }, bellAt(1, 2, { cause: "audit" }))).toEqual([
      wait(now - 400, { ...kept, cause: "audit" }, two),
    ]);
  });
});

describe("a payload that is done", () => {
  const doneAt = now - 1000;
  const done = (outcome: "stored" | "dead" | "erased" = "stored"): Before => ({
    changes: [
      { kind: "group", group: groupIn(open), isNew: true },
      { kind: "end", group: groupId, ended: [{ key: one.key, outcome }], at: doneAt },
    ],
  });
  const at = doneAt + fence;
  const duplicate: Receipt = {
    key: keyAt(1, 1),
    outcome: "duplicate",
    group: tokenAt(0),
    spans: 10,
    rowsByDay: [],
    rejectedSpans: 0,
    bytes: 0,
    reason: "",
  };
  const second = payloadAt(bellAt(1, 1));
  const receipting = {
    at: "receipting",
    lease: null,
    receipts: [duplicate],
    leased: 0,
    completeView: false,
    ended: [{ key: one.key, outcome: "stored" }],
  } as const;
  const nothing: Step = { changes: [], rings: [], task: null };

  test("rings again under its key, and nothing happens", () => {
    for (const outcome of ["stored", "dead", "erased"] as const) {
      for (const cause of ["ingress", "event"] as const) {
        expect(claimOf(done(outcome), { n: 1, cause })).toEqual(nothing);
      }
    }
  });

  test("stored: other keys get their receipts, and the id is remembered by the first", () => {
    expect(claimOf(done(), bellAt(1, 1))).toEqual({
      changes: [made(newGroup(0, { payloads: [second], state: receipting }))],
      rings: [],
      task: null,
    });
    const both = { ...second, duplicateKeys: [keyAt(1, 2)] };
    const receipts = [duplicate, { ...duplicate, key: keyAt(1, 2) }];
    expect(changesOf(done(), bellAt(1, 1), bellAt(1, 2), bellAt(1, 2, { cause: "event" }))).toEqual([
      made(newGroup(0, { payloads: [both], state: { ...receipting, receipts } })),
    ]);
  });

  test("is looked for where somebody misses it: behind the fence of the group that had it", () => {
    for (const cause of ["reconcile", "audit", "replay"] as const) {
      const payload = { ...payloadAt({ n: 1, cause }), doorbell: true };
      expect(changesOf(done(), { n: 1, cause })).toEqual([
        made(newGroup(0, { payloads: [payload], state: verifyingAt(at), due: at })),
      ]);
      // A doorbell that came before, under another key, is answered by the same look.
      const missed = { ...payloadAt(bellAt(1, 2, { cause })), doorbell: true };
      expect(changesOf(done(), bellAt(1, 1), bellAt(1, 2, { cause }))).toEqual([
        made(newGroup(0, { payloads: [missed], state: verifyingAt(at), due: at })),
      ]);
    }
  });

  test("dead or erased: another key is looked for, whatever the cause", () => {
    for (const outcome of ["dead", "erased"] as const) {
      expect(changesOf(done(outcome), bellAt(1, 1))).toEqual([
        made(newGroup(0, { payloads: [second], state: verifyingAt(at), due: at })),
      ]);
    }
  });

  test("is looked for behind the latest fence of all that are looked for together", () => {
    const payload = { ...payloadAt({ n: 1, cause: "replay" }), doorbell: true };
    const unknown = payloadAt({ n: 2, cause: "replay" });
    for (const isFirst of [true, false]) {
      const bells: readonly Bell[] = [
        { n: 1, cause: "replay" },
        { n: 2, cause: "replay" },
      ];
      const both = isFirst ? [payload, unknown] : [unknown, payload];
      expect(changesOf(done(), ...(isFirst ? bells : [...bells].reverse()))).toEqual([
        made(newGroup(0, { payloads: both, state: verifyingAt(at), due: at })),
      ]);
    }
  });
});

describe("a payload of a group", () => {
  const kept = { ...one, duplicateKeys: [keyAt(1, 1)] };
  const found = [{ key: one.key, rowsByDay: [], reason: "a day has some of its rows" }];
  const states: readonly GroupState[] = [
    open,
    { at: "counting", lease: null, why: "stored", code: "" },
    verifyingAt(now),
    { at: "clearing", lease: null, found },
  ];

  test("that is not decided keeps its other keys, and who asks for it", () => {
    for (const state of states) {
      const group = groupIn(state, { payloads: [two, one] });
      expect(claimOf({ groups: [group] }, bellAt(1, 1))).toEqual({
        changes: [toGroup({ ...group, payloads: [two, kept] })],
        rings: [],
        task: null,
      });
      expect(changesOf({ groups: [group] }, { n: 1, cause: "audit" })).toEqual([
        toGroup({ ...group, payloads: [two, { ...one, cause: "audit" }] }),
      ]);
      expect(changesOf({ groups: [group] }, { n: 1 }, { n: 1, cause: "event" })).toEqual([]);
    }
    // One that no doorbell brought is the same after another ring that is none.
    const event = groupIn(open, { payloads: [payloadAt({ n: 1, cause: "event" })] });
    for (const cause of ["event", "reconcile"] as const) {
      expect(changesOf({ groups: [event] }, { n: 1, cause })).toEqual([]);
    }
  });

  test("that is full of keys keeps no other", () => {
    const full = { ...settings, caps: { ...caps, keysMax: 3 } };
    const group = groupIn(open, { payloads: [kept] });
    expect(changesOf({ groups: [group], settings: full }, bellAt(1, 2))).toEqual([
      toGroup({ ...group, payloads: [{ ...kept, duplicateKeys: [keyAt(1, 1), keyAt(1, 2)] }] }),
    ]);
    const more = groupIn(open, { payloads: [{ ...kept, duplicateKeys: [keyAt(1, 1), keyAt(1, 2)] }] });
    expect(changesOf({ groups: [more], settings: full }, bellAt(1, 3))).toEqual([]);
  });

  test("that is held is looked at again when another key comes, unless it broke an invariant of ours", () => {
    const group = groupIn({ at: "held", lease: null, found }, { due: Number.MAX_SAFE_INTEGER });
    expect(changesOf({ groups: [group] }, bellAt(1, 1))).toEqual([
      toGroup({ ...group, payloads: [kept], due: now, state: verifyingAt(now) }),
    ]);
    // Who asks for it again says nothing new about its rows.
    expect(changesOf({ groups: [group] }, { n: 1, cause: "audit" })).toEqual([
      toGroup({ ...group, payloads: [{ ...one, cause: "audit" }] }),
    ]);
    const reason = "broken_invariant: days ascend";
    const broken = { ...group, state: { ...group.state, found: [{ ...found[0], reason }] } as GroupState };
    expect(changesOf({ groups: [broken] }, bellAt(1, 1))).toEqual([toGroup({ ...broken, payloads: [kept] })]);
    const both = [...found, { key: two.key, rowsByDay: [], reason }];
    const partly = groupIn({ at: "held", lease: null, found: both }, { payloads: [one, two] });
    expect(changesOf({ groups: [partly] }, bellAt(1, 1))).toEqual([
      toGroup({ ...partly, payloads: [kept, two] }),
    ]);
  });

  describe("whose receipts are planned", () => {
    const receipt: Receipt = {
      key: one.key,
      outcome: "stored",
      group: groupId,
      spans: 10,
      rowsByDay: [{ day: today, rows: 10 }],
      rejectedSpans: 3,
      bytes: 100,
      reason: "why",
    };
    const blank = {
      ...receipt,
      outcome: "duplicate",
      rowsByDay: [],
      rejectedSpans: 0,
      bytes: 0,
      reason: "",
    } as const;
    const receipting = (outcome: "stored" | "dead" | "erased") =>
      ({
        at: "receipting",
        lease: null,
        receipts: [receipt],
        leased: 0,
        completeView: true,
        ended: [
          { key: two.key, outcome: "dead" },
          { key: one.key, outcome },
        ],
      }) as const;

    test("gets one more for another key, which ends as it does", () => {
      for (const [outcome, own] of [
        ["stored", blank],
        ["dead", { ...blank, outcome: "dead", reason: "why" }],
        ["erased", { ...blank, outcome: "erased", reason: "why" }],
      ] as const) {
        const state = receipting(outcome);
        const group = groupIn(state, { payloads: [two, one] });
        const receipts = [receipt, { ...own, key: keyAt(1, 1) }];
        expect(changesOf({ groups: [group] }, bellAt(1, 1))).toEqual([
          toGroup({ ...group, payloads: [two, kept], state: { ...state, receipts } }),
        ]);
      }
      // Its end is not said, or no receipt says why.
      const unsaid = { ...receipting("dead"), ended: [] };
      expect(changesOf({ groups: [groupIn(unsaid)] }, bellAt(1, 1))).toMatchObject([
        { group: { state: { receipts: [receipt, { ...blank, key: keyAt(1, 1) }] } } },
      ]);
      const unreceipted = { ...receipting("dead"), receipts: [] };
      expect(changesOf({ groups: [groupIn(unreceipted)] }, bellAt(1, 1))).toMatchObject([
        { group: { state: { receipts: [{ ...blank, outcome: "dead", key: keyAt(1, 1) }] } } },
      ]);
    });

    test("is asked for once by who misses it, whichever key that names", () => {
      const state = receipting("stored");
      const group = groupIn(state, { payloads: [{ ...kept, cause: "audit" }, two] });
      const asked = toGroup({ ...group, state: { ...state, asked: [one.key] } });
      expect(claimOf({ groups: [group] }, { n: 1, cause: "audit" })).toEqual({
        changes: [asked],
        rings: [],
        task: null,
      });
      expect(
        changesOf({ groups: [group] }, { n: 1, cause: "audit" }, bellAt(1, 1, { cause: "replay" })),
      ).toEqual([asked]);
      expect(changesOf({ groups: [group] }, { n: 1 }, { n: 1, cause: "reconcile" })).toEqual([]);
      // The one that asked before is among several.
      const answered = { ...state, asked: [two.key, one.key] };
      expect(changesOf({ groups: [{ ...group, state: answered }] }, { n: 1, cause: "audit" })).toEqual([]);
      // Another payload's asking is its own.
      const both = { ...state, asked: [one.key, two.key] };
      expect(
        changesOf(
          { groups: [{ ...group, state: { ...state, asked: [one.key] } }] },
          { n: 2, cause: "replay", spans: 20 },
        ),
      ).toEqual([
        toGroup({
          ...group,
          payloads: [
            { ...kept, cause: "audit" },
            { ...two, cause: "replay" },
          ],
          state: both,
        }),
      ]);
    });
  });
});

describe("a doorbell", () => {
  const pending = [1, 2].map((n) => ({
    id: idOfKey(doorbell({ n }).key),
    ring: "event" as const,
    at: now - 5,
  }));
  const known: Head = { ...head, pendingRescues: pending };
  const old = startMs - settings.overtakenMs;

  test("ends the wait of a payload that a late doorbell has found, and no other doorbell does", () => {
    expect(changesOf({ head: known }, { n: 1 })).toEqual([
      toHead({ pendingRescues: pending.slice(1) }),
      wait(now, one),
    ]);
    expect(changesOf({ head: known }, { n: 1, cause: "event" })).toHaveLength(1);
    expect(changesOf({ head: known }, { n: 3 })).toHaveLength(1);
  });

  test("that comes after more than ten minutes is of a backlog, and no other late ring is", () => {
    const late = { n: 1, arrival: old - 1 };
    expect(changesOf({ head: known }, late)).toEqual([
      toHead({
        pendingRescues: pending.slice(1),
        backlogAt: now,
        breaker: { ...head.breaker, inFlight: [otherId, tokenAt(0)] },
      }),
      // It arrived more than a second ago, so its group is ready.
      leased(0, [payloadAt(late)]),
    ]);
    expect(changesOf({}, { n: 1, arrival: old })).toContainEqual(inFlight(0));
    expect(changesOf({}, { ...late, cause: "event" })).toContainEqual(inFlight(0));
  });
});
