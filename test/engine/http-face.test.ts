/** The HTTP face answers clients as a ClickHouse server does. Expected texts are a server's, from its documentation. */
import { request } from "node:http";
import { Readable } from "node:stream";
import { brotliCompressSync, deflateSync, gunzipSync, gzipSync, zstdCompressSync } from "node:zlib";
import { createClient } from "@clickhouse/client-web";
import { describe, expect, inject, test } from "vitest";
import { frame, unframe } from "../../dev/clickhouse/block-framing.ts";

const base = inject("clickhouse");

async function ask(
  query: string,
  options: {
    body?: BodyInit;
    params?: Record<string, string>;
    headers?: Record<string, string>;
    method?: string;
  } = {},
): Promise<{ status: number; text: string; headers: Headers }> {
  const url = new URL(base);
  url.search = new URLSearchParams({ query, ...options.params }).toString();
  const response = await fetch(url, {
    method: options.method ?? "POST",
    headers: options.headers ?? {},
    ...(options.body === undefined ? {} : { body: options.body }),
  });
  return { status: response.status, text: await response.text(), headers: response.headers };
}

async function newTable(columns: string, engine = "MergeTree ORDER BY tuple()"): Promise<string> {
  const name = `t_${crypto.randomUUID().replaceAll("-", "")}`;
  const made = await ask(`CREATE TABLE ${name} (${columns}) ENGINE = ${engine}`);
  expect(made.text).toBe("");
  return name;
}

describe("a statement", () => {
  test("comes in the URL, in the body, or half in each", async () => {
    expect((await ask("SELECT 1 + 1")).text).toBe("2\n");
    const inBody = await fetch(base, { method: "POST", body: "SELECT 'é', 2" });
    expect(await inBody.text()).toBe("é\t2\n");
    expect((await ask("SELECT 1, 2", { body: "FORMAT CSV" })).text).toBe("1,2\n");
  });

  test("is answered in the format asked for, with its content type", async () => {
    const json = await ask("SELECT 1 AS a FORMAT JSONEachRow");
    expect(json.text).toBe('{"a":1}\n');
    expect(json.headers.get("x-clickhouse-format")).toBe("JSONEachRow");
    expect(json.headers.get("content-type")).toBe("application/x-ndjson; charset=UTF-8");
    const byDefault = await ask("SELECT 1 AS a", { params: { default_format: "JSONCompactEachRow" } });
    expect(byDefault.text).toBe("[1]\n");
    const byHeader = await ask("SELECT 1 AS a", { headers: { "X-ClickHouse-Format": "CSVWithNames" } });
    expect(byHeader.text).toBe('"a"\n1\n');
  });

  test("carries server headers", async () => {
    const { headers } = await ask("SELECT 1", { params: { query_id: "mine" } });
    expect(headers.get("x-clickhouse-query-id")).toBe("mine");
    expect(headers.get("x-clickhouse-timezone")).toBe("UTC");
    expect(headers.get("x-clickhouse-server-display-name")).toBe("headrace-local");
    expect(JSON.parse(headers.get("x-clickhouse-summary") ?? "")).toMatchObject({ read_rows: "1" });
    expect((await ask("SELECT 1")).headers.get("x-clickhouse-query-id")).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("by GET may read only, and change settings", async () => {
    const table = await newTable("a UInt8");
    const drop = await ask(`DROP TABLE ${table}`, { method: "GET" });
    expect(drop.headers.get("x-clickhouse-exception-code")).toBe("164");
    expect(
      (await ask("SELECT getSetting('max_threads')", { method: "GET", params: { max_threads: "1" } })).text,
    ).toBe("1\n");
  });

  test("is one statement only", async () => {
    const two = await ask("SELECT 1; SELECT 2");
    expect(two.status).toBe(400);
    expect(two.text).toContain("Multi-statements are not allowed");
    expect((await ask("SELECT ';' -- ; nothing\n;")).text).toBe(";\n");
  });

  test("reads and writes no files of its client", async () => {
    const table = await newTable("a UInt8");
    expect((await ask("SELECT 1 INTO OUTFILE '/tmp/headrace-outfile'")).status).toBe(501);
    expect((await ask(`INSERT INTO ${table} FROM INFILE '/etc/hostname' FORMAT TSV`)).status).toBe(501);
  });
});

/** The text within an answer of ClickHouse's own compressed blocks. */
async function unframed(response: Response): Promise<string> {
  const bytes = new Uint8Array(await response.arrayBuffer());
  const pieces: Uint8Array[] = [];
  for await (const piece of unframe(Readable.from([bytes]))) {
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString("utf8");
}

/** Rows of (UInt32, String) in RowBinary: little-endian, length-prefixed. */
function rowBinary(rows: readonly (readonly [number, string])[]): Buffer {
  return Buffer.concat(
    rows.map(([number, text]) => {
      const bytes = Buffer.from(text, "latin1");
      const row = Buffer.alloc(5 + bytes.length);
      row.writeUInt32LE(number, 0);
      row.writeUInt8(bytes.length, 4);
      bytes.copy(row, 5);
      return row;
    }),
  );
}

describe("an INSERT", () => {
  const nasty: readonly (readonly [number, string])[] = [
    [0x0a0a, "\n\n"],
    [0x3b0a, "; DROP TABLE x;\n\n"],
    [0x27, "'\\\0\r\n"],
    [0x2d2d, "-- /* "],
    [0xffffffff, "\xff\xfe"],
  ];

  test("keeps every byte of its data: empty lines, semicolons, quotes, NUL", async () => {
    const table = await newTable("a UInt32, s String");
    const inserted = await ask(`INSERT INTO ${table} FORMAT RowBinary`, {
      body: new Uint8Array(rowBinary(nasty)),
    });
    expect(inserted.text).toBe("");
    expect(JSON.parse(inserted.headers.get("x-clickhouse-summary") ?? "")).toMatchObject({
      written_rows: "5",
    });
    const hex = nasty.map(([a, s]) => `${a}\t${Buffer.from(s, "latin1").toString("hex").toUpperCase()}\n`);
    expect((await ask(`SELECT a, hex(s) FROM ${table} ORDER BY rowNumberInAllBlocks()`)).text).toBe(
      hex.join(""),
    );
  });

  test("takes its data in the URL, in the body behind the statement, and in both", async () => {
    const table = await newTable("a UInt32, s String");
    await ask(`INSERT INTO ${table} VALUES (1, 'one'), (2, 'FORMAT TSV')`);
    await fetch(base, { method: "POST", body: `INSERT INTO ${table} FORMAT TSV\n3\tthree\n` });
    await fetch(base, {
      method: "POST",
      body: Buffer.concat([Buffer.from(`INSERT INTO ${table} FORMAT RowBinary\n`), rowBinary([[4, "\n\n"]])]),
    });
    await ask(`INSERT INTO ${table} FORMAT JSONEachRow {"a":5}`, { body: '\n\n{"a":6}' });
    await ask(`INSERT INTO ${table} (s, a)`, { body: 'FORMAT CSV\n"x",7\n' });
    await ask(`INSERT INTO ${table} FORMAT TSV SETTINGS input_format_parallel_parsing = 0, max_threads = 1`, {
      body: "8\teight",
    });
    await ask(`INSERT INTO TABLE ${table} SELECT 9, 'FORMAT'`);
    await ask(`INSERT INTO ${table} (a) /* ; */ VALUES`, { body: "(10)" });
    const { text } = await ask(`SELECT a, hex(s) FROM ${table} ORDER BY a`);
    expect(text.split("\n").map((line) => line.split("\t")[0])).toEqual("1 2 3 4 5 6 7 8 9 10 ".split(" "));
    expect(text).toContain("4\t0A0A\n");
  });

  test("takes a compressed body, with the statement in the URL or inside", async () => {
    const rows = rowBinary(nasty);
    const encodings = [
      ["gzip", gzipSync],
      ["deflate", deflateSync],
      ["br", brotliCompressSync],
      ["zstd", zstdCompressSync],
    ] as const;
    for (const [encoding, compress] of encodings) {
      const table = await newTable("a UInt32, s String");
      const headers = { "Content-Encoding": encoding };
      const apart = await ask(`INSERT INTO ${table} FORMAT RowBinary`, {
        body: new Uint8Array(compress(rows)),
        headers,
      });
      expect(apart.text, encoding).toBe("");
      const statement = Buffer.from(`INSERT INTO ${table} FORMAT RowBinary\n`);
      const together = await fetch(base, {
        method: "POST",
        headers,
        body: new Uint8Array(compress(Buffer.concat([statement, rows]))),
      });
      expect(await together.text(), encoding).toBe("");
      expect((await ask(`SELECT count(), uniqExact(a, s) FROM ${table}`)).text, encoding).toBe("10\t5\n");
    }
    expect((await ask("SELECT 1", { headers: { "Content-Encoding": "rot13" }, body: " " })).status).toBe(501);
  });

  test("takes ClickHouse's own compressed blocks, with the statement in the URL or inside", async () => {
    const table = await newTable("a UInt32, s String");
    const rows = rowBinary(nasty);
    const params = { decompress: "1" };
    const half = rowBinary(nasty.slice(0, 2)).length;
    const body = Buffer.concat([frame(rows.subarray(0, half)), frame(rows.subarray(half))]);
    expect((await ask(`INSERT INTO ${table} FORMAT RowBinary`, { params, body })).text).toBe("");
    const statement = Buffer.from(`INSERT INTO ${table} FORMAT RowBinary\n`);
    const together = await fetch(`${base}/?decompress=1`, {
      method: "POST",
      body: Buffer.concat([frame(statement), frame(rows)]),
    });
    expect(await together.text()).toBe("");
    expect((await ask(`SELECT count(), uniqExact(a, s) FROM ${table}`)).text).toBe("10\t5\n");
    const cut = await ask(`INSERT INTO ${table} FORMAT RowBinary`, { params, body: body.subarray(0, -3) });
    expect(cut.headers.get("x-clickhouse-exception-code")).toBe("33");
    expect((await ask(`SELECT count() FROM ${table}`)).text).toBe("10\n");
  });

  test("streams a body that says no length, larger than a statement may be", async () => {
    const table = await newTable("s String");
    const line = `${"x".repeat(1023)}\n`;
    const lines = 4096;
    const chunk = new TextEncoder().encode(line.repeat(64));
    let sent = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.enqueue(
          sent === 0 ? new TextEncoder().encode(`INSERT INTO ${table} FORMAT TSV\n`) : chunk,
        );
        if (sent++ === lines / 64) {
          controller.close();
        }
      },
    });
    const init = { method: "POST", body, duplex: "half" };
    expect(await (await fetch(base, init)).text()).toBe("");
    expect((await ask(`SELECT count(), sum(length(s)) FROM ${table}`)).text).toBe(
      `${lines}\t${lines * 1023}\n`,
    );
  });

  test("whose body is cut off by the client stores nothing", async () => {
    const table = await newTable("s String");
    const abort = new AbortController();
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(new TextEncoder().encode("whole line\n".repeat(10_000))),
    });
    const url = `${base}/?query=${encodeURIComponent(`INSERT INTO ${table} FORMAT TSV`)}`;
    const init = { method: "POST", body, duplex: "half", signal: abort.signal };
    const cutOff = fetch(url, init);
    setTimeout(() => abort.abort(), 200);
    await expect(cutOff).rejects.toThrow();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect((await ask(`SELECT count() FROM ${table}`)).text).toBe("0\n");
  });

  test("of nothing stores nothing", async () => {
    const table = await newTable("s String");
    for (const format of ["TSV", "JSONEachRow", "RowBinary", "Native"]) {
      const inserted = await ask(`INSERT INTO ${table} FORMAT ${format}`);
      expect(inserted.text, format).toBe("");
      expect(inserted.status, format).toBe(200);
    }
    expect(
      (await ask(`INSERT INTO no_such_table FORMAT TSV`)).headers.get("x-clickhouse-exception-code"),
    ).toBe("60");
  });

  test("deduplicates by token, sent as a setting", async () => {
    const table = await newTable(
      "a UInt32",
      "MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100",
    );
    const params = { insert_deduplication_token: "one", async_insert: "0", wait_end_of_query: "1" };
    for (const body of ["1\n", "1\n"]) {
      const again = await ask(`INSERT INTO ${table} FORMAT TSV`, { body, params });
      expect(JSON.parse(again.headers.get("x-clickhouse-summary") ?? "")).toMatchObject({
        written_rows: "1",
      });
    }
    expect((await ask(`SELECT count() FROM ${table}`)).text).toBe("1\n");
  });
});

describe("an exception", () => {
  test("has ClickHouse's status, code and text", async () => {
    const cases = [
      ["SELECT * FROM no_such_table", 404, "60"],
      ["SELECT no_such_column", 404, "47"],
      ["SELECT 1 SETTINGS no_such_setting = 1", 404, "115"],
      ["SELEC 1", 400, "62"],
      ["", 400, "62"],
      ["SELECT throwIf(1)", 500, "395"],
      [
        "SELECT sleepEachRow(0.1) FROM numbers(20) SETTINGS max_execution_time = 1, max_block_size = 1",
        408,
        "159",
      ],
      ["SELECT 1 FORMAT Nonsense", 404, "73"],
    ] as const;
    for (const [query, status, code] of cases) {
      const refused = await ask(query);
      expect(refused.headers.get("x-clickhouse-exception-code"), query).toBe(code);
      expect(refused.status, query).toBe(status);
      expect(refused.text, query).toMatch(/^Code: \d+\. DB::Exception: .*\(version 26\.[\d.]+\)\n$/s);
    }
  });

  test("of bad data names neither our file nor itself twice", async () => {
    const table = await newTable("a UInt32");
    const refused = await ask(`INSERT INTO ${table} FORMAT RowBinary`, { body: new Uint8Array(3) });
    expect(refused.headers.get("x-clickhouse-exception-code")).toBe("33");
    expect(refused.text.match(/Code: 33/g)).toHaveLength(1);
    expect(refused.text).not.toContain("headrace-clickhouse-");
    expect((await ask(`SELECT count() FROM ${table}`)).text).toBe("0\n");
  });

  test("comes for a wrong setting or database as well", async () => {
    expect((await ask("SELECT 1", { params: { no_such: "1" } })).status).toBe(404);
    expect((await ask("SELECT 1", { params: { "bad name": "1" } })).status).toBe(404);
    expect(
      (await ask("SELECT 1", { params: { database: "no`such" } })).headers.get("x-clickhouse-exception-code"),
    ).toBe("81");
  });
});

describe("settings and parameters", () => {
  test("hold for their request only", async () => {
    expect((await ask("SELECT getSetting('max_threads')", { params: { max_threads: "3" } })).text).toBe(
      "3\n",
    );
    expect((await ask("SELECT getSetting('max_threads')")).text).not.toBe("3\n");
  });

  test("are bound with their types, whatever is in them", async () => {
    const hostile = "a'b\\c\td\ne\"`; DROP TABLE x -- é";
    const escaped = hostile.replaceAll("\\", "\\\\").replaceAll("\t", "\\t").replaceAll("\n", "\\n");
    const { text } = await ask(
      "SELECT hex({s:String}), {a:Array(String)}, {n:UInt8} + 1, {i:Identifier} FROM (SELECT 5 AS x)",
      {
        params: { param_s: escaped, param_a: "['x','y\\'z']", param_n: "41", param_i: "x" },
      },
    );
    expect(text).toBe(`${Buffer.from(hostile).toString("hex").toUpperCase()}\t['x','y\\'z']\t42\t5\n`);
  });

  test("come in a form too", async () => {
    const form = new FormData();
    form.append("query", "SELECT {s:String}");
    form.append("param_s", "x".repeat(100_000));
    const response = await fetch(base, { method: "POST", body: form });
    expect(await response.text()).toBe(`${"x".repeat(100_000)}\n`);
  });

  test("choose the database", async () => {
    const database = `d_${crypto.randomUUID().replaceAll("-", "")}`;
    await ask(`CREATE DATABASE ${database}`);
    expect((await ask("SELECT currentDatabase()", { params: { database } })).text).toBe(`${database}\n`);
    const headers = { "X-ClickHouse-Database": database };
    expect((await ask("SELECT currentDatabase()", { headers })).text).toBe(`${database}\n`);
    expect((await ask("SELECT currentDatabase()")).text).toBe("default\n");
  });
});

describe("a session", () => {
  test("keeps settings and temporary tables between its requests, and only there", async () => {
    const params = { session_id: crypto.randomUUID() };
    await ask("CREATE TEMPORARY TABLE mine (a UInt8)", { params });
    await ask("INSERT INTO mine FORMAT TSV", { params, body: "7\n" });
    await ask("SET max_threads = 5", { params });
    expect((await ask("SELECT a, getSetting('max_threads') FROM mine", { params })).text).toBe("7\t5\n");
    expect((await ask("SELECT * FROM mine")).headers.get("x-clickhouse-exception-code")).toBe("60");
    await ask("SELECT 1", { params: { ...params, close_session: "1" } });
    const gone = await ask("SELECT 1", { params: { ...params, session_check: "1" } });
    expect(gone.headers.get("x-clickhouse-exception-code")).toBe("372");
  });

  test("serves one request at a time", async () => {
    const params = { session_id: crypto.randomUUID() };
    const slow = ask("SELECT sleep(1)", { params });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect((await ask("SELECT 1", { params })).headers.get("x-clickhouse-exception-code")).toBe("373");
    expect((await slow).text).toBe("0\n");
  });
});

describe("running queries", () => {
  test("run side by side", async () => {
    const started = performance.now();
    const answers = await Promise.all(Array.from({ length: 12 }, () => ask("SELECT sleep(0.5)")));
    expect(answers.every(({ text }) => text === "0\n")).toBe(true);
    expect(performance.now() - started).toBeLessThan(3_000);
  });

  test("are seen by the id that their client gave, and killed by it", async () => {
    const queryId = `group.${crypto.randomUUID()}`;
    const endless = ask("SELECT sleepEachRow(0.1) FROM numbers(1000)", {
      params: { query_id: queryId, max_block_size: "1", function_sleep_max_microseconds_per_block: "0" },
    });
    const seen = "SELECT query_id, query FROM system.processes WHERE query_id = {id:String}";
    const deadline = performance.now() + 5_000;
    while ((await ask(seen, { params: { param_id: queryId } })).text === "") {
      expect(performance.now()).toBeLessThan(deadline);
    }
    const again = await ask("SELECT 1", { params: { query_id: queryId } });
    expect(again.headers.get("x-clickhouse-exception-code")).toBe("216");
    const killed = await ask(`KILL QUERY WHERE query_id = '${queryId}' SYNC FORMAT TSV`);
    expect(killed.text).toContain(queryId);
    expect((await endless).headers.get("x-clickhouse-exception-code")).toBe("394");
    expect((await ask(seen, { params: { param_id: queryId } })).text).toBe("");
  });

  test("end when their client goes away", async () => {
    const queryId = crypto.randomUUID();
    const abort = new AbortController();
    const params = {
      query_id: queryId,
      max_block_size: "1",
      query: "SELECT sleepEachRow(0.1) FROM numbers(30)",
    };
    const left = fetch(`${base}/?${new URLSearchParams(params)}`, { signal: abort.signal });
    setTimeout(() => abort.abort(), 300);
    await expect(left).rejects.toThrow();
    const started = performance.now();
    const running = `SELECT count() FROM system.processes WHERE query_id = '${queryId}'`;
    while ((await ask(running)).text !== "0\n") {
      expect(performance.now() - started).toBeLessThan(1_500);
    }
  });
});

describe("clients", () => {
  test("@clickhouse/client-web pings, inserts, queries and reads errors", async () => {
    const table = await newTable("a UInt32, s String");
    const client = createClient({ url: base, compression: { response: true } });
    expect(await client.ping()).toEqual({ success: true });
    await client.insert({ table, values: [{ a: 1, s: "x\n\ny" }, { a: 2 }], format: "JSONEachRow" });
    const rows = await client.query({
      query: `SELECT * FROM ${table} WHERE a = {a:UInt32} OR s = {s:String}`,
      query_params: { a: 2, s: "x\n\ny" },
      format: "JSONEachRow",
    });
    expect(await rows.json()).toEqual(
      expect.arrayContaining([
        { a: 1, s: "x\n\ny" },
        { a: 2, s: "" },
      ]),
    );
    await expect(client.query({ query: "SELECT * FROM nowhere" })).rejects.toMatchObject({
      code: "60",
      type: "UNKNOWN_TABLE",
    });
    await client.close();
  });

  test("get their answer compressed when they ask for it", async () => {
    const url = `${base}/?enable_http_compression=1&query=${encodeURIComponent("SELECT repeat('x', 10000)")}`;
    const bytes = await new Promise<Buffer>((resolve, reject) => {
      request(url, { headers: { "Accept-Encoding": "gzip" } }, (response) => {
        expect(response.headers["content-encoding"]).toBe("gzip");
        const chunks: Buffer[] = [];
        response.on("data", (chunk) => chunks.push(chunk)).on("end", () => resolve(Buffer.concat(chunks)));
      })
        .on("error", reject)
        .end();
    });
    expect(bytes.length).toBeLessThan(200);
    expect(gunzipSync(bytes).toString()).toBe(`${"x".repeat(10_000)}\n`);
  });

  test("get ClickHouse's own compressed blocks when they ask for them, exceptions too", async () => {
    const plain = await fetch(`${base}/?query=SELECT+number+FROM+numbers(5)`);
    const asked = await fetch(`${base}/?compress=1&query=SELECT+number+FROM+numbers(5)`);
    expect(await unframed(asked)).toBe(await plain.text());
    const refused = await fetch(`${base}/?compress=1&query=SELECT+nothing`);
    expect(refused.headers.get("x-clickhouse-exception-code")).toBe("47");
    expect(await unframed(refused)).toMatch(/^Code: 47\. DB::Exception/);
  });

  test("that name their protocol revision get Native blocks of that revision", async () => {
    const query = "SELECT 'é' AS s, 7::UInt32 AS n, NULL::Nullable(UInt8) AS z FORMAT Native";
    const columns = [
      ["s", "String", "02c3a9"],
      ["n", "UInt32", "07000000"],
      ["z", "Nullable(UInt8)", "0100"],
    ] as const;
    const blockInfo = "010002ffffffff00";
    const block = (info: string, custom: string): string =>
      `${info}0301${columns.map(([name, type, data]) => `01${Buffer.from(name).toString("hex")}${type.length.toString(16).padStart(2, "0")}${Buffer.from(type).toString("hex")}${custom}${data}`).join("")}`;
    const hexOf = async (revision: string): Promise<string> => {
      const url = `${base}/?client_protocol_version=${revision}&query=${encodeURIComponent(query)}`;
      return Buffer.from(await (await fetch(url)).arrayBuffer()).toString("hex");
    };
    expect(await hexOf("0")).toBe(block("", ""));
    expect(await hexOf("54453")).toBe(block(blockInfo, ""));
    expect(await hexOf("54460")).toBe(block(blockInfo, "00"));
    const refused = await fetch(`${base}/?client_protocol_version=54460&query=SELECT+[1]+FORMAT+Native`);
    expect(refused.headers.get("x-clickhouse-exception-code")).toBe("48");
  });

  test("authenticate as default in every way, and as nobody else", async () => {
    const basic = (user: string, password: string) => ({
      Authorization: `Basic ${btoa(`${user}:${password}`)}`,
    });
    expect((await ask("SELECT currentUser()", { headers: basic("default", "") })).text).toBe("default\n");
    expect(
      (await ask("SELECT 1", { headers: { "X-ClickHouse-User": "default", "X-ClickHouse-Key": "" } })).text,
    ).toBe("1\n");
    expect((await ask("SELECT 1", { params: { user: "default", password: "" } })).text).toBe("1\n");
    const stranger = await ask("SELECT 1", { headers: basic("mallory", "x") });
    expect(stranger.status).toBe(403);
    expect(stranger.headers.get("x-clickhouse-exception-code")).toBe("516");
  });

  test("may ping, and get a hint elsewhere", async () => {
    expect(await (await fetch(`${base}/ping`)).text()).toBe("Ok.\n");
    expect(await (await fetch(base)).text()).toBe("Ok.\n");
    expect((await fetch(`${base}/play`)).status).toBe(404);
  });

  test("are none of a page from elsewhere, nor under another name", async () => {
    expect((await ask("SELECT 1", { headers: { Origin: "https://evil.example" } })).status).toBe(403);
    expect((await ask("SELECT 1", { headers: { Origin: "http://localhost:3000" } })).status).toBe(200);
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const headers = { Host: "evil.example:8123" };
      request(`${base}/?query=SELECT+1`, { headers }, (response) => resolve(response.resume().statusCode))
        .on("error", reject)
        .end();
    });
    expect(status).toBe(403);
  });
});
