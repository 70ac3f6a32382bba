/** What each report makes of its group: all that changes, and the step that its caller goes on with. */
import { describe, expect, test } from "vitest";
import { oldestDayOf } from "../../shared/clickhouse/ttl.ts";
import type {
  AttemptReport,
  EndedPayload,
  Group,
  GroupPayload,
  GroupState,
  GroupTask,
} from "../../shared/ledger/group.ts";
import type { Head } from "../../shared/ledger/head.ts";
import type { Step } from "../../shared/ledger/machine.ts";
import { backOffMs, defaultSettings, fenceMs } from "../../shared/ledger/settings.ts";
import { shortText } from "../../shared/ledger/short-text.ts";
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
  stepOf,
  today,
  toGroup,
  toHead,
  transcoded,
  two,
} from "../ledger/one-step.ts";
import { codecVersion, doorbell, knownTable, startMs } from "../ledger/world.ts";

const { leaseMs, unlistedMax, ownFailuresMax } = defaultSettings;
const until = now + leaseMs;
const fence = now - seconds(100) + fenceMs(defaultSettings);

const inserting = { ...open, lease };
/** The group's INSERT is in flight, and another one's. */
const inFlight: Head = { ...head, breaker: { ...head.breaker, inFlight: [otherId, groupId] } };

const reportOf = (group: Group, report: AttemptReport, before: Before = {}): Step =>
  stepOf(
    { groups: [group], head: inFlight, ...before },
    { kind: "report", group: group.id, attempt: 12, report },
  );
const changesOf = (...args: Parameters<typeof reportOf>): readonly Change[] => reportOf(...args).changes;

/** The next attempt, which the same caller has at once. */
const next = { attempt: 13, until };
const base = { group: groupId, attempt: 13, deadline: until, payloads: [one], table: knownTable };
/** The group as the next attempt has it. */
const leased = (group: Group, state: GroupState): Group => ({
  ...group,
  attempts: 13,
  rings: 0,
  due: until,
  state: { ...state, lease: next } as GroupState,
});
/** The group as it is retried later. */
const later = (group: Group, more: Partial<Group> = {}): Group => ({
  ...group,
  failures: 4,
  due: now + backOffMs(3, defaultSettings),
  state: { ...group.state, lease: null } as GroupState,
  ...more,
});
const verifying = { at: "verifying", lease: null, fence, split: false, code: "", isBlind: false } as const;

/** What is remembered of why it failed, one failure later. */
const failedBy = (kind: typeof failure.kind, text: string, code: number | null = null, name = "") => ({
  failure: {
    ...failure,
    failed: 5,
    refused: kind === "refused" ? 2 : 1,
    at: now,
    kind,
    code,
    name,
    text,
  },
});
const breakerOf = (changed: Partial<Head["breaker"]>) => toHead({ breaker: { ...head.breaker, ...changed } });
/** As after an INSERT without an answer: fewer at once, and the group is suspected. */
const suspected = breakerOf({ concurrencyLimit: 4, suspects: [otherId, groupId] });

const receipt: Receipt = {
  key: one.key,
  outcome: "stored",
  group: groupId,
  spans: 10,
  rowsByDay: transcoded(one)[0]?.rowsByDay ?? [],
  rejectedSpans: 3,
  bytes: 100,
  reason: "",
};
const stored: AttemptReport = { kind: "stored", payloads: transcoded(one), codecVersion };
const endedAs = (outcome: EndedPayload["outcome"], ...payloads: readonly GroupPayload[]) =>
  payloads.map(({ key }) => ({ key, outcome }));
const receipting = {
  at: "receipting",
  lease: null,
  receipts: [receipt],
  leased: 0,
  completeView: false,
  ended: endedAs("stored", one),
} as const;
const receiptsTask: GroupTask = {
  ...base,
  step: "receipts",
  receipts: [receipt],
  completeView: false,
  failure,
};

describe("an INSERT that was stored", () => {
  const well = {
    breaker: { ...head.breaker, suspects: [] },
    lastStoredInsertAt: now - seconds(100),
  };

  test("has its receipts written by the same caller", () => {
    const group = groupIn(inserting);
    expect(reportOf(group, stored)).toEqual({
      changes: [
        toHead(well),
        toGroup(leased({ ...group, rows: null, failures: 0 }, { ...receipting, leased: 1 })),
      ],
      rings: [],
      task: receiptsTask,
    });
    // Its other keys get receipts as well.
    const second = doorbell({ n: 1, arrival: startMs + 60_000 }).key;
    const twice = groupIn(inserting, { payloads: [{ ...one, duplicateKeys: [second] }] });
    expect(reportOf(twice, stored).task).toMatchObject({
      receipts: [receipt, { ...receipt, key: second, outcome: "duplicate", rowsByDay: [] }],
    });
    // A later one was stored before.
    const lastStoredInsertAt = now - seconds(1);
    expect(changesOf(group, stored, { head: { ...inFlight, lastStoredInsertAt } })[0]).toEqual(
      toHead({ ...well, lastStoredInsertAt }),
    );
  });

  test("with a look at the table is receipted by the TTL that this look saw", () => {
    const group = groupIn(inserting);
    const ttl = { kind: "keeps", months: 0, ms: 86_400_000 } as const;
    expect(oldestDayOf(ttl, now)).toBe(today);
    const measure = { blocks: 60, windowBlocks: 1000, windowMs: null, identity: knownTable, ttl };
    const { changes, task } = reportOf(group, { ...stored, look: { refusal: "full", measure } } as const);
    expect(changes[0]).toEqual(
      toHead({
        ...well,
        table: { refusal: "full", measure, measuredAt: now, identity: knownTable, other: null },
      }),
    );
    expect(task).toMatchObject({
      receipts: [
        { rowsByDay: [{ day: today, rows: 6 }], reason: expect.stringContaining("4 spans of 2026-11-23") },
      ],
    });
  });

  test("after an attempt of unknown outcome has its rows counted first", () => {
    const group = groupIn(inserting, { outcomeUnknown: true, rows: null });
    const counting = { at: "counting", lease: null, why: "stored", code: "" } as const;
    expect(reportOf(group, stored)).toEqual({
      changes: [toHead(well), toGroup(leased({ ...group, rows: transcoded(one), failures: 0 }, counting))],
      rings: [],
      task: { ...base, step: "count", why: "stored" },
    });
    // What was transcoded first is what is counted.
    const first = transcoded(two);
    expect(changesOf({ ...group, rows: first }, stored)).toMatchObject([{}, { group: { rows: first } }]);
  });

  test("of days that a payload lacked is receipted as the whole of it, and the view is completed", () => {
    const complete = [...(transcoded(one)[0]?.rowsByDay ?? []), { day: today + 1, rows: 2 }];
    const lacking = { ...one, missingDays: { days: [today - 1, today], complete } };
    const group = groupIn(inserting, { payloads: [lacking, two] });
    const report: AttemptReport = { ...stored, payloads: transcoded(lacking, two) };
    const receipts = [
      { ...receipt, spans: 12, rowsByDay: complete },
      { ...receipt, key: two.key, spans: 20, rowsByDay: transcoded(two)[0]?.rowsByDay ?? [] },
    ];
    const state = { ...receipting, receipts, completeView: true, ended: endedAs("stored", one, two) };
    expect(reportOf(group, report)).toEqual({
      changes: [
        toHead(well),
        toGroup(leased({ ...group, payloads: [one, two], rows: null, failures: 0 }, { ...state, leased: 2 })),
      ],
      rings: [],
      task: { ...receiptsTask, payloads: [one, two], receipts, completeView: true },
    });
  });

  test("that no doorbell found waits to be counted as rescued, as far as there is room", () => {
    const late = (n: number, cause: "event" | "reconcile" | "audit" | "replay") => payloadAt({ n, cause });
    const payloads = [late(1, "event"), { ...late(2, "reconcile"), doorbell: true }, late(3, "reconcile")];
    const group = groupIn(inserting, { payloads: [...payloads, late(4, "audit"), late(5, "replay"), one] });
    const report = { ...stored, payloads: transcoded(...group.payloads) };
    const pending = (n: number, ring: "event" | "reconcile", at = now) => ({
      id: idOfKey(doorbell({ n }).key),
      ring,
      at,
    });
    const before = [pending(9, "event", now - 1)];
    const known = { ...inFlight, pendingRescues: before };
    const all = [...before, pending(1, "event"), pending(3, "reconcile")];
    const distinct = payloadAt({ n: 6 });
    const six = { ...group, payloads: [...group.payloads.slice(0, 5), distinct] };
    const sixStored = { ...report, payloads: transcoded(...six.payloads) };
    for (const [pendingRescuesMax, pendingRescues] of [
      [3, all],
      [2, all.slice(0, 2)],
    ] as const) {
      const settings = { ...defaultSettings, pendingRescuesMax };
      expect(changesOf(six, sixStored, { head: known, settings })[0]).toEqual(
        toHead({ ...well, pendingRescues }),
      );
    }
    const alone = groupIn(inserting, { payloads: payloads.slice(2) });
    const aloneStored = { ...stored, payloads: transcoded(...alone.payloads) };
    expect(changesOf(alone, aloneStored)[0]).toEqual(
      toHead({ ...well, pendingRescues: [pending(3, "reconcile")] }),
    );
  });
});

describe("an INSERT that failed", () => {
  const rows = transcoded(one);

  test("for the first time begins what is remembered of its failures, in so many words", () => {
    const group = groupIn(inserting, { failure: null });
    const long = "x".repeat(5000);
    const first = { since: now, at: now, code: null, name: "", failed: 1 };
    for (const [kind, refused] of [
      ["retry", 0],
      ["refused", 1],
    ] as const) {
      const { changes } = reportOf(group, { kind, reason: long });
      expect(changes.at(-1)).toMatchObject({
        group: {
          failure: { ...first, kind, refused, text: shortText(long, limits.failureTextBytesMax) },
        },
      });
    }
    // What the state keeps of them is short as well.
    const code = shortText(long, limits.reasonBytesMax);
    expect(changesOf(group, { kind: "refused", reason: long }).at(-1)).toMatchObject({
      group: { state: { code } },
    });
  });

  const mine = { ownFailures: 2, ownFailedAt: now };
  const unrowed = groupIn(inserting, { rows: null });

  test("before it was sent is retried, as clean as before", () => {
    const report = { kind: "retry", reason: "R2 is away" } as const;
    expect(reportOf(unrowed, report)).toEqual({
      changes: [toHead({}), toGroup(later(unrowed, { ...mine, ...failedBy("retry", "R2 is away") }))],
      rings: [],
      task: null,
    });
    expect(changesOf(unrowed, { ...report, passes: true })).toEqual([
      toHead({}),
      toGroup(later(unrowed, failedBy("retry", "R2 is away"))),
    ]);
    // Too large by what was built of it: counted, and kept.
    expect(changesOf(unrowed, { ...report, tooLarge: true, payloads: rows })).toEqual([
      toHead({}),
      toGroup(later(unrowed, { ...mine, rows, ...failedBy("retry", "R2 is away") })),
    ]);
  });

  test("by an answer of ClickHouse's may have stored rows, and leaves fewer INSERTs at once", () => {
    const report = { kind: "retry", reason: "too many parts", code: 252, payloads: rows } as const;
    const known = failedBy("retry", "too many parts", 252, "TOO_MANY_PARTS");
    expect(reportOf(unrowed, report)).toEqual({
      changes: [
        breakerOf({ concurrencyLimit: 4 }),
        toGroup(later(unrowed, { outcomeUnknown: true, rows, ...known })),
      ],
      rings: [],
      task: null,
    });
    // Of a group that was split out of another it says nothing about ClickHouse, where its cause may be its own.
    const suspect = groupIn(inserting, { ownFailures: ownFailuresMax - 1, payloads: [one, two] });
    expect(changesOf(suspect, report)[0]).toEqual(breakerOf({ concurrencyLimit: 4 }));
    expect(changesOf(suspect, { ...report, code: 241 })[0]).toMatchObject({
      head: { breaker: { concurrencyLimit: 8 } },
    });
    // What was unknown stays unknown, whatever an attempt says that sent nothing.
    const unknown = { ...unrowed, outcomeUnknown: true };
    expect(changesOf(unknown, { kind: "retry", reason: "R2 is away" })).toMatchObject([
      {},
      { group: { outcomeUnknown: true } },
    ]);
  });

  test("without an answer is of unknown outcome; it is its group's own only where others were stored since", () => {
    const report = { kind: "unknown", reason: "reset", payloads: rows } as const;
    const known = failedBy("unknown", "reset");
    expect(reportOf(unrowed, report)).toEqual({
      changes: [suspected, toGroup(later(unrowed, { outcomeUnknown: true, rows, ...known }))],
      rings: [],
      task: null,
    });
    const stored = { ...inFlight, lastStoredInsertAt: unrowed.ownFailedAt + 1 };
    expect(changesOf(unrowed, report, { head: stored })[1]).toEqual(
      toGroup(later(unrowed, { ...mine, outcomeUnknown: true, rows, ...known })),
    );
    const notSince = { ...inFlight, lastStoredInsertAt: unrowed.ownFailedAt };
    expect(changesOf(unrowed, report, { head: notSince })[1]).toMatchObject({ group: { ownFailures: 1 } });
    const suspect = groupIn(inserting, { ownFailures: ownFailuresMax - 1 });
    expect(changesOf(suspect, report)[0]).toEqual(toHead({}));
    // What the first attempt came to stays, whatever a later one came to.
    expect(changesOf(groupIn(inserting), { ...report, payloads: transcoded(two) })).toMatchObject([
      {},
      { group: { rows } },
    ]);
  });

  test("by a broken invariant may have stored rows", () => {
    const known = failedBy("broken", "days ascend");
    expect(reportOf(unrowed, { kind: "broken", reason: "days ascend" })).toEqual({
      changes: [toHead({}), toGroup(later(unrowed, { ...mine, outcomeUnknown: true, ...known }))],
      rings: [],
      task: null,
    });
  });

  test("because nothing can be inserted opens the breaker", () => {
    const report = { kind: "halted", reason: "no such table", code: 60, payloads: rows } as const;
    const known = failedBy("halted", "no such table", 60, "UNKNOWN_TABLE");
    expect(reportOf(unrowed, report)).toEqual({
      changes: [
        breakerOf({
          isOpen: true,
          concurrencyLimit: 1,
          probeAt: now + backOffMs(0, defaultSettings),
          failures: 1,
        }),
        toGroup(later(unrowed, { outcomeUnknown: true, rows, ...known })),
      ],
      rings: [],
      task: null,
    });
  });

  test("at another table's server halts the INSERTs, unless a person has accepted that table since", () => {
    const report = { kind: "halted", reason: "elsewhere", code: 395, elsewhere: true } as const;
    const known = failedBy("halted", "elsewhere", 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO");
    const { changes, task } = reportOf(unrowed, report);
    expect(task).toBeNull();
    expect(changes).toEqual([
      toHead({
        table: {
          ...head.table,
          refusal: expect.stringMatching(
            /^Another table answers .* \(known: plain 0 1; found: another one, by an INSERT\)/,
          ),
          other: { at: now, found: "" },
        },
      }),
      toGroup(later(unrowed, known)),
    ]);
    const table = { ...head.table, acceptedAt: now - seconds(290) };
    expect(changesOf(unrowed, report, { head: { ...inFlight, table } })).toEqual([
      toHead({ table }),
      toGroup(later(unrowed, known)),
    ]);
  });

  test("with a code that no list has is retried so often, and then verified to be split", () => {
    const report = { kind: "unlisted", reason: "?", code: 9999, payloads: rows } as const;
    const known = { outcomeUnknown: true, rows, ...mine, ...failedBy("unlisted", "?", 9999) };
    expect(reportOf(unrowed, report)).toEqual({
      changes: [suspected, toGroup(later(unrowed, { ...known, unlisted: 3 }))],
      rings: [],
      task: null,
    });
    const last = { ...unrowed, unlisted: unlistedMax - 1 };
    const state = { ...verifying, split: true, code: "9999" };
    expect(reportOf(last, report)).toEqual({
      changes: [
        suspected,
        toGroup({ ...last, ...known, unlisted: unlistedMax, failures: 0, due: fence, state }),
      ],
      rings: [],
      task: null,
    });
    const { code: _, ...codeless } = report;
    expect(changesOf(last, codeless)).toMatchObject([{}, { group: { state: { code: "?" } } }]);
  });

  test("so often for a reason of its own is taken apart: where nothing was sent into parts of its size's eighth", () => {
    const payloads = Array.from({ length: 9 }, (_, n) => payloadAt({ n: n + 1 }));
    const group = groupIn(inserting, { payloads, ownFailures: ownFailuresMax - 1 });
    const { changes } = reportOf(group, { kind: "retry", reason: "R2 is away" });
    const known = failedBy("retry", "R2 is away");
    const parts = [0, 2, 4, 6, 8].map((at) => payloads.slice(at, at + 2));
    expect(changes).toEqual([
      toHead({ lastSplitAt: now }),
      ...parts.map((part, n) =>
        made(
          newGroup(n, {
            payloads: part,
            state: open,
            ownFailures: ownFailuresMax - 1,
            ownFailedAt: now,
            ...known,
          }),
        ),
      ),
      ended(),
    ]);
  });

  test("so often because it is too large is verified where it is alone, and else split", () => {
    const tooLarge = { kind: "retry", reason: "33 MiB", tooLarge: true } as const;
    const alone = groupIn(inserting, { ownFailures: ownFailuresMax - 1 });
    const state = { ...verifying, split: true, code: "too_large" };
    expect(changesOf(alone, tooLarge)).toEqual([
      toHead({}),
      toGroup({
        ...alone,
        ...failedBy("retry", "33 MiB"),
        ownFailures: 0,
        ownFailedAt: now,
        failures: 0,
        due: fence,
        state,
      }),
    ]);
    const both = groupIn(inserting, { payloads: [one, two], ownFailures: ownFailuresMax - 1 });
    expect(changesOf(both, tooLarge)).toMatchObject([
      toHead({ lastSplitAt: now }),
      { group: { payloads: [one], ownFailures: ownFailuresMax - 1, ownFailedAt: now } },
      { group: { payloads: [two], ownFailures: ownFailuresMax - 1, ownFailedAt: now } },
      ended(),
    ]);
    // A broken invariant is of one of them: VERIFY tells of which.
    expect(changesOf(both, { kind: "broken", reason: "days ascend" })).toMatchObject([
      toHead({ lastSplitAt: now }),
      { group: { payloads: [one, two], state: { ...state, code: "broken_invariant: days ascend" } } },
    ]);
  });

  test("so often for a reason of its own is verified, to be split, where something was sent", () => {
    const group = groupIn(inserting, { payloads: [one, two], ownFailures: ownFailuresMax - 1 });
    const report = { kind: "retry", reason: "memory", code: 241 } as const;
    const state = { ...verifying, split: true, code: "too_large" };
    expect(changesOf(group, report)).toEqual([
      toHead({ lastSplitAt: now }),
      toGroup({
        ...group,
        ...failedBy("retry", "memory", 241, "MEMORY_LIMIT_EXCEEDED"),
        ownFailures: 0,
        ownFailedAt: now,
        outcomeUnknown: true,
        failures: 0,
        due: fence,
        state,
      }),
    ]);
    const alone = groupIn(inserting, { ownFailures: ownFailuresMax - 1 });
    expect(changesOf(alone, report)).toMatchObject([
      toHead({}),
      { group: { ownFailures: 0, due: fence, state } },
    ]);
    // A broken invariant of one that is alone is for a person.
    expect(changesOf(alone, { kind: "broken", reason: "days ascend" })).toEqual([
      toHead({}),
      toGroup({
        ...alone,
        ...failedBy("broken", "days ascend"),
        ownFailures: ownFailuresMax,
        ownFailedAt: now,
        outcomeUnknown: true,
        due: Number.MAX_SAFE_INTEGER,
        state: {
          at: "held",
          lease: null,
          found: [{ key: one.key, rowsByDay: [], reason: "broken_invariant: days ascend" }],
        },
      }),
    ]);
  });
});

describe("an INSERT that was refused", () => {
  const report = { kind: "refused", reason: "bad", code: 117, payloads: transcoded(one) } as const;
  const known = failedBy("refused", "bad", 117, "INCORRECT_DATA");

  test("has its rows counted, and keeps why it was refused", () => {
    const group = groupIn(inserting, { rows: null });
    const counting = { at: "counting", lease: null, why: "refused", code: "117" } as const;
    expect(reportOf(group, report)).toEqual({
      changes: [toHead({}), toGroup(leased({ ...group, ...known, rows: transcoded(one) }, counting))],
      rings: [],
      task: { ...base, step: "count", why: "refused" },
    });
    expect(changesOf(groupIn(inserting, { rows: transcoded(two) }), report)).toMatchObject([
      {},
      { group: { rows: transcoded(two) } },
    ]);
    const { payloads: _, code: __, ...bare } = report;
    expect(changesOf(group, bare)).toMatchObject([
      {},
      { group: { rows: null, state: { at: "counting", code: "bad" } } },
    ]);
  });

  test("after an attempt of unknown outcome is verified", () => {
    const group = groupIn(inserting, { rows: null, outcomeUnknown: true });
    expect(reportOf(group, report)).toEqual({
      changes: [
        toHead({}),
        toGroup({ ...group, ...known, rows: transcoded(one), failures: 0, due: fence, state: verifying }),
      ],
      rings: [],
      task: null,
    });
  });
});

describe("payloads that cannot be read", () => {
  const report = { kind: "unreadable", keys: [one.key], reason: "decode" } as const;
  const known = failedBy("unreadable", "decode");
  const first = { inserts: 1 };

  test("leave the others, which go on as new, and are verified", () => {
    const group = groupIn(inserting, { payloads: [one, two], ...first });
    const state = { at: "verifying", lease: null, fence: now, split: false, code: "" } as const;
    expect(reportOf(group, report)).toEqual({
      changes: [
        toHead({}),
        made(newGroup(0, { payloads: [two], state: open })),
        made(newGroup(1, { payloads: [one], state, ...known })),
        ended(),
      ],
      rings: [],
      task: null,
    });
  });

  test("alone were never sent: they are verified at once", () => {
    const group = groupIn(inserting, first);
    const never = { lastInsertAt: null, firstInsertAt: null, inserts: 0, failures: 0 };
    expect(changesOf(group, report)).toEqual([
      toHead({}),
      toGroup({ ...group, ...known, ...never, due: now, state: { ...verifying, fence: now } }),
    ]);
  });

  test("after an earlier INSERT have the whole group verified", () => {
    const group = groupIn(inserting, { payloads: [one, two] });
    expect(changesOf(group, report)).toEqual([
      toHead({}),
      toGroup({ ...group, ...known, failures: 0, due: fence, state: verifying }),
    ]);
  });
});

describe("a step that is no INSERT", () => {
  const found = [
    { key: one.key, rowsByDay: [{ day: today, rows: 4 }], reason: "a day has some of its rows" },
  ];
  const states: readonly GroupState[] = [
    { at: "open", lease, out: "measure" },
    { at: "counting", lease, why: "refused", code: "117" },
    { ...verifying, lease },
    { ...receipting, lease, leased: 1 },
    { at: "clearing", lease, found },
  ];

  test("and fails is retried later, which changes nothing else", () => {
    for (const state of states) {
      for (const kind of ["retry", "unknown", "unlisted", "halted", "refused", "broken"] as const) {
        if (kind === "broken" && state.at === "verifying") {
          continue;
        }
        const group = groupIn(state);
        expect(reportOf(group, { kind, reason: "no" }, { head })).toEqual({
          changes: [toGroup(later(group, failedBy(kind, "no")))],
          rings: [],
          task: null,
        });
      }
    }
  });

  test("and measured the table notes that, and has the group inserted by the same caller", () => {
    const group = groupIn({ at: "open", lease, out: "measure" }, { due: lease.until });
    const table = { blocks: 60, windowBlocks: 2000, windowMs: null, identity: knownTable };
    const lookedAt = { refusal: "", measure: table, measuredAt: now, identity: knownTable, other: null };
    const inserted = { ...group, inserts: 3, lastInsertAt: now };
    expect(reportOf(group, { kind: "measured", table, refusal: "" }, { head })).toEqual({
      changes: [
        toHead({ table: lookedAt, breaker: { ...head.breaker, inFlight: [otherId, groupId] } }),
        toGroup(leased(inserted, open)),
      ],
      rings: [],
      task: {
        ...base,
        step: "insert",
        blocks: 1,
        isFirstInsert: true,
        serverDeadline: until,
        byColumn: false,
      },
    });
    expect(
      changesOf({ ...group, rings: 0 }, { kind: "measured", table, refusal: "full" }, { head })[1],
    ).toEqual(toGroup({ ...group, rings: 0, due: now, state: { ...open, out: "measure" } }));
    // One whose transcoder was not noted is none's, and verified at its next.
    const unnoted = { ...group, codecVersion: null };
    expect(changesOf(unnoted, { kind: "measured", table, refusal: "" }, { head })).toMatchObject([
      {},
      { group: { codecVersion: 0 } },
    ]);
    // Where the look refuses, the group waits for another one.
    const refused = { ...lookedAt, refusal: "no window" };
    const waits = { ...group, due: now, state: open };
    const measure: GroupState = { ...open, out: "measure" };
    expect(reportOf(group, { kind: "measured", table, refusal: "no window" }, { head })).toEqual({
      changes: [toHead({ table: refused }), toGroup({ ...waits, rings: 0, state: measure })],
      rings: [],
      task: null,
    });
  });

  test("and deleted rows is verified behind the fence of the deletion", () => {
    const group = groupIn({ at: "clearing", lease, found });
    expect(reportOf(group, { kind: "cleared" }, { head })).toEqual({
      changes: [toGroup({ ...group, failures: 0, due: fence, state: verifying })],
      rings: [],
      task: null,
    });
  });

  test("and deleted none is held again, with the reason", () => {
    const group = groupIn({ at: "clearing", lease, found });
    const reason = "a day has some of its rows; R2 has no object to rewrite it from";
    expect(reportOf(group, { kind: "kept" }, { head })).toEqual({
      changes: [
        toGroup({
          ...group,
          due: Number.MAX_SAFE_INTEGER,
          state: { at: "held", lease: null, found: found.map((seen) => ({ ...seen, reason })) },
        }),
      ],
      rings: [],
      task: null,
    });
  });

  test("and is reported by another attempt than the one in flight changes nothing", () => {
    const group = groupIn({ at: "clearing", lease, found });
    for (const attempt of [11, 13]) {
      const event = { kind: "report", group: groupId, attempt, report: { kind: "cleared" } } as const;
      expect(stepOf({ groups: [group] }, event)).toEqual({ changes: [], rings: [], task: null });
    }
    const event = { kind: "report", group: otherId, attempt: 12, report: { kind: "cleared" } } as const;
    expect(stepOf({ groups: [group] }, event)).toEqual({ changes: [], rings: [], task: null });
  });
});

describe("a count of no evidence", () => {
  const state: GroupState = { at: "counting", lease, why: "refused", code: "117" };
  const noEvidence = { kind: "retry", reason: "it lags", noEvidence: true } as const;

  test("is remembered for people, since the first one and with the last one's reason", () => {
    const group = groupIn(state);
    expect(changesOf(group, noEvidence, { head })[0]).toEqual(
      toHead({ noEvidence: { since: now, reason: "it lags" } }),
    );
    const before = { since: now - 9, reason: "another" };
    expect(changesOf(group, noEvidence, { head: { ...head, noEvidence: before } })[0]).toEqual(
      toHead({ noEvidence: { since: now - 9, reason: "it lags" } }),
    );
    // Any other failure says nothing about it, and a count ends it.
    expect(
      changesOf(group, { kind: "retry", reason: "away" }, { head: { ...head, noEvidence: before } }),
    ).toHaveLength(1);
    const counted = { kind: "counted", payloads: [{ key: one.key, rowsByDay: [] }] } as const;
    expect(changesOf(group, counted, { head: { ...head, noEvidence: before } })[0]).toEqual(
      toHead({ noEvidence: null }),
    );
    const verifies = groupIn({ ...verifying, lease });
    const verified = {
      kind: "verified",
      running: true,
      oldestDay: 0,
      payloads: [],
    } as const;
    expect(changesOf(verifies, verified, { head: { ...head, noEvidence: before } })[0]).toEqual(
      toHead({ noEvidence: null }),
    );
    // Another failure that is no retry says nothing, whatever else it says.
    const unknown = { kind: "unknown", reason: "reset", noEvidence: true } as const;
    expect(changesOf(group, unknown, { head })).toHaveLength(1);
  });
});

describe("rows that were counted", () => {
  const counted = (...rows: readonly number[]): AttemptReport => ({
    kind: "counted",
    payloads: [one, two].map(({ key }, n) => ({
      key,
      rowsByDay: transcoded(n === 0 ? one : two)[0]?.rowsByDay.slice(0, rows[n]) ?? [],
    })),
  });
  const of = (why: "stored" | "refused", more: Partial<Group> = {}): Group =>
    groupIn({ at: "counting", lease, why, code: "117" }, { payloads: [one, two], ...more });

  test("after a 200: all are there, and its receipts follow", () => {
    const group = of("stored", { outcomeUnknown: true });
    const receipts = [
      receipt,
      { ...receipt, key: two.key, spans: 20, rowsByDay: transcoded(two)[0]?.rowsByDay ?? [] },
    ];
    const state = {
      ...receipting,
      receipts,
      leased: 2,
      completeView: true,
      ended: endedAs("stored", one, two),
    };
    expect(reportOf(group, counted(2, 2), { head })).toEqual({
      changes: [toGroup(leased({ ...group, rows: null, failures: 0 }, state))],
      rings: [],
      task: { ...receiptsTask, payloads: [one, two], receipts, completeView: true },
    });
  });

  test("after a 200: a day of one is not there, and it is verified", () => {
    const group = of("stored");
    for (const rows of [
      [1, 2],
      [2, 1],
      [0, 2],
      [2, 0],
    ]) {
      expect(reportOf(group, counted(...rows), { head })).toEqual({
        changes: [toGroup({ ...group, failures: 0, due: fence, state: verifying })],
        rings: [],
        task: null,
      });
    }
  });

  test("after a refusal: one has some, and the group is verified as a whole", () => {
    const group = of("refused");
    for (const rows of [
      [1, 0],
      [0, 1],
    ]) {
      expect(reportOf(group, counted(...rows), { head })).toEqual({
        changes: [toGroup({ ...group, failures: 0, due: fence, state: verifying })],
        rings: [],
        task: null,
      });
    }
    // Nothing says what was inserted: any row is one of it.
    expect(changesOf(of("refused", { rows: null }), counted(0, 1), { head })).toMatchObject([
      { group: { state: { at: "verifying" } } },
    ]);
  });

  test("after a refusal: days that another payload was inserted on are none of its own", () => {
    const [first, second] = transcoded(one, two);
    const later = [{ day: today + 5, rows: 20 }];
    const rows = first && second ? [first, { ...second, rowsByDay: later }] : null;
    const found = (rowsByDay: typeof later) =>
      ({
        kind: "counted",
        payloads: [
          { key: one.key, rowsByDay },
          { key: two.key, rowsByDay: [] },
        ],
      }) as const;
    expect(changesOf(of("refused", { rows }), found(later), { head })).toHaveLength(3);
    for (const day of [today - 1, today]) {
      expect(changesOf(of("refused", { rows }), found([{ day, rows: 1 }]), { head })).toHaveLength(1);
      expect(changesOf(of("refused", { rows }), found([{ day, rows: 0 }]), { head })).toHaveLength(3);
    }
  });

  test("after a refusal: none is there, and the group is split in two, the larger part first", () => {
    const three = payloadAt({ n: 3 });
    const group = of("refused", { payloads: [one, two, three] });
    const payloads = group.payloads.map(({ key }) => ({ key, rowsByDay: [] }));
    expect(reportOf(group, { kind: "counted", payloads }, { head })).toEqual({
      changes: [
        made(newGroup(0, { payloads: [one, two], state: open, failure })),
        made(newGroup(1, { payloads: [three], state: open, failure })),
        ended(),
      ],
      rings: [],
      task: null,
    });
  });

  test("after a refusal of one that is alone: it is retried in a group of its own, later each time", () => {
    const group = groupIn({ at: "counting", lease, why: "refused", code: "117" });
    const none: AttemptReport = { kind: "counted", payloads: [{ key: one.key, rowsByDay: [] }] };
    const again = {
      payloads: [one],
      state: open,
      failure,
      failures: 4,
      due: now + backOffMs(3, defaultSettings),
    };
    // Nothing was stored since the last refusal that counted.
    const kept = { refusals: 1, lastRefusalAt: group.lastRefusalAt };
    expect(reportOf(group, none, { head })).toEqual({
      changes: [made(newGroup(0, { ...again, ...kept })), ended()],
      rings: [],
      task: null,
    });
    const since = { ...head, lastStoredInsertAt: group.lastRefusalAt + 1 };
    expect(changesOf(group, none, { head: since })).toEqual([
      made(newGroup(0, { ...again, refusals: 2, lastRefusalAt: now })),
      ended(),
    ]);
    expect(changesOf(group, none, { head: { ...head, lastStoredInsertAt: group.lastRefusalAt } })).toEqual([
      made(newGroup(0, { ...again, ...kept })),
      ended(),
    ]);
    expect(changesOf({ ...group, refusals: 0 }, none, { head })).toEqual([
      made(newGroup(0, { ...again, refusals: 1, lastRefusalAt: now })),
      ended(),
    ]);
  });

  test("after its last refusal: it is a dead letter, under each of its keys", () => {
    const second = doorbell({ n: 1, arrival: startMs + 60_000 }).key;
    const payloads = [{ ...one, duplicateKeys: [second] }];
    const group = groupIn(
      { at: "counting", lease, why: "refused", code: "117" },
      { payloads, refusals: defaultSettings.refusalsMax - 1 },
    );
    const none: AttemptReport = { kind: "counted", payloads: [{ key: one.key, rowsByDay: [] }] };
    const since = { ...head, lastStoredInsertAt: now };
    const dead: Receipt = { ...receipt, outcome: "dead", rowsByDay: [], reason: "rejected:117" };
    const state = {
      ...receipting,
      receipts: [dead, { ...dead, key: second }],
      ended: endedAs("dead", one),
    };
    const refusals = { refusals: defaultSettings.refusalsMax, lastRefusalAt: now, failure };
    expect(reportOf(group, none, { head: since })).toEqual({
      changes: [made(newGroup(0, { payloads, state, ...refusals })), ended()],
      rings: [],
      task: null,
    });
    // Nothing was transcoded, and so nothing counted.
    const bare = changesOf({ ...group, rows: null }, none, { head: since });
    const blank = { ...dead, rejectedSpans: 0, bytes: 0 };
    expect(bare).toEqual([
      made(
        newGroup(0, {
          payloads,
          state: { ...state, receipts: [blank, { ...blank, key: second }] },
          ...refusals,
        }),
      ),
      ended(),
    ]);
  });
});
