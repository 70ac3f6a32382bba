/**
 * The ledger's state in the Durable Object's SQLite: the same view as `LedgerState`, the same changes. It holds no
 * rule of the protocol. docs/storage.md describes the tables.
 *
 * Rows are what the platform bills, so a payload costs two: one when its group is made, one delete when it is
 * forgotten. Whether it is live or done follows from its group's row, and what waits is one row altogether.
 */
import { assert, unreachable } from "../../shared/assert.ts";
import type { Group, GroupId, GroupPayload } from "../../shared/ledger/group.ts";
import {
  type Change,
  type EndOutcome,
  type LedgerView,
  nothingWaits,
  type Place,
  type Waiting,
} from "../../shared/ledger/view.ts";
import {
  formatMinute,
  formatPayloadId,
  idOfKey,
  minuteToMs,
  type PayloadId,
  parsePayloadKey,
  payloadIdBytes,
  payloadIdToBytes,
} from "../../shared/payload-key.ts";

const MINUTE_MS = 60_000;

/** How an id ended, as its row says it. Never renumbered. */
const outcomeCodes: Readonly<Record<EndOutcome, number>> = { stored: 0 };

const schema = `
  CREATE TABLE IF NOT EXISTS documents (name TEXT PRIMARY KEY, doc TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS groups (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, due INTEGER NOT NULL, doc TEXT NOT NULL
  );
  CREATE INDEX IF NOT EXISTS groups_due ON groups (due, id);
  CREATE TABLE IF NOT EXISTS ids (
    id BLOB PRIMARY KEY, seq INTEGER NOT NULL, minute INTEGER NOT NULL, outcome INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS finished (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, ids BLOB NOT NULL);
  CREATE INDEX IF NOT EXISTS finished_at ON finished (at);
`;

export interface LedgerCounts {
  readonly waiting: number;
  readonly groups: number;
  readonly remembered: number;
  readonly databaseBytes: number;
}

export class LedgerStorage implements LedgerView {
  readonly #storage: DurableObjectStorage;
  readonly #sql: SqlStorage;
  #waiting: Waiting;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    this.#sql = storage.sql;
    this.#sql.exec(schema);
    this.#waiting = this.#readWaiting();
  }

  get waiting(): Waiting {
    return this.#waiting;
  }

  places(ids: readonly PayloadId[]): ReadonlyMap<PayloadId, Place> {
    const found = new Map<PayloadId, Place>();
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
          minute: formatMinute(minute * MINUTE_MS),
          since: at,
        });
      }
    }
    return found;
  }

  group(id: GroupId): Group | undefined {
    const [row] = this.#sql.exec<{ doc: string }>("SELECT doc FROM groups WHERE id = ?", id);
    return row === undefined ? undefined : readGroup(row.doc);
  }

  groupsDue(now: number, atMost: number): readonly Group[] {
    const rows = this.#sql.exec<{ doc: string }>(
      "SELECT doc FROM groups WHERE due <= ? ORDER BY due, id LIMIT ?",
      now,
      atMost,
    );
    return [...rows].map(({ doc }) => readGroup(doc));
  }

  nextDue(): number | undefined {
    return this.#number("SELECT min(due) AS n FROM groups");
  }

  oldestFinished(): number | undefined {
    return this.#number("SELECT min(at) AS n FROM finished");
  }

  counts(): LedgerCounts {
    return {
      waiting: this.#waiting.payloads.length,
      groups: this.#number("SELECT count(*) AS n FROM groups") ?? 0,
      remembered: (this.#number("SELECT sum(length(ids)) AS n FROM finished") ?? 0) / payloadIdBytes,
      databaseBytes: this.#sql.databaseSize,
    };
  }

  /** The longest living groups, for people who look. */
  oldestGroups(atMost: number): readonly Group[] {
    const rows = this.#sql.exec<{ doc: string }>("SELECT doc FROM groups ORDER BY seq LIMIT ?", atMost);
    return [...rows].map(({ doc }) => readGroup(doc));
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
      this.#waiting = this.#readWaiting();
      throw new Error("the ledger could not persist", { cause });
    }
  }

  #applyOne(change: Change): void {
    switch (change.kind) {
      case "waiting":
        this.#sql.exec(
          "INSERT INTO documents (name, doc) VALUES ('waiting', ?) ON CONFLICT (name) DO UPDATE SET doc = excluded.doc",
          JSON.stringify(change.waiting),
        );
        this.#waiting = change.waiting;
        break;
      case "group":
        this.#writeGroup(change.group, change.isNew);
        break;
      case "end":
        this.#end(change.group, change.ended, change.at);
        break;
      case "forget":
        this.#forget(change.before);
        break;
      default:
        unreachable(change);
    }
  }

  #writeGroup(group: Group, isNew: boolean): void {
    const doc = JSON.stringify(group);
    if (!isNew) {
      const { rowsWritten } = this.#sql.exec(
        "UPDATE groups SET due = ?, doc = ? WHERE id = ?",
        group.due,
        doc,
        group.id,
      );
      assert(rowsWritten > 0, "an old group is there");
      return;
    }
    this.#sql.exec("INSERT INTO groups (id, due, doc) VALUES (?, ?, ?)", group.id, group.due, doc);
    if (group.payloads.length > 0) {
      this.#sql.exec(
        `INSERT INTO ids (id, seq, minute, outcome)
         SELECT unhex(value ->> 0), last_insert_rowid(), value ->> 1, 0 FROM json_each(?) WHERE true
         ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, minute = excluded.minute, outcome = 0`,
        JSON.stringify(group.payloads.map(idAndMinute)),
      );
    }
  }

  #end(id: GroupId, ended: Extract<Change, { kind: "end" }>["ended"], at: number): void {
    const seq = this.#number("SELECT seq AS n FROM groups WHERE id = ?", id);
    assert(seq !== undefined, "a group that ends is there");
    this.#sql.exec("DELETE FROM groups WHERE seq = ?", seq);
    if (ended.length === 0) {
      return;
    }
    const ids = new Uint8Array(ended.length * payloadIdBytes);
    for (const [i, payload] of ended.entries()) {
      ids.set(payloadIdToBytes(payload.id), i * payloadIdBytes);
    }
    this.#sql.exec("INSERT INTO finished (seq, at, ids) VALUES (?, ?, ?)", seq, at, ids);
    const others = ended.filter(({ outcome }) => outcome !== "stored");
    if (others.length > 0) {
      this.#sql.exec(
        `UPDATE ids SET outcome = ended.value ->> 1 FROM json_each(?) AS ended WHERE ids.id = unhex(ended.value ->> 0)`,
        JSON.stringify(others.map((payload) => [idToHex(payload.id), outcomeCodes[payload.outcome]])),
      );
    }
  }

  #forget(before: number): void {
    const rows = [
      ...this.#sql.exec<{ seq: number; ids: ArrayBuffer }>(
        "SELECT seq, ids FROM finished WHERE at < ?",
        before,
      ),
    ];
    for (const { seq, ids } of rows) {
      const hex: string[] = [];
      for (let at = 0; at < ids.byteLength; at += payloadIdBytes) {
        hex.push(bytesToHex(new Uint8Array(ids, at, payloadIdBytes)));
      }
      // An id that has come again since is another group's now, and stays.
      this.#sql.exec(
        "DELETE FROM ids WHERE id IN (SELECT unhex(value) FROM json_each(?)) AND seq = ?",
        JSON.stringify(hex),
        seq,
      );
      this.#sql.exec("DELETE FROM finished WHERE seq = ?", seq);
    }
  }

  #readWaiting(): Waiting {
    const [row] = this.#sql.exec<{ doc: string }>("SELECT doc FROM documents WHERE name = 'waiting'");
    if (row === undefined) {
      return nothingWaits;
    }
    const waiting: Waiting = JSON.parse(row.doc);
    assert(Array.isArray(waiting.payloads), "what waits was written by this class");
    return waiting;
  }

  #number(query: string, ...bindings: readonly SqlStorageValue[]): number | undefined {
    const [row] = this.#sql.exec<{ n: number | null }>(query, ...bindings);
    return row?.n ?? undefined;
  }
}

function readGroup(doc: string): Group {
  const group: Group = JSON.parse(doc);
  assert(Array.isArray(group.payloads), "a group was written by this class");
  return group;
}

function outcomeOf(code: number): EndOutcome {
  const outcomes: readonly EndOutcome[] = ["stored"];
  const outcome = outcomes.find((one) => outcomeCodes[one] === code);
  assert(outcome !== undefined, "an id ended in one of the known ways");
  return outcome;
}

function idAndMinute({ key }: GroupPayload): readonly [string, number] {
  const parts = parsePayloadKey(key);
  assert(parts !== undefined, "a group's keys are payload keys");
  return [idToHex(idOfKey(key)), minuteToMs(parts.minute) / MINUTE_MS];
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
