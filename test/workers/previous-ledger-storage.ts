/**
 * The ledger's store as it was before decision 0087: its statements, word for word, with those of its tables behind it. A deployment that
 * is rolled back runs it on the storage that the present one wrote, and the present one takes over what it leaves.
 */
import { assert, BrokenInvariant, unreachable } from "../../shared/assert.ts";
import {
  type DueQueue,
  dueNever,
  dueQueueOf,
  type EndedPayload,
  type EndOutcome,
  type Group,
} from "../../shared/ledger/group.ts";
import type { Head } from "../../shared/ledger/head.ts";
import { headAtStart, isNotified, isToWrite } from "../../shared/ledger/head-row.ts";
import { tagOfEnded } from "../../shared/ledger/key-tag.ts";
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
import { limits, MINUTE_MS } from "../../shared/limits.ts";
import {
  formatPayloadId,
  idOfKey,
  minuteOfKey,
  minuteToMs,
  type PayloadId,
  type PayloadKey,
  payloadIdBytes,
  payloadIdToBytes,
} from "../../shared/payload-key.ts";
import type { GroupId } from "../../shared/receipt.ts";

/** How an id ended, as its row says it. Never renumbered. */
const outcomeCodes: Readonly<Record<EndOutcome, number>> = { stored: 0, dead: 1, erased: 2 };
/** What a group is to the indexes. Never renumbered. */
const roles = { idle: 0, leased: 1, notified: 2 } as const;
const dueQueueCodes: Readonly<Record<DueQueue, number>> = { insert: 0, other: 1 };

export class PreviousLedgerStorage implements LedgerView {
  readonly #storage: DurableObjectStorage;
  readonly #sql: SqlStorage;
  #head: Head | null = null;
  /** The head that was written last: the other one may know more. */
  #written: Head | null = null;
  #waiting: Waiting = nothingWaits;
  /** Groups that are leased, which are in no index. */
  readonly #leased = new Map<GroupId, LeasedGroup>();
  /** The number of the next group, and up to which none is written down. Null: to be read when it is needed. */
  #seqs: { next: number; readonly reserved: number } | null = null;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    this.#sql = storage.sql;
    openSchema(storage);
    this.#readAll();
  }

  /** As an instance finds it when it starts. */
  #readAll(): void {
    this.#seqs = null;
    this.#leased.clear();
    const leased = this.#sql.exec<{ seq: number; id: GroupId; due: number; doc: string }>(
      "SELECT seq, id, due, doc FROM groups WHERE lane = ? AND role = ?",
      dueQueueCodes.other,
      roles.leased,
    );
    const known: Group[] = [];
    for (const { seq, id, due, doc } of leased) {
      this.#leased.set(id, { seq, due });
      known.push(groupFromRow(doc));
    }
    const notified = this.#sql.exec<{ doc: string }>("SELECT doc FROM groups WHERE role = ?", roles.notified);
    known.push(...[...notified].map(({ doc }) => groupFromRow(doc)));
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
    const found = new Map<PayloadId, PayloadPlace>();
    if (ids.length === 0) {
      return found;
    }
    // One statement for any number of ids: bound parameters end at 100 (Durable Objects, SQLite limits).
    const rows = this.#sql.exec<{
      id: ArrayBuffer;
      minute: number;
      outcome: number;
      live: GroupId | null;
      at: number | null;
    }>(
      `SELECT ids.id AS id, ids.minute AS minute, ids.outcome AS outcome, groups.id AS live, finished.at AS at
       FROM json_each(?) AS asked JOIN ids ON ids.id = unhex(asked.value)
       LEFT JOIN groups ON groups.seq = ids.seq LEFT JOIN finished ON finished.seq = ids.seq`,
      JSON.stringify(ids.map(idToHex)),
    );
    for (const { id, minute, outcome, live, at } of rows) {
      const payload = formatPayloadId(new Uint8Array(id));
      if (live !== null) {
        found.set(payload, { at: "group", group: live });
      } else {
        assert(at !== null, "an id's group is live or finished");
        found.set(payload, {
          at: "done",
          outcome: outcomeOf(outcome),
          tag: minute,
          since: at,
        });
      }
    }
    return found;
  }

  group(id: GroupId): Group | undefined {
    const seq = this.#seqOf(id);
    const [row] =
      seq === undefined ? [] : this.#sql.exec<{ doc: string }>("SELECT doc FROM groups WHERE seq = ?", seq);
    return row === undefined ? undefined : groupFromRow(row.doc);
  }

  #seqOf(id: GroupId): number | undefined {
    return (
      this.#leased.get(id)?.seq ?? this.#number(`SELECT seq AS n FROM groups WHERE id = ? AND ${isIdle}`, id)
    );
  }

  groupsDue(queue: DueQueue, now: number, atMost: number): readonly Group[] {
    const due = [
      ...this.#sql.exec<DueGroup>(
        `SELECT seq, id, due FROM groups WHERE lane = ? AND due <= ? AND ${isIdle} ORDER BY due, id LIMIT ?`,
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
    return groupsOf(this.#docs(due.slice(0, atMost)));
  }

  *#docs(groups: readonly DueGroup[]): Iterable<{ readonly doc: string }> {
    for (const { seq } of groups) {
      yield* this.#sql.exec<{ doc: string }>("SELECT doc FROM groups WHERE seq = ?", seq);
    }
  }

  nextDue(queue: DueQueue): number | undefined {
    const idle = this.#number(
      `SELECT min(due) AS n FROM groups WHERE lane = ? AND ${isIdle}`,
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

  heldGroups(atMost: number): readonly Group[] {
    return groupsOf(
      this.#sql.exec<{ doc: string }>(
        `SELECT doc FROM groups WHERE lane = ? AND due = ? AND ${isIdle} ORDER BY id LIMIT ?`,
        dueQueueCodes.other,
        dueNever,
        atMost,
      ),
    );
  }

  /** Applies all changes, or throws and has applied none. */
  apply(changes: readonly Change[]): void {
    if (changes.length === 0) {
      return;
    }
    try {
      this.#storage.transactionSync(() => {
        for (const change of changes) {
          this.#applyOne(change);
        }
      });
    } catch (cause) {
      this.#readAll();
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
          this.#writeDocument("head", headToRow(change.head));
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
        this.#forget(this.#head?.forgottenBefore ?? 0, 500);
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
    assertFits(group.id, doc);
    const role = roleOf(group);
    const lane = dueQueueCodes[dueQueueOf(group)];
    const seq = isNew ? this.#drawSeq() : this.#seqOf(group.id);
    assert(seq !== undefined, "an old group is there");
    if (role === roles.leased) {
      this.#leased.set(group.id, { seq, due: group.due });
    } else {
      this.#leased.delete(group.id);
    }
    if (!isNew) {
      this.#sql.exec(
        "UPDATE groups SET lane = ?, due = ?, role = ?, doc = ? WHERE seq = ?",
        lane,
        group.due,
        role,
        doc,
        seq,
      );
      return;
    }
    this.#sql.exec(
      "INSERT INTO groups (seq, id, lane, due, role, doc) VALUES (?, ?, ?, ?, ?, ?)",
      seq,
      group.id,
      lane,
      group.due,
      role,
      doc,
    );
    if (group.payloads.length > 0) {
      this.#sql.exec(
        `INSERT INTO ids (id, seq, minute, outcome)
         SELECT unhex(value ->> 0), ?, value ->> 1, 0 FROM json_each(?) WHERE true
         ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, minute = excluded.minute, outcome = 0`,
        seq,
        JSON.stringify(group.payloads.map(({ key }) => idAndMinute(key))),
      );
    }
  }

  /** Numbers rise, and none is used again while anything refers to it. */
  #drawSeq(): number {
    this.#seqs ??= { next: highestSeq(this.#sql) + 1, reserved: reservedTo(this.#sql) };
    const { next } = this.#seqs;
    const reserved = next > this.#seqs.reserved ? reserveSeqs(this.#sql, next) : this.#seqs.reserved;
    this.#seqs = { next: next + 1, reserved };
    return next;
  }

  #end(id: GroupId, ended: readonly EndedPayload[], at: number): void {
    const seq = this.#seqOf(id);
    assert(seq !== undefined, "a group that ends is there");
    this.#sql.exec("DELETE FROM groups WHERE seq = ?", seq);
    this.#leased.delete(id);
    if (ended.length === 0) {
      return;
    }
    const ids = new Uint8Array(ended.length * payloadIdBytes);
    for (const [i, payload] of ended.entries()) {
      ids.set(payloadIdToBytes(idOfKey(payload.key)), i * payloadIdBytes);
    }
    this.#sql.exec("INSERT INTO finished (seq, at, ids) VALUES (?, ?, ?)", seq, at, ids);
    // Mostly nothing changes: `stored` under the key that the id was placed with. Only what differs is written.
    this.#sql.exec(
      `UPDATE ids SET minute = ended.value ->> 1, outcome = ended.value ->> 2 FROM json_each(?) AS ended
       WHERE ids.id = unhex(ended.value ->> 0)
         AND (ids.minute <> ended.value ->> 1 OR ids.outcome <> ended.value ->> 2)`,
      JSON.stringify(
        ended.map((one) => [idToHex(idOfKey(one.key)), tagOfEnded(one), outcomeCodes[one.outcome]]),
      ),
    );
  }

  #forget(before: number, groups: number): void {
    const rows = [
      ...this.#sql.exec<{ seq: number; ids: ArrayBuffer }>(
        "SELECT seq, ids FROM (SELECT seq, at, ids FROM finished ORDER BY seq LIMIT ?) WHERE at < ?",
        groups,
        before,
      ),
    ];
    for (const { seq, ids } of rows) {
      const hex: string[] = [];
      for (let at = 0; at < ids.byteLength; at += payloadIdBytes) {
        hex.push(bytesToHex(new Uint8Array(ids, at, payloadIdBytes)));
      }
      // An id that was sent again since is another group's now, and stays.
      this.#sql.exec(
        "DELETE FROM ids WHERE id IN (SELECT unhex(value) FROM json_each(?)) AND seq = ?",
        JSON.stringify(hex),
        seq,
      );
      this.#sql.exec("DELETE FROM finished WHERE seq = ?", seq);
    }
  }

  #readDocument(name: string): string | undefined {
    const [row] = this.#sql.exec<{ doc: string }>("SELECT doc FROM documents WHERE name = ?", name);
    return row?.doc;
  }

  #readHead(): Head | null {
    const doc = this.#readDocument("head");
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
  return isNotified(group) ? roles.notified : roles.idle;
}

/** The platform refuses a larger row; local workerd does not, so that only this shows it. */
function assertFits(name: string, doc: string): void {
  assert(fitsRow(name, doc), "a row of the ledger is within what SQLite takes");
}

/** Fewer than were asked for where they are large, and one at least: what is due still is due at the next alarm. */
function groupsOf(rows: Iterable<{ readonly doc: string }>): readonly Group[] {
  const groups: Group[] = [];
  let chars = 0;
  for (const { doc } of rows) {
    chars += doc.length;
    if (groups.length > 0 && chars > limits.ledgerRowsReadBytesMax) {
      break;
    }
    groups.push(groupFromRow(doc));
  }
  return groups;
}

function outcomeOf(code: number): EndOutcome {
  const outcomes: readonly EndOutcome[] = ["stored", "dead", "erased"];
  const outcome = outcomes.find((one) => outcomeCodes[one] === code);
  assert(outcome !== undefined, "an id ended in one of the known ways");
  return outcome;
}

function idAndMinute(key: PayloadKey): readonly [string, number] {
  return [idToHex(idOfKey(key)), minuteToMs(minuteOfKey(key)) / MINUTE_MS];
}

function idToHex(id: PayloadId): string {
  return bytesToHex(payloadIdToBytes(id));
}

function bytesToHex(bytes: Uint8Array): string {
  let hex = "";
  for (const byte of bytes) {
    hex += byte.toString(16).padStart(2, "0");
  }
  return hex;
}

// --- its tables

// AUTOINCREMENT is for an earlier version, which leaves the number of a group to SQLite: it must be one that no group had.
const groupColumns = `
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, lane INTEGER NOT NULL, due INTEGER NOT NULL,
  role INTEGER NOT NULL DEFAULT ${roles.idle}, doc TEXT NOT NULL`;

const tables = `
  CREATE TABLE IF NOT EXISTS documents (name TEXT PRIMARY KEY, doc TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS groups (${groupColumns});
  CREATE TABLE IF NOT EXISTS ids (
    id BLOB PRIMARY KEY, seq INTEGER NOT NULL, minute INTEGER NOT NULL, outcome INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS finished (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, ids BLOB NOT NULL);
  CREATE TABLE IF NOT EXISTS changed (minute INTEGER PRIMARY KEY, stamp INTEGER NOT NULL);
  CREATE INDEX IF NOT EXISTS changed_stamp ON changed (stamp);
`;

const indexes = `
  CREATE INDEX IF NOT EXISTS groups_idle ON groups (lane, due, id) WHERE role <> ${roles.leased};
  CREATE INDEX IF NOT EXISTS groups_idle_id ON groups (id) WHERE role <> ${roles.leased};
  CREATE INDEX IF NOT EXISTS groups_notified ON groups (due) WHERE role = ${roles.notified};
`;

/** As many groups as are copied into a table without the index that every group's id had. More: at a later start. */
const copiedAtOnceMax = 1000;

/** Numbers of groups that are reserved at once: SQLite writes down the highest one whenever it rises. */
const seqsReserved = 10_000;

/** Makes the tables, or takes over what is there. */
function openSchema(storage: DurableObjectStorage): void {
  const { sql } = storage;
  const found = readSchema(sql);
  if (found.has("groups_idle") && !found.has("groups_due") && !isUnique(found)) {
    return;
  }
  storage.transactionSync(() => {
    sql.exec(tables);
    if (found.has("groups")) {
      takeBack(sql, found);
    }
    sql.exec(indexes);
  });
}

function readSchema(sql: SqlStorage): ReadonlyMap<string, string> {
  const rows = sql.exec<{ name: string; sql: string }>(
    "SELECT name, sql FROM sqlite_master WHERE name IN ('groups', 'groups_due', 'groups_idle')",
  );
  return new Map([...rows].map((row) => [row.name, row.sql]));
}

/** Has the table an index of its groups' ids, as an earlier version made it? */
function isUnique(found: ReadonlyMap<string, string>): boolean {
  return found.get("groups")?.includes("UNIQUE") === true;
}

/** From an earlier version: the roles by what each group's document says, and no index but ours. */
function takeBack(sql: SqlStorage, found: ReadonlyMap<string, string>): void {
  if (!found.get("groups")?.includes("role")) {
    sql.exec(`ALTER TABLE groups ADD COLUMN role INTEGER NOT NULL DEFAULT ${roles.idle}`);
  }
  if (found.has("groups_due")) {
    sql.exec(`
      UPDATE groups SET role = CASE
        WHEN lane = 1 AND json_extract(doc, '$.state.lease') IS NOT NULL THEN ${roles.leased}
        WHEN lane = 0 AND json_extract(doc, '$.rings') > 0 THEN ${roles.notified}
        ELSE ${roles.idle} END;
      DROP INDEX groups_due;
      DROP INDEX IF EXISTS finished_at;
    `);
  }
  if (isUnique(found)) {
    const [count] = sql.exec<{ n: number }>("SELECT count(*) AS n FROM groups");
    if (count !== undefined && count.n <= copiedAtOnceMax) {
      copyGroups(sql);
    }
  }
}

function copyGroups(sql: SqlStorage): void {
  const last = lastSeq(sql);
  sql.exec(`
    CREATE TABLE groups_next (${groupColumns});
    INSERT INTO groups_next (seq, id, lane, due, role, doc) SELECT seq, id, lane, due, role, doc FROM groups;
    DROP TABLE groups;
    ALTER TABLE groups_next RENAME TO groups;
  `);
  reserveSeqs(sql, last);
}

/** The highest number that a group had whose payloads are known, or that an earlier version may give the next one. */
function lastSeq(sql: SqlStorage): number {
  return Math.max(highestSeq(sql), reservedTo(sql));
}

/** The highest number of a group that is live or remembered: no id refers to any other. */
function highestSeq(sql: SqlStorage): number {
  const [row] = sql.exec<{ n: number }>(
    "SELECT max(ifnull((SELECT max(seq) FROM groups), 0), ifnull((SELECT max(seq) FROM finished), 0)) AS n",
  );
  return row?.n ?? 0;
}

/** Up to which number SQLite has written down that groups had it. */
function reservedTo(sql: SqlStorage): number {
  const [row] = sql.exec<{ seq: number }>("SELECT seq FROM sqlite_sequence WHERE name = 'groups'");
  return row?.seq ?? 0;
}

/** Reserves numbers from `seq` on: SQLite writes nothing down for them any more. Returns the last one. */
function reserveSeqs(sql: SqlStorage, seq: number): number {
  const last = seq + seqsReserved;
  sql.exec("INSERT INTO groups (seq, id, lane, due, doc) VALUES (?, '', 0, 0, '')", last);
  sql.exec("DELETE FROM groups WHERE seq = ?", last);
  return last;
}
