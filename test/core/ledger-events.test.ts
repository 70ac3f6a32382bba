/** What the events make of the ledger that are no report of an attempt: all that each changes and notifies. */
import { describe, expect, test } from "vitest";
import type { Group, GroupState } from "../../shared/ledger/group.ts";
import { bornHead, type Head } from "../../shared/ledger/head.ts";
import { holds, type LedgerEvent, nextAlarm, type Step, tokensNeeded } from "../../shared/ledger/machine.ts";
import { backOffMs, defaultSettings, fenceMs } from "../../shared/ledger/settings.ts";
import type { Change } from "../../shared/ledger/view.ts";
import { limits } from "../../shared/limits.ts";
import { idOfKey } from "../../shared/payload-key.ts";
import type { Receipt } from "../../shared/receipt.ts";
import {
  type Before,
  ended,
  failure,
  groupId,
  groupIn,
  head,
  lease,
  made,
  newGroup,
  now,
  one,
  open,
  otherId,
  payloadAt,
  seconds,
  stateOf,
  stepOf,
  today,
  toGroup,
  toHead,
  tokenAt,
  two,
} from "../ledger/one-step.ts";
import { doorbell, emptyWorld, knownTable, startMs } from "../ledger/world.ts";

const settings = defaultSettings;
const fence = fenceMs(settings);
const never = Number.MAX_SAFE_INTEGER;
const counting: GroupState = { at: "counting", lease: null, why: "refused", code: "117" };
const verifyingAt = (at: number) =>
  ({ at: "verifying", lease: null, fence: at, split: false, code: "" }) as const;
const changesOf = (before: Before, event: LedgerEvent): readonly Change[] => stepOf(before, event).changes;
const second = doorbell({ n: 1, arrival: startMs + 60_000 }).key;
const third = doorbell({ n: 1, arrival: startMs + 120_000 }).key;
const receipt: Receipt = {
  key: one.key,
  outcome: "stored",
  group: groupId,
  spans: 10,
  rowsByDay: [{ day: today, rows: 10 }],
  rejectedSpans: 0,
  bytes: 100,
  reason: "",
};

describe("a ledger is born", () => {
  const born = {
    epoch: 1,
    birth: now,
    memSince: Number.MIN_SAFE_INTEGER,
    counter: 0,
    breaker: {
      inFlight: [],
      notified: [],
      concurrencyLimit: settings.concurrencyFirst,
      suspects: [],
      isOpen: false,
      probeAt: 0,
      failures: 0,
    },
    table: { refusal: "", measure: null, measuredAt: 0 },
    lastStoredInsertAt: 0,
    lastSplitAt: 0,
    pendingRescues: [],
    rescues: { event: 0, reconcile: 0 },
    backlogAt: 0,
    lateBells: 0,
  };

  test("with a memory that is complete where nothing was there before it, and from now on where something was", () => {
    expect(bornHead(emptyWorld, now, settings.concurrencyFirst)).toEqual(born);
    for (const facts of [
      { epoch: 3, anyPayload: false, anyRow: false },
      { epoch: null, anyPayload: true, anyRow: false },
      { epoch: null, anyPayload: false, anyRow: true },
    ]) {
      expect(bornHead(facts, now, settings.concurrencyFirst)).toEqual({
        ...born,
        epoch: facts.epoch ?? 1,
        memSince: now,
      });
    }
  });
});

test("a minute is counted, and nothing else", () => {
  expect(stepOf({}, { kind: "minute" })).toEqual({
    changes: [toHead({ counter: 6 })],
    rings: [],
    task: null,
  });
});

describe("a look at the table", () => {
  const measure = { blocks: 60, windowBlocks: 2000, windowMs: null, identity: knownTable };

  test("is kept as the newest", () => {
    expect(changesOf({}, { kind: "table", table: { refusal: "full", measure } })).toEqual([
      toHead({ table: { refusal: "full", measure, measuredAt: now, identity: knownTable, other: null } }),
    ]);
  });

  test("is kept with as much of its words as the head has room for", () => {
    const long = "x".repeat(9000);
    const words = (bytesMax: number) => `${"x".repeat(bytesMax - 3)}…`;
    const ttl = (clause: string) => ({ kind: "unclear", clause }) as const;
    const unclear = { ...measure, ttl: ttl(long) };
    expect(changesOf({}, { kind: "table", table: { refusal: long, measure: unclear } })).toEqual([
      toHead({
        table: {
          refusal: words(limits.noteTextBytesMax),
          measure: { ...measure, ttl: ttl(words(limits.reasonBytesMax)) },
          measuredAt: now,
          identity: knownTable,
          other: null,
        },
      }),
    ]);
    for (const known of [{ ...measure, ttl: { kind: "none" } as const }, null]) {
      expect(changesOf({}, { kind: "table", table: { refusal: "", measure: known } })).toMatchObject([
        { head: { table: { measure: known } } },
      ]);
    }
  });

  test("that a person accepts forgets what was known of the table before", () => {
    const other = { at: now - 1, found: "plain 0 other" };
    const before = { ...head, table: { ...head.table, refusal: "another", other } };
    expect(changesOf({ head: before }, { kind: "acceptTable" })).toEqual([
      toHead({
        table: {
          refusal: "",
          measure: null,
          measuredAt: 0,
          identity: null,
          other: null,
          acceptedAt: now,
        },
      }),
    ]);
  });
});

describe("a ledger is restored to an older time", () => {
  const restored: Partial<Head> = { epoch: 8, birth: now, memSince: now };
  const breaker = { ...head.breaker, inFlight: [], notified: [] };

  test("and verifies what waits, behind a fence from now", () => {
    const notified = [{ group: groupId, again: now }];
    const before = { ...head, breaker: { ...head.breaker, notified } };
    const waiting = { since: now - 500, payloads: [one, two] };
    expect(stepOf({ head: before, waiting }, { kind: "restored", epoch: 8 })).toEqual({
      changes: [
        toHead({ ...restored, breaker }),
        { kind: "waiting", waiting: { since: 0, payloads: [] } },
        made(
          newGroup(0, {
            epoch: 8,
            payloads: [one, two],
            state: verifyingAt(now + fence),
            due: now + fence,
          }),
        ),
      ],
      rings: [],
      task: null,
    });
    expect(changesOf({ head: before }, { kind: "restored", epoch: 8 })).toEqual([
      toHead({ ...restored, breaker }),
    ]);
    const alone = { ...waiting, payloads: [one] };
    expect(changesOf({ waiting: alone }, { kind: "restored", epoch: 8 })).toHaveLength(3);
  });

  test("and verifies a hundred of those that are held at once", () => {
    const groups = Array.from({ length: 101 }, (_, n) => {
      const payload = payloadAt({ n });
      const found = [{ key: payload.key, rowsByDay: [], reason: "" }];
      const state = { at: "held", lease: null, found } as const;
      return groupIn(state, { id: tokenAt(1000 + n), payloads: [payload], due: never });
    });
    expect(changesOf({ groups }, { kind: "restored", epoch: 8 })).toHaveLength(1 + 100);
  });

  test("and verifies what is held; other groups when they are read", () => {
    const found = [{ key: one.key, rowsByDay: [], reason: "" }];
    const held = groupIn({ at: "held", lease: null, found }, { due: never });
    const other = groupIn(counting, { id: otherId, payloads: [two] });
    const forgotten = {
      epoch: 8,
      attempts: 8_000_000,
      outcomeUnknown: true,
      failures: 0,
      rings: 0,
      due: now + fence,
      state: verifyingAt(now + fence),
    };
    expect(changesOf({ groups: [held, other] }, { kind: "restored", epoch: 8 })).toEqual([
      toHead({ ...restored, breaker }),
      toGroup({ ...held, ...forgotten }),
    ]);
    // As an alarm reads it, at its fence and before that.
    const after = { ...head, ...restored, breaker, birth: now - fence };
    const read = { ...forgotten, rings: 1, due: now + 2000, state: verifyingAt(now) };
    for (const [more, changed] of [
      [{}, {}],
      [{ inserts: 0 }, { outcomeUnknown: false }],
      [{ inserts: 1 }, { outcomeUnknown: true }],
      [{ inserts: 0, outcomeUnknown: true }, { outcomeUnknown: true }],
      [{ attempts: 9_000_000 }, { attempts: 9_000_000 }],
    ] as const) {
      const before = { ...other, ...more };
      expect(changesOf({ groups: [before], head: after }, { kind: "alarm" })).toEqual([
        toGroup({ ...before, ...read, ...changed }),
      ]);
    }
    const early = { ...after, birth: now - fence + 1 };
    for (const group of [other, groupIn(open, { id: otherId, payloads: [two] })]) {
      expect(stepOf({ groups: [group], head: early }, { kind: "alarm" })).toEqual({
        changes: [toGroup({ ...group, ...forgotten, due: now + 1, state: verifyingAt(now + 1) })],
        rings: [],
        task: null,
      });
    }
  });
});

describe("what somebody asks for while its receipts are written", () => {
  const receipting = {
    at: "receipting",
    lease,
    receipts: [receipt],
    leased: 1,
    completeView: false,
    ended: [one, two].map(({ key }) => ({ key, outcome: "stored" }) as const),
  } as const;
  const receipted = { kind: "receipted", receipted: [{ group: groupId, attempt: 12 }] } as const;
  const of = (payloads: Group["payloads"], more: object = {}) =>
    groupIn({ ...receipting, ...more }, { payloads });
  const behind = now - seconds(100) + fence;

  test("is nothing: the group ends, and its payloads are remembered", () => {
    expect(stepOf({ groups: [of([one, two])] }, receipted)).toEqual({
      changes: [ended(receipting.ended)],
      rings: [],
      task: null,
    });
    const twice = { ...receipted, receipted: [...receipted.receipted, ...receipted.receipted] };
    expect(changesOf({ groups: [of([one, two])] }, twice)).toEqual([ended(receipting.ended)]);
  });

  test("is more receipts: they are written next, and nothing is over", () => {
    const receipts = [receipt, { ...receipt, key: second }, { ...receipt, key: third }];
    for (const count of [2, 3]) {
      const more = receipts.slice(0, count);
      const group = { ...of([one, two], { receipts: more }), due: lease.until };
      expect(changesOf({ groups: [group] }, receipted)).toEqual([
        toGroup({
          ...group,
          due: now,
          state: { ...receipting, lease: null, receipts: more.slice(1), leased: 0 },
        }),
      ]);
    }
  });

  test("is its rows, or that it is erased: it is verified behind the fence of its last INSERT", () => {
    const missing = { days: [today], complete: receipt.rowsByDay };
    const erased = { ...two, erase: "asked for" };
    const group = of([{ ...one, missingDays: missing }, erased], { asked: [second] });
    const next = [erased, one];
    expect(changesOf({ groups: [group] }, receipted)).toEqual([
      made(newGroup(0, { payloads: next, state: verifyingAt(behind), due: behind, failure })),
      ended([]),
    ]);
    // Asked for both ways it is verified once.
    expect(changesOf({ groups: [of([erased, one], { asked: [two.key] })] }, receipted)[0]).toEqual(
      made(newGroup(0, { payloads: [erased], state: verifyingAt(behind), due: behind, failure })),
    );
    // Only that one: the other ends as it did.
    expect(changesOf({ groups: [of([one, erased])] }, receipted)).toEqual([
      made(newGroup(0, { payloads: [erased], state: verifyingAt(behind), due: behind, failure })),
      ended(receipting.ended.slice(0, 1)),
    ]);
    // The fence of a group that sent nothing counts from when it was made; one that is over is due now.
    const unsent = groupIn({ ...receipting, asked: [one.key] }, { payloads: [one, two], lastInsertAt: null });
    const past = unsent.made + fence;
    expect(changesOf({ groups: [unsent] }, receipted)).toEqual([
      made(newGroup(0, { payloads: [one], state: verifyingAt(past), due: now, failure })),
      ended(receipting.ended.slice(1)),
    ]);
  });

  test("of what these receipts say is erased is nothing", () => {
    const asErased = [
      { key: second, outcome: "erased" },
      { key: two.key, outcome: "stored" },
    ] as const;
    const erased = { ...one, erase: "asked for" };
    const group = of([erased, two], { ended: asErased, asked: [two.key, one.key] });
    expect(changesOf({ groups: [group] }, receipted)).toEqual([
      made(newGroup(0, { payloads: [two], state: verifyingAt(behind), due: behind, failure })),
      ended(asErased.slice(0, 1)),
    ]);
  });

  test("is settled by the attempt that was handed them, and by no other", () => {
    const group = of([one, two]);
    for (const settled of [[{ group: groupId, attempt: 11 }], [{ group: otherId, attempt: 12 }]]) {
      expect(stepOf({ groups: [group] }, { kind: "receipted", receipted: settled })).toEqual({
        changes: [],
        rings: [],
        task: null,
      });
    }
  });
});

describe("a person erases a payload", () => {
  const erase = {
    kind: "erase",
    payloads: [doorbell({ n: 1, cause: "replay" })],
    reason: "asked for",
  } as const;
  const erased = { ...one, erase: "asked for" };

  test("that waits: it is marked", () => {
    const waiting = { since: now - 500, payloads: [one, two] };
    expect(stepOf({ waiting }, erase)).toEqual({
      changes: [{ kind: "waiting", waiting: { since: now - 500, payloads: [erased, two] } }],
      rings: [],
      task: null,
    });
  });

  test("of a group that is leased, or whose rows are decided: it is marked there", () => {
    const states: readonly GroupState[] = [
      { ...open, lease },
      { at: "counting", lease: null, why: "stored", code: "" },
      verifyingAt(now),
      {
        at: "receipting",
        lease: null,
        receipts: [],
        leased: 0,
        completeView: false,
        ended: [],
      },
      { at: "clearing", lease: null, found: [] },
    ];
    for (const state of states) {
      const group = groupIn(state, { payloads: [one, two] });
      expect(stepOf({ groups: [group] }, erase)).toEqual({
        changes: [toGroup({ ...group, payloads: [erased, two] })],
        rings: [],
        task: null,
      });
    }
  });

  test("of a group that nobody has sent: it leaves it", () => {
    const notified = [{ group: groupId, again: now + 9 }];
    const known = { ...head, breaker: { ...head.breaker, notified } };
    const group = groupIn(open, { payloads: [one, two], due: now + 9 });
    const { failures, ownFailures, ownFailedAt, unlisted, refusals, lastRefusalAt } = group;
    const kept = { failures, ownFailures, ownFailedAt, unlisted, refusals, lastRefusalAt };
    expect(changesOf({ groups: [group], head: known }, erase)).toEqual([
      toHead({}),
      made(newGroup(0, { payloads: [erased], state: verifyingAt(now), failure })),
      made(newGroup(1, { payloads: [two], state: open, due: now + 9, failure, ...kept })),
      ended(),
    ]);
  });

  test("that is held: it is looked at now, as if a person had asked for it, and the others stay held", () => {
    const found = [one, two].map(({ key }) => ({ key, rowsByDay: [], reason: key }));
    const group = groupIn({ at: "held", lease: null, found }, { payloads: [one, two], due: never });
    const asked = { ...erased, cause: "replay", missingDays: null } as const;
    expect(changesOf({ groups: [group] }, erase)).toEqual([
      made(newGroup(0, { payloads: [asked], state: verifyingAt(now), failure })),
      made(
        newGroup(1, {
          payloads: [two],
          state: { at: "held", lease: null, found: found.slice(1) },
          due: never,
          failure,
        }),
      ),
      ended(),
    ]);
  });

  test("that is done, or unknown: it is looked at behind the fence of the one that may have inserted it", () => {
    const asked = { ...erased, cause: "replay", doorbell: true } as const;
    const doneAt = now - 1000;
    const done: readonly Change[] = [
      { kind: "group", group: groupIn(open, { payloads: [one] }), isNew: true },
      { kind: "end", group: groupId, ended: [{ key: one.key, outcome: "stored" }], at: doneAt },
    ];
    expect(changesOf({ changes: done }, erase)).toEqual([
      made(
        newGroup(0, {
          payloads: [asked],
          state: verifyingAt(doneAt + fence),
          due: doneAt + fence,
        }),
      ),
    ]);
    expect(changesOf({}, erase)).toEqual([
      made(newGroup(0, { payloads: [asked], state: verifyingAt(head.birth + fence), due: now })),
    ]);
  });
});

describe("a person resolves what is held", () => {
  const days = [
    { day: today - 1, rows: 3 },
    { day: today, rows: 4 },
  ];
  const found = [
    { key: one.key, rowsByDay: days, reason: "a day has some of its rows" },
    { key: two.key, rowsByDay: [], reason: "another" },
  ];
  const mine = { ...one, duplicateKeys: [second], missingDays: { days: [today], complete: days } };
  const group = groupIn({ at: "held", lease: null, found }, { payloads: [mine, two], due: never });
  const rest = (n: number) =>
    made(
      newGroup(n, {
        payloads: [two],
        state: { at: "held", lease: null, found: found.slice(1) },
        due: never,
        failure,
      }),
    );

  test("and accepts its rows: its keys get their receipts, and the others stay held", () => {
    const blank = { ...receipt, outcome: "duplicate", rowsByDay: [], bytes: 0 } as const;
    const receipts = [
      {
        ...receipt,
        spans: 7,
        rowsByDay: days,
        bytes: 0,
        reason: "accepted: a day has some of its rows",
      },
      { ...blank, key: second },
    ];
    const state = {
      at: "receipting",
      lease: null,
      receipts,
      leased: 0,
      completeView: false,
      ended: [{ key: one.key, outcome: "stored" }],
    } as const;
    expect(stepOf({ groups: [group] }, { kind: "resolve", key: second, how: "accept" })).toEqual({
      changes: [made(newGroup(0, { payloads: [mine], state, failure })), rest(1), ended()],
      rings: [],
      task: null,
    });
  });

  test("and has it written anew: its rows are deleted, and what is absent may be stored again", () => {
    const state = { at: "clearing", lease: null, found: found.slice(0, 1) } as const;
    const again = { ...mine, cause: "replay", missingDays: null } as const;
    expect(stepOf({ groups: [group] }, { kind: "resolve", key: one.key, how: "rewrite" })).toEqual({
      changes: [made(newGroup(0, { payloads: [again], state, failure })), rest(1), ended()],
      rings: [],
      task: null,
    });
    const alone = { ...group, payloads: [mine] };
    expect(changesOf({ groups: [alone] }, { kind: "resolve", key: one.key, how: "rewrite" })).toEqual([
      made(newGroup(0, { payloads: [again], state, failure })),
      ended(),
    ]);
  });

  test("and nothing happens where it is not, or the payload is unknown", () => {
    const nothing: Step = { changes: [], rings: [], task: null };
    const resolve = { kind: "resolve", key: one.key, how: "rewrite" } as const;
    expect(stepOf({}, resolve)).toEqual(nothing);
    expect(stepOf({ groups: [groupIn(open)] }, resolve)).toEqual(nothing);
  });
});

describe("an alarm", () => {
  const alarm = { kind: "alarm" } as const;
  const fresh = { ownFailures: 0, failure: null };

  test("rings what is due, and again later each time", () => {
    for (const rings of [0, 2, 30]) {
      const group = groupIn(counting, { rings });
      expect(stepOf({ groups: [group] }, alarm)).toEqual({
        changes: [toGroup({ ...group, rings: rings + 1, due: now + backOffMs(rings, settings) })],
        rings: [groupId],
        task: null,
      });
    }
    expect(stepOf({ groups: [groupIn(counting, { due: now + 1 })] }, alarm).rings).toEqual([]);
  });

  test("rings what waits for its INSERT, which keeps a slot until it is fetched, a lease at the longest", () => {
    for (const [rings, waitMs] of [
      [1, backOffMs(1, settings)],
      [8, settings.leaseMs],
    ] as const) {
      const group = groupIn(open, { rings });
      const again = now + waitMs;
      expect(stepOf({ groups: [group] }, alarm)).toEqual({
        changes: [
          toHead({ breaker: { ...head.breaker, notified: [{ group: groupId, again }] } }),
          toGroup({ ...group, rings: rings + 1, due: again }),
        ],
        rings: [groupId],
        task: null,
      });
    }
  });

  test("rings as many of these as there are slots, the longest due first", () => {
    const groups = [3, 1, 2].map((n) =>
      groupIn(open, { id: tokenAt(100 + n), due: now - n, payloads: [payloadAt({ n })] }),
    );
    const full = { ...head, breaker: { ...head.breaker, concurrencyLimit: 3 } };
    expect(stepOf({ groups, head: full }, alarm).rings).toEqual([tokenAt(103), tokenAt(102)]);
    const few = { ...settings, ringsMax: 1 };
    expect(stepOf({ groups, settings: few }, alarm).rings).toEqual([tokenAt(103)]);
    expect(stepOf({ groups, head: full, settings: few }, alarm).rings).toEqual([tokenAt(103)]);
  });

  test("rings again who was notified and has not come; who has gone elsewhere keeps no slot", () => {
    const group = groupIn(open, { due: now + 5, ...fresh });
    const elsewhere = groupIn(counting, { id: otherId, payloads: [two], due: now + 5 });
    const calls = [groupId, otherId, tokenAt(9)].map((id) => ({ group: id, again: now }));
    const known = (notified: typeof calls): Head => ({
      ...head,
      breaker: { ...head.breaker, inFlight: [], notified },
    });
    const again = now + backOffMs(2, settings);
    expect(stepOf({ groups: [group, elsewhere], head: known(calls) }, alarm)).toEqual({
      changes: [
        { kind: "head", head: known([{ group: groupId, again }]) },
        toGroup({ ...group, rings: 3, due: again }),
      ],
      rings: [groupId],
      task: null,
    });
    const notYet = calls.map((call) => ({ ...call, again: now + 1 }));
    expect(stepOf({ groups: [group, elsewhere], head: known(notYet) }, alarm).changes).toEqual([]);
    // While nothing may be inserted nobody is called for it.
    const refused = { ...known(calls), table: { ...head.table, refusal: "full" } };
    expect(stepOf({ groups: [group, elsewhere], head: refused }, alarm).changes).toEqual([]);
    // One that is leased again already is not notified.
    const out = { ...group, state: { ...open, lease } };
    expect(stepOf({ groups: [out], head: known(calls.slice(0, 1)) }, alarm)).toEqual({
      changes: [{ kind: "head", head: known([]) }],
      rings: [],
      task: null,
    });
  });

  test("rings who is notified again once, although it is due too, and others in the slots that are left", () => {
    const group = groupIn(open, { due: now - 2 });
    const other = groupIn(open, { id: otherId, payloads: [two], due: now - 1, rings: 0 });
    const notified = [{ group: groupId, again: now }];
    const known = (concurrencyLimit: number) => ({
      ...head,
      breaker: { ...head.breaker, inFlight: [], notified, concurrencyLimit },
    });
    const ringsOf = (limit: number) => stepOf({ groups: [group, other], head: known(limit) }, alarm).rings;
    expect(ringsOf(1)).toEqual([groupId]);
    expect(ringsOf(2)).toEqual([groupId, otherId]);
    // In whichever order they are due.
    const first = { ...other, due: now - 3 };
    expect(stepOf({ groups: [group, first], head: known(1) }, alarm).rings).toEqual([groupId]);
  });

  test("makes a group of what has waited for its age, and rings it if there is a slot", () => {
    const waiting = { since: now - settings.caps.ageReadyMs, payloads: [one] };
    const none = { kind: "waiting", waiting: { since: 0, payloads: [] } } as const;
    const again = now + backOffMs(0, settings);
    const group = newGroup(0, { payloads: [one], state: open });
    expect(stepOf({ waiting }, alarm)).toEqual({
      changes: [
        toHead({ breaker: { ...head.breaker, notified: [{ group: tokenAt(0), again }] } }),
        none,
        made({ ...group, rings: 1, due: again }),
      ],
      rings: [tokenAt(0)],
      task: null,
    });
    const slots = (concurrencyLimit: number) => ({
      ...head,
      breaker: { ...head.breaker, concurrencyLimit },
    });
    expect(stepOf({ waiting, head: slots(2) }, alarm).rings).toEqual([tokenAt(0)]);
    const full = slots(1);
    expect(stepOf({ waiting, head: full }, alarm)).toEqual({
      changes: [none, made(group)],
      rings: [],
      task: null,
    });
    // What is erased of it is verified, and notified by the next alarm.
    const erased = { ...two, erase: "asked for" };
    expect(stepOf({ waiting: { ...waiting, payloads: [erased, one] }, head: full }, alarm).changes).toEqual([
      none,
      made(newGroup(0, { payloads: [erased], state: verifyingAt(now) })),
      made({ ...group, id: tokenAt(1) }),
    ]);
  });

  test("counts late rings whose doorbell has not come, by what rang, unless doorbells are late altogether", () => {
    const at = now - settings.overtakenMs;
    const pending = (["event", "reconcile", "event", "event"] as const).map((ring, n) => ({
      id: idOfKey(doorbell({ n }).key),
      ring,
      at: n === 3 ? at + 1 : at,
    }));
    const known = { ...head, pendingRescues: pending };
    const left = pending.slice(3);
    expect(changesOf({ head: known }, alarm)).toEqual([
      toHead({ pendingRescues: left, rescues: { event: 5, reconcile: 5 } }),
    ]);
    const late = (backlogAt: number) => changesOf({ head: { ...known, backlogAt } }, alarm)[0];
    expect(late(at - settings.overtakenMs - 1)).toMatchObject({
      head: { rescues: { event: 5, reconcile: 5 } },
    });
    expect(late(at - settings.overtakenMs)).toMatchObject({
      head: { pendingRescues: left, rescues: { event: 3, reconcile: 4 } },
    });
    expect(changesOf({ head: { ...head, pendingRescues: left } }, alarm)).toEqual([]);
  });
});

describe("what was finished is forgotten", () => {
  const alarm = { kind: "alarm" } as const;
  const memoryMs = 1_000_000_001;
  const remembering = { ...settings, memoryMs };
  const doneAt = (at: number): readonly Change[] => [
    { kind: "group", group: groupIn(open, { payloads: [one] }), isNew: true },
    { kind: "end", group: groupId, ended: [{ key: one.key, outcome: "stored" }], at },
  ];
  const before = now - memoryMs;
  const forgot = (known: Partial<Head>, databaseBytes = 0, trimTo?: number) =>
    changesOf(
      {
        changes: doneAt(1),
        settings: remembering,
        databaseBytes,
        trimTo,
        head: { ...head, birth: 0, forgottenBefore: 0, ...known },
      },
      alarm,
    );

  test("after the memory's time, where the marks lag behind it", () => {
    const lag = remembering.forgetLagMs;
    expect(forgot({ forgottenBefore: before - lag })).toEqual([]);
    expect(forgot({ birth: before - lag })).toEqual([]);
    const late = { birth: 0, forgottenBefore: before - lag - 1 };
    expect(forgot(late)).toEqual([
      toHead({ birth: 0, memSince: before, forgottenBefore: before, trimmed: null }),
      { kind: "forget" },
    ]);
    expect(forgot({ ...late, memSince: now - 7 })).toEqual([
      toHead({ birth: 0, memSince: now - 7, forgottenBefore: before, trimmed: null }),
      { kind: "forget" },
    ]);
  });

  test("before its time where the store is full: by content, and no time of arrival with it", () => {
    const most = settings.databaseBytesMax;
    const timely = { forgottenBefore: before };
    expect(forgot(timely, most, 77)).toEqual([]);
    expect(forgot(timely, most + 1)).toEqual([]);
    expect(forgot(timely, most + 1, 77)).toEqual([
      toHead({ birth: 0, ...timely, trimmed: { from: 77, at: now } }),
      { kind: "forget" },
    ]);
  });

  test("by content once more, while the marks of time lag behind: what was trimmed before stays so", () => {
    const since = { forgottenBefore: before - 2, trimmed: { from: 90, at: before - 1 } };
    expect(forgot(since, settings.databaseBytesMax + 1, 77)).toEqual([
      toHead({ birth: 0, ...since, trimmed: { from: 90, at: now } }),
      { kind: "forget" },
    ]);
  });
});

describe("the next alarm", () => {
  const at = (before: Before): number | undefined => nextAlarm(stateOf(before), settings);

  test("is none where nothing is to be done", () => {
    expect(at({})).toBeUndefined();
    const found = [{ key: one.key, rowsByDay: [], reason: "" }];
    expect(at({ groups: [groupIn({ at: "held", lease: null, found }, { due: never })] })).toBeUndefined();
  });

  test("is the first of: a group by age, a group that is due, a rescue to be counted", () => {
    const waiting = { since: now, payloads: [one] };
    const parts: readonly (readonly [Before, number])[] = [
      [{ waiting }, now + settings.caps.ageReadyMs],
      [{ groups: [groupIn(counting, { due: now + 77 })] }, now + 77],
      [{ groups: [groupIn({ ...counting, lease } as GroupState, { due: now + 78 })] }, now + 78],
      [{ groups: [groupIn(open, { due: now + 79 })] }, now + 79],
      [
        {
          head: { ...head, pendingRescues: [{ id: idOfKey(one.key), ring: "event", at: now + 80 }] },
        },
        now + 80 + settings.overtakenMs,
      ],
    ];
    for (const [before, time] of parts) {
      expect(at(before)).toBe(time);
    }
    expect(at({ waiting, groups: [groupIn(counting, { due: now + 77 })] })).toBe(now + 77);
    expect(at({ waiting, groups: [groupIn(counting, { due: now + 7777 })] })).toBe(
      now + settings.caps.ageReadyMs,
    );
    // What waits for its INSERT is not due while nothing may be inserted.
    const refused = { ...head, table: { ...head.table, refusal: "full" } };
    expect(at({ groups: [groupIn(open)], head: refused })).toBeUndefined();
  });
});

test("the ledger holds what waits and what is in a group, under whichever key, and nothing that is done", () => {
  const done = payloadAt({ n: 3 });
  const state = stateOf({
    waiting: { since: now, payloads: [one] },
    groups: [groupIn(open, { payloads: [two] }), groupIn(open, { id: otherId, payloads: [done] })],
    changes: [{ kind: "end", group: otherId, ended: [{ key: done.key, outcome: "stored" }], at: now }],
  });
  const keys = [done.key, second, two.key, doorbell({ n: 4 }).key];
  expect(holds(state, keys)).toEqual([false, true, true, false]);
});

test("a step is given a token for each group that its event can make, and a few more", () => {
  const report = (kinds: object): LedgerEvent =>
    ({ kind: "report", group: groupId, attempt: 1, report: kinds }) as LedgerEvent;
  const doorbells = [doorbell({ n: 1 }), doorbell({ n: 2 })];
  const payloads = [1, 2, 3];
  const settled = [{ group: groupId, attempt: 1 }];
  const events: readonly (readonly [LedgerEvent, number])[] = [
    [{ kind: "claim", doorbells, codecVersion: 1 }, 2 * 2 + 6],
    [report({ kind: "verified", payloads }), 3 + 3],
    [report({ kind: "broken" }), limits.groupPayloadsMax],
    [report({ kind: "retry" }), limits.splitParts],
    [{ kind: "receipted", receipted: settled }, 1 + 3],
    [{ kind: "alarm" }, 4],
    [{ kind: "restored", epoch: 2 }, 4],
  ];
  expect(events.map(([event]) => tokensNeeded(event))).toEqual(events.map(([, tokens]) => tokens));
});
