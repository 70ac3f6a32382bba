/**
 * The ids that the ledger's object knows, live or ended, in its SQLite. It holds no rule of the protocol. docs/storage.md
 * describes the tables, decision 0087 says why they are so.
 *
 * A group's ids are in its row (`groups_3`), and stay there when it ends, with nothing else. Where many groups have ended,
 * their ids become one sorted sequence (`runs_3`). A group that an earlier version made has its ids beside it (`members_3`) until it ends. Which rows there are is known in memory, and the ids that were placed last
 * are too: what is new is mostly looked for without reading a row.
 *
 * A few ids have rows of their own (`strays_3`): those of a group whose content time is far from that of the others. Of an id of
 * version 1 it is anywhere. So are all ids that an earlier version left.
 *
 * An id may be in several rows, since it can be sent again after it ended: then that counts which is live, or ended last.
 */
import { assert } from "../../shared/assert.ts";
import { toHex } from "../../shared/hex.ts";
import type { EndedPayload, EndOutcome } from "../../shared/ledger/group.ts";
import { HotIds } from "../../shared/ledger/hot-ids.ts";
import {
  findRecord,
  type KnownId,
  memberBytes,
  packMembers,
  placeOfId,
  placeOfPayload,
  readRecord,
  runBytes,
  sinceOf,
} from "../../shared/ledger/id-records.ts";
import { IdRows } from "../../shared/ledger/id-rows.ts";
import { crowded } from "../../shared/ledger/id-spread.ts";
import { tagOfEnded, tagOfKey } from "../../shared/ledger/key-tag.ts";
import type { PayloadPlace } from "../../shared/ledger/view.ts";
import { limits } from "../../shared/limits.ts";
import {
  formatPayloadId,
  idOfKey,
  type PayloadId,
  type PayloadKey,
  payloadIdBytes,
  payloadIdToBytes,
  writePayloadId,
} from "../../shared/payload-key.ts";
import type { GroupId } from "../../shared/receipt.ts";
import { boundLists } from "./bound-lists.ts";
import { LedgerRuns, type Wanted } from "./ledger-runs.ts";
import { overLane, roles } from "./ledger-schema.ts";

/** How an id ended, as its record says it. Never renumbered. */
const outcomeCodes: Readonly<Record<EndOutcome, number>> = { stored: 0, dead: 1, erased: 2 };

/** So large a part of a group's ids has content near that of an id that shares their row. */
const membersShare = 1 / 8;

/** What is deleted of strays at once, each of which is a row. */
const strayGroupsForgottenMax = 500;
const straysForgottenMax = 20_000;

/** How much of it is in memory, and when groups are merged. */
export interface IdBounds {
  /** Of each of the two tables of hot ids. */
  readonly hotIdsMax: number;
  readonly filterBytesMax: number;
  readonly merging: Merging;
}

/** So many groups that are over are merged: those of a while, if they are no more than so many groups, and ids, by then. */
interface Merging {
  readonly groupsMin: number;
  readonly afterMs: number;
  readonly groupsMax: number;
  readonly idsMax: number;
}

export const usualBounds: IdBounds = {
  hotIdsMax: limits.ledgerHotIdsMax,
  filterBytesMax: limits.ledgerFilterBytesMax,
  merging: {
    groupsMin: limits.ledgerGroupsMerged,
    afterMs: limits.ledgerMergeAfterMs,
    groupsMax: limits.ledgerGroupsMergedMax,
    idsMax: limits.ledgerIdsMergedMax,
  },
};

/** Before what ids are forgotten; of `Head`. */
export interface Marks {
  readonly forgottenBefore?: number;
  readonly trimmed?: { readonly from: number; readonly at: number } | null;
}

/** Where an id was found, among several that may be there. */
type Found = { readonly id: PayloadId; readonly place: PayloadPlace };

export class LedgerIds {
  readonly #sql: SqlStorage;
  readonly #bounds: IdBounds;
  readonly #salt: Uint8Array;
  #members = new IdRows();
  /** Of these the row of ids is an earlier version's. */
  #beside = new Set<number>();
  readonly #runs: LedgerRuns;
  #hot: HotIds;
  /** Has any stray content of this hour (of 64 minutes)? As far as it was asked. */
  #strayHours = new Map<number, boolean>();

  /** `salt`: of the hot ids; random, and another one for each instance. */
  constructor(sql: SqlStorage, bounds: IdBounds, salt: Uint8Array) {
    this.#sql = sql;
    this.#bounds = bounds;
    this.#salt = salt;
    this.#hot = new HotIds(bounds.hotIdsMax, salt);
    this.#runs = new LedgerRuns(sql, bounds.filterBytesMax);
  }

  /** As an instance finds it when it starts. */
  readAll(): void {
    this.#members = new IdRows();
    this.#hot = new HotIds(this.#bounds.hotIdsMax, this.#salt);
    this.#strayHours = new Map();
    this.#beside = new Set(
      [...this.#sql.exec<{ seq: number }>("SELECT seq FROM members_3")].map(({ seq }) => seq),
    );
    const members = this.#sql.exec<MembersRow>(
      `SELECT seq, low, high, count, at FROM groups_3 WHERE low IS NOT NULL
       UNION ALL SELECT seq, low, high, count, at FROM members_3 ORDER BY seq`,
    );
    for (const { seq, low, high, count, at } of members) {
      this.#members.set({
        number: seq,
        low,
        high,
        count,
        last: at ?? Number.POSITIVE_INFINITY,
        generation: 0,
      });
    }
    this.#runs.readAll();
    this.#warm();
  }

  /** The newest groups' ids are hot, as many as one table takes. */
  #warm(): void {
    let room = this.#hot.idsMax;
    let from = Number.POSITIVE_INFINITY;
    for (const { number, count } of [...this.#members.all()].reverse()) {
      room -= count;
      if (room < 0) {
        break;
      }
      from = number;
    }
    for (const { seq, records } of this.#sql.exec<{ seq: number; records: ArrayBuffer }>(
      `SELECT seq, records FROM groups_3 WHERE seq >= ?1 AND low IS NOT NULL
       UNION ALL SELECT seq, records FROM members_3 WHERE seq >= ?1 ORDER BY seq`,
      Math.min(from, Number.MAX_SAFE_INTEGER),
    )) {
      const row = this.#members.get(seq);
      assert(row !== undefined, "each row of ids is known");
      this.#members.set({ ...row, generation: this.#hot.add(new Uint8Array(records), memberBytes, seq) });
    }
  }

  /** How many ids of groups that are over there are. */
  get remembered(): number {
    const [strays] = this.#sql.exec<{ n: number | null }>("SELECT sum(length(ids)) AS n FROM stray_ends_3");
    return this.#members.endedIds + this.#runs.rows.endedIds + (strays?.n ?? 0) / payloadIdBytes;
  }

  // --- looking

  /** Where these ids are, by the rows that are there. */
  places(ids: readonly PayloadId[]): Map<PayloadId, PayloadPlace> {
    const found = new Map<PayloadId, PayloadPlace>();
    const wanted = ids.map((id) => {
      const bytes = payloadIdToBytes(id);
      return { id, bytes, place: placeOfId(bytes) };
    });
    const rows = this.#rowsFor(wanted);
    for (const one of this.#lookInMembers(rows.members, wanted)) {
      keepLater(found, one);
    }
    for (const one of this.#lookInRuns(rows.runs)) {
      keepLater(found, one);
    }
    for (const one of this.#lookAmongStrays(wanted)) {
      keepLater(found, one);
    }
    return found;
  }

  /** The rows that may have one of these ids. */
  #rowsFor(wanted: readonly Wanted[]): {
    readonly members: readonly number[];
    readonly runs: ReadonlyMap<number, readonly Wanted[]>;
  } {
    const members = new Set<number>();
    const cold: Wanted[] = [];
    const merged: Wanted[] = [];
    for (const one of wanted) {
      const seq = this.#hot.get(one.bytes);
      if (seq === undefined) {
        cold.push(one);
      } else if (this.#members.get(seq) === undefined) {
        merged.push(one); // into a run since
      } else {
        members.add(seq);
      }
    }
    const { hotFrom } = this.#hot;
    cold.sort(byPlace);
    const placesOfCold = cold.map(({ place }) => place);
    this.#members.around(placesOfCold, hotFrom, (seq) => members.add(seq));
    const runs = this.#runs.rowsFor(cold, hotFrom);
    for (const [number, some] of this.#runs.rowsFor(merged.sort(byPlace), Number.POSITIVE_INFINITY)) {
      runs.set(number, [...(runs.get(number) ?? []), ...some]);
    }
    return { members: [...members], runs };
  }

  *#lookInMembers(seqs: readonly number[], wanted: readonly Wanted[]): Iterable<Found> {
    for (const { at, group, records } of this.#readMembers(seqs)) {
      const bytes = new Uint8Array(records);
      for (const { id, bytes: idBytes } of wanted) {
        const offset = findRecord({ bytes, width: memberBytes }, idBytes);
        if (offset >= 0) {
          assert(group !== null || at !== null, "a group whose ids are known is live or over");
          yield {
            id,
            place: group !== null ? { at: "group", group } : doneAt(readRecord(bytes, offset), at ?? 0),
          };
        }
      }
    }
  }

  *#readMembers(seqs: readonly number[]): Iterable<IdsOfGroup> {
    for (const list of boundLists(seqs)) {
      yield* this.#sql.exec<IdsOfGroup>(
        `SELECT held.at AS at, iif(held.at IS NULL, held.id, NULL) AS "group", held.records AS records
         FROM json_each(?) AS asked JOIN groups_3 AS held ON held.seq = asked.value
         WHERE held.low IS NOT NULL ORDER BY held.seq`,
        list,
      );
    }
    for (const list of boundLists(seqs.filter((seq) => this.#beside.has(seq)))) {
      yield* this.#sql.exec<IdsOfGroup>(
        `SELECT members.at AS at, held.id AS "group", members.records AS records
         FROM json_each(?) AS asked JOIN members_3 AS members ON members.seq = asked.value
         LEFT JOIN groups_3 AS held ON held.seq = members.seq ORDER BY members.seq`,
        list,
      );
    }
  }

  *#lookInRuns(rows: ReadonlyMap<number, readonly Wanted[]>): Iterable<Found> {
    for (const { number, records: bytes } of this.#runs.read([...rows.keys()])) {
      for (const { id, bytes: idBytes } of rows.get(number) ?? []) {
        const offset = findRecord({ bytes, width: runBytes }, idBytes);
        if (offset >= 0) {
          yield { id, place: doneAt(readRecord(bytes, offset), sinceOf(bytes, offset)) };
        }
      }
    }
  }

  *#lookAmongStrays(wanted: readonly Wanted[]): Iterable<Found> {
    const some = wanted.filter(({ place }) => this.#hasStrays(place));
    if (some.length === 0) {
      return;
    }
    // One statement for any number of ids: bound parameters end at 100 (Durable Objects, SQLite limits).
    const rows = this.#sql.exec<{
      id: ArrayBuffer;
      minute: number;
      outcome: number;
      group: GroupId | null;
      at: number | null;
    }>(
      `SELECT strays.id AS id, strays.minute AS minute, strays.outcome AS outcome, live.id AS "group", stray_ends.at AS at
       FROM json_each(?) AS asked JOIN strays_3 AS strays ON strays.id = unhex(asked.value)
       LEFT JOIN groups_3 AS live ON live.seq = strays.seq AND live.lane <> ${overLane}
       LEFT JOIN stray_ends_3 AS stray_ends ON stray_ends.seq = strays.seq`,
      JSON.stringify(some.map(({ bytes }) => toHex(bytes))),
    );
    for (const { id, minute, outcome, group, at } of rows) {
      const place: PayloadPlace | null =
        group !== null ? { at: "group", group } : at !== null ? doneAt({ tag: minute, outcome }, at) : null;
      // Neither live nor over: its group ended without it, and it is in another row.
      if (place !== null) {
        yield { id: formatPayloadId(new Uint8Array(id)), place };
      }
    }
  }

  #hasStrays(place: number): boolean {
    const hour = Math.floor(place / placesAnHour);
    let has = this.#strayHours.get(hour);
    if (has === undefined) {
      const [row] = this.#sql.exec<{ n: number }>(
        "SELECT count(*) AS n FROM (SELECT 1 FROM strays_3 WHERE id >= ? AND id < ? LIMIT 1)",
        idFrom(hour * placesAnHour),
        idFrom((hour + 1) * placesAnHour),
      );
      has = row?.n === 1;
      if (this.#strayHours.size >= strayHoursMax) {
        this.#strayHours.clear();
      }
      this.#strayHours.set(hour, has);
    }
    return has;
  }

  // --- placing

  /** A group is made: its payloads are in it from now on. Returned is what its row has of them; null: each has a row of its own. */
  place(seq: number, keys: readonly PayloadKey[]): PackedIds | null {
    const known = keys
      .map((key) => ({ id: idOfKey(key), tag: tagOfKey(key), outcome: outcomeCodes.stored }))
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .map((one) => ({ ...one, place: placeOfPayload(one.id) }));
    const minutes = known.map(({ place }) => place >>> 8);
    const shares = crowded(minutes, Math.ceil(known.length * membersShare));
    const together = known.filter((_, i) => shares[i] === true);
    const apart = known.filter((_, i) => shares[i] !== true);
    if (together.length > 0) {
      // Of an id that was a stray before, nobody would delete the row.
      this.#deleteStrays(together.filter(({ place }) => this.#hasStrays(place)).map(({ id }) => id));
    }
    if (apart.length > 0) {
      this.#sql.exec(
        `INSERT INTO strays_3 (id, seq, minute, outcome)
         SELECT unhex(value ->> 0), ?, value ->> 1, 0 FROM json_each(?) WHERE true
         ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, minute = excluded.minute, outcome = 0`,
        seq,
        JSON.stringify(apart.map(({ id, tag }) => [idToHex(id), tag])),
      );
      for (const { place } of apart) {
        this.#strayHours.set(Math.floor(place / placesAnHour), true);
      }
    }
    if (together.length === 0) {
      return null;
    }
    const packed = packIds(together);
    const { low, high, count, records } = packed;
    const generation = this.#hot.add(records, memberBytes, seq);
    this.#members.set({ number: seq, low, high, count, last: Number.POSITIVE_INFINITY, generation });
    return packed;
  }

  /** Of a group that is over, its row has its ids and nothing else. */
  #keepEnded(seq: number, known: readonly KnownId[], at: number): void {
    const { low, high, count, records } = packIds(known);
    this.#sql.exec(
      `UPDATE groups_3 SET lane = ${overLane}, due = 0, role = ${roles.leased}, doc = '',
         low = ?, high = ?, count = ?, at = ?, records = ? WHERE seq = ?`,
      low,
      high,
      count,
      at,
      records,
      seq,
    );
    const generation = this.#members.get(seq)?.generation ?? 0;
    this.#members.set({ number: seq, low, high, count, last: at, generation });
  }

  #deleteRows(seqs: readonly number[]): void {
    for (const list of boundLists(seqs)) {
      this.#sql.exec("DELETE FROM groups_3 WHERE seq IN (SELECT value FROM json_each(?))", list);
    }
    for (const list of boundLists(seqs.filter((seq) => this.#beside.delete(seq)))) {
      this.#sql.exec("DELETE FROM members_3 WHERE seq IN (SELECT value FROM json_each(?))", list);
    }
  }

  #deleteStrays(ids: readonly PayloadId[]): void {
    for (const list of boundLists(ids.map(idToHex))) {
      this.#sql.exec("DELETE FROM strays_3 WHERE id IN (SELECT unhex(value) FROM json_each(?))", list);
    }
  }

  /** What a group's row has of ids, in bytes. */
  recordBytes(seq: number): number {
    return (this.#members.get(seq)?.count ?? 0) * memberBytes;
  }

  /** A group, in which these were placed, is over: it has the ids of `ended`, and no others. */
  end(seq: number, placed: readonly PayloadId[], ended: readonly EndedPayload[], at: number): void {
    const known = ended.map((one) => ({
      id: idOfKey(one.key),
      tag: tagOfEnded(one),
      outcome: outcomeCodes[one.outcome],
    }));
    const strays = this.#straysOf(seq, placed);
    const together = strays.size === 0 ? known : known.filter(({ id }) => !strays.has(id));
    const isPlaced = this.#members.get(seq) !== undefined;
    assert(isPlaced || together.length === 0, "what ends in a group was placed in it");
    if (together.length > 0) {
      this.#keepEnded(seq, together, at);
      if (this.#beside.delete(seq)) {
        this.#sql.exec("DELETE FROM members_3 WHERE seq = ?", seq);
      }
    } else {
      this.#deleteRows([seq]);
      this.#members.remove(seq);
    }
    if (strays.size > 0) {
      const apart = known.filter(({ id }) => strays.delete(id));
      if (apart.length > 0) {
        this.#endStrays(seq, apart, at);
      }
      // Of an id that is neither over nor in another group by now, the row would be one of the group that has this number next.
      this.#deleteStrays([...strays]);
    }
    if (this.#isToMerge(at)) {
      this.#mergeEnded();
    }
  }

  /** Those of a group's ids that have rows of their own. */
  #straysOf(seq: number, ids: readonly PayloadId[]): Set<PayloadId> {
    const some = ids.filter((id) => this.#hasStrays(placeOfPayload(id)));
    if (some.length === 0) {
      return new Set();
    }
    const rows = this.#sql.exec<{ id: ArrayBuffer }>(
      "SELECT id FROM strays_3 WHERE id IN (SELECT unhex(value) FROM json_each(?)) AND seq = ?",
      JSON.stringify(some.map(idToHex)),
      seq,
    );
    return new Set([...rows].map(({ id }) => formatPayloadId(new Uint8Array(id))));
  }

  #endStrays(seq: number, known: readonly KnownId[], at: number): void {
    const ids = new Uint8Array(known.length * payloadIdBytes);
    for (const [i, { id }] of known.entries()) {
      writePayloadId(id, ids, i * payloadIdBytes);
    }
    this.#sql.exec("INSERT INTO stray_ends_3 (seq, at, ids) VALUES (?, ?, ?)", seq, at, ids);
    // Mostly nothing changes: `stored` under the key that the id was placed with. Only what differs is written.
    this.#sql.exec(
      `UPDATE strays_3 AS strays SET minute = ended.value ->> 1, outcome = ended.value ->> 2 FROM json_each(?) AS ended
       WHERE strays.id = unhex(ended.value ->> 0)
         AND (strays.minute <> ended.value ->> 1 OR strays.outcome <> ended.value ->> 2)`,
      JSON.stringify(known.map(({ id, tag, outcome }) => [idToHex(id), tag, outcome])),
    );
  }

  // --- merging

  /**
   * The fewer runs a minute's ids are in, the fewer filters are asked for each id of it. So where groups end faster than
   * `groupsMin` in `afterMs`, more are merged at once; until then their ids are among the hot ones.
   */
  #isToMerge(now: number): boolean {
    const { ended, endedIds, endedFirst } = this.#members;
    const { groupsMin, groupsMax, idsMax, afterMs } = this.#bounds.merging;
    const isLate = now - endedFirst >= afterMs;
    return ended >= groupsMin && (isLate || ended >= groupsMax || endedIds >= idsMax);
  }

  /** What is over becomes a run. All of it or none: it is part of a step's transaction. */
  #mergeEnded(): void {
    const ended = this.#members.takeOut(({ last }) => last !== Number.POSITIVE_INFINITY);
    const seqs = ended.map(({ number }) => number);
    const rows = [...this.#readMembers(seqs)];
    const generation = Math.min(...ended.map((row) => row.generation));
    this.#runs.add(
      rows.map(({ at, records }) => ({ at: at ?? 0, bytes: new Uint8Array(records) })),
      generation,
    );
    this.#deleteRows(seqs);
  }

  // --- forgetting

  /** Deletes what has only ids that are forgotten by these marks; of strays, bit by bit. */
  forget({ forgottenBefore = Number.NEGATIVE_INFINITY, trimmed }: Marks): void {
    const isOver = ({ last, high }: { readonly last: number; readonly high: number }): boolean =>
      last < forgottenBefore || (trimmed != null && last <= trimmed.at && high >>> 8 < trimmed.from);
    const members = this.#members.takeOut(isOver);
    if (members.length > 0) {
      this.#deleteRows(members.map(({ number }) => number));
    }
    this.#runs.forget(isOver);
    this.#forgetStrays(forgottenBefore);
    if (trimmed != null) {
      this.#trimStrays(trimmed.from, trimmed.at);
    }
  }

  #forgetStrays(before: number): void {
    const ends = this.#sql.exec<{ seq: number; ids: ArrayBuffer }>(
      "SELECT seq, ids FROM (SELECT seq, at, ids FROM stray_ends_3 ORDER BY seq LIMIT ?) WHERE at < ?",
      strayGroupsForgottenMax,
      before,
    );
    let count = 0;
    for (const { seq, ids } of [...ends]) {
      const hex: string[] = [];
      for (let at = 0; at < ids.byteLength; at += payloadIdBytes) {
        hex.push(toHex(new Uint8Array(ids, at, payloadIdBytes)));
      }
      // An id that was sent again since is another group's now, and stays.
      this.#sql.exec(
        "DELETE FROM strays_3 WHERE id IN (SELECT unhex(value) FROM json_each(?)) AND seq = ?",
        JSON.stringify(hex),
        seq,
      );
      this.#sql.exec("DELETE FROM stray_ends_3 WHERE seq = ?", seq);
      this.#strayHours.clear();
      count += hex.length;
      if (count >= straysForgottenMax) {
        break;
      }
    }
  }

  /** What is trimmed is not found any more, whether its row is there or not: those that are left go the next time. */
  #trimStrays(from: number, at: number): void {
    this.#sql.exec(
      `DELETE FROM strays_3 WHERE id IN (
         SELECT strays.id FROM strays_3 AS strays JOIN stray_ends_3 AS stray_ends ON stray_ends.seq = strays.seq
         WHERE strays.id < ? AND stray_ends.at <= ? ORDER BY strays.id LIMIT ?)`,
      idFrom(from * placesAMinute),
      at,
      straysForgottenMax,
    );
    this.#strayHours.clear();
  }

  /**
   * The content minute before which ids are to be forgotten where the store is full: a hundredth of it goes by it. Undefined:
   * nothing has ended. Where few have rows of their own, they do not count.
   */
  trimTo(): number | undefined {
    const highs = [...this.#runs.rows.all(), ...this.#members.all()]
      .filter(({ last }) => last !== Number.POSITIVE_INFINITY)
      .map(({ high }) => high)
      .sort((a, b) => a - b);
    const high = highs[Math.floor(highs.length / 100)] ?? this.#strayToTrim();
    return high === undefined ? undefined : (high >>> 8) + 1;
  }

  #strayToTrim(): number | undefined {
    const rows = this.#sql.exec<{ id: ArrayBuffer }>(
      `SELECT strays.id AS id FROM strays_3 AS strays JOIN stray_ends_3 AS stray_ends ON stray_ends.seq = strays.seq ORDER BY strays.id LIMIT ?`,
      straysForgottenMax,
    );
    let last: number | undefined;
    for (const { id } of rows) {
      last = placeOfId(new Uint8Array(id));
    }
    return last;
  }
}

/** What a row has of a group's ids. */
export interface PackedIds {
  readonly low: number;
  readonly high: number;
  readonly count: number;
  readonly records: Uint8Array;
}

function packIds(known: readonly KnownId[]): PackedIds {
  const records = packMembers(known);
  return {
    low: placeOfId(records),
    high: placeOfId(records, records.length - memberBytes),
    count: known.length,
    records,
  };
}

/** `at`: since when the group is over; `group`: which one it is, while it is live. */
interface IdsOfGroup {
  readonly at: number | null;
  readonly group: GroupId | null;
  readonly records: ArrayBuffer;
  readonly [column: string]: SqlStorageValue;
}

interface MembersRow {
  readonly seq: number;
  readonly low: number;
  readonly high: number;
  readonly count: number;
  readonly at: number | null;
  readonly [column: string]: SqlStorageValue;
}

/** Of `placeOfId`: the first three bytes are minutes. An hour has 64 of them here. */
const placesAMinute = 256;
const placesAnHour = 64 * placesAMinute;
const strayHoursMax = 10_000;

/** The first id at or behind a place; one behind all ids where there is none. */
function idFrom(place: number): Uint8Array {
  const bytes = new Uint8Array(place >= 2 ** 32 ? payloadIdBytes + 1 : payloadIdBytes);
  if (place >= 2 ** 32) {
    return bytes.fill(255);
  }
  new DataView(bytes.buffer).setUint32(0, place);
  return bytes;
}

function byPlace(a: Wanted, b: Wanted): number {
  return a.place - b.place;
}

/** Live before over, later before earlier. */
function keepLater(found: Map<PayloadId, PayloadPlace>, { id, place }: Found): void {
  const before = found.get(id);
  const isLater =
    before === undefined || place.at === "group" || (before.at === "done" && place.since >= before.since);
  if (isLater) {
    found.set(id, place);
  }
}

function doneAt(record: { readonly tag: number; readonly outcome: number }, since: number): PayloadPlace {
  return {
    at: "done",
    outcome: outcomeOf(record.outcome),
    tag: record.tag,
    since,
  };
}

function outcomeOf(code: number): EndOutcome {
  const outcomes: readonly EndOutcome[] = ["stored", "dead", "erased"];
  const outcome = outcomes.find((one) => outcomeCodes[one] === code);
  assert(outcome !== undefined, "an id ended in one of the known ways");
  return outcome;
}

function idToHex(id: PayloadId): string {
  return toHex(payloadIdToBytes(id));
}
