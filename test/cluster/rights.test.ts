/**
 * The grants of docs/operating.md on replicas whose users have exactly these: the schema is applied at both, by address and as
 * far as ON CLUSTER goes here, and the consumer looks, counts and erases. What replicas need beside one server's is needed.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { splitLogin } from "../../dev/clickhouse/login.ts";
import { migrateReplicas } from "../../dev/clickhouse/migrate-clickhouse.ts";
import type { ServerUser } from "../../dev/clickhouse/more-users.ts";
import { statementRunner } from "../../dev/clickhouse/run-statement.ts";
import { readSchemaFiles } from "../../dev/schema-files.ts";
import { isAccessDenied, runStatement } from "../../shared/clickhouse/ask.ts";
import { type ClickHouseConnection, connectClickHouse } from "../../shared/clickhouse/connection.ts";
import { rowsDeletion } from "../../shared/clickhouse/deletion.ts";
import {
  defaultSchemaSettings,
  lacksOfReplicas,
  planMigrations,
} from "../../shared/clickhouse/migrations.ts";
import { checkReplicas, type Replicas } from "../../shared/clickhouse/replicated-schema.ts";
import { neededRights } from "../../shared/doctor/judge-clickhouse.ts";
import { deleteRows } from "../../workers/consumer/delete-rows.ts";
import { readProcesses, readTable } from "../../workers/consumer/read-table.ts";
import { ask } from "../engine/token-inserts.ts";
import { documentedGrants, singleRights } from "../fixtures/documented-grants.ts";
import { identityOf, isStand, newToken } from "./cluster.ts";
import { type Stand, startStand } from "./stand.ts";

const database = "otel";
const settings = { ...defaultSchemaSettings, database };
const password = "secret";
const onlyOfReplicas = (user: string): readonly string[] => {
  const alone = documentedGrants(user, "one server");
  return singleRights(documentedGrants(user, "replicas").filter((grant) => !alone.includes(grant)));
};
const all = (user: string): readonly string[] => singleRights(documentedGrants(user, "replicas"));
/** A configuration may ask for the first; the stand's does not. Versions before 26.7 may ask for the second. */
const notAskedHere = ["CLUSTER ON *.*", "CREATE TEMPORARY TABLE ON *.*"];
const lackingOf = (user: string) =>
  onlyOfReplicas(user)
    .filter((right) => !notAskedHere.includes(right))
    .map((right, i) => ({ name: `${user}_lacks_${i}`, right, of: user }));
const lacking = [...lackingOf("headrace"), ...lackingOf("headrace_schema")];
const users: readonly ServerUser[] = [
  { name: "headrace", password, grants: all("headrace") },
  { name: "headrace_schema", password, grants: all("headrace_schema") },
  ...lacking.map(({ name, right, of }) => ({
    name,
    password,
    grants: all(of).filter((one) => one !== right),
  })),
];

describe.runIf(isStand)("the logins of docs/operating.md, on replicas", () => {
  let stand: Stand;
  const urls = () => stand.replicas.map(({ url }) => url);

  beforeAll(async () => {
    stand = await startStand(users);
    for (const url of urls()) {
      await ask(`CREATE DATABASE ${database}`, {}, url);
    }
  });
  afterAll(async () => {
    await stand.stop();
  });

  function replicasAs(user: string, onCluster: string | null): Replicas {
    const [first = "", ...others] = urls();
    const at = (url: string) => statementRunner({ url, user, password });
    return { onCluster, servers: [at(first), ...(onCluster === null ? others.map(at) : [])] };
  }

  function consumer(user: string): ClickHouseConnection {
    const variables = {
      CLICKHOUSE_URL: splitLogin(urls()[0] ?? "").url,
      CLICKHOUSE_USER: user,
      CLICKHOUSE_PASSWORD: password,
      CLICKHOUSE_DATABASE: database,
      CLICKHOUSE_TRACES_TABLE: "otel_traces",
      CLICKHOUSE_CLUSTER: stand.cluster,
    };
    return connectClickHouse(variables, undefined, fetch);
  }

  async function said(user: string, sql: string): Promise<string> {
    return await statementRunner({ url: urls()[0] ?? "", user, password })(sql).catch(String);
  }

  /** By name nothing is distributed here: a statement that may be is answered 392. */
  async function schemasWork(user: string): Promise<void> {
    await migrateReplicas(replicasAs(user, null), settings);
    const byName = replicasAs(user, stand.cluster);
    await checkReplicas(byName, database);
    expect(await lacksOfReplicas(readSchemaFiles(), settings, byName)).toEqual([]);
    const planned = await planMigrations(readSchemaFiles(), settings, [], byName);
    for (const statement of planned.flatMap(({ statements }) => statements)) {
      const answer = statement.startsWith("INSERT") ? /^$/ : /Code: 392/;
      expect(await said(user, statement), statement).toMatch(answer);
    }
  }

  async function consumersWork(user: string): Promise<void> {
    const clickHouse = consumer(user);
    const table = identityOf(database, "01");
    const { refusal } = await readTable(clickHouse, Date.now(), table);
    if (refusal !== "") {
      throw new Error(refusal);
    }
    await readProcesses(clickHouse, newToken() as never, 90_000, table);
    const rows = { ids: [], days: [20_780], mark: newToken() };
    const deletion = rowsDeletion(clickHouse.settings, rows);
    const nothing = (sql: string) => sql.replace("HeadracePayload IN ()", "SpanId = 'none'");
    await deleteRows(clickHouse, { ...deletion, statement: nothing(deletion.statement), where: null });
  }

  test("the schema's applies it at both", { timeout: 180_000 }, async () => {
    await schemasWork("headrace_schema");
  });

  test("the consumer's does all that is asked of replicas, and doctor misses nothing", async () => {
    await consumersWork("headrace");
    const clickHouse = consumer("headrace");
    for (const right of neededRights(clickHouse.settings, "ReplicatedMergeTree")) {
      expect(await runStatement(clickHouse, `CHECK GRANT ${right}`), right).toBe("1\n");
    }
  });

  test.each(lacking)("$of needs $right", { timeout: 180_000 }, async ({ name, of, right }) => {
    if (right.startsWith("TABLE ENGINE")) {
      const engine = right.slice("TABLE ENGINE ON ".length);
      const sql = `CREATE TABLE ${database}.another (a UInt8) ENGINE = ${engine}('/another', 'r') ORDER BY a`;
      expect(await said(name, sql)).toMatch(/Code: 497/);
      return;
    }
    const work = of === "headrace" ? consumersWork(name) : schemasWork(name);
    await expect(work).rejects.toSatisfy(
      (error) =>
        isAccessDenied(error) || /may not look|ACCESS_DENIED|GRANT|Not enough privileges/.test(String(error)),
    );
  });
});
