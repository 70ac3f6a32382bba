/**
 * The ledger's store as it was before decision 0084: its statements, word for word. A deployment that is rolled back runs it
 * on the rows that the present one wrote, and the present one runs on its rows afterwards.
 */
import { assert, unreachable } from "../../shared/assert.ts";
import {
  type DueQueue,
  dueNever,
  dueQueueOf,
  type EndedPayload,
  type EndOutcome,
  type Group,
} from "../../shared/ledger/group.ts";
import type { Head } from "../../shared/ledger/head.ts";
import { tagOfEnded } from "../../shared/ledger/key-tag.ts";
import {
  groupFromRow,
  groupToRow,
  headFromRow,
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

const MINUTE_MS = 60_000;
const outcomeCodes: Readonly<Record<EndOutcome, number>> = { stored: 0, dead: 1, erased: 2 };
const outcomes: readonly EndOutcome[] = ["stored", "dead", "erased"];
const dueQueueCodes: Readonly<Record<DueQueue, number>> = { insert: 0, other: 1 };

const schema = `
  CREATE TABLE IF NOT EXISTS documents (name TEXT PRIMARY KEY, doc TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS groups (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, lane INTEGER NOT NULL, due INTEGER NOT NULL,
    doc TEXT NOT NULL
  );
  CREATE INDEX IF NOT EXISTS groups_due ON groups (lane, due, id);
  CREATE TABLE IF NOT EXISTS ids (
    id BLOB PRIMARY KEY, seq INTEGER NOT NULL, minute INTEGER NOT NULL, outcome INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS finished (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, ids BLOB NOT NULL);
  CREATE INDEX IF NOT EXISTS finished_at ON finished (at);
  CREATE TABLE IF NOT EXISTS changed (minute INTEGER PRIMARY KEY, stamp INTEGER NOT NULL);
  CREATE INDEX IF NOT EXISTS changed_stamp ON changed (stamp);
`;

export class OlderLedgerStorage implements LedgerView {
  readonly #storage: DurableObjectStorage;
  readonly #sql: SqlStorage;
  head: Head | null;
  waiting: Waiting;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    this.#sql = storage.sql;
    this.#sql.exec(schema);
    const head = this.#document("head");
    this.head = head === undefined ? null : headFromRow(head);
    const waiting = this.#document("waiting");
    this.waiting = waiting === undefined ? nothingWaits : waitingFromRow(waiting);
  }

  places(ids: readonly PayloadId[]): ReadonlyMap<PayloadId, PayloadPlace> {
    const found = new Map<PayloadId, PayloadPlace>();
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
          outcome: outcomes[outcome] ?? "stored",
          tag: minute,
          since: at,
        });
      }
    }
    return found;
  }

  group(id: GroupId): Group | undefined {
    return this.#groups("SELECT doc FROM groups WHERE id = ?", id)[0];
  }

  groupsDue(queue: DueQueue, now: number, atMost: number): readonly Group[] {
    return this.#groups(
      "SELECT doc FROM groups WHERE lane = ? AND due <= ? ORDER BY due, id LIMIT ?",
      dueQueueCodes[queue],
      now,
      atMost,
    );
  }

  nextDue(queue: DueQueue): number | undefined {
    return this.#number("SELECT min(due) AS n FROM groups WHERE lane = ?", dueQueueCodes[queue]);
  }

  heldGroups(atMost: number): readonly Group[] {
    return this.#groups(
      "SELECT doc FROM groups WHERE lane = ? AND due = ? ORDER BY id LIMIT ?",
      dueQueueCodes.other,
      dueNever,
      atMost,
    );
  }

  apply(changes: readonly Change[]): void {
    this.#storage.transactionSync(() => {
      for (const change of changes) {
        this.#applyOne(change);
      }
    });
  }

  #applyOne(change: Change): void {
    switch (change.kind) {
      case "head":
        this.#writeDocument("head", JSON.stringify(change.head));
        this.head = change.head;
        break;
      case "waiting":
        this.#writeDocument("waiting", waitingToRow(change.waiting));
        this.waiting = change.waiting;
        break;
      case "group":
        this.#writeGroup(change.group, change.isNew);
        break;
      case "end":
        this.#end(change.group, change.ended, change.at);
        break;
      case "forget":
        this.#forget(this.head?.forgottenBefore ?? 0);
        break;
      default:
        unreachable(change);
    }
  }

  #writeDocument(name: string, doc: string): void {
    this.#sql.exec(
      "INSERT INTO documents (name, doc) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET doc = excluded.doc",
      name,
      doc,
    );
  }

  #writeGroup(group: Group, isNew: boolean): void {
    const lane = dueQueueCodes[dueQueueOf(group)];
    if (!isNew) {
      const { rowsWritten } = this.#sql.exec(
        "UPDATE groups SET lane = ?, due = ?, doc = ? WHERE id = ?",
        lane,
        group.due,
        groupToRow(group),
        group.id,
      );
      assert(rowsWritten > 0, "an old group is there");
      return;
    }
    this.#sql.exec(
      "INSERT INTO groups (id, lane, due, doc) VALUES (?, ?, ?, ?)",
      group.id,
      lane,
      group.due,
      groupToRow(group),
    );
    if (group.payloads.length > 0) {
      this.#sql.exec(
        `INSERT INTO ids (id, seq, minute, outcome)
         SELECT unhex(value ->> 0), last_insert_rowid(), value ->> 1, 0 FROM json_each(?) WHERE true
         ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, minute = excluded.minute, outcome = 0`,
        JSON.stringify(group.payloads.map(({ key }) => idAndMinute(key))),
      );
    }
  }

  #end(id: GroupId, ended: readonly EndedPayload[], at: number): void {
    const seq = this.#number("SELECT seq AS n FROM groups WHERE id = ?", id);
    assert(seq !== undefined, "a group that ends is there");
    this.#sql.exec("DELETE FROM groups WHERE seq = ?", seq);
    if (ended.length === 0) {
      return;
    }
    const ids = new Uint8Array(ended.length * payloadIdBytes);
    for (const [i, payload] of ended.entries()) {
      ids.set(payloadIdToBytes(idOfKey(payload.key)), i * payloadIdBytes);
    }
    this.#sql.exec("INSERT INTO finished (seq, at, ids) VALUES (?, ?, ?)", seq, at, ids);
    this.#sql.exec(
      `UPDATE ids SET minute = ended.value ->> 1, outcome = ended.value ->> 2 FROM json_each(?) AS ended
       WHERE ids.id = unhex(ended.value ->> 0)
         AND (ids.minute <> ended.value ->> 1 OR ids.outcome <> ended.value ->> 2)`,
      JSON.stringify(
        ended.map((one) => [idToHex(idOfKey(one.key)), tagOfEnded(one), outcomeCodes[one.outcome]]),
      ),
    );
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
      this.#sql.exec(
        "DELETE FROM ids WHERE id IN (SELECT unhex(value) FROM json_each(?)) AND seq = ?",
        JSON.stringify(hex),
        seq,
      );
      this.#sql.exec("DELETE FROM finished WHERE seq = ?", seq);
    }
  }

  #groups(query: string, ...bindings: readonly SqlStorageValue[]): readonly Group[] {
    return [...this.#sql.exec<{ doc: string }>(query, ...bindings)].map(({ doc }) => groupFromRow(doc));
  }

  #document(name: string): string | undefined {
    const [row] = this.#sql.exec<{ doc: string }>("SELECT doc FROM documents WHERE name = ?", name);
    return row?.doc;
  }

  #number(query: string, ...bindings: readonly SqlStorageValue[]): number | undefined {
    const [row] = this.#sql.exec<{ n: number | null }>(query, ...bindings);
    return row?.n ?? undefined;
  }
}

function idAndMinute(key: PayloadKey): readonly [string, number] {
  return [idToHex(idOfKey(key)), minuteToMs(minuteOfKey(key)) / MINUTE_MS];
}

function idToHex(id: PayloadId): string {
  return bytesToHex(payloadIdToBytes(id));
}

function bytesToHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
