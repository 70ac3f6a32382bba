import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import * as v from "valibot";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { addressRefusal, isLoopback } from "../../shared/clickhouse/address.ts";
import { insertRows, queryRows, runStatement } from "../../shared/clickhouse/ask.ts";
import { connectClickHouse } from "../../shared/clickhouse/connection.ts";

const variables = {
  CLICKHOUSE_URL: "http://127.0.0.1:8123",
  CLICKHOUSE_USER: "default",
  CLICKHOUSE_DATABASE: "default",
  CLICKHOUSE_TRACES_TABLE: "otel_traces",
};
const connect = (more: object) => connectClickHouse({ ...variables, ...more }, undefined, fetch);

test("blocks travel in zstd unless a variable says gzip or none, and nothing else", () => {
  expect(connect({}).insertCompression).toBe("zstd");
  expect(connect({ CLICKHOUSE_INSERT_COMPRESSION: "gzip" }).insertCompression).toBe("gzip");
  expect(connect({ CLICKHOUSE_INSERT_COMPRESSION: "none" }).insertCompression).toBe("none");
  expect(() => connect({ CLICKHOUSE_INSERT_COMPRESSION: "lz4" })).toThrow(/zstd.*gzip.*none/s);
});

describe("an address", () => {
  const loopback = [
    "http://127.0.0.1:8123",
    "http://127.1:8123",
    "http://0x7f000001",
    "http://2130706433/",
    "http://localhost.",
    "http://LOCALHOST:1",
    "http://clickhouse.localhost",
    "http://[::1]:8123",
    "http://[0:0:0:0:0:0:0:1]",
    "http://[::ffff:127.0.0.1]",
  ];
  const elsewhere = [
    "http://127.0.0.1.example.com",
    "http://127.example.com",
    "http://localhost.example.com",
    "http://notlocalhost",
    "http://127.0.0.1@example.com",
    "http://example.com#127.0.0.1",
    "http://128.0.0.1",
    "http://0.0.0.0",
    "http://[::2]",
    "http://[::ffff:8.8.8.8]",
    "http://10.0.0.1",
    "http://clickhouse:8123",
  ];

  test.each(loopback)("%s is loopback", (address) => {
    expect(isLoopback(new URL(address).hostname)).toBe(true);
    expect(() => connect({ CLICKHOUSE_URL: address })).not.toThrow();
  });

  test.each(elsewhere)("%s is not, and gets no login over http", (address) => {
    expect(isLoopback(new URL(address).hostname)).toBe(false);
    expect(() => connect({ CLICKHOUSE_URL: address })).toThrow(
      /^CLICKHOUSE_URL is http:\/\/.* in the clear.* set CLICKHOUSE_NETWORK to private-network$/,
    );
    expect(() => connect({ CLICKHOUSE_URL: address, CLICKHOUSE_NETWORK: "private-network" })).not.toThrow();
    expect(() =>
      connectClickHouse({ ...variables, CLICKHOUSE_URL: address }, { fetch }, fetch),
    ).not.toThrow();
    expect(() => connect({ CLICKHOUSE_URL: address.replace("http:", "https:") })).not.toThrow();
  });

  test.each(["", "clickhouse", "ftp://127.0.0.1", "file:///etc/passwd", "javascript:alert(1)", "http://"])(
    "%o is none",
    (text) => {
      const refusal = addressRefusal(text, true, { name: "--url", declare: "" });
      expect(refusal).toBe(`--url is a URL that begins with http:// or https://, not "${text}"`);
    },
  );
});

describe("what is sent", () => {
  const seen: { url: string; authorization: string | undefined; headers: string[] }[] = [];
  let answer: { status: number; headers: Record<string, string>; body: string };
  const server = createServer((request, response) => {
    const { authorization } = request.headers;
    seen.push({ url: request.url ?? "", authorization, headers: Object.keys(request.headers) });
    request.resume().on("end", () => {
      response.writeHead(answer.status, answer.headers);
      response.end(answer.body);
    });
  });
  let address = "";

  beforeAll(async () => {
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  const connection = (more: object = {}) =>
    connect({ CLICKHOUSE_URL: address, CLICKHOUSE_USER: "mäx", CLICKHOUSE_PASSWORD: "pä:ß€", ...more });
  const asked = {
    "a query": async () => void (await queryRows(connection(), v.unknown(), "SELECT 1")),
    "an INSERT": async () => await insertRows(connection(), "t", ["a"], [{ a: 1 }]),
    "a statement": async () => void (await runStatement(connection(), "SYSTEM FLUSH LOGS")),
  };

  test("has the login in its Authorization header, as UTF-8, and nowhere else", async () => {
    answer = { status: 200, headers: { "x-clickhouse-summary": "{}" }, body: "" };
    for (const ask of Object.values(asked)) {
      await ask();
    }
    const [, text = ""] = seen[0]?.authorization?.split(" ") ?? [];
    expect(Buffer.from(text, "base64").toString("utf8")).toBe("mäx:pä:ß€");
    for (const { url, headers } of seen) {
      expect(url).not.toMatch(/password|user=/);
      expect(headers.filter((name) => name.startsWith("x-clickhouse"))).toEqual([]);
    }
  });

  test("says what a promise leans on: rows that others acknowledged are read, and what is written is there when it is answered", async () => {
    answer = { status: 200, headers: { "x-clickhouse-summary": "{}" }, body: "" };
    const sent: Record<string, URLSearchParams> = {};
    for (const [what, ask] of Object.entries(asked)) {
      await ask();
      sent[what] = new URL(seen.at(-1)?.url ?? "", address).searchParams;
    }
    expect(sent["a query"]?.get("select_sequential_consistency")).toBe("1");
    expect(sent["an INSERT"]?.get("async_insert")).toBe("0");
    expect(sent["an INSERT"]?.get("wait_end_of_query")).toBe("1");
    expect(sent["an INSERT"]?.get("insert_deduplicate")).toBe("0"); // a retry must reach the table's view
    expect(sent["a statement"]?.get("wait_end_of_query")).toBe("1");
  });

  describe.each(Object.entries(asked))("%s", (_what, ask) => {
    test("is not done when a page answers 200", async () => {
      answer = { status: 200, headers: { "content-type": "text/html" }, body: "<html>Just a moment…</html>" };
      await expect(ask()).rejects.toThrow(
        /^status 200 without ClickHouse's headers \(something in between answered.*Just a moment/,
      );
    });

    test("is not sent on by a redirect", async () => {
      const before = seen.length;
      answer = { status: 307, headers: { location: `${address}/elsewhere` }, body: "" };
      await expect(ask()).rejects.toThrow(
        /^status 307: the address redirects, which is not followed: set CLICKHOUSE_URL .*\/elsewhere$/,
      );
      expect(seen.length).toBe(before + 1);
    });

    test("is not done when the exception comes behind a 200", async () => {
      const body = "Code: 241. DB::Exception: Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)";
      answer = { status: 200, headers: { "x-clickhouse-summary": "{}" }, body };
      await expect(ask()).rejects.toMatchObject({ code: 241 });
    });

    test("is not done when an error has no code", async () => {
      answer = { status: 500, headers: { "x-clickhouse-summary": "{}" }, body: "oh" };
      await expect(ask()).rejects.toThrow("ClickHouse answered 500: oh");
    });
  });

  test("a row may quote an exception", async () => {
    const body = `${JSON.stringify({ text: "x\nCode: 241. DB::Exception: no" })}\n`;
    answer = { status: 200, headers: { "x-clickhouse-query-id": "q" }, body };
    const rows = await queryRows(connection(), v.unknown(), "SELECT 1");
    expect(rows).toEqual([{ text: "x\nCode: 241. DB::Exception: no" }]);
  });

  test("an answer that breaks off within a row is none", async () => {
    answer = { status: 200, headers: { "x-clickhouse-query-id": "q" }, body: '{"a":1}\n{"a":' };
    await expect(queryRows(connection(), v.unknown(), "SELECT 1")).rejects.toThrow(/breaks off.*\{"a":$/);
  });
});
