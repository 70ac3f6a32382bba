/** The ledger's ids in memory and in their blobs: each part against the plainest thing that does the same. */
import { describe, expect, test } from "vitest";
import { fromHex } from "../../shared/hex.ts";
import { HotIds, hotSaltBytes, saltedHash } from "../../shared/ledger/hot-ids.ts";
import { IdHashes, makeFilter } from "../../shared/ledger/id-filter.ts";
import {
  findRecord,
  type KnownId,
  memberBytes,
  mergeMembers,
  packMembers,
  placeOfId,
  readRecord,
  runBytes,
  sinceOf,
} from "../../shared/ledger/id-records.ts";
import { type IdRow, IdRows } from "../../shared/ledger/id-rows.ts";
import { crowded, rowsOfRun } from "../../shared/ledger/id-spread.ts";
import {
  formatPayloadId,
  type PayloadId,
  payloadIdBytes,
  payloadIdToBytes,
} from "../../shared/payload-key.ts";
import { seededRandom } from "../ledger/random-events.ts";

const random = seededRandom(87);
const below = (n: number): number => Math.floor(random() * n);

/** An id whose content is of this minute. */
function idOf(minute: number): PayloadId {
  const bytes = Uint8Array.from({ length: payloadIdBytes }, () => below(256));
  new DataView(bytes.buffer).setUint32(0, minute * 256 + below(256));
  return formatPayloadId(bytes);
}

function known(count: number, minute: () => number): readonly KnownId[] {
  return Array.from({ length: count }, () => ({
    id: idOf(minute()),
    tag: below(2 ** 32),
    outcome: below(3),
  }));
}

function saltOf(n: number): Uint8Array {
  const random = seededRandom(n);
  return Uint8Array.from({ length: hotSaltBytes }, () => Math.floor(random() * 256));
}

function numbersOf(salt: Uint8Array): Uint32Array {
  return Uint32Array.from({ length: hotSaltBytes / 4 }, (_, k) => placeOfId(salt, 4 * k));
}

function withStart(id: PayloadId): PayloadId {
  const bytes = payloadIdToBytes(id).slice();
  bytes.fill(5, 0, 6);
  return formatPayloadId(bytes);
}

describe("records of ids", () => {
  test("are found with what they say, and no other is", () => {
    const some = known(300, () => below(2 ** 24));
    const bytes = packMembers(some);
    for (const { id, tag, outcome } of some) {
      const at = findRecord({ bytes, width: memberBytes }, payloadIdToBytes(id));
      expect(at).toBeGreaterThanOrEqual(0);
      expect(readRecord(bytes, at)).toEqual({ tag, outcome });
    }
    for (const { id } of known(300, () => below(2 ** 24))) {
      expect(findRecord({ bytes, width: memberBytes }, payloadIdToBytes(id))).toBe(-1);
    }
    expect(findRecord({ bytes: new Uint8Array(0), width: memberBytes }, new Uint8Array(16))).toBe(-1);
  });

  test("lie in the order of their ids, so that the first and the last say where the others are", () => {
    const bytes = packMembers(known(100, () => below(2 ** 24)));
    const places = Array.from({ length: 100 }, (_, i) => placeOfId(bytes, i * memberBytes));
    expect(places).toEqual([...places].sort((a, b) => a - b));
    expect(Math.max(...places)).toBeGreaterThan(2 ** 31);
  });

  test("of which a sender made thousands begin alike are merged as fast as others", () => {
    const groups = Array.from({ length: 64 }, (_, i) => ({
      at: i,
      bytes: packMembers(known(400, () => 7).map((one) => ({ ...one, id: withStart(one.id) }))),
    }));
    const before = process.cpuUsage();
    expect(mergeMembers(groups).length).toBe(64 * 400 * runBytes);
    expect(process.cpuUsage(before).user).toBeLessThan(1_000_000); // us; by insertion it was 2.5 s
  });

  test("of several groups become one sequence, in which an id is as it ended last", () => {
    // Some have all of their first six bytes in common, and are told apart by the others only.
    const shared = [...known(20, () => 7), ...known(20, () => 9)].map((one, i) =>
      i % 2 === 0 ? one : { ...one, id: withStart(one.id) },
    );
    const at = Date.UTC(2026, 10, 28);
    const groups = Array.from({ length: 9 }, (_, i) => ({
      at: at + ([500, 0, 900, 100, 800, 900, 300, 200, 0][i] ?? 0),
      known: [...known(30, () => below(100)), ...shared.slice(0, 4 * i).map((one) => ({ ...one, tag: i }))],
    }));
    const last = new Map<PayloadId, { readonly at: number; readonly tag: number }>();
    for (const group of groups) {
      for (const { id, tag } of group.known) {
        if ((last.get(id)?.at ?? 0) <= group.at) {
          last.set(id, { at: group.at, tag });
        }
      }
    }
    const bytes = mergeMembers(groups.map((group) => ({ at: group.at, bytes: packMembers(group.known) })));
    expect(bytes.length).toBe(last.size * runBytes);
    expect([...last.keys()].sort().join()).toBe(
      Array.from({ length: last.size }, (_, i) =>
        formatPayloadId(bytes.slice(i * runBytes, i * runBytes + payloadIdBytes)),
      ).join(),
    );
    for (const [id, { at: since, tag }] of last) {
      const offset = findRecord({ bytes, width: runBytes }, payloadIdToBytes(id));
      expect(offset).toBeGreaterThanOrEqual(0);
      expect(sinceOf(bytes, offset)).toBe(since);
      expect(readRecord(bytes, offset).tag).toBe(tag);
    }
    expect(mergeMembers([])).toHaveLength(0);
  });
});

describe("ids that lie apart", () => {
  test("are those with few others within half an hour of them", () => {
    const minutes = [3, 1000, 1030, 1032, 1063, 5000, 5000];
    expect(crowded(minutes, 1)).toEqual(minutes.map(() => true));
    expect(crowded(minutes, 2)).toEqual([false, true, true, true, true, true, true]);
    expect(crowded(minutes, 3)).toEqual([false, true, true, true, false, false, false]);
    expect(crowded([0, 32], 2)).toEqual([true, true]);
    expect(crowded([0, 33], 2)).toEqual([false, false]);
  });

  test("are in rows of their own, so that the others' are narrow; no record is lost, and no row is too large", () => {
    for (const late of [0, 1, 100]) {
      const prompt = known(9000, () => 3_600_000 + below(3));
      const backlog = known(3000, () => 3_590_000 + below(20));
      const apart = known(late, () => below(2 ** 24));
      const merged = mergeMembers([{ at: 1, bytes: packMembers([...prompt, ...backlog, ...apart]) }]);
      const rows = rowsOfRun(merged);
      const ids = rows.flatMap((row) =>
        Array.from({ length: row.length / runBytes }, (_, i) =>
          formatPayloadId(row.slice(i * runBytes, i * runBytes + 16)),
        ),
      );
      expect(ids.sort()).toEqual([...prompt, ...backlog, ...apart].map(({ id }) => id).sort());
      const widths = rows.map((row) => {
        expect(row.length).toBeLessThanOrEqual(65_536);
        const last = placeOfId(row, row.length - runBytes);
        expect(last).toBeGreaterThanOrEqual(placeOfId(row));
        return (last >>> 8) - (placeOfId(row) >>> 8);
      });
      expect(widths.filter((width) => width > 32)).toHaveLength(late > 1 ? 1 : 0);
      expect(rows.length).toBeLessThan(10);
    }
  });
});

describe("a filter lets every id of its row through", () => {
  const bytes = mergeMembers([{ at: 1, bytes: packMembers(known(2500, () => 3_600_000)) }]);
  const own = Array.from({ length: 2500 }, (_, i) => bytes.subarray(i * runBytes, i * runBytes + 16));
  const others = Array.from({ length: 40_000 }, () => payloadIdToBytes(idOf(3_600_000)));

  test("and one in 5,000 others", () => {
    const filter = makeFilter({ bytes, width: runBytes });
    expect(filter.length).toBe((2500 * 22) / 8);
    const hashes = new IdHashes([...own, ...others]);
    const held = new Uint32Array(own.length + others.length + 1);
    const count = hashes.heldBy(filter, 0, own.length + others.length, held);
    const indexes = [...held.subarray(0, count)];
    expect(indexes.slice(0, own.length)).toEqual(own.map((_, i) => i));
    expect(count - own.length).toBeLessThan(30);
    // The same as one by one, whatever part of them is asked for.
    for (const [from, to] of [
      [0, own.length + others.length],
      [2000, 2100],
      [2400, 2600],
      [2500, 20_000],
      [7, 7],
    ] as const) {
      const some = hashes.heldBy(filter, from, to, held);
      const oneByOne = own
        .concat(others)
        .flatMap((_, i) => (i >= from && i < to && hashes.mayHold(filter, i) ? [i] : []));
      expect([...held.subarray(0, some)]).toEqual(oneByOne);
    }
  });

  test("also where an earlier version made it, of 16 bits an id", () => {
    const eight = Array.from({ length: 8 }, (_, i) =>
      Uint8Array.from({ length: payloadIdBytes }, (_byte, k) => i * 37 + k * k * 11 + 5),
    );
    // As that version wrote it into a row.
    const filter = fromHex("a62872a091006413a52450268010a948");
    expect(new IdHashes(eight).heldBy(filter, 0, 8, new Uint32Array(9))).toBe(8);
    expect(new IdHashes(others).heldBy(filter, 0, 10_000, new Uint32Array(10_001))).toBeLessThan(100);
  });
});

test("hot ids are found in the group that they were placed in last, as long as their generation is hot", () => {
  const hot = new HotIds(1000, saltOf(1));
  const placed = new Map<PayloadId, { readonly seq: number; readonly generation: number }>();
  const ids = known(6000, () => 3_600_000).map(({ id }) => id);
  for (let seq = 1; seq <= 400; seq++) {
    const some = [...new Set(Array.from({ length: 1 + below(30) }, () => ids[below(6000)] ?? idOf(0)))];
    const bytes = packMembers(some.map((id) => ({ id, tag: 0, outcome: 0 })));
    const generation = hot.add(bytes, memberBytes, seq);
    for (const id of some) {
      placed.set(id, { seq, generation });
    }
    if (seq % 40 === 0) {
      for (const [id, { seq: last, generation: of }] of placed) {
        const found = hot.get(payloadIdToBytes(id));
        expect(of >= hot.hotFrom ? found === last : found === undefined, `${id} of ${last}`).toBe(true);
      }
    }
  }
  expect(hot.hotFrom).toBeGreaterThan(3);
  expect(hot.get(payloadIdToBytes(idOf(1)))).toBeUndefined();
});

describe("ids that somebody chose to be neighbours in the table of hot ids", () => {
  const slots = 2 ** 14;
  const share = slots / 64;
  /** A sender finds each of them with 64 tries, where it knows the salt. */
  const guessed = numbersOf(saltOf(1));
  const chosen: Uint8Array[] = [];
  while (chosen.length < 4000) {
    const id = payloadIdToBytes(idOf(3_600_000));
    if (saltedHash(id, 0, guessed) % slots < share) {
      chosen.push(id);
    }
  }

  test("are spread as all others are under another salt", () => {
    for (let salt = 2; salt < 20; salt++) {
      const numbers = numbersOf(saltOf(salt));
      const counts = new Uint32Array(64);
      for (const id of chosen) {
        const part = Math.floor((saltedHash(id, 0, numbers) % slots) / share);
        counts[part] = (counts[part] ?? 0) + 1;
      }
      expect(Math.max(...counts), `salt ${salt}`).toBeLessThan((2 * chosen.length) / 64);
    }
  });

  test("are looked for with as few looks as all others", () => {
    /** At a slot that another id has, and at its own, the id's first word is read. */
    const readsOf = (salt: number): number => {
      const hot = new HotIds(slots / 2, saltOf(salt));
      for (const id of chosen) {
        hot.add(id, payloadIdBytes, 1);
      }
      let reads = 0;
      const counted: ProxyHandler<Uint8Array> = {
        get(id, name) {
          reads += name === "0" ? 1 : 0;
          return Reflect.get(id, name);
        },
      };
      expect(chosen.slice(-200).every((id) => hot.get(new Proxy(id, counted)) === 1)).toBe(true);
      return reads;
    };
    expect(readsOf(2)).toBeLessThan(200 * 6);
    expect(readsOf(1), "under the salt for which they were chosen").toBeGreaterThan(200 * 50);
  });
});

test("the rows that may have an id are all rows between whose ends it lies, but those that are hot", () => {
  const rows = new IdRows();
  const plain = new Map<number, IdRow>();
  for (let i = 1; i < 600; i++) {
    const [low = 0, high = 0] = [below(2 ** 32), below(2 ** 32)].sort((a, b) => a - b);
    const number = random() < 0.2 ? 1 + below(i) : i;
    const last = random() < 0.5 ? Number.POSITIVE_INFINITY : below(1000);
    const row = { number, low, high: Math.min(high, low + 2 ** 29), last, count: i, generation: below(5) };
    rows.set(row);
    plain.set(number, row);
    if (i % 7 === 0) {
      rows.remove(i - 3);
      plain.delete(i - 3);
    }
    if (i % 100 === 0) {
      const taken = rows.takeOut((one) => one.last < 200);
      expect(taken.map((one) => one.number)).toEqual(
        [...plain.values()]
          .filter((one) => one.last < 200)
          .map((one) => one.number)
          .sort((a, b) => a - b),
      );
      for (const one of taken) {
        plain.delete(one.number);
      }
    }
    const places = Array.from({ length: below(4) }, () => below(2 ** 32)).sort((a, b) => a - b);
    const expected = [...plain.values()]
      .filter((one) => one.generation < 3 && places.some((place) => place >= one.low && place <= one.high))
      .map((one) => one.number);
    const around: number[] = [];
    rows.around(places, 3, (row, high, first) => {
      around.push(row);
      const { low = 0 } = rows.get(row) ?? {};
      expect(first).toBe(places.findIndex((place) => place >= low));
      expect(high).toBe(rows.get(row)?.high);
    });
    expect(around).toEqual(expected.sort((a, b) => a - b));
    expect(rows.get(number)).toEqual(plain.get(number));
    expect(rows.size).toBe(plain.size);
    expect(rows.highest).toBe(Math.max(...plain.keys()));
    const over = [...plain.values()].filter((one) => Number.isFinite(one.last));
    expect(rows.ended).toBe(over.length);
    expect(rows.endedIds).toBe(over.reduce((sum, { count }) => sum + count, 0));
    expect(rows.endedFirst).toBeLessThanOrEqual(Math.min(...over.map((one) => one.last)));
  }
  expect([...rows.all()].map((row) => row.number)).toEqual([...plain.keys()].sort((a, b) => a - b));
  expect(rows.get(10_000)).toBeUndefined();
});

test("a row is found by its place also where rows before it came and went: most are passed over together", () => {
  const rows = new IdRows();
  const there = new Set<number>();
  const place = (number: number): number => 1000 * number;
  const set = (number: number): void => {
    const last = number % 3 === 0 ? 100 + number : Number.POSITIVE_INFINITY;
    rows.set({ number, low: place(number), high: place(number) + 10, last, count: 1, generation: 0 });
    there.add(number);
  };
  const expectFound = (): void => {
    for (let number = 1; number <= 700; number += 3) {
      const found: number[] = [];
      rows.around([place(number) + 5], 1, (row) => found.push(row));
      expect(found).toEqual(there.has(number) ? [number] : []);
    }
  };
  for (let number = 1; number <= 700; number++) {
    if (number % 5 !== 0) {
      set(number);
    }
  }
  expectFound();
  for (const number of [4, 61, 62, 63, 64, 127, 300, 301]) {
    rows.remove(number);
    there.delete(number);
    expectFound();
  }
  for (const number of [5, 10, 65, 300, 640]) {
    set(number); // between others
    expectFound();
  }
  for (const { number } of rows.takeOut(({ last }) => last < 500)) {
    there.delete(number);
  }
  expectFound();
  expect(rows.size).toBe(there.size);
});
