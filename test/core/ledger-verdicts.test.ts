/** What VERIFY concludes, verdict by verdict: test/core/ledger-verify.test.ts shows what the ledger then does. */
import { describe, expect, test } from "vitest";
import { payloadOf } from "../../shared/ledger/claim.ts";
import type { Evidence, GroupPayload, StoredPayload } from "../../shared/ledger/group.ts";
import { judge, type Verdict } from "../../shared/ledger/verify.ts";
import type { PayloadOutcome } from "../../shared/outcome.ts";
import type { PayloadKey } from "../../shared/payload-key.ts";
import type { DayRows, GroupId, Receipt } from "../../shared/receipt.ts";
import { doorbell, startMs } from "../ledger/world.ts";

const MINUTE_MS = 60_000;
const today = Math.floor(startMs / 86_400_000);
const group = "0000000000000000000000000000000f" as GroupId;
const own = doorbell({ n: 1 }).key;
const second = doorbell({ n: 1, arrival: startMs + MINUTE_MS }).key;
const third = doorbell({ n: 1, arrival: startMs + 2 * MINUTE_MS }).key;
/** 4 of the payload's 10 rows are of yesterday. */
const days: readonly DayRows[] = [
  { day: today - 1, rows: 4 },
  { day: today, rows: 6 },
];

function receipt(
  key: PayloadKey,
  outcome: PayloadOutcome,
  rowsByDay = outcome === "stored" ? days : [],
): Receipt {
  return { key, outcome, group, spans: 10, rowsByDay, rejectedSpans: 0, bytes: 100, reason: "why" };
}

interface Seen {
  readonly payload?: Partial<GroupPayload>;
  readonly receipts?: Evidence["receipts"];
  readonly rows?: readonly DayRows[];
  readonly object?: Evidence["object"];
  readonly attempted?: boolean;
  readonly oldestDay?: number;
  /** What the first transcode came to. */
  readonly transcoded?: StoredPayload;
  readonly erasedKeysMax?: number;
  readonly isBlind?: boolean;
}

const object: Evidence["object"] = { key: own, spans: 10, rejectedSpans: 3, bytes: 77, rowsByDay: days };

function verdict(seen: Seen): Verdict {
  return judge({
    payload: { ...payloadOf(doorbell({ n: 1 })), ...seen.payload },
    evidence: {
      key: own,
      receipts: seen.receipts ?? [],
      rowsByDay: seen.rows ?? [],
      object: seen.object === undefined ? object : seen.object,
    },
    rows: seen.transcoded ?? null,
    group,
    isBlind: seen.isBlind ?? false,
    attempted: seen.attempted ?? false,
    erasedKeysMax: seen.erasedKeysMax ?? 500,
    oldestDay: seen.oldestDay ?? 0,
  });
}

function times(copies: number): readonly DayRows[] {
  return days.map(({ day, rows }) => ({ day, rows: rows * copies }));
}

function receiptsOf(it: Verdict): readonly string[] {
  return it.kind === "end" ? it.receipts.map(({ key, outcome }) => `${outcome} ${key}`) : [it.kind];
}

describe("present", () => {
  test("once, without a receipt: it is stored, with the object's counts", () => {
    expect(verdict({ rows: days })).toMatchObject({
      kind: "end",
      outcome: "stored",
      key: own,
      found: true,
      lateBell: false,
      receipts: [{ key: own, outcome: "stored", rowsByDay: days, rejectedSpans: 3, bytes: 77, spans: 10 }],
    });
  });

  test("once, stored under another key: it is that key's duplicate, and remembered by that key", () => {
    const it = verdict({ rows: days, receipts: [receipt(second, "stored")] });
    expect(receiptsOf(it)).toEqual([`duplicate ${own}`]);
    expect(it).toMatchObject({ key: second });
  });

  test("once, and its own receipt is lost while the other key has `duplicate`: its own is written again", () => {
    const it = verdict({
      rows: days,
      payload: { duplicateKeys: [second] },
      receipts: [receipt(second, "duplicate")],
    });
    expect(receiptsOf(it)).toEqual([`stored ${own}`]);
  });

  test("a key that had died gets its duplicate, one that has a receipt keeps it", () => {
    const it = verdict({
      rows: days,
      payload: { duplicateKeys: [second, third] },
      receipts: [receipt(own, "stored"), receipt(second, "dead"), receipt(third, "duplicate")],
    });
    expect(receiptsOf(it)).toEqual([`duplicate ${second}`]);
  });

  test.each([
    // stored under other keys, own INSERT tried, copies in the table: how it ends
    [0, false, 2, "inexact"],
    [0, true, 2, "inexact"],
    [1, false, 2, "inexact"],
    [1, true, 2, `stored ${own}`],
    [1, true, 3, "inexact"],
    [2, false, 2, `duplicate ${own}`],
    [2, true, 3, `stored ${own}`],
    [2, false, 3, "inexact"],
  ] as const)("%i stored keys, attempted %s, %i copies: %s", (keys, attempted, copies, end) => {
    const receipts = [second, third].slice(0, keys).map((key) => receipt(key, "stored"));
    expect(receiptsOf(verdict({ rows: times(copies), receipts, attempted }))).toEqual([end]);
  });

  test("an attempt of a key that has its receipt explains no further copy", () => {
    const receipts = [receipt(own, "stored")];
    expect(verdict({ rows: times(2), receipts, attempted: true }).kind).toBe("inexact");
  });

  test.each([
    ["some rows of a day", [{ day: today - 1, rows: 3 }, days[1]]],
    ["two copies of a day and one of the other", [{ day: today - 1, rows: 8 }, days[1]]],
    ["row on a day with none", [...days, { day: today + 1, rows: 1 }]],
  ])("with %s it is for a person", (_, rows) => {
    const present = rows.filter((one) => one !== undefined);
    expect(verdict({ rows: present }).kind).toBe("inexact");
  });

  test("a day that is listed with no row is none, wherever it is", () => {
    expect(verdict({ rows: [...days, { day: today + 1, rows: 0 }] }).kind).toBe("end");
  });

  test("what was transcoded first is what is compared and receipted, whatever its object says by now", () => {
    const transcoded = { key: own, rowsByDay: days.slice(1), rejectedSpans: 5, bytes: 99 };
    const counts = { rejectedSpans: 5, bytes: 99, rowsByDay: days.slice(1) };
    expect(verdict({ rows: days.slice(1), transcoded })).toMatchObject({ receipts: [counts] });
    expect(verdict({ rows: days.slice(1), transcoded, object: null })).toMatchObject({
      receipts: [{ ...counts, spans: 6 }],
    });
    expect(verdict({ rows: days, transcoded }).kind).toBe("inexact");
  });

  test("has as many spans as its object, where that is gone as were transcoded, and else as its doorbell said", () => {
    const transcoded = { key: own, rowsByDay: days.slice(1), rejectedSpans: 5, bytes: 99 };
    const spans = (seen: Seen) => {
      const it = verdict(seen);
      return it.kind === "end" ? it.receipts[0]?.spans : it.kind;
    };
    const doorbellSpans = { payload: { spans: 12 } };
    expect(spans({ ...doorbellSpans, rows: days })).toBe(10);
    expect(spans({ ...doorbellSpans, rows: days.slice(1), transcoded, object: null })).toBe(6);
    expect(spans({ ...doorbellSpans, object: null })).toBe(12);
    // Only its missing days were transcoded: their rows are not all of its spans.
    const missingDays = { days: [today], complete: days };
    const payload = { spans: 12, missingDays };
    expect(spans({ payload, rows: days, transcoded, object: null })).toBe(12);
  });

  test("one copy of what is expected is enough, and of nothing that is expected none is", () => {
    expect(verdict({ rows: times(1) }).kind).toBe("end");
    expect(verdict({ rows: times(0) }).kind).toBe("insert");
    const empty: Evidence["object"] = { key: own, spans: 0, rejectedSpans: 10, bytes: 77, rowsByDay: [] };
    expect(verdict({ object: empty })).toMatchObject({ kind: "end", outcome: "stored" });
  });

  test("days outside of the table's TTL are neither missed nor wondered at", () => {
    const oldestDay = today;
    expect(verdict({ rows: days.slice(1), oldestDay })).toMatchObject({ kind: "end", outcome: "stored" });
    expect(verdict({ rows: [{ day: today - 1, rows: 1 }, ...days.slice(1)], oldestDay }).kind).toBe("end");
    expect(verdict({ rows: [], oldestDay: today + 1 })).toMatchObject({ kind: "end", outcome: "stored" });
    const later = { ...(object ?? never()), rowsByDay: [{ day: today + 1, rows: 10 }] };
    const strays = (day: number) => verdict({ rows: [{ day, rows: 1 }], object: later, oldestDay }).kind;
    expect([strays(today - 1), strays(today)]).toEqual(["insert", "inexact"]);
    // The first day that is inside counts.
    expect(verdict({ rows: [{ day: today, rows: 5 }], oldestDay }).kind).toBe("inexact");
  });
});

describe("absent", () => {
  test("all of it: it is inserted, under the key that has the object", () => {
    const it = verdict({
      payload: { duplicateKeys: [second] },
      object: { ...(object ?? never()), key: second },
    });
    expect(it).toMatchObject({
      kind: "insert",
      payload: { key: second, duplicateKeys: [own], missingDays: null },
    });
  });

  test("under a key that nobody rang: it keeps as many other keys as it had, or one", () => {
    const others = (duplicateKeys: readonly PayloadKey[]) =>
      verdict({ payload: { duplicateKeys }, object: { ...(object ?? never()), key: third } });
    expect(others([])).toMatchObject({ payload: { key: third, duplicateKeys: [own] } });
    expect(others([second])).toMatchObject({ payload: { key: third, duplicateKeys: [own] } });
    expect(others([second, third])).toMatchObject({ payload: { key: third, duplicateKeys: [own, second] } });
  });

  test("a day of it: that day is inserted", () => {
    expect(verdict({ rows: days.slice(1) })).toMatchObject({
      kind: "insert",
      payload: { missingDays: { days: [today - 1], complete: days } },
    });
  });

  test("stored once, and notified by nobody who looked: a late bell, which stores nothing", () => {
    const receipts = [receipt(own, "stored")];
    expect(verdict({ receipts })).toMatchObject({
      kind: "end",
      outcome: "stored",
      lateBell: true,
      found: false,
      receipts: [],
    });
    // After an INSERT of this very group it is no bell's doing.
    expect(verdict({ receipts, attempted: true })).toMatchObject({ kind: "end", lateBell: false });
    expect(receiptsOf(verdict({ receipts, payload: { duplicateKeys: [second] } }))).toEqual([
      `duplicate ${second}`,
    ]);
    for (const cause of ["audit", "replay"] as const) {
      expect(verdict({ receipts, payload: { cause } }).kind).toBe("insert");
    }
  });

  test("dead once: it stays dead until a person replays it", () => {
    const receipts = [receipt(own, "dead")];
    expect(verdict({ receipts })).toMatchObject({ kind: "end", outcome: "dead", receipts: [] });
    expect(verdict({ receipts, payload: { cause: "replay" } }).kind).toBe("insert");
    // Another key's death is no reason: this key's object may be readable.
    expect(verdict({ receipts: [receipt(second, "dead")] }).kind).toBe("insert");
  });

  test("what cannot be decoded dies under each key", () => {
    const it = verdict({
      payload: { duplicateKeys: [second] },
      object: { ...(object ?? never()), rowsByDay: "undecodable" },
    });
    expect(it).toMatchObject({ outcome: "dead", receipts: [{ reason: "decode" }, { reason: "decode" }] });
    expect(receiptsOf(it)).toEqual([`dead ${own}`, `dead ${second}`]);
  });

  test("what cannot be decoded any more, and is there, is stored", () => {
    const undecodable = { ...(object ?? never()), rowsByDay: "undecodable" } as const;
    expect(verdict({ rows: days, object: undecodable })).toMatchObject({ kind: "end", outcome: "stored" });
    expect(verdict({ rows: days.slice(1), object: undecodable }).kind).toBe("inexact");
  });
});

describe("without its object", () => {
  test.each([
    [
      "receipts, stored",
      [receipt(second, "stored", [])],
      [],
      { outcome: "stored", key: second, receipts: [] },
    ],
    [
      "receipts, stored and dead",
      [receipt(third, "dead"), receipt(second, "stored", [])],
      [],
      { outcome: "stored", key: second, receipts: [] },
    ],
    [
      "receipts, of which none says how it ended",
      [receipt(second, "duplicate")],
      [],
      { outcome: "stored", key: own, receipts: [] },
    ],
    ["receipts, dead", [receipt(second, "dead")], [], { outcome: "dead", key: second, receipts: [] }],
    [
      "all of its rows",
      [],
      days,
      { outcome: "stored", key: own, found: true, receipts: [{ rowsByDay: days }] },
    ],
    ["some of its rows", [], days.slice(1), { kind: "inexact" }],
    ["nothing", [], [], { outcome: "dead", receipts: [{ key: own, reason: "missing_object" }] }],
  ])("with %s", (_, receipts, rows, end) => {
    expect(verdict({ receipts, rows, object: null })).toMatchObject(end);
  });

  test("its other keys end with it", () => {
    const payload = { duplicateKeys: [second] };
    expect(receiptsOf(verdict({ payload, rows: days, object: null }))).toEqual([
      `stored ${own}`,
      `duplicate ${second}`,
    ]);
    expect(receiptsOf(verdict({ payload, object: null }))).toEqual([`dead ${own}`, `dead ${second}`]);
  });
});

describe("erased", () => {
  const erase = "asked for";

  test("now: under each of its keys, and under those that only receipts know, with the reason that was given", () => {
    const it = verdict({ payload: { erase, duplicateKeys: [second] }, receipts: [receipt(third, "stored")] });
    expect(receiptsOf(it)).toEqual([`erased ${own}`, `erased ${second}`, `erased ${third}`]);
    expect(it).toMatchObject({
      key: own,
      outcome: "erased",
      receipts: [{ reason: erase, rowsByDay: [] }, {}, {}],
    });
  });

  test("now, with nothing left of it: keys that only receipts know are erased all the same", () => {
    const it = verdict({ payload: { erase }, receipts: [receipt(third, "stored")], object: null });
    expect(receiptsOf(it)).toEqual([`erased ${own}`, `erased ${third}`]);
  });

  test("before, and nothing is left: only a key that does not say so yet", () => {
    const seen = { receipts: [receipt(second, "erased"), receipt(third, "stored")], object: null };
    expect(receiptsOf(verdict(seen))).toEqual([`erased ${own}`]);
    expect(verdict(seen)).toMatchObject({ key: second, receipts: [{ reason: "why" }] });
    const payload = { duplicateKeys: [second] };
    expect(receiptsOf(verdict({ ...seen, payload }))).toEqual([`erased ${own}`]);
  });

  test("of more keys than are erased together, that of the object goes first, then those that do not say so yet", () => {
    const fourth = doorbell({ n: 1, arrival: startMs + 3 * MINUTE_MS }).key;
    const receipts = [receipt(second, "erased"), receipt(third, "erased")];
    const payload = { duplicateKeys: [second, third, fourth] };
    const seen = { payload, receipts, object: { ...(object ?? never()), key: third } };
    const together = (erasedKeysMax: number) => receiptsOf(verdict({ ...seen, erasedKeysMax }));
    expect(together(1)).toEqual([`erased ${third}`]);
    expect(together(3)).toEqual([`erased ${third}`, `erased ${own}`, `erased ${fourth}`]);
    // The next look has the reason, for as long as one is left.
    expect(verdict({ ...seen, erasedKeysMax: 3 })).toMatchObject({ erase: "why" });
    expect(verdict({ ...seen, erasedKeysMax: 4 })).toMatchObject({ erase: null });
    expect(together(4)).toHaveLength(4);
  });

  test.each([
    ["rows", { rows: days.slice(1), object: null }],
    ["its object", { rows: [] }],
  ])("before, and %s are left: all of it once more", (_, seen) => {
    const it = verdict({ ...seen, receipts: [receipt(own, "erased"), receipt(third, "stored")] });
    expect(receiptsOf(it).toSorted()).toEqual([`erased ${own}`, `erased ${third}`]);
  });
});

describe("a verdict, all that it says", () => {
  const blank = { ...receipt(own, "duplicate"), rejectedSpans: 3, bytes: 77, reason: "" };
  const stored = { ...blank, outcome: "stored", rowsByDay: days } as const;
  const end = { kind: "end", outcome: "stored", key: own, erase: null, found: false, lateBell: false };
  const duplicateKeys = [second, third];
  const payload = { duplicateKeys };

  test("of what is there: its own receipt, and duplicates for its other keys", () => {
    expect(verdict({ rows: days, payload })).toEqual({
      ...end,
      found: true,
      receipts: [stored, { ...blank, key: second }, { ...blank, key: third }],
    });
    // One copy, which another key's receipt claims: nothing of it is its own.
    expect(verdict({ rows: days, payload, receipts: [receipt(third, "stored")] })).toEqual({
      ...end,
      key: third,
      found: true,
      receipts: [blank, { ...blank, key: second }],
    });
    // A copy more than that, which its own INSERT explains.
    const twice = { rows: times(2), receipts: [receipt(third, "stored")], attempted: true };
    expect(verdict({ ...twice, payload })).toEqual({
      ...end,
      found: true,
      receipts: [stored, { ...blank, key: second }],
    });
    // The same where its own key has a receipt that says something else: its copy is not explained.
    const died = [receipt(third, "stored"), receipt(own, "dead")];
    expect(verdict({ rows: days, receipts: died })).toEqual({
      ...end,
      key: third,
      found: true,
      receipts: [blank],
    });
    expect(verdict({ rows: times(2), receipts: died, attempted: true }).kind).toBe("inexact");
    expect(verdict({ rows: days, receipts: [receipt(own, "stored")] })).toEqual({
      ...end,
      found: true,
      receipts: [],
    });
  });

  test("of what has expired: once, and never that it was found", () => {
    const reason =
      "expired: 10 spans of 2026-11-23, 2026-11-24 are older than the table's TTL, which keeps 2026-11-25 and later";
    const expired = { ...stored, outcome: "expired", rowsByDay: [], reason };
    expect(verdict({ oldestDay: today + 1 })).toEqual({ ...end, receipts: [expired] });
    expect(verdict({ oldestDay: today + 1, receipts: [receipt(own, "expired")] })).toEqual({
      ...end,
      receipts: [],
    });
    expect(verdict({ oldestDay: today + 1, receipts: [receipt(own, "dead")] })).toEqual({
      ...end,
      receipts: [expired],
    });
    const partly =
      "expired: 4 spans of 2026-11-23 are older than the table's TTL, which keeps 2026-11-24 and later";
    expect(verdict({ rows: days.slice(1), oldestDay: today })).toEqual({
      ...end,
      found: true,
      receipts: [{ ...stored, rowsByDay: days.slice(1), reason: partly }],
    });
  });

  test("of what is not there: what is to be inserted, under the key that has the object", () => {
    const before = { ...payloadOf(doorbell({ n: 1 })), duplicateKeys };
    expect(verdict({ payload })).toEqual({ kind: "insert", payload: before });
    expect(verdict({ payload, rows: days.slice(1) })).toEqual({
      kind: "insert",
      payload: { ...before, missingDays: { days: [today - 1], complete: days } },
    });
    expect(verdict({ payload, object: { ...(object ?? never()), key: third } })).toEqual({
      kind: "insert",
      payload: { ...before, key: third, duplicateKeys: [own, second] },
    });
    // Of the days inside of the TTL all are missing, and of all days not.
    expect(verdict({ oldestDay: today })).toEqual({
      kind: "insert",
      payload: { ...payloadOf(doorbell({ n: 1 })), missingDays: { days: [today], complete: days } },
    });
  });

  test("of what was stored and is gone: nothing, but the receipts of keys that have none", () => {
    expect(verdict({ payload, receipts: [receipt(second, "stored"), receipt(own, "duplicate")] })).toEqual({
      ...end,
      key: second,
      lateBell: true,
      receipts: [{ ...blank, key: third }],
    });
    expect(verdict({ receipts: [receipt(own, "dead")] })).toEqual({ ...end, outcome: "dead", receipts: [] });
  });

  test.each([
    ["undecodable", "decode"],
    ["unreadable", "unreadable"],
  ] as const)("of what is not there and is %s: it is dead under each key", (rowsByDay, reason) => {
    const dead = { ...blank, outcome: "dead", reason };
    expect(verdict({ payload, object: { ...(object ?? never()), rowsByDay } })).toEqual({
      ...end,
      outcome: "dead",
      receipts: [dead, { ...dead, key: second }, { ...dead, key: third }],
    });
    // And where it is there, by the count of its spans, it is stored as it is.
    expect(verdict({ rows: days, object: { ...(object ?? never()), rowsByDay } })).toEqual({
      ...end,
      found: true,
      receipts: [stored],
    });
    expect(verdict({ rows: days, object: { ...(object ?? never()), rowsByDay, spans: 11 } }).kind).toBe(
      "inexact",
    );
    // A count of none says nothing: a row of it would be one too many.
    const none = { ...(object ?? never()), rowsByDay, spans: 0 };
    expect(verdict({ rows: [], object: none }).kind).toBe("end");
    expect(verdict({ rows: [{ day: today, rows: 1 }], object: none })).toMatchObject({
      kind: "end",
      found: true,
    });
  });

  test("of what has no object: as its receipts or its rows say, with what the doorbell counted", () => {
    const counted = { ...blank, rejectedSpans: 0, bytes: 0 };
    expect(verdict({ payload, rows: days, object: null })).toEqual({
      ...end,
      found: true,
      receipts: [
        { ...counted, outcome: "stored", rowsByDay: days },
        { ...counted, key: second },
        { ...counted, key: third },
      ],
    });
    const dead = { ...counted, outcome: "dead", reason: "missing_object" };
    expect(verdict({ payload, object: null })).toEqual({
      ...end,
      outcome: "dead",
      receipts: [dead, { ...dead, key: second }, { ...dead, key: third }],
    });
    expect(verdict({ rows: days.slice(1), object: null })).toEqual({
      kind: "inexact",
      reason: "no object, and not all of its rows",
    });
    for (const [outcome, ended] of [
      ["dead", "dead"],
      ["duplicate", "stored"],
    ] as const) {
      expect(verdict({ rows: days, receipts: [receipt(second, outcome)], object: null })).toEqual({
        ...end,
        outcome: ended,
        key: outcome === "dead" ? second : own,
        receipts: [],
      });
    }
  });

  test("of what was transcoded first: its counts, and those of the object where only that is there", () => {
    const transcoded = { key: own, rowsByDay: days, rejectedSpans: 5, bytes: 55 };
    expect(verdict({ rows: days, transcoded, object: null })).toMatchObject({
      receipts: [{ spans: 10, rejectedSpans: 5, bytes: 55 }],
    });
    // Of the days that it lacked says nothing of the whole.
    const missingDays = { days: [today], complete: days };
    const part = { ...transcoded, rowsByDay: days.slice(1) };
    const lacking = { payload: { missingDays, spans: 99 }, transcoded: part, rows: days };
    expect(verdict({ ...lacking, object: null })).toMatchObject({
      receipts: [{ spans: 99, rowsByDay: days }],
    });
    expect(verdict(lacking)).toMatchObject({ receipts: [{ spans: 10, rowsByDay: days }] });
  });

  test("of what its receipts claim, where no object says more: the days of the first that claims some", () => {
    const claims = [receipt(third, "stored", []), receipt(second, "stored", [{ day: today, rows: 10 }])];
    const seen = { receipts: claims, rows: [{ day: today, rows: 10 }] };
    expect(verdict(seen)).toEqual({ ...end, key: third, found: true, receipts: [blank] });
    // A day without rows is neither expected nor missed.
    const empty = [...days, { day: today + 1, rows: 0 }];
    expect(verdict({ rows: days, object: { ...(object ?? never()), rowsByDay: empty } })).toMatchObject({
      ...end,
      found: true,
    });
    // Its receipt says that it had expired, and its rows are there.
    expect(verdict({ rows: days, receipts: [receipt(own, "expired")] })).toEqual({
      ...end,
      found: true,
      receipts: [stored],
    });
    expect(verdict({ rows: [{ day: today, rows: 1 }], object: null }).kind).toBe("inexact");
  });

  test("of what nobody transcoded: by the count of its spans", () => {
    const unread = { ...(object ?? never()), rowsByDay: null };
    const blind = { isBlind: true, object: unread };
    expect(verdict({ ...blind, rows: days })).toEqual({ ...end, found: true, receipts: [stored] });
    expect(verdict({ ...blind, rows: days.slice(1) }).kind).toBe("inexact");
    expect(verdict(blind)).toMatchObject({ kind: "insert", payload: { key: own } });
    // Without an object its receipts and its rows say how it ends.
    expect(verdict({ isBlind: true, object: null })).toMatchObject({ outcome: "dead" });
    expect(verdict({ isBlind: true, rows: days })).toEqual({ ...end, found: true, receipts: [stored] });
    const part = { isBlind: true, rows: days.slice(1) };
    expect(verdict({ ...part, object: null })).toEqual({
      kind: "inexact",
      reason: "no object, and not all of its rows",
    });
    expect(verdict(part)).toMatchObject({ kind: "insert", payload: { missingDays: { days: [today - 1] } } });
    // One that is to be transcoded and was not breaks an invariant of ours.
    expect(() => verdict({ object: unread, rows: days })).toThrow("an object is transcoded");
  });

  test("of what is erased: all of its keys, with what it has been", () => {
    const erased = { ...blank, outcome: "erased", reason: "asked for" };
    expect(verdict({ payload: { duplicateKeys: [second], erase: "asked for" }, rows: days })).toEqual({
      ...end,
      outcome: "erased",
      receipts: [erased, { ...erased, key: second }],
    });
  });

  test.each([
    [[{ day: today - 1, rows: 3 }, ...days.slice(1)], "a day has some of its rows"],
    [[{ day: today - 1, rows: 8 }, ...days.slice(1)], "a day has some of its rows"],
    [[...days, { day: today + 1, rows: 1 }], "1 row on a day with none"],
    [times(2), "2 copies, at most 1 expected"],
  ])("of %j found: for a person, %s", (rows, reason) => {
    expect(verdict({ rows })).toEqual({ kind: "inexact", reason });
  });

  test("of fewer rows than the object has, which a person accepted: nobody can say which are gone", () => {
    const accepted = {
      ...receipt(own, "stored"),
      rowsByDay: [{ day: today - 1, rows: 2 }, ...days.slice(1)],
    };
    const seen = { receipts: [accepted], payload: { cause: "audit" as const } };
    expect(verdict({ ...seen, rows: days.slice(1) })).toEqual({
      kind: "inexact",
      reason: "a day of what was accepted is gone",
    });
    // All of them are gone: the object says what is inserted.
    expect(verdict(seen)).toMatchObject({ kind: "insert", payload: { missingDays: null } });
  });
});

function never(): never {
  throw new Error("there is an object");
}
