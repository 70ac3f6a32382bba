/** What VERIFY's report makes of its group: all that changes, payload by payload (verdicts: ledger-verdicts.test.ts). */
import { describe, expect, test } from "vitest";
import type { AttemptReport, Evidence, Group, GroupPayload, GroupState } from "../../shared/ledger/group.ts";
import type { Step } from "../../shared/ledger/machine.ts";
import { backOffMs, defaultSettings } from "../../shared/ledger/settings.ts";
import type { Change } from "../../shared/ledger/view.ts";
import { limits } from "../../shared/limits.ts";
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
  payloadAt,
  seconds,
  stepOf,
  today,
  toGroup,
  toHead,
  tokenAt,
  transcoded,
  two,
} from "../ledger/one-step.ts";
import { doorbell, knownTable, startMs } from "../ledger/world.ts";

const { leaseMs, ownFailuresMax } = defaultSettings;
const until = now + leaseMs;
const never = Number.MAX_SAFE_INTEGER;
const fence = now - seconds(10);
const verifying = { at: "verifying", lease, fence, split: false, code: "117" } as const;
const again = { at: "verifying", lease: null, fence: now, split: false, code: "117" } as const;

const daysOf = (payload: GroupPayload) => transcoded(payload)[0]?.rowsByDay ?? [];
/** Its object is there, and so many of its two days. */
const seen = (payload: GroupPayload, days: number, more: Partial<Evidence> = {}): Evidence => ({
  key: payload.key,
  receipts: [],
  rowsByDay: daysOf(payload).slice(0, days),
  object: {
    key: payload.key,
    spans: payload.spans,
    rejectedSpans: 3,
    bytes: 100,
    rowsByDay: daysOf(payload),
  },
  ...more,
});
const verified = (...payloads: readonly Evidence[]): AttemptReport => ({
  kind: "verified",
  running: false,
  oldestDay: 0,
  payloads,
});
const receiptOf = (payload: GroupPayload, group: Receipt["group"] = groupId): Receipt => ({
  key: payload.key,
  outcome: "stored",
  group,
  spans: payload.spans,
  rowsByDay: daysOf(payload),
  rejectedSpans: 3,
  bytes: 100,
  reason: "",
});
const reportOf = (group: Group, report: AttemptReport, before: Before = {}): Step =>
  stepOf({ groups: [group], ...before }, { kind: "report", group: groupId, attempt: 12, report });
const changesOf = (...args: Parameters<typeof reportOf>): readonly Change[] => reportOf(...args).changes;
const receipting = {
  at: "receipting",
  lease: null,
  leased: 0,
  completeView: true,
  receipts: [receiptOf(one)],
  ended: [{ key: one.key, outcome: "stored" }],
} as const;
const base = { deadline: until, table: knownTable, completeView: true, failure };
const both = { payloads: [one, two] };

describe("a VERIFY", () => {
  test("that found everything of all has their receipts written by the same caller", () => {
    const group = groupIn(verifying, both);
    const receipts = [receiptOf(one), receiptOf(two)];
    const stored = [one, two].map(({ key }) => ({ key, outcome: "stored" }) as const);
    const state = { ...receipting, lease: { attempt: 13, until }, receipts, leased: 2, ended: stored };
    expect(reportOf(group, verified(seen(one, 2), seen(two, 2)))).toEqual({
      changes: [toGroup({ ...group, rows: null, attempts: 13, rings: 0, failures: 0, due: until, state })],
      rings: [],
      task: { ...base, step: "receipts", group: groupId, attempt: 13, payloads: [one, two], receipts },
    });
  });

  test("compares with what was transcoded first, payload by payload, where no object is transcoded", () => {
    const group = groupIn(verifying, both);
    const object = (payload: GroupPayload) => ({
      key: payload.key,
      spans: payload.spans,
      rejectedSpans: 3,
      bytes: 100,
      rowsByDay: null,
    });
    const report = verified(...both.payloads.map((payload) => seen(payload, 2, { object: object(payload) })));
    expect(reportOf(group, report).task).toMatchObject({ receipts: [receiptOf(one), receiptOf(two)] });
    // The view is completed for one of them, whichever.
    const unsent = groupIn(verifying, { ...both, inserts: 0 });
    const receipted = (payload: GroupPayload) => seen(payload, 2, { receipts: [receiptOf(payload)] });
    for (const payloads of [
      [receipted(one), seen(two, 2)],
      [seen(one, 2), receipted(two)],
    ]) {
      expect(reportOf(unsent, verified(...payloads)).task).toMatchObject({ completeView: true });
    }
  });

  test("that found what has its receipts already ends the group at once", () => {
    const receipts = [receiptOf(one)];
    const unsent = groupIn(verifying, { inserts: 0 });
    expect(reportOf(unsent, verified(seen(one, 2, { receipts })))).toEqual({
      changes: [ended([{ key: one.key, outcome: "stored" }])],
      rings: [],
      task: null,
    });
    // An INSERT of its own may have stored it, and not its view: that is completed, with no receipt to write.
    const state = { ...receipting, lease: { attempt: 13, until }, receipts: [] };
    const sent = groupIn(verifying, { inserts: 1 });
    expect(changesOf(sent, verified(seen(one, 2, { receipts })))).toEqual([
      toGroup({ ...sent, rows: null, attempts: 13, rings: 0, failures: 0, due: until, state }),
    ]);
    // Nobody sent it, and nothing says who stored it.
    expect(reportOf(unsent, verified(seen(one, 2))).task).toMatchObject({ completeView: true });
  });

  test("while something of it ran proves nothing: it is retried later", () => {
    const group = groupIn(verifying);
    const state = { ...verifying, lease: null };
    expect(reportOf(group, { ...verified(seen(one, 2)), running: true } as AttemptReport)).toEqual({
      changes: [toGroup({ ...group, failures: 4, due: now + backOffMs(3, defaultSettings), state })],
      rings: [],
      task: null,
    });
  });

  test("of some there and some not ends the ones and inserts the others, under tokens of their own", () => {
    const three = payloadAt({ n: 3 });
    const group = groupIn(verifying, { payloads: [one, two, three] });
    const report = verified(seen(one, 2), seen(two, 0), seen(three, 1));
    const missing = { days: [today], complete: daysOf(three) };
    const first = newGroup(0, { payloads: [one], state: open, failure });
    expect(reportOf(group, report)).toEqual({
      changes: [
        made({
          ...first,
          attempts: 1,
          due: until,
          state: { ...receipting, lease: { attempt: 1, until }, leased: 1 },
        }),
        made(
          newGroup(1, {
            payloads: [two, { ...three, duplicateKeys: [], missingDays: missing }],
            state: open,
            failure,
          }),
        ),
        ended(),
      ],
      rings: [],
      task: {
        ...base,
        step: "receipts",
        group: tokenAt(0),
        attempt: 1,
        payloads: [one],
        receipts: [receiptOf(one)],
      },
    });
  });

  test("of a payload that is absent keeps what was counted against it while it is alone", () => {
    const group = groupIn(verifying);
    const { refusals, lastRefusalAt } = group;
    expect(changesOf(group, verified(seen(one, 0)))).toEqual([
      made(newGroup(0, { payloads: [one], state: open, failure, refusals, lastRefusalAt })),
      ended(),
    ]);
    const two_ = groupIn(verifying, both);
    expect(changesOf(two_, verified(seen(one, 0), seen(two, 0)))).toEqual([
      made(newGroup(0, { payloads: [one, two], state: open, failure })),
      ended(),
    ]);
  });

  test("of absent payloads of young and of old days inserts them apart", () => {
    const old = { ...two, oldestDay: today - 2 };
    const group = groupIn(verifying, { payloads: [old, one] });
    expect(changesOf(group, verified(seen(old, 0), seen(one, 0)))).toEqual([
      made(newGroup(0, { payloads: [one], state: open, failure })),
      made(newGroup(1, { payloads: [old], state: open, failure })),
      ended(),
    ]);
  });

  test("of a group that failed for a reason of its own inserts what is absent payload by payload", () => {
    const split = { ...verifying, split: true };
    const suspect = { state: open, failure, ownFailures: ownFailuresMax - 1, ownFailedAt: now };
    expect(changesOf(groupIn(split, both), verified(seen(one, 0), seen(two, 0)))).toEqual([
      made(newGroup(0, { payloads: [one], ...suspect })),
      made(newGroup(1, { payloads: [two], ...suspect })),
      ended(),
    ]);
    // Alone that is a refusal. Of a group of several it is the first one, whatever that group had.
    const refused = { payloads: [two], state: open, failure, refusals: 1, lastRefusalAt: now };
    expect(changesOf(groupIn(split, both), verified(seen(one, 2), seen(two, 0)))).toMatchObject([
      { group: { payloads: [one] } },
      made(newGroup(1, refused)),
      ended(),
    ]);
    const alone = groupIn(split, { refusals: 2 });
    const stored = { ...head, lastStoredInsertAt: now };
    const dead: Receipt = { ...receiptOf(one), outcome: "dead", rowsByDay: [], reason: "rejected:117" };
    const state = {
      ...receipting,
      receipts: [dead],
      completeView: false,
      ended: [{ key: one.key, outcome: "dead" }],
    } as const;
    expect(changesOf(alone, verified(seen(one, 0)), { head: stored })).toEqual([
      made(newGroup(0, { payloads: [one], state, failure, refusals: 3, lastRefusalAt: now })),
      ended(),
    ]);
    const tooSlow = { ...split, code: "too_slow" };
    expect(changesOf({ ...alone, state: tooSlow }, verified(seen(one, 0)), { head: stored })).toMatchObject([
      { group: { state: { receipts: [{ reason: "too_slow" }] } } },
      {},
    ]);
  });

  test("of which nobody may conclude has the payload held, with what was found", () => {
    const partly = seen(two, 0, { rowsByDay: [{ day: today, rows: 3 }] });
    const group = groupIn(verifying, both);
    const days = Array.from({ length: limits.payloadDaysMax + 1 }, (_, n) => ({ day: n, rows: 1 }));
    expect(changesOf(group, verified(seen(one, 2), seen(two, 0, { rowsByDay: days })))[1]).toMatchObject({
      group: { state: { found: [{ rowsByDay: days.slice(0, -1), reason: "1 row on a day with none" }] } },
    });
    const found = [
      { key: two.key, rowsByDay: [{ day: today, rows: 3 }], reason: "a day has some of its rows" },
    ];
    expect(changesOf(group, verified(seen(one, 2), partly))).toMatchObject([
      { group: { payloads: [one] } },
      made(newGroup(1, { payloads: [two], state: { at: "held", lease: null, found }, failure, due: never })),
      ended(),
    ]);
  });

  test("that transcoded nothing has each such payload looked at by itself, and one that is a suspect held", () => {
    const blind = { ...verifying, isBlind: true };
    const object = (payload: GroupPayload) => ({
      key: payload.key,
      spans: payload.spans,
      rejectedSpans: 3,
      bytes: 100,
      rowsByDay: null,
    });
    const half = (payload: GroupPayload) => seen(payload, 1, { object: object(payload) });
    const group = groupIn(blind, { ...both, rows: null, outcomeUnknown: true });
    const { inserts, firstInsertAt, lastInsertAt } = group;
    const sent = { inserts, firstInsertAt, lastInsertAt, outcomeUnknown: true };
    const alone = { state: { ...again, isBlind: false }, failure, ...sent };
    expect(changesOf(group, verified(half(one), half(two)))).toEqual([
      made(newGroup(0, { payloads: [one], ...alone })),
      made(newGroup(1, { payloads: [two], ...alone })),
      ended(),
    ]);
    // Before any INSERT there is nothing that may have stored it.
    expect(changesOf({ ...group, inserts: 1 }, verified(half(one), half(two)))[0]).toMatchObject({
      group: { inserts: 1, outcomeUnknown: true },
    });
    const unsent = { ...group, inserts: 0, firstInsertAt: null, lastInsertAt: null };
    const never_ = { inserts: 0, firstInsertAt: null, lastInsertAt: null, outcomeUnknown: false };
    expect(changesOf(unsent, verified(half(one), half(two)))[0]).toEqual(
      made(newGroup(0, { payloads: [one], ...alone, ...never_ })),
    );
    const third = { ...group, ownFailures: ownFailuresMax };
    expect(changesOf(third, verified(half(one), half(two)))).toMatchObject([
      { group: { payloads: [one, two], state: { at: "held" }, due: never } },
      ended(),
    ]);
  });

  test("that came to some only has the others looked at by another one, which knows what was transcoded", () => {
    for (const isBlind of [true, false]) {
      const state = { ...verifying, split: true, isBlind };
      const group = groupIn(state, { ...both, ownFailures: ownFailuresMax });
      const { inserts, firstInsertAt, lastInsertAt } = group;
      expect(changesOf(group, verified(seen(one, 2)))).toMatchObject([
        { group: { payloads: [one], state: { at: "receipting" } } },
        made(
          newGroup(1, {
            payloads: [two],
            state: { ...again, split: true, isBlind },
            failure,
            rows: transcoded(two),
            inserts,
            firstInsertAt,
            lastInsertAt,
            outcomeUnknown: true,
          }),
        ),
        ended(),
      ]);
    }
    const unread = groupIn(verifying, { ...both, rows: null });
    expect(changesOf(unread, verified(seen(one, 2)))[1]).toMatchObject({ group: { rows: null } });
  });

  test("with more receipts than a group has room for has the rest looked at by itself", () => {
    const caps = { ...defaultSettings.caps, keysMax: 2 };
    const second = doorbell({ n: 2, arrival: startMs + 60_000 }).key;
    const twice = { ...two, duplicateKeys: [second] };
    const group = groupIn(verifying, { payloads: [one, twice] });
    const { inserts, firstInsertAt, lastInsertAt } = group;
    const settings = { ...defaultSettings, caps };
    const changes = changesOf(group, verified(seen(one, 2), seen(twice, 2)), { settings });
    expect(changes).toMatchObject([
      { group: { payloads: [one], state: { receipts: [receiptOf(one)] } } },
      made(
        newGroup(1, {
          payloads: [twice],
          state: { ...again, isBlind: false },
          failure,
          inserts,
          firstInsertAt,
          lastInsertAt,
          outcomeUnknown: true,
        }),
      ),
      ended(),
    ]);
    // One with more than that is written all the same.
    const many = { ...one, duplicateKeys: [second, doorbell({ n: 3 }).key] };
    const alone = groupIn(verifying, { payloads: [many] });
    expect(changesOf(alone, verified(seen(many, 2)), { settings })).toMatchObject([
      { group: { state: { receipts: { length: 3 } } } },
    ]);
    // Exactly as many are written together.
    const enough = groupIn(verifying, both);
    expect(changesOf(enough, verified(seen(one, 2), seen(two, 2)), { settings })).toHaveLength(1);
  });

  test("that found it erased ends it as that; where keys are left it is not remembered yet", () => {
    const erased = { ...one, erase: "asked for" };
    const group = groupIn(verifying, { payloads: [erased] });
    const receipt = { ...receiptOf(one), outcome: "erased", rowsByDay: [], reason: "asked for" } as const;
    const state = { ...receipting, receipts: [receipt], completeView: false };
    const leased = { lease: { attempt: 13, until }, leased: 1 };
    const common = { ...group, rows: null, attempts: 13, rings: 0, failures: 0, due: until };
    expect(changesOf(group, verified(seen(erased, 2)))).toEqual([
      toGroup({ ...common, state: { ...state, ...leased, ended: [{ key: one.key, outcome: "erased" }] } }),
    ]);
    const other = doorbell({ n: 1, arrival: startMs + 60_000 }).key;
    const before = groupIn(verifying);
    const receipts = [
      { ...receiptOf(one), outcome: "erased", rowsByDay: [], reason: "asked for" } as const,
      { ...receiptOf(one), key: other },
    ];
    const settings = { ...defaultSettings, erasedKeysMax: 1 };
    expect(changesOf(before, verified(seen(one, 2, { receipts })), { settings })).toEqual([
      toGroup({
        ...common,
        payloads: [erased],
        state: { ...state, ...leased, ended: [] },
      }),
    ]);
  });

  test("of rows that a person removed counts the late bell", () => {
    const group = groupIn(verifying, { inserts: 0 });
    const receipts = [receiptOf(one)];
    expect(changesOf(group, verified(seen(one, 0, { receipts })))).toEqual([
      toHead({ lateBells: 7 }),
      ended([{ key: one.key, outcome: "stored" }]),
    ]);
  });
});

describe("a VERIFY that breaks an invariant", () => {
  const broken = { kind: "broken", reason: "days ascend" } as const;
  const known = {
    failure: { ...failure, failed: 5, at: now, kind: "broken", text: "days ascend" },
    ownFailedAt: now,
  } as const;
  const waits: GroupState = { ...verifying, lease: null };

  test("is retried later, and counted", () => {
    const group = groupIn(verifying, both);
    expect(reportOf(group, broken)).toEqual({
      changes: [
        toGroup({
          ...group,
          ...known,
          ownFailures: 2,
          failures: 4,
          due: now + backOffMs(3, defaultSettings),
          state: waits,
        }),
      ],
      rings: [],
      task: null,
    });
  });

  test("as often as is allowed is had for each payload by itself, at its fence", () => {
    const group = groupIn(verifying, { ...both, ownFailures: ownFailuresMax - 1 });
    const { inserts, lastInsertAt } = group;
    for (const [at, due] of [
      [fence, now],
      [now + 5, now + 5],
    ] as const) {
      const mine = { ...group, state: { ...verifying, fence: at } };
      const each = {
        state: { ...waits, fence: at } as GroupState,
        failure: known.failure,
        ownFailures: ownFailuresMax - 1,
        inserts,
        lastInsertAt,
        due,
      };
      expect(changesOf(mine, broken)).toEqual([
        made(newGroup(0, { payloads: [one], ...each })),
        made(newGroup(1, { payloads: [two], ...each })),
        ended(),
      ]);
    }
  });

  test("of one that is alone is held", () => {
    const group = groupIn(verifying, { ownFailures: ownFailuresMax - 1 });
    const found = [{ key: one.key, rowsByDay: [], reason: "broken_invariant: days ascend" }];
    expect(changesOf(group, broken)).toEqual([
      toGroup({
        ...group,
        ...known,
        ownFailures: ownFailuresMax,
        due: never,
        state: { at: "held", lease: null, found },
      }),
    ]);
  });
});
