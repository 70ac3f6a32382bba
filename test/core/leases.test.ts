/** What a lease, and the end of one that nobody reported, make of a group: all that changes, and all of the task. */
import { describe, expect, test } from "vitest";
import type { Group, GroupState, GroupTask } from "../../shared/ledger/group.ts";
import type { Head } from "../../shared/ledger/head.ts";
import type { Step } from "../../shared/ledger/machine.ts";
import { defaultSettings, fenceMs } from "../../shared/ledger/settings.ts";
import type { PayloadOutcome } from "../../shared/outcome.ts";
import type { Receipt } from "../../shared/receipt.ts";
import {
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
  over,
  seconds,
  stepOf,
  toGroup,
  toHead,
  tokenAt,
  two,
} from "../ledger/one-step.ts";
import { codecVersion, knownTable } from "../ledger/world.ts";

const { leaseMs, retryFirstMs, measureAfterMs, measureFreshMs } = defaultSettings;
const until = now + leaseMs;
const take = { kind: "take", group: groupId, codecVersion } as const;
const base = { group: groupId, attempt: 12, deadline: until, payloads: [one], table: knownTable };

const takeOf = (group: Group, known: Head = head): Step => stepOf({ groups: [group], head: known }, take);
/** The group as it is while its 12th attempt is in flight. */
const leased = (group: Group, more: Partial<Group> = {}): Group => ({
  ...group,
  attempts: 12,
  rings: 0,
  due: until,
  state: { ...group.state, lease: { attempt: 12, until } } as GroupState,
  ...more,
});
const nothing: Step = { changes: [], rings: [], task: null };

const receipts = [1, 2, 3].map(
  (n): Receipt => ({
    key: one.key,
    outcome: "duplicate",
    group: otherId,
    spans: n,
    rowsByDay: [],
    rejectedSpans: 0,
    bytes: 0,
    reason: "",
  }),
);
const counting = { at: "counting", lease: null, why: "refused", code: "117" } as const;
const verifying = { at: "verifying", lease: null, fence: now, split: true, code: "117" } as const;
const receipting = {
  at: "receipting",
  lease: null,
  receipts,
  leased: 0,
  completeView: true,
  ended: [{ key: one.key, outcome: "stored" }],
} as const;
const found = [{ key: one.key, rowsByDay: [], reason: "a day has some of its rows" }];
const clearing = { at: "clearing", lease: null, found } as const;

describe("a group that is to be inserted is leased", () => {
  const insert: GroupTask = {
    ...base,
    step: "insert",
    blocks: 1,
    isFirstInsert: true,
    serverDeadline: until + 7,
    byColumn: false,
  };
  const inserted = { inserts: 3, lastInsertAt: now };
  const breaker = { ...head.breaker, inFlight: [otherId, groupId] };

  test("once more: with its counts raised, and the fence that it had", () => {
    const group = groupIn(open);
    expect(takeOf(group)).toEqual({
      changes: [toHead({ breaker }), toGroup(leased(group, inserted))],
      rings: [],
      task: insert,
    });
  });

  test("for the first time: its transcoder and the table's blocks are noted, and the table's own fence may be used", () => {
    const never = { attempts: 0, inserts: 0, firstInsertAt: null, lastInsertAt: null, blocksBefore: null };
    const group = groupIn(open, { ...never, codecVersion: null });
    const { measure } = head.table;
    const table = { ...head.table, measure: measure && { ...measure, isFenced: true } };
    const lease = { attempt: 1, until };
    expect(takeOf(group, { ...head, table })).toEqual({
      changes: [
        toHead({ table, breaker }),
        toGroup({
          ...leased(group, { attempts: 1, inserts: 1, firstInsertAt: now, lastInsertAt: now }),
          blocksBefore: 50,
          codecVersion,
          state: { at: "open", lease, out: "insert" },
        }),
      ],
      rings: [],
      task: { ...insert, attempt: 1, byColumn: true },
    });
    const ofAnother = { ...table, identity: "plain 0 other" };
    expect(takeOf(group, { ...head, table: ofAnother }).task).toMatchObject({ byColumn: false });
    expect(takeOf({ ...group, inserts: 1 }, { ...head, table }).task).toMatchObject({ byColumn: false });
    const unmeasured = { ...head.table, measure: null };
    expect(takeOf(group, { ...head, table: unmeasured })).toMatchObject({
      changes: [{}, { group: { blocksBefore: null } }],
      task: { serverDeadline: until, byColumn: false },
    });
  });

  test("after an attempt of unknown outcome: as a retry", () => {
    const group = groupIn(open, { outcomeUnknown: true });
    expect(takeOf(group).task).toEqual({ ...insert, isFirstInsert: false });
  });

  test("and is not among those that were notified any more", () => {
    const notified = [groupId, otherId].map((group) => ({ group, again: now + 1 }));
    const known = { ...head, breaker: { ...head.breaker, notified } };
    const left = { ...breaker, notified: notified.slice(1) };
    expect(takeOf(groupIn(open), known).changes[0]).toEqual(toHead({ breaker: left }));
  });

  test("with several blocks: where no other such group is leased", () => {
    const group = groupIn(open, { blocks: 3 });
    expect(takeOf(group)).toEqual({
      changes: [toHead({ breaker: { ...breaker, wide: groupId } }), toGroup(leased(group, inserted))],
      rings: [],
      task: { ...insert, blocks: 3 },
    });
    const wideOut = { ...head, breaker: { ...head.breaker, wide: otherId } };
    for (const blocks of [2, 3]) {
      expect(takeOf({ ...group, blocks }, wideOut)).toEqual({
        changes: [toGroup({ ...group, blocks, rings: 0, due: now + retryFirstMs })],
        rings: [],
        task: null,
      });
    }
    expect(takeOf(groupIn(open, { blocks: 1 }), wideOut).task?.step).toBe("insert");
    // What was leased and wide has come back.
    const wideBack = { ...head, breaker: { ...head.breaker, wide: groupId } };
    expect(takeOf(group, wideBack).task?.step).toBe("insert");
  });

  test("not where there is no slot: it is due again at once if it was notified, else as before", () => {
    const full = { ...head, breaker: { ...head.breaker, concurrencyLimit: 1 } };
    const group = groupIn(open, { due: now - 5 });
    expect(takeOf(group, full)).toEqual({
      changes: [toGroup({ ...group, rings: 0, due: now })],
      rings: [],
      task: null,
    });
    expect(takeOf({ ...group, rings: 1 }, full).changes).toHaveLength(1);
    expect(takeOf({ ...group, rings: 0 }, full)).toEqual(nothing);
  });

  test("not where the table is to be measured first", () => {
    const measured = (group: Group): Step => ({
      changes: [
        toGroup({ ...leased(group), state: { at: "open", lease: { attempt: 12, until }, out: "measure" } }),
      ],
      rings: [],
      task: { ...base, step: "measure" },
    });
    const old = groupIn(open, { firstInsertAt: now - measureAfterMs - 1 });
    const stale = { ...head, table: { ...head.table, measuredAt: now - measureFreshMs - 1 } };
    expect(stepOf({ groups: [old], head: stale }, take)).toEqual(measured(old));
    expect(takeOf(groupIn(open, { firstInsertAt: now - measureAfterMs }), stale).task?.step).toBe("insert");
    expect(takeOf(old).task?.step).toBe("insert");
    // The version that measures it also inserts it.
    const fresh = groupIn(open, { firstInsertAt: null, codecVersion: null });
    const unknown = { ...stale, table: { ...stale.table, identity: null } };
    const { changes, task } = stepOf({ groups: [fresh], head: unknown }, take);
    expect(changes).toEqual(measured({ ...fresh, codecVersion }).changes);
    const young = { ...head, table: { ...head.table, measuredAt: now - measureFreshMs } };
    expect(stepOf({ groups: [old], head: young }, take).task?.step).toBe("insert");
    expect(task).toEqual({ ...base, table: null, step: "measure" });
  });

  test.each<[string, Partial<Group>, Head]>([
    ["by another transcoder", { codecVersion: codecVersion + 1 }, head],
    [
      "into a table that a person has replaced",
      { firstInsertAt: now - seconds(290) },
      { ...head, table: { ...head.table, acceptedAt: now - seconds(290) } },
    ],
    [
      "with a token of before half of the window",
      { firstInsertAt: now - measureAfterMs - 1, blocksBefore: -450 },
      head,
    ],
  ])("not %s: it is verified, at its fence", (_, more, known) => {
    const early = groupIn(open, more);
    const fence = now - seconds(100) + fenceMs(defaultSettings);
    const state = { at: "verifying", lease: null, fence, split: false, code: "", isBlind: false } as const;
    expect(takeOf(early, known)).toEqual({
      changes: [toGroup({ ...early, failures: 0, due: fence, state })],
      rings: [],
      task: null,
    });
    const lastInsertAt = now - fenceMs(defaultSettings);
    const late = groupIn(open, { ...more, lastInsertAt });
    expect(takeOf(late, known)).toEqual({
      changes: [
        toGroup({
          ...leased(late, { failures: 0 }),
          state: { ...state, fence: now, lease: { attempt: 12, until } },
        }),
      ],
      rings: [],
      task: { ...base, step: "verify", rows: late.rows, isBlind: false },
    });
  });

  test("a token is trusted while less than half of the window was used, and blocks did not go", () => {
    const old = { firstInsertAt: now - measureAfterMs - 1 };
    const steps = [-450, -449, 50, 51, null].map(
      (blocksBefore) => takeOf(groupIn(open, { ...old, blocksBefore })).task?.step ?? "at its fence",
    );
    expect(steps).toEqual(["at its fence", "insert", "insert", "at its fence", "at its fence"]);
    const within = (windowMs: number | null) => {
      const { measure } = head.table;
      const table = { ...head.table, measure: measure && { ...measure, windowMs } };
      return takeOf(groupIn(open, old), { ...head, table }).task?.step ?? "at its fence";
    };
    const window = 2 * (measureAfterMs + 1);
    expect([null, window, window + 1].map(within)).toEqual(["insert", "at its fence", "insert"]);
    const accepted = (acceptedAt: number): Head => ({ ...head, table: { ...head.table, acceptedAt } });
    const replaced = [291, 290, 289].map(
      (age) => takeOf(groupIn(open), accepted(now - seconds(age))).task?.step,
    );
    expect(replaced).toEqual(["insert", undefined, undefined]);
    expect(takeOf(groupIn(open, { firstInsertAt: null }), accepted(now)).task?.step).toBe("insert");
  });

  test("not with what a person wants erased: that goes to VERIFY, and the others are leased under a token of theirs", () => {
    const erased = { ...one, erase: "asked for" };
    const group = groupIn(open, { payloads: [erased, two] });
    const notified = [{ group: groupId, again: now + 1 }];
    const known = { ...head, breaker: { ...head.breaker, notified } };
    const kept = { failures: 3, ownFailures: 1, ownFailedAt: group.ownFailedAt, unlisted: 2 };
    const refusals = { refusals: 1, lastRefusalAt: group.lastRefusalAt, failure };
    const rest = newGroup(1, { payloads: [two], state: open, ...kept, ...refusals });
    expect(takeOf(group, known)).toEqual({
      changes: [
        toHead({ breaker: { ...head.breaker, inFlight: [otherId, tokenAt(1)] } }),
        made(
          newGroup(0, {
            payloads: [erased],
            state: { at: "verifying", lease: null, fence: now, split: false, code: "" },
            failure,
          }),
        ),
        made({
          ...rest,
          attempts: 1,
          inserts: 1,
          firstInsertAt: now,
          lastInsertAt: now,
          blocksBefore: 50,
          codecVersion,
          due: until,
          state: { at: "open", lease: { attempt: 1, until }, out: "insert" },
        }),
        ended(),
      ],
      rings: [],
      task: { ...insert, group: tokenAt(1), attempt: 1, payloads: [two] },
    });
    // Of itself alone nothing is left to be inserted.
    const alone = groupIn(open, { payloads: [erased] });
    expect(takeOf(alone)).toEqual({
      changes: [
        toHead({}),
        made(
          newGroup(0, {
            payloads: [erased],
            state: { at: "verifying", lease: null, fence: now, split: false, code: "" },
            failure,
          }),
        ),
        ended(),
      ],
      rings: [],
      task: null,
    });
    // Where an attempt may have stored it, VERIFY decides about each.
    const unknown = groupIn(open, { payloads: [erased, two], outcomeUnknown: true });
    const fence = now - seconds(100) + fenceMs(defaultSettings);
    const state = { at: "verifying", lease: null, fence, split: false, code: "", isBlind: false } as const;
    expect(takeOf(unknown)).toEqual({
      changes: [toGroup({ ...unknown, failures: 0, due: fence, state })],
      rings: [],
      task: null,
    });
  });
});

describe("another step of a group is leased", () => {
  test("a count, with what it is for", () => {
    const group = groupIn(counting);
    const task = { ...base, step: "count", why: "refused" } as const;
    expect(takeOf(group)).toEqual({ changes: [toGroup(leased(group))], rings: [], task });
  });

  test("a VERIFY, from its fence on", () => {
    const group = groupIn(verifying);
    const task = { ...base, step: "verify", rows: group.rows, isBlind: false } as const;
    expect(takeOf(group)).toEqual({ changes: [toGroup(leased(group))], rings: [], task });
    expect(takeOf(groupIn({ ...verifying, fence: now + 1 }))).toEqual(nothing);
    for (const isBlind of [true, false]) {
      expect(takeOf(groupIn({ ...verifying, isBlind })).task).toEqual({ ...task, isBlind });
    }
  });

  test("its receipts: all that are one INSERT, and of those that take further calls as many as an attempt makes", () => {
    const settings = { ...defaultSettings, receiptsMax: 2 };
    const take2 = (outcomes: readonly PayloadOutcome[]): number => {
      const some = outcomes.map((outcome) => ({ ...receipts[0], outcome }) as Receipt);
      const state = { ...receipting, receipts: some };
      const group = groupIn(state);
      const { task } = stepOf({ groups: [group], settings }, take);
      const handed = task?.step === "receipts" ? task.receipts : [];
      expect(stepOf({ groups: [group], settings }, take)).toEqual({
        changes: [toGroup(leased({ ...group, state: { ...state, leased: handed.length } }))],
        rings: [],
        task: { ...base, step: "receipts", receipts: handed, completeView: true, failure },
      });
      return handed.length;
    };
    expect(take2(["stored", "duplicate", "stored", "expired"])).toBe(4);
    expect(take2(["dead", "stored", "erased", "stored", "dead", "stored"])).toBe(4);
    expect(take2(["erased", "erased", "erased"])).toBe(2);
  });

  test("a deletion of rows, which counts as an INSERT for the fence", () => {
    const group = groupIn(clearing);
    expect(takeOf(group)).toEqual({
      changes: [toGroup(leased(group, { lastInsertAt: now }))],
      rings: [],
      task: { ...base, step: "clear" },
    });
  });

  test("none of what is held, and none of a group that is over or out", () => {
    expect(takeOf(groupIn({ at: "held", lease: null, found }))).toEqual(nothing);
    expect(stepOf({}, take)).toEqual(nothing);
    for (const state of [open, counting, verifying, receipting, clearing]) {
      expect(takeOf(groupIn({ ...state, lease: { ...lease, until: now + 1 } }))).toEqual(nothing);
    }
  });
});

describe("a lease that ends without a report", () => {
  const silence = {
    ...failure,
    failed: 5,
    at: now,
    kind: "unreported",
    text: "the attempt was not reported until its lease ended: its isolate died, or it took longer",
  } as const;
  const alarm = { kind: "alarm" } as const;
  const counted = { failure: silence, ownFailures: 2, ownFailedAt: now, due: now };

  test("of an INSERT leaves its outcome unknown, and counts against the group and ClickHouse", () => {
    const group = groupIn({ ...open, lease: over }, { due: now - 3 });
    const out = { ...head, breaker: { ...head.breaker, inFlight: [otherId, groupId] } };
    expect(stepOf({ groups: [group], head: out }, alarm)).toEqual({
      changes: [
        toHead({ breaker: { ...head.breaker, suspects: [otherId, groupId] } }),
        toGroup({ ...group, ...counted, outcomeUnknown: true, state: open }),
      ],
      rings: [],
      task: null,
    });
  });

  test("of an INSERT that failed so often before takes the group apart, and says nothing of ClickHouse", () => {
    const group = groupIn({ ...open, lease: over }, { due: now - 3, ownFailures: 2 });
    const out = { ...head, breaker: { ...head.breaker, inFlight: [otherId, groupId] } };
    const fence = now - seconds(100) + fenceMs(defaultSettings);
    const state = {
      at: "verifying",
      lease: null,
      fence,
      split: true,
      code: "too_slow",
      isBlind: true,
    } as const;
    expect(stepOf({ groups: [group], head: out }, alarm)).toEqual({
      changes: [
        toHead({ breaker: head.breaker }),
        toGroup({
          ...group,
          ...counted,
          ownFailures: 0,
          outcomeUnknown: true,
          failures: 0,
          due: fence,
          state,
        }),
      ],
      rings: [],
      task: null,
    });
    // Of several payloads it is noted when a group was split last.
    const both = groupIn({ ...open, lease: over }, { due: now - 3, ownFailures: 2, payloads: [one, two] });
    const { changes } = stepOf({ groups: [both], head: out }, alarm);
    expect(changes[0]).toEqual(toHead({ lastSplitAt: now }));
    expect(changes[1]).toMatchObject({ group: { due: fence, state, payloads: [one, two] } });
  });

  test("of a VERIFY is verified again, blind where that was its third", () => {
    const group = groupIn({ ...verifying, lease: over }, { due: now - 3 });
    const state = { ...verifying, isBlind: false };
    expect(stepOf({ groups: [group] }, alarm)).toEqual({
      changes: [toGroup({ ...group, ...counted, state })],
      rings: [],
      task: null,
    });
    const third = groupIn({ ...verifying, lease: over }, { due: now - 3, ownFailures: 2 });
    expect(stepOf({ groups: [third] }, alarm).changes).toEqual([
      toGroup({ ...third, ...counted, ownFailures: 3, state: { ...state, isBlind: true } }),
    ]);
    // Once blind, it stays so.
    const blind = groupIn({ ...verifying, isBlind: true, lease: over }, { due: now - 3 });
    expect(stepOf({ groups: [blind] }, alarm).changes).toMatchObject([
      { group: { state: { isBlind: true } } },
    ]);
  });

  test.each<GroupState>([{ ...open, out: "measure" }, counting, receipting, clearing])(
    "of a group that is %o is due again, and nothing else",
    (state) => {
      const group = groupIn({ ...state, lease: over } as GroupState, { due: now - 3 });
      expect(stepOf({ groups: [group] }, alarm)).toEqual({
        changes: [toGroup({ ...group, failure: silence, due: now, state })],
        rings: [],
        task: null,
      });
    },
  );

  test("is ended by the next consumer, which leases the group at once", () => {
    const group = groupIn({ ...counting, lease: over });
    expect(takeOf(group)).toEqual({
      changes: [
        toGroup({
          ...leased(group, { attempts: 13, failure: silence }),
          state: { ...counting, lease: { attempt: 13, until } },
        }),
      ],
      rings: [],
      task: { ...base, attempt: 13, step: "count", why: "refused" },
    });
  });
});
