/** The local server is safe on a developer's machine: what its user may not do, who else may do anything, and CORS. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { open } from "ffi-rs";
import { afterAll, describe, expect, inject, test } from "vitest";
import { canConfine } from "../../dev/clickhouse/confine.ts";
import { fetchClickHouse, splitLogin } from "../../dev/clickhouse/login.ts";
import { ask, newName, send } from "./token-inserts.ts";

const address = inject("clickhouse");
const { url } = splitLogin(address);
/** No test may make it. */
const absent = join(mkdtempSync(join(tmpdir(), "headrace-safety-")), "absent");
afterAll(() => rmSync(dirname(absent), { recursive: true }));
const thisProcess = "this process";
open({ library: thisProcess, path: "" });
const accessDenied = 497;
const cors = "access-control-allow-origin";

describe("the user of the local server", () => {
  const address = "'http://127.0.0.1:1/bucket/key'";
  const stored = `${address}, 'CSV', 'a String'`;

  test.each([
    "file('/etc/passwd', 'LineAsString')",
    "filesystem('/etc')",
    "icebergLocal('/etc')",
    "deltaLakeLocal('/etc')",
    "paimonLocal('/etc')",
    `url(${stored})`,
    `s3(${stored})`,
    `gcs(${stored})`,
    `oss(${stored})`,
    `cosn(${stored})`,
    `iceberg(${address})`,
    `deltaLake(${address})`,
    `hudi(${address})`,
    "hdfs('hdfs://127.0.0.1:1/a', 'CSV', 'a String')",
    "azureBlobStorage('BlobEndpoint=http://127.0.0.1:1/a;AccountName=a;AccountKey=YQ==', 'c', 'p', 'CSV', 'auto', 'a String')",
    "remote('127.0.0.1:1', system.one)",
    "remoteSecure('127.0.0.1:1', system.one)",
    "mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "postgresql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "mongodb('127.0.0.1:1', 'a', 'b', 'c', 'd', 'e String')",
    "redis('127.0.0.1:1', 'a', 'a String')",
    "odbc('DSN=a', 'b', 'c')",
    "jdbc('a', 'b', 'c')",
    "ytsaurus('http://127.0.0.1:1', '//a', 'b', 'c String')",
  ])("is refused %s", async (tableFunction) => {
    expect(await send(`SELECT * FROM ${tableFunction}`)).toMatchObject({ code: accessDenied });
    expect(await send(`INSERT INTO FUNCTION ${tableFunction} SELECT 'x'`)).not.toMatchObject({ status: 200 });
  });

  test("has none of the rights to sources", async () => {
    expect(await ask("SHOW GRANTS")).not.toMatch(/READ|WRITE|SOURCE|ALL/);
  });

  test.each([
    ["a path for a table", "SELECT * FROM `/etc/passwd`"],
    ["INSERT into file()", `INSERT INTO FUNCTION file('${absent}', 'LineAsString', 's String') SELECT 'x'`],
    ["the engine File", `CREATE TABLE f (s String) ENGINE = File(LineAsString, '${absent}')`],
    ["the engine URL", "CREATE TABLE u (s String) ENGINE = URL('http://127.0.0.1:1/', LineAsString)"],
    [
      "a dictionary",
      "CREATE DICTIONARY d (a UInt64) PRIMARY KEY a SOURCE(HTTP(url 'http://127.0.0.1:1/' format 'CSV')) LAYOUT(FLAT) LIFETIME(0)",
    ],
    ["the database Filesystem", "CREATE DATABASE d ENGINE = Filesystem('/')"],
    ["BACKUP", `BACKUP DATABASE default TO File('${absent}')`],
    ["users", "CREATE USER another"],
    ["the listeners", "SYSTEM STOP LISTEN HTTP"],
  ])("is refused %s", async (_what, statement) => {
    expect(await send(statement)).toMatchObject({ code: accessDenied });
  });

  test("is refused executable(): there are no programs in its folder", async () => {
    const { text } = await send("SELECT * FROM executable('ls', 'LineAsString', 's String')");
    expect(text).toContain("does not exist inside user scripts folder");
  });

  // clickhouse-local asks for no right to these: the kernel refuses them (dev/clickhouse/confine.ts).
  test.skipIf(!canConfine(thisProcess)).each([
    ["file(), the function", "SELECT file('/etc/hostname')", /Permission denied/],
    ["the environment", "SELECT file('/proc/self/environ')", /Permission denied/],
    [
      "FROM INFILE",
      "INSERT INTO FUNCTION null('s String') FROM INFILE '/etc/hostname' FORMAT LineAsString",
      /Permission denied/,
    ],
    ["sqlite()", "SELECT * FROM sqlite('/etc/hostname', 'a')", /ACCESS_DENIED/],
    [
      "a disk in a folder",
      `CREATE TABLE d (a UInt8) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = 'local', path = '${absent}/')`,
      /Exception/,
    ],
  ])(
    "reaches no file outside of the data by %s (skipped without Landlock)",
    async (_what, statement, refusal) => {
      const { status, text } = await send(statement);
      expect(status).not.toBe(200);
      expect(text).toMatch(refusal);
      expect(existsSync(absent)).toBe(false);
    },
  );

  test("may log in by either of ClickHouse's headers", async () => {
    const { user, password } = splitLogin(inject("clickhouse"));
    for (const headers of [
      { authorization: `Basic ${btoa(`${user}:${password}`)}` },
      { "x-clickhouse-user": user, "x-clickhouse-key": password },
    ]) {
      const response = await fetch(url, { method: "POST", body: "SELECT currentUser()", headers });
      expect(await response.text()).toBe("headrace\n");
    }
  });

  test("may use input()", async () => {
    const table = newName();
    await ask(`CREATE TABLE ${table} (a UInt32) ENGINE = MergeTree ORDER BY a`);
    const inserted = await send(
      `INSERT INTO ${table} SELECT a * 2 FROM input('a UInt32') FORMAT TSV`,
      {},
      "21\n",
    );
    expect(inserted.status).toBe(200);
    expect(await ask(`SELECT a FROM ${table}`)).toBe("42");
  });
});

describe("nobody else", () => {
  const statements = [
    "SELECT 1",
    "SELECT file('/etc/passwd')",
    "SELECT name FROM system.tables",
    "CREATE DATABASE another",
    "SYSTEM STOP LISTEN HTTP",
    `INSERT INTO FUNCTION file('${absent}', 'LineAsString', 's String') SELECT 'x'`,
    "SELECT * FROM file('/etc/passwd', 'LineAsString')",
  ];
  const basic = (login: string) => ({ authorization: `Basic ${btoa(login)}` });

  test.each([
    ["no login", {}, ""],
    ["the user of the start", basic("default:"), ""],
    ["the same in another header", { "x-clickhouse-user": "default" }, ""],
    ["the same in the address", {}, "user=default&"],
    ["a name in the address", {}, "user=headrace&password=x&"],
    ["no name", basic(":"), ""],
    ["no password", basic("headrace:"), ""],
    ["a wrong password", basic("headrace:wrong"), ""],
    ["a wrong password in another header", { "x-clickhouse-user": "headrace", "x-clickhouse-key": "x" }, ""],
    ["an unknown name", basic("root:"), ""],
    ["two names", { ...basic("default:"), "x-clickhouse-user": "headrace" }, ""],
    ["two other names", { ...basic("headrace:"), "x-clickhouse-user": "default" }, ""],
    ["a name in a header, another in the address", { "x-clickhouse-user": "headrace" }, "user=default&"],
  ])("with %s", async (_login, headers: Readonly<Record<string, string>>, parameters) => {
    for (const statement of statements) {
      const posted = await fetch(`${url}/?${parameters}`, { method: "POST", body: statement, headers });
      const got = await fetch(`${url}/?${parameters}${new URLSearchParams({ query: statement })}`, {
        headers,
      });
      for (const response of [posted, got]) {
        expect([401, 403, 500], statement).toContain(response.status);
        expect(await response.text()).toMatch(
          /answers to one user|AUTHENTICATION_FAILED|Invalid authentication/,
        );
      }
    }
  });

  test.each(["/play", "/webterminal", "/dashboard", "/replicas_status", "/metrics"])(
    "sees %s",
    async (path) => {
      expect((await fetch(`${url}${path}`)).status).toBe(403);
    },
  );

  test("from another address than loopback", async () => {
    const others = Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      .filter(({ internal, family }) => !internal && family === "IPv4");
    for (const other of others) {
      await expect(fetch(`http://${other.address}:${new URL(url).port}/ping`)).rejects.toThrow();
    }
  });
});

describe("a page from elsewhere", () => {
  const headers = { origin: "http://evil.example" };

  test("may read no answer, with a login or without, and gets no leave in advance", async () => {
    const answers = await Promise.all([
      fetch(`${url}/ping`, { headers }),
      fetch(url, { method: "POST", body: "SELECT 1", headers }),
      fetchClickHouse(address, { method: "POST", body: "SELECT 1", headers }),
      fetch(url, {
        method: "OPTIONS",
        headers: {
          ...headers,
          "access-control-request-method": "POST",
          "access-control-request-headers": "authorization",
        },
      }),
    ]);
    for (const answer of answers) {
      expect(answer.headers.get(cors)).toBeNull();
    }
  });

  test("cannot ask for the leave by a setting", async () => {
    const response = await fetch(`${url}/?add_http_cors_header=1&query=SELECT+1`, { headers });
    expect(response.status).toBe(403);
    const withLogin = await fetchClickHouse(`${address}/?add_http_cors_header=1&query=SELECT+1`, { headers });
    expect(await withLogin.text()).toContain("SETTING_CONSTRAINT_VIOLATION");
  });
});
