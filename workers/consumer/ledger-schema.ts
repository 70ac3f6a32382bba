/**
 * The tables of the ledger's object, and their way from what an earlier version left. docs/storage.md describes them.
 *
 * Every row of a table and of an index is billed. So an ordinary group touches no index: it is made and leased in one step,
 * and what is leased is in no index (`role`). What has to wait for its time is in two. A group and its ids are one row, and
 * what is left of it when it is over is the same row.
 *
 * An earlier version keeps its groups and ids in other tables (`live`, and before that `groups`), and cannot read these. Where
 * they are it ran last: what it left is the ledger's state, and becomes ours by renaming; what we had before it is given up.
 * When it comes back it finds none of ours, and a head of an epoch that is over: it takes itself for restored, and verifies
 * whatever it does not know. That is all that it may do, for what we made since then it cannot know.
 */

/**
 * What a group is to the indexes. Never renumbered. What is over is in none of them, as what is leased. From `asked` on it is idle, of
 * another kind than most (shared/ledger/group-kinds.ts): an earlier version takes it for idle, and writes it as that. Then it is looked
 * for among most until it is written again, at its next attempt.
 */
export const roles = {
  idle: 0,
  leased: 1,
  notified: 2,
  asked: 3,
  failing: 4,
  failing_asked: 5,
  refused: 6,
  erasure: 7,
} as const;

/** Of a row of `groups_3`: it is in the index of those. In the words in which it says it, or SQLite does not use it. */
export const isOfAKind = `role > ${roles.notified}`;

/** The lane of a group that is over, behind those of `DueQueue`: its row has its ids, and no document. */
export const overLane = 2;

const groupColumns = `
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL, lane INTEGER NOT NULL, due INTEGER NOT NULL,
  role INTEGER NOT NULL DEFAULT ${roles.idle},
  low INTEGER, high INTEGER, count INTEGER, at INTEGER, doc TEXT NOT NULL, records BLOB`;

// What is long lies behind everything else of a row: who looks for the rest does not read it.
const tables = `
  CREATE TABLE IF NOT EXISTS documents (name TEXT PRIMARY KEY, doc TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS groups_3 (${groupColumns});
  CREATE TABLE IF NOT EXISTS members_3 (
    seq INTEGER PRIMARY KEY, low INTEGER NOT NULL, high INTEGER NOT NULL, count INTEGER NOT NULL, at INTEGER,
    records BLOB NOT NULL
  );
  CREATE TABLE IF NOT EXISTS runs_3 (
    number INTEGER PRIMARY KEY, low INTEGER NOT NULL, high INTEGER NOT NULL, count INTEGER NOT NULL, last INTEGER NOT NULL,
    filter BLOB NOT NULL, records BLOB NOT NULL
  );
  CREATE TABLE IF NOT EXISTS strays_3 (
    id BLOB PRIMARY KEY, seq INTEGER NOT NULL, minute INTEGER NOT NULL, outcome INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS stray_ends_3 (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, ids BLOB NOT NULL);
  CREATE TABLE IF NOT EXISTS changed (minute INTEGER PRIMARY KEY, stamp INTEGER NOT NULL);
  CREATE INDEX IF NOT EXISTS changed_stamp ON changed (stamp);
`;

// An index's name is the whole database's: by these each version sees whether its tables are there.
const indexes = `
  CREATE INDEX IF NOT EXISTS idle_3 ON groups_3 (lane, due, id) WHERE role <> ${roles.leased};
  CREATE INDEX IF NOT EXISTS idle_id_3 ON groups_3 (id) WHERE role <> ${roles.leased};
  CREATE INDEX IF NOT EXISTS notified_3 ON groups_3 (due) WHERE role = ${roles.notified};
  CREATE INDEX IF NOT EXISTS kinds_3 ON groups_3 (role) WHERE ${isOfAKind};
`;

/** The head's document. Earlier versions have theirs under `head` and `head.2`. */
export const headDocument = "head.3";

/** As many groups as are copied from a table whose rows cost more. More: at a later start. */
const copiedAtOnceMax = 1000;

/** Makes the tables, or takes over what is there. */
export function openSchema(storage: DurableObjectStorage): void {
  const { sql } = storage;
  const found = readSchema(sql);
  const isOlder = found.has("groups") || found.has("live");
  if (found.has("idle_3") && found.has("kinds_3") && !isOlder && !isCostly(found.get("groups_3"))) {
    return;
  }
  storage.transactionSync(() => {
    if (found.has("groups")) {
      takeOverSecondLast(sql, found);
    }
    if (isOlder) {
      takeOverLast(sql);
    }
    sql.exec(tables);
    if (isCostly(readSchema(sql).get("groups_3"))) {
      copyGroups(sql);
    }
    sql.exec(indexes);
  });
}

function readSchema(sql: SqlStorage): ReadonlyMap<string, string> {
  const rows = sql.exec<{ name: string; sql: string }>(
    `SELECT name, sql FROM sqlite_master
     WHERE name IN ('groups', 'groups_due', 'live', 'members', 'runs', 'groups_3', 'idle_3', 'kinds_3')`,
  );
  return new Map([...rows].map((row) => [row.name, row.sql]));
}

/**
 * Does a row cost more than itself: has the table an index of its groups' ids, or does SQLite note its highest number? Or does
 * reading where its ids lie read its document too?
 */
function isCostly(made: string | undefined): boolean {
  return made !== undefined && /UNIQUE|AUTOINCREMENT|NOT NULL, low/.test(made);
}

/** What the version before the last one left, as the last one had it. It ran after that, whose tables are given up. */
function takeOverSecondLast(sql: SqlStorage, found: ReadonlyMap<string, string>): void {
  sql.exec(`
    DROP TABLE IF EXISTS live;
    DROP TABLE IF EXISTS members;
    DROP TABLE IF EXISTS runs;
    DROP TABLE IF EXISTS strays;
    DROP TABLE IF EXISTS stray_ends;
  `);
  if (!found.get("groups")?.includes("role")) {
    sql.exec(`ALTER TABLE groups ADD COLUMN role INTEGER NOT NULL DEFAULT ${roles.idle}`);
  }
  if (found.has("groups_due")) {
    // An earlier version still, which wrote no role: by what each group's document says.
    sql.exec(`
      UPDATE groups SET role = CASE
        WHEN lane = 1 AND json_extract(doc, '$.state.lease') IS NOT NULL THEN ${roles.leased}
        WHEN lane = 0 AND json_extract(doc, '$.rings') > 0 THEN ${roles.notified}
        ELSE ${roles.idle} END;
    `);
  }
  // By an index of this name an earlier version sees that its tables are there.
  sql.exec(`
    DROP INDEX IF EXISTS groups_due;
    DROP INDEX IF EXISTS groups_idle;
    DROP INDEX IF EXISTS groups_idle_id;
    DROP INDEX IF EXISTS groups_notified;
    DROP INDEX IF EXISTS finished_at;
    ALTER TABLE groups RENAME TO live;
    ALTER TABLE ids RENAME TO strays;
    ALTER TABLE finished RENAME TO stray_ends;
    DELETE FROM documents WHERE name = 'head.2';
    INSERT INTO documents (name, doc) SELECT 'head.2', doc FROM documents WHERE name = 'head';
    UPDATE documents SET doc = json_set(doc, '$.epoch', json_extract(doc, '$.epoch') - 1) WHERE name = 'head';
  `);
}

/** What the last version left. It ran last, so whatever we had before is older than that. */
function takeOverLast(sql: SqlStorage): void {
  const found = readSchema(sql);
  sql.exec(`
    DROP TABLE IF EXISTS groups_3;
    DROP TABLE IF EXISTS members_3;
    DROP TABLE IF EXISTS runs_3;
    DROP TABLE IF EXISTS strays_3;
    DROP TABLE IF EXISTS stray_ends_3;
    DROP INDEX IF EXISTS live_idle;
    DROP INDEX IF EXISTS live_idle_id;
    DROP INDEX IF EXISTS live_notified;
    ALTER TABLE live RENAME TO groups_3;
    ALTER TABLE groups_3 ADD COLUMN low INTEGER;
    ALTER TABLE groups_3 ADD COLUMN high INTEGER;
    ALTER TABLE groups_3 ADD COLUMN count INTEGER;
    ALTER TABLE groups_3 ADD COLUMN at INTEGER;
    ALTER TABLE groups_3 ADD COLUMN records BLOB;
    ALTER TABLE strays RENAME TO strays_3;
    ALTER TABLE stray_ends RENAME TO stray_ends_3;
    DELETE FROM documents WHERE name = '${headDocument}';
    INSERT INTO documents (name, doc) SELECT '${headDocument}', doc FROM documents WHERE name = 'head.2';
    UPDATE documents SET doc = json_set(doc, '$.epoch', json_extract(doc, '$.epoch') - 1) WHERE name = 'head.2';
  `);
  for (const table of ["members", "runs"]) {
    if (found.has(table)) {
      sql.exec(`ALTER TABLE ${table} RENAME TO ${table}_3`);
    }
  }
}

function copyGroups(sql: SqlStorage): void {
  const [count] = sql.exec<{ n: number }>("SELECT count(*) AS n FROM groups_3");
  if (count !== undefined && count.n <= copiedAtOnceMax) {
    sql.exec(`
      CREATE TABLE groups_next (${groupColumns});
      INSERT INTO groups_next (seq, id, lane, due, role, doc, low, high, count, at, records)
      SELECT seq, id, lane, due, role, doc, low, high, count, at, records FROM groups_3;
      DROP TABLE groups_3;
      ALTER TABLE groups_next RENAME TO groups_3;
    `);
  }
}

/** The highest number of a group that anything refers to. */
export function highestSeq(sql: SqlStorage): number {
  const [row] = sql.exec<{ n: number }>(
    `SELECT max(ifnull((SELECT max(seq) FROM groups_3), 0), ifnull((SELECT max(seq) FROM members_3), 0),
                ifnull((SELECT max(seq) FROM stray_ends_3), 0)) AS n`,
  );
  return row?.n ?? 0;
}
