/**
 * The tables of the ledger's object, and their way from what an earlier version left. docs/storage.md describes them.
 *
 * Every row of a table and of an index is billed. So an ordinary group touches no index: it is made and leased in one step,
 * and what is leased is in no index (`role`). What has to wait for its time is in two.
 *
 * An earlier version can take these tables over as they are, and this one takes them back: it left an index, `groups_due`,
 * by which it is seen to have run, and wrote `role` nowhere.
 */

/** What a group is to the indexes. Never renumbered. */
export const roles = { idle: 0, leased: 1, notified: 2 } as const;

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
export function openSchema(storage: DurableObjectStorage): void {
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
export function highestSeq(sql: SqlStorage): number {
  const [row] = sql.exec<{ n: number }>(
    "SELECT max(ifnull((SELECT max(seq) FROM groups), 0), ifnull((SELECT max(seq) FROM finished), 0)) AS n",
  );
  return row?.n ?? 0;
}

/** Up to which number SQLite has written down that groups had it. */
export function reservedTo(sql: SqlStorage): number {
  const [row] = sql.exec<{ seq: number }>("SELECT seq FROM sqlite_sequence WHERE name = 'groups'");
  return row?.seq ?? 0;
}

/** Reserves numbers from `seq` on: SQLite writes nothing down for them any more. Returns the last one. */
export function reserveSeqs(sql: SqlStorage, seq: number): number {
  const last = seq + seqsReserved;
  sql.exec("INSERT INTO groups (seq, id, lane, due, doc) VALUES (?, '', 0, 0, '')", last);
  sql.exec("DELETE FROM groups WHERE seq = ?", last);
  return last;
}
