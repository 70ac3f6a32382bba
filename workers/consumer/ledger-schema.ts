/**
 * The tables of the ledger's object, and their way from what an earlier version left. docs/storage.md describes them.
 *
 * Every row of a table and of an index is billed. So an ordinary group touches no index: it is made and leased in one step,
 * and what is leased is in no index (`role`). What has to wait for its time is in two.
 *
 * An earlier version keeps its groups and ids in other tables, `groups`, `ids` and `finished`, and cannot read these. Where
 * they are it ran last: what it left is the ledger's state, and becomes ours by renaming; what we had before it is given up.
 * When it comes back it finds none of ours, and a head of an epoch that is over: it takes itself for restored, and verifies
 * whatever it does not know. That is all that it may do, for what we made since then it cannot know.
 */

/** What a group is to the indexes. Never renumbered. */
export const roles = { idle: 0, leased: 1, notified: 2 } as const;

const groupColumns = `
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL, lane INTEGER NOT NULL, due INTEGER NOT NULL,
  role INTEGER NOT NULL DEFAULT ${roles.idle}, doc TEXT NOT NULL`;

// The ids of a row stand behind everything else of it: who looks for the rest does not read them.
const tables = `
  CREATE TABLE IF NOT EXISTS documents (name TEXT PRIMARY KEY, doc TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS live (${groupColumns});
  CREATE TABLE IF NOT EXISTS members (
    seq INTEGER PRIMARY KEY, low INTEGER NOT NULL, high INTEGER NOT NULL, count INTEGER NOT NULL, at INTEGER,
    records BLOB NOT NULL
  );
  CREATE TABLE IF NOT EXISTS runs (
    number INTEGER PRIMARY KEY, low INTEGER NOT NULL, high INTEGER NOT NULL, count INTEGER NOT NULL, last INTEGER NOT NULL,
    filter BLOB NOT NULL, records BLOB NOT NULL
  );
  CREATE TABLE IF NOT EXISTS strays (
    id BLOB PRIMARY KEY, seq INTEGER NOT NULL, minute INTEGER NOT NULL, outcome INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS stray_ends (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, ids BLOB NOT NULL);
  CREATE TABLE IF NOT EXISTS changed (minute INTEGER PRIMARY KEY, stamp INTEGER NOT NULL);
  CREATE INDEX IF NOT EXISTS changed_stamp ON changed (stamp);
`;

const indexes = `
  CREATE INDEX IF NOT EXISTS live_idle ON live (lane, due, id) WHERE role <> ${roles.leased};
  CREATE INDEX IF NOT EXISTS live_idle_id ON live (id) WHERE role <> ${roles.leased};
  CREATE INDEX IF NOT EXISTS live_notified ON live (due) WHERE role = ${roles.notified};
`;

/** The head's document. An earlier version has its own under `head`. */
export const headDocument = "head.2";

/** As many groups as are copied from a table whose rows cost more. More: at a later start. */
const copiedAtOnceMax = 1000;

/** Makes the tables, or takes over what is there. */
export function openSchema(storage: DurableObjectStorage): void {
  const { sql } = storage;
  const found = readSchema(sql);
  if (found.has("live_idle") && !found.has("groups") && !isCostly(found.get("live"))) {
    return;
  }
  storage.transactionSync(() => {
    if (found.has("groups")) {
      takeOver(sql, found);
    }
    sql.exec(tables);
    if (isCostly(readSchema(sql).get("live"))) {
      copyGroups(sql);
    }
    sql.exec(indexes);
  });
}

function readSchema(sql: SqlStorage): ReadonlyMap<string, string> {
  const rows = sql.exec<{ name: string; sql: string }>(
    `SELECT name, sql FROM sqlite_master
     WHERE name IN ('groups', 'groups_due', 'finished', 'ids', 'live', 'live_idle')`,
  );
  return new Map([...rows].map((row) => [row.name, row.sql]));
}

/** Does a row cost more than itself: has the table an index of its groups' ids, or does SQLite note its highest number? */
function isCostly(made: string | undefined): boolean {
  return made !== undefined && /UNIQUE|AUTOINCREMENT/.test(made);
}

/** What an earlier version left. It ran last, so whatever we had before is older than that. */
function takeOver(sql: SqlStorage, found: ReadonlyMap<string, string>): void {
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
    DELETE FROM documents WHERE name = '${headDocument}';
    INSERT INTO documents (name, doc) SELECT '${headDocument}', doc FROM documents WHERE name = 'head';
    UPDATE documents SET doc = json_set(doc, '$.epoch', json_extract(doc, '$.epoch') - 1) WHERE name = 'head';
  `);
}

function copyGroups(sql: SqlStorage): void {
  const [count] = sql.exec<{ n: number }>("SELECT count(*) AS n FROM live");
  if (count !== undefined && count.n <= copiedAtOnceMax) {
    sql.exec(`
      CREATE TABLE live_next (${groupColumns});
      INSERT INTO live_next (seq, id, lane, due, role, doc) SELECT seq, id, lane, due, role, doc FROM live;
      DROP TABLE live;
      ALTER TABLE live_next RENAME TO live;
    `);
  }
}

/** The highest number of a group that anything refers to. */
export function highestSeq(sql: SqlStorage): number {
  const [row] = sql.exec<{ n: number }>(
    `SELECT max(ifnull((SELECT max(seq) FROM live), 0), ifnull((SELECT max(seq) FROM members), 0),
                ifnull((SELECT max(seq) FROM stray_ends), 0)) AS n`,
  );
  return row?.n ?? 0;
}
