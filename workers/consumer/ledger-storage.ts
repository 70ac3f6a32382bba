/**
 * The ledger's state in the Durable Object's SQLite: the same view as `LedgerState`, the same changes. It holds no
 * rule of the protocol. docs/storage.md describes the tables.
 *
 * Rows are what the platform bills, so a payload has none, and a group with its ids is one row, which is written four times: when it
 * is made and leased, stored, over, and deleted (ledger-ids.ts). What waits is one row. Where a leased group is, the instance knows: an
 * index would be a row more at each step.
 */

import { assert, BrokenInvariant, unreachable } from "../../shared/assert.ts";
import type { LedgerCounts } from "../../shared/delivery/ledger-status.ts";
import {
  type DueQueue,
  dueNever,
  dueQueueOf,
  type EndedPayload,
  type Group,
} from "../../shared/ledger/group.ts";
import {
  type GroupKind,
  groupKinds,
  groupsCountOf,
  kindOf,
  type LookedInto,
  noneLookedInto,
} from "../../shared/ledger/group-kinds.ts";
import type { Head } from "../../shared/ledger/head.ts";
import { headAtStart, isNotified, isToWrite } from "../../shared/ledger/head-row.ts";
import { hotSaltBytes } from "../../shared/ledger/hot-ids.ts";
import { isForgotten } from "../../shared/ledger/memory.ts";
import {
  fitsRow,
  groupFromRow,
  groupToRow,
  headFromRow,
  headToRow,
  waitingFromRow,
  waitingToRow,
} from "../../shared/ledger/rows.ts";
import {
  type Change,
  type LedgerView,
  nothingWaits,
  type PayloadPlace,
  type Waiting,
} from "../../shared/ledger/view.ts";
import { limits } from "../../shared/limits.ts";
import { idOfKey, type PayloadId } from "../../shared/payload-key.ts";
import type { GroupId } from "../../shared/receipt.ts";
import type { ChangedMinute } from "../../shared/reconcile/changed-minutes.ts";
import { type IdBounds, LedgerIds, usualBounds } from "./ledger-ids.ts";
import { headDocument, highestSeq, isOfAKind, openSchema, overLane, roles } from "./ledger-schema.ts";
import { LiveGroups } from "./live-groups.ts";

const dueQueueCodes: Readonly<Record<DueQueue, number>> = { insert: 0, other: 1 };

/** Documents beside the machine's own. */
export type NoteName = "reconciler" | "alerts" | "broken" | "wrongTokens";

/** How much of it is in memory. */
export interface StoreBounds extends IdBounds {
  /** Of the groups that are known without reading their rows (live-groups.ts). */
  readonly liveCharsMax: number;
}

export const usualStoreBounds: StoreBounds = { ...usualBounds, liveCharsMax: limits.ledgerLiveCharsMax };

export class LedgerStorage implements LedgerView {
  readonly #storage: DurableObjectStorage;
  readonly #sql: SqlStorage;
  #head: Head | null = null;
  /** The head that was written last: the other one may know more. */
  #written: Head | null = null;
  #waiting: Waiting = nothingWaits;
  /** Groups that are leased, which are in no index. */
  readonly #leased = new Map<GroupId, LeasedGroup>();
  /** The kinds of groups whose rows do not say them: those that are leased, or notified. */
  readonly #kinds = new Map<GroupId, KindOfRow>();
  /** No usual group has a row before this one. */
  #usualFrom = 0;
  /** Groups as their rows have them: most are read again within a second. */
  readonly #live: LiveGroups;
  readonly #ids: LedgerIds;
  /**
   * The number of the next group. It is above every one that a row had when the instance started: hot ids (ledger-ids.ts) know their
   * group by its number, also when its row is merged, and one that were used again would lead them to another group's ids.
   */
  #nextSeq = 1;
  /** What it knows was given up, and could not be read: nothing that was decided by it is applied. */
  #isStale = false;

  /** `salt`: of its hot ids (`hotSaltBytes`). */
  constructor(
    storage: DurableObjectStorage,
    bounds: StoreBounds = usualStoreBounds,
    salt: Uint8Array = crypto.getRandomValues(new Uint8Array(hotSaltBytes)),
  ) {
    this.#storage = storage;
    this.#sql = storage.sql;
    this.#ids = new LedgerIds(storage.sql, bounds, salt);
    this.#live = new LiveGroups(bounds.liveCharsMax);
    openSchema(storage);
    this.#readAll();
  }

  /** As an instance finds it when it starts. */
  #readAll(): void {
    this.#nextSeq = highestSeq(this.#sql) + 1;
    this.#leased.clear();
    this.#kinds.clear();
    this.#live.clear();
    this.#ids.readAll();
    const leased = this.#sql.exec<{ seq: number; id: GroupId; due: number; doc: string }>(
      "SELECT seq, id, due, doc FROM groups_3 WHERE lane = ? AND role = ?",
      dueQueueCodes.other,
      roles.leased,
    );
    const known: Group[] = [];
    for (const { seq, id, due, doc } of leased) {
      const group = groupFromRow(doc);
      this.#leased.set(id, { seq, due });
      this.#kinds.set(id, { seq, kind: kindOf(group) });
      known.push(group);
    }
    const notified = this.#sql.exec<{ seq: number; doc: string }>(
      "SELECT seq, doc FROM groups_3 WHERE role = ?",
      roles.notified,
    );
    for (const { seq, doc } of notified) {
      const group = groupFromRow(doc);
      this.#kinds.set(group.id, { seq, kind: kindOf(group) });
      known.push(group);
    }
    this.#written = this.#readHead();
    this.#head = this.#written && headAtStart(this.#written, known);
    this.#waiting = this.#readWaiting();
  }

  get head(): Head | null {
    return this.#head;
  }

  get waiting(): Waiting {
    return this.#waiting;
  }

  places(ids: readonly PayloadId[]): ReadonlyMap<PayloadId, PayloadPlace> {
    const found = this.#ids.places(ids);
    for (const [id, place] of found) {
      if (place.at === "done" && this.#head !== null && isForgotten(this.#head, id, place.since)) {
        found.delete(id);
      }
    }
    return found;
  }

  group(id: GroupId): Group | undefined {
    const kept = this.#live.get(id);
    if (kept !== undefined) {
      return kept.group;
    }
    const seq = this.#seqOf(id);
    const [row] =
      seq === undefined ? [] : this.#sql.exec<{ doc: string }>("SELECT doc FROM groups_3 WHERE seq = ?", seq);
    return row === undefined ? undefined : groupFromRow(row.doc);
  }

  #seqOf(id: GroupId): number | undefined {
    return (
      this.#leased.get(id)?.seq ??
      this.#live.get(id)?.seq ??
      this.#number(`SELECT seq AS n FROM groups_3 WHERE id = ? AND ${isIdle}`, id)
    );
  }

  groupsDue(queue: DueQueue, now: number, atMost: number): readonly Group[] {
    const due = [
      ...this.#sql.exec<DueGroup>(
        `SELECT seq, id, due FROM groups_3 WHERE lane = ? AND due <= ? AND ${isIdle} ORDER BY due, id LIMIT ?`,
        dueQueueCodes[queue],
        now,
        atMost,
      ),
    ];
    if (queue === "other") {
      for (const [id, leased] of this.#leased) {
        if (leased.due <= now) {
          due.push({ id, ...leased });
        }
      }
      due.sort((a, b) => a.due - b.due || (a.id < b.id ? -1 : 1));
    }
    return groupsOf(this.#rowsOf(due.slice(0, atMost)));
  }

  *#rowsOf(groups: readonly DueGroup[]): Iterable<GroupRow> {
    for (const { id, seq } of groups) {
      const kept = this.#live.get(id);
      if (kept !== undefined) {
        yield kept;
      } else {
        yield* this.#sql.exec<{ doc: string }>("SELECT doc FROM groups_3 WHERE seq = ?", seq);
      }
    }
  }

  nextDue(queue: DueQueue): number | undefined {
    const idle = this.#number(
      `SELECT min(due) AS n FROM groups_3 WHERE lane = ? AND ${isIdle}`,
      dueQueueCodes[queue],
    );
    let next = idle ?? Number.POSITIVE_INFINITY;
    if (queue === "other") {
      for (const { due } of this.#leased.values()) {
        next = Math.min(next, due);
      }
    }
    return next === Number.POSITIVE_INFINITY ? undefined : next;
  }

  /** The content minute before which ids are to be forgotten where the store is full. Undefined: there is nothing to forget. */
  trimTo(): number | undefined {
    return this.#ids.trimTo();
  }

  get databaseBytes(): number {
    return this.#sql.databaseSize;
  }

  get groupsCount(): number {
    return this.#leased.size + (this.#number(`SELECT count(*) AS n FROM groups_3 WHERE ${isIdle}`) ?? 0);
  }

  counts(): LedgerCounts {
    return {
      waiting: this.#waiting.payloads.length,
      groups: this.groupsCount,
      remembered: this.#ids.remembered,
      databaseBytes: this.databaseBytes,
    };
  }

  /** The longest living groups, for people who look. */
  oldestGroups(atMost: number): readonly Group[] {
    return groupsOf(
      this.#sql.exec<{ doc: string }>(
        `SELECT doc FROM groups_3 WHERE lane <> ${overLane} ORDER BY seq LIMIT ?`,
        atMost,
      ),
    );
  }

  heldGroups(atMost: number): readonly Group[] {
    return groupsOf(
      this.#sql.exec<{ doc: string }>(
        `SELECT doc FROM groups_3 WHERE lane = ? AND due = ? AND ${isIdle} ORDER BY id LIMIT ?`,
        dueQueueCodes.other,
        dueNever,
        atMost,
      ),
    );
  }

  /** Of each kind the longest living groups, fewer where they are large; and how many there are. For people who look. */
  groupsLookedInto(atMost: number): LookedInto {
    const counts = this.#countKinds();
    const looked: LookedRow[] = [];
    for (const kind of groupKinds) {
      if (counts[kind] === 0) {
        continue;
      }
      const known = [...this.#kinds].flatMap(([id, row]) =>
        row.kind === kind ? [{ id, seq: row.seq }] : [],
      );
      const rows = [...known, ...this.#rowsOfKind(kind, atMost)]
        .sort((a, b) => a.seq - b.seq)
        .slice(0, atMost);
      let chars = 0;
      for (const { id, seq } of rows) {
        for (const row of this.#rowsOf([{ id, seq, due: 0 }])) {
          chars += "doc" in row ? row.doc.length : row.chars;
          looked.push({ seq, row });
        }
        if (chars > limits.groupsLookedBytesMax) {
          break;
        }
      }
    }
    looked.sort((a, b) => a.seq - b.seq);
    return { groups: looked.map(({ row }) => groupOf(row)), counts };
  }

  /** The longest living groups of a kind that wait: their rows say it, but for those that an earlier version wrote. */
  #rowsOfKind(kind: GroupKind, atMost: number): readonly { readonly id: GroupId; readonly seq: number }[] {
    if (kind === "usual") {
      const found = [
        ...this.#sql.exec<{ id: GroupId; seq: number }>(
          `SELECT id, seq FROM groups_3 WHERE seq >= ? AND role = ${roles.idle} AND due < ${dueNever} ORDER BY seq LIMIT ?`,
          this.#usualFrom,
          atMost,
        ),
      ];
      this.#usualFrom = found[0]?.seq ?? this.#nextSeq;
      return found;
    }
    const where =
      kind === "held"
        ? `lane = ${dueQueueCodes.other} AND due = ${dueNever} AND ${isIdle}`
        : `${isOfAKind} AND role = ${roles[kind]}`;
    return [
      ...this.#sql.exec<{ id: GroupId; seq: number }>(
        `SELECT id, seq FROM groups_3 WHERE ${where} ORDER BY seq LIMIT ?`,
        atMost,
      ),
    ];
  }

  #countKinds(): LookedInto["counts"] {
    const counts = { ...noneLookedInto.counts };
    const rows = this.#sql.exec<{ role: number; n: number }>(
      `SELECT role, count(*) AS n FROM groups_3 WHERE ${isOfAKind} GROUP BY role`,
    );
    for (const { role, n } of rows) {
      const kind = groupKinds.find((one) => one in roles && roles[one as keyof typeof roles] === role);
      if (kind !== undefined) {
        counts[kind] += n;
      } // else a later version wrote it, before a rollback: it is counted as usual
    }
    counts.held =
      this.#number(
        `SELECT count(*) AS n FROM groups_3 WHERE lane = ${dueQueueCodes.other} AND due = ${dueNever} AND ${isIdle}`,
      ) ?? 0;
    for (const { kind } of this.#kinds.values()) {
      counts[kind]++;
    }
    counts.usual += this.groupsCount - groupsCountOf({ counts });
    return counts;
  }

  /** A document that is none of the machine's. */
  note(name: NoteName): unknown {
    const doc = this.#readDocument(name);
    return doc === undefined ? undefined : JSON.parse(doc);
  }

  keepNote(name: NoteName, note: object): void {
    this.#writeDocument(name, JSON.stringify(note));
  }

  /** Applies all changes, or throws and has applied none. */
  apply(changes: readonly Change[]): void {
    if (changes.length === 0) {
      return;
    }
    try {
      if (this.#isStale) {
        throw new Error("what the store knows could not be read");
      }
      this.#storage.transactionSync(() => {
        for (const change of changes) {
          this.#applyOne(change);
        }
      });
    } catch (cause) {
      this.#isStale = true;
      this.#readAll();
      this.#isStale = false;
      if (cause instanceof BrokenInvariant) {
        throw cause;
      }
      throw new Error("the ledger could not persist", { cause });
    }
  }

  #applyOne(change: Change): void {
    switch (change.kind) {
      case "head":
        if (isToWrite(this.#written, change.head)) {
          this.#writeDocument(headDocument, headToRow(change.head));
          this.#written = change.head;
        }
        this.#head = change.head;
        break;
      case "waiting":
        this.#writeDocument("waiting", waitingToRow(change.waiting));
        this.#waiting = change.waiting;
        break;
      case "group":
        this.#writeGroup(change.group, change.isNew);
        break;
      case "end":
        this.#end(change.group, change.ended, change.at);
        break;
      case "forget":
        this.#ids.forget(this.#head ?? {});
        break;
      default:
        unreachable(change);
    }
  }

  #writeDocument(name: string, doc: string): void {
    assertFits(name, doc);
    this.#sql.exec(
      "INSERT INTO documents (name, doc) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET doc = excluded.doc",
      name,
      doc,
    );
  }

  #writeGroup(group: Group, isNew: boolean): void {
    const doc = groupToRow(group);
    const role = roleOf(group);
    const lane = dueQueueCodes[dueQueueOf(group)];
    const seq = isNew ? this.#nextSeq++ : this.#seqOf(group.id);
    assert(seq !== undefined, "an old group is there");
    if (role === roles.leased) {
      this.#leased.set(group.id, { seq, due: group.due });
    } else {
      this.#leased.delete(group.id);
    }
    if (role === roles.leased || role === roles.notified) {
      this.#kinds.set(group.id, { seq, kind: kindOf(group) });
    } else {
      this.#kinds.delete(group.id);
    }
    if (role === roles.idle) {
      this.#usualFrom = Math.min(this.#usualFrom, seq);
    }
    this.#live.keep(seq, group, doc.length);
    if (!isNew) {
      assertFits(group.id, doc, this.#ids.recordBytes(seq));
      this.#sql.exec(
        "UPDATE groups_3 SET lane = ?, due = ?, role = ?, doc = ? WHERE seq = ?",
        lane,
        group.due,
        role,
        doc,
        seq,
      );
      return;
    }
    const ids = this.#ids.place(
      seq,
      group.payloads.map(({ key }) => key),
    );
    assertFits(group.id, doc, ids?.records.length);
    this.#sql.exec(
      `INSERT INTO groups_3 (seq, id, lane, due, role, doc, low, high, count, at, records)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)`,
      seq,
      group.id,
      lane,
      group.due,
      role,
      doc,
      ids?.low ?? null,
      ids?.high ?? null,
      ids?.count ?? null,
      ids?.records ?? null,
    );
  }

  #end(id: GroupId, ended: readonly EndedPayload[], at: number): void {
    const seq = this.#seqOf(id);
    const group = this.group(id);
    assert(seq !== undefined && group !== undefined, "a group that ends is there");
    this.#leased.delete(id);
    this.#kinds.delete(id);
    this.#live.delete(id);
    this.#ids.end(
      seq,
      group.payloads.map(({ key }) => idOfKey(key)),
      ended,
      at,
    );
  }

  /** Notes these minutes as changed, under one stamp that none had before. */
  noteChanged(minutes: readonly number[], now: number): void {
    if (minutes.length > 0) {
      const stamp = Math.max(now, (this.#number("SELECT MAX(stamp) AS n FROM changed") ?? 0) + 1);
      this.#sql.exec(
        "INSERT OR REPLACE INTO changed (minute, stamp) SELECT value, ? FROM json_each(?)",
        stamp,
        JSON.stringify(minutes),
      );
    }
  }

  /** Minutes that were noted as changed, those noted first, at most `atMost`. */
  changedMinutes(atMost: number): readonly ChangedMinute[] {
    return [
      ...this.#sql.exec<{ minute: number; stamp: number }>(
        "SELECT minute, stamp FROM changed ORDER BY stamp LIMIT ?",
        atMost,
      ),
    ];
  }

  /** Forgets these notes; one that was made again since has another stamp, and stays. */
  forgetChanged(changed: readonly ChangedMinute[]): void {
    for (const { minute, stamp } of changed) {
      this.#sql.exec("DELETE FROM changed WHERE minute = ? AND stamp = ?", minute, stamp);
    }
  }

  #readDocument(name: string): string | undefined {
    const [row] = this.#sql.exec<{ doc: string }>("SELECT doc FROM documents WHERE name = ?", name);
    return row?.doc;
  }

  #readHead(): Head | null {
    const doc = this.#readDocument(headDocument);
    return doc === undefined ? null : headFromRow(doc);
  }

  #readWaiting(): Waiting {
    const doc = this.#readDocument("waiting");
    return doc === undefined ? nothingWaits : waitingFromRow(doc);
  }

  #number(query: string, ...bindings: readonly SqlStorageValue[]): number | undefined {
    const [row] = this.#sql.exec<{ n: number | null }>(query, ...bindings);
    return row?.n ?? undefined;
  }
}

/** A group that is leased: where it is, and until when. */
interface LeasedGroup {
  readonly seq: number;
  readonly due: number;
}

interface KindOfRow {
  readonly seq: number;
  readonly kind: GroupKind;
}

interface LookedRow {
  readonly seq: number;
  readonly row: GroupRow;
}

interface DueGroup extends LeasedGroup {
  readonly id: GroupId;
  readonly [column: string]: SqlStorageValue;
}

/** Of a row of `groups`: it is in the indexes. In the words in which they say it, or SQLite does not use them. */
const isIdle = `role <> ${roles.leased}`;

function roleOf(group: Group): number {
  if (group.state.lease !== null) {
    return roles.leased;
  }
  if (isNotified(group)) {
    return roles.notified;
  }
  const kind = kindOf(group);
  // What is held is known by its time.
  return kind === "usual" || kind === "held" ? roles.idle : roles[kind];
}

/** The platform refuses a larger row; local workerd does not, so that only this shows it. */
function assertFits(name: string, doc: string, idBytes?: number): void {
  assert(fitsRow(name, doc, idBytes), "a row of the ledger is within what SQLite takes");
}

/** A group as its row has it, or as it is known without reading that. */
type GroupRow = { readonly doc: string } | { readonly group: Group; readonly chars: number };

/** Fewer than were asked for where they are large, and one at least: what is due still is due at the next alarm. */
function groupsOf(rows: Iterable<GroupRow>): readonly Group[] {
  const groups: Group[] = [];
  let chars = 0;
  for (const row of rows) {
    chars += "doc" in row ? row.doc.length : row.chars;
    if (groups.length > 0 && chars > limits.ledgerRowsReadBytesMax) {
      break;
    }
    groups.push(groupOf(row));
  }
  return groups;
}

function groupOf(row: GroupRow): Group {
  return "doc" in row ? groupFromRow(row.doc) : row.group;
}
