/**
 * What can be seen only on a connection or only in the rows: framing, connections that break, and the values that the
 * rules of OTLP's two encodings give. Ids in names are rows of docs/otlp-conformance.md.
 */
import { execFile, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join as joinPath } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { payloadPrefix } from "../../shared/payload-key.ts";
import {
  attribute,
  bytesField,
  fixed64Field,
  join,
  keyValue,
  type Part,
  stringField,
  tag,
  value,
  varintField,
} from "../fixtures/protobuf.ts";
import { chunk, exchange, head } from "./raw-http.ts";
import { useLocalPipeline } from "./use-pipeline.ts";

const local = useLocalPipeline({ crons: false, events: false });
const jsonIds = Array.from({ length: 5 }, () => ({ trace: hex(randomBytes(16)), span: hex(randomBytes(8)) }));
const protobufIds = Array.from({ length: 3 }, () => randomBytes(8));

beforeAll(async () => {
  // Sent now, looked at last: the way to the rows takes longer than the tests of the connection.
  const json = await post("json", oddJson(jsonIds));
  expect([json.status, await json.text()]).toEqual([200, "{}"]);
  const protobuf = await post("pb", oddProtobuf(protobufIds));
  expect([protobuf.status, await protobuf.text()]).toEqual([200, ""]);
}, 60_000);

const startMs = Date.now() - 60_000;
const startNanos = BigInt(startMs) * 1_000_000n + 123_457n;

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** A span of ids that no other has; `more` fields follow, and the last of a number wins. */
function span(...more: readonly Part[]): Uint8Array {
  return join(
    bytesField(1, randomBytes(16)),
    bytesField(2, randomBytes(8)),
    stringField(5, "op"),
    fixed64Field(7, startNanos),
    fixed64Field(8, startNanos),
    more,
  );
}

const requestOf = (...spans: readonly Part[]) =>
  bytesField(
    1,
    bytesField(
      2,
      spans.map((content) => bytesField(2, content)),
    ),
  );

function post(type: "pb" | "json", body: BodyInit): Promise<Response> {
  const media = { pb: "application/x-protobuf", json: "application/json" };
  return fetch(`${local.pipeline.otlp}/v1/traces`, {
    method: "POST",
    headers: { "content-type": media[type], "x-api-key": local.pipeline.key },
    body,
  });
}

/** Five spans of OTLP/JSON, written as no serializer writes them. */
function oddJson(ids: readonly { readonly trace: string; readonly span: string }[]): string {
  const [upper, numbers, bytes, nulls, doubles] = ids;
  const common = `"name":"op","startTimeUnixNano":${startNanos},"endTimeUnixNano":"${startNanos + 3n}"`;
  const id = (of: (typeof ids)[0] | undefined) => `"traceId":"${of?.trace}","spanId":"${of?.span}"`;
  return `{"resourceSpans":[{"scopeSpans":[{"spans":[
    {${common},"traceId":"${upper?.trace.toUpperCase()}","spanId":"${upper?.span.toUpperCase()}","parentSpanId":"A1B2C3D4E5F60718",
      "kind":3,"status":{"code":2,"message":"m","surprise":[{}]},"span_kind":1,"more":{"name":"not this"}},
    {${common},${id(numbers)},"attributes":[{"key":"a","value":{"intValue":"9223372036854775807"}},
      {"key":"b","value":{"intValue":-9223372036854775808}},{"key":"c","value":{"intValue":9007199254740993}},
      {"key":"d","value":{"intValue":1e3}},{"key":"e","value":{"intValue":1.0}}]},
    {${common},${id(bytes)},"attributes":[{"key":"a","value":{"bytesValue":"+/8="}},{"key":"b","value":{"bytesValue":"-_8"}}]},
    {${common},${id(nulls)},"parentSpanId":null,"kind":null,"attributes":null,"events":null,"links":null,"status":null,"traceState":null},
    {${common},${id(doubles)},"attributes":[{"key":"a","value":{"doubleValue":"NaN"}},{"key":"b","value":{"doubleValue":"-Infinity"}},
      {"key":"c","value":{"doubleValue":"1.5"}},{"key":"d","value":{"doubleValue":2}},{"key":"e","value":{}}]}
  ]}]}]}`;
}

/** Three spans of protobuf with what the wire format allows and no serializer writes, under a resource in two parts. */
function oddProtobuf(ids: readonly Uint8Array[]): Uint8Array {
  const [merged, odd, indexed] = ids;
  const named = (id: Uint8Array | undefined, ...more: Part[]) => span(bytesField(2, id ?? []), more);
  const group = [tag(99, 3), stringField(5, "not this"), tag(99, 4)];
  const spans = [
    named(
      merged,
      stringField(5, "later"),
      varintField(6, 3),
      [bytesField(15, varintField(3, 2)), bytesField(15, stringField(2, "why"))],
      [varintField(100, 1), bytesField(101, [1]), group],
    ),
    named(odd, stringField(5, ""), fixed64Field(8, startNanos - 1n), [
      attribute("k", value.string("a")),
      attribute("k", value.string("b")),
    ]),
    named(indexed, bytesField(9, [varintField(3, 1), bytesField(2, varintField(8, 2))])),
  ];
  const resources = [
    bytesField(1, bytesField(1, keyValue("a", value.string("b")))),
    bytesField(1, bytesField(1, keyValue("c", value.string("d")))),
  ];
  return bytesField(1, [
    resources,
    bytesField(
      2,
      spans.map((content) => bytesField(2, content)),
    ),
  ]);
}

const keyHeaders = () => ({ "x-api-key": local.pipeline.key, "content-type": "application/x-protobuf" });

async function payloads(): Promise<number> {
  const bucket = await local.pipeline.workers.getR2Bucket("PAYLOADS", "headrace-consumer");
  return (await bucket.list({ prefix: payloadPrefix })).objects.length;
}

describe("a connection", () => {
  afterEach(async () => {
    const { status } = await post("pb", requestOf(span()));
    expect(status, "a good request afterwards").toBe(200);
  });

  test("T6 is kept after every answer: the next request on it is served", async () => {
    const good = requestOf(span());
    const json = { "content-type": "application/json" };
    const [unread, large] = [new Uint8Array(1_000_000), new Uint8Array(25_000_000)];
    const requests = [
      [head(keyHeaders(), good.length), good], // 200
      [head(json, 2), "{}"], // 401
      [head(json, unread.length), unread], // 401, with a body that nobody wants
      [head({ ...keyHeaders(), "content-type": "text/plain" }, 2), "{}"], // 415
      [head(keyHeaders(), 1), "{"], // 400
      [head(keyHeaders(), 0, "PUT /v1/traces HTTP/1.1")], // 405
      [head(keyHeaders(), 2, "POST /nowhere HTTP/1.1"), "{}"], // 404
      [head(keyHeaders(), good.length), good], // 200
      [head(keyHeaders(), large.length), large], // 413, and more body than is read of it: this one may close
    ].flat();
    const { statuses } = await exchange(local.pipeline.otlp, requests, "stay", {
      answers: 9,
      deadlineMs: 40_000, // 26 MB
    });
    expect(statuses).toEqual([200, 401, 401, 415, 400, 405, 404, 200, 413]);
  });

  test("L2 with a body over the limit gets its 413, with Content-Length and chunked", async () => {
    const parts = Array.from({ length: 330 }, () => new Uint8Array(65_536));
    const total = parts.reduce((sum, part) => sum + part.length, 0);
    const slowly = { deadlineMs: 20_000 };
    const known = await exchange(local.pipeline.otlp, [head(keyHeaders(), total), ...parts], "stay", slowly);
    expect(known.statuses).toEqual([413]);
    const chunked = { ...keyHeaders(), "transfer-encoding": "chunked" };
    const inChunks = [head(chunked), ...parts.map(chunk)];
    const unknown = await exchange(local.pipeline.otlp, inChunks, "stay", slowly);
    expect(unknown.statuses).toEqual([413]);
    expect(unknown.text).toContain("20971520 bytes");
  });

  test("that ends or breaks within a body stores nothing, however valid the bytes before are", async () => {
    const before = await payloads();
    const [first, second] = [requestOf(span()), requestOf(span())];
    const whole = first.length + second.length;
    const chunked = { ...keyHeaders(), "transfer-encoding": "chunked" };
    for (const ending of ["fin", "rst"] as const) {
      for (const parts of [
        [head(keyHeaders(), whole), first],
        [head(chunked), chunk(first)],
        [head(chunked), chunk(join(first, second)).subarray(0, first.length + 4)],
      ]) {
        const { statuses } = await exchange(local.pipeline.otlp, parts, ending);
        expect(statuses.filter((status) => status !== 503)).toEqual([]);
      }
    }
    expect(await payloads()).toBe(before);
  });

  test("with a Content-Length that is a lie or no number is refused, and nothing of it is stored", async () => {
    const before = await payloads();
    const good = requestOf(span());
    const lies: readonly [string, readonly (string | Uint8Array)[]][] = [
      ["negative", [head({ ...keyHeaders(), "content-length": "-1" }), good]],
      ["no number", [head({ ...keyHeaders(), "content-length": "1e3" }), good]],
      ["two of them", [head({ ...keyHeaders(), "content-length": "5", "Content-Length": "6" }), good]],
      [
        "beside chunked",
        [head({ ...keyHeaders(), "transfer-encoding": "chunked" }, good.length), chunk(good)],
      ],
      ["huge", [head({ ...keyHeaders(), "content-length": "99999999999999" }), good]],
      ["shorter than the body", [head(keyHeaders(), good.length - 3), good]],
    ];
    for (const [name, parts] of lies) {
      const { statuses } = await exchange(local.pipeline.otlp, parts, "fin");
      for (const status of statuses) {
        expect([400, 413, 501, 503], name).toContain(status);
      }
      if (name === "huge") {
        expect(statuses, "the claim alone is enough").toEqual([413]);
      }
    }
    expect(await payloads()).toBe(before);
  });

  test("with huge headers, many headers or a huge URL is refused", async () => {
    const asked = [
      head({ ...keyHeaders(), "x-junk": "j".repeat(200_000) }, 2),
      head(Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`x-${i}`, "y"])), 2),
      head(keyHeaders(), 2, `POST /v1/traces?${"q".repeat(200_000)} HTTP/1.1`),
      "POST /v1/traces HTTP/1.1\r\nno colon here\r\n\r\n",
      `${"\0".repeat(1000)}\r\n\r\n`,
    ];
    for (const text of asked) {
      const { statuses } = await exchange(local.pipeline.otlp, [text, "{}"], "fin");
      for (const status of statuses) {
        expect([400, 401, 413, 414, 431, 501], text.slice(0, 40)).toContain(status);
      }
    }
  });

  test("that says nothing more is one of 200, and good requests are served meanwhile", async () => {
    const half = requestOf(span());
    const idle = Array.from({ length: 200 }, () =>
      exchange(local.pipeline.otlp, [head(keyHeaders(), 1000), half], "stay", { deadlineMs: 500 }),
    );
    const answers = await Promise.all(Array.from({ length: 20 }, () => post("pb", requestOf(span()))));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect((await Promise.all(idle)).flatMap(({ statuses }) => statuses)).toEqual([]);
  });
});

interface Row {
  readonly [column: string]: unknown;
}

/** The rows of these spans, in their order. */
async function rowsOf(spanIds: readonly string[]): Promise<Row[]> {
  const list = spanIds.map((id) => `'${id}'`).join();
  await local.eventually(
    `SELECT count() FROM otel_traces WHERE SpanId IN (${list})`,
    String(spanIds.length),
    20_000,
  );
  const text = await local.query(
    `SELECT *, toString(Timestamp) AS at FROM otel_traces WHERE SpanId IN (${list}) FORMAT JSONEachRow`,
  );
  const rows = text.split("\n").map((line) => JSON.parse(line) as Row);
  return spanIds.map((id) => rows.find((row) => row["SpanId"] === id) ?? {});
}

describe("the rows of what was sent at the start", () => {
  test("J1 J2 J3 J5 J6 J7 J8 hold what JSON said, to the last digit", async () => {
    const rows = await rowsOf(jsonIds.map(({ span }) => span));
    const fraction = String(startNanos).slice(-9);
    for (const row of rows) {
      expect(row).toMatchObject({
        SpanName: "op",
        Duration: 3,
        at: expect.stringMatching(`\\.${fraction}$`),
      });
    }
    expect(rows).toMatchObject([
      {
        TraceId: jsonIds[0]?.trace,
        ParentSpanId: "a1b2c3d4e5f60718",
        SpanKind: "Client",
        StatusCode: "Error",
        StatusMessage: "m",
      },
      {
        SpanAttributes: {
          a: "9223372036854775807",
          b: "-9223372036854775808",
          c: "9007199254740993",
          d: "1000",
          e: "1",
        },
      },
      { SpanAttributes: { a: "+/8=", b: "+/8=" } },
      { ParentSpanId: "", SpanKind: "Unspecified", SpanAttributes: {}, StatusCode: "Unset", TraceState: "" },
      { SpanAttributes: { a: "NaN", b: "-Infinity", c: "1.5", d: "2", e: "" } },
    ]);
  });

  test("B1 B3 B4 hold the last value, merged messages, no word of unknown fields, and no negative duration", async () => {
    const rows = await rowsOf(protobufIds.map(hex));
    for (const row of rows) {
      expect(row).toMatchObject({ ResourceAttributes: { a: "b", c: "d" } });
    }
    expect(rows).toMatchObject([
      { SpanName: "later", SpanKind: "Client", StatusCode: "Error", StatusMessage: "why", Duration: 0 },
      { SpanName: "", Duration: 0 },
      { SpanName: "op", SpanAttributes: { "": "" } },
    ]);
    const columns = "SpanAttributes.keys, SpanAttributes.values";
    const [, odd] = protobufIds.map(hex);
    expect(await local.query(`SELECT ${columns} FROM otel_traces WHERE SpanId = '${odd}'`)).toBe(
      "['k','k']\t['a','b']",
    );
  });
});

describe("docs/otlp-conformance.md", () => {
  const text = readFileSync(joinPath(import.meta.dirname, "../../docs/otlp-conformance.md"), "utf8");
  const [, block = ""] = /```console\n([\s\S]*?)\n```/.exec(text) ?? [];
  const transcripts = block.split("\n\n").map((transcript) => {
    const [command = "", ...shown] = transcript.split("\n");
    return { command: command.slice(2), shown };
  });
  const curl = spawnSync("curl", ["--version"]).status === 0;

  test.skipIf(!curl)("shows what curl shows (skipped where there is no curl)", async () => {
    expect(transcripts.length).toBeGreaterThan(15);
    const { host } = new URL(local.pipeline.otlp);
    const env = { ...process.env, KEY: local.pipeline.key };
    const outputs = await Promise.all(
      transcripts.map(({ command }) =>
        promisify(execFile)("sh", ["-c", command.replaceAll("localhost:4318", host)], { env }),
      ),
    );
    for (const [index, { command, shown }] of transcripts.entries()) {
      const stdout = outputs[index]?.stdout ?? "";
      const [answered = "", body] = stdout.replaceAll("\r", "").split("\n\n");
      const [statusLine, ...headers] = answered.split("\n").map((line) => line.replace(/^[^:]+:/, lower));
      const [shownStatus, ...shownRest] = shown;
      const shownBody = shownRest.filter((line) => line.startsWith("{")).join("\n");
      const shownHeaders = shownRest.filter((line) => !line.startsWith("{"));
      expect(statusLine, command).toBe(shownStatus);
      expect(body, command).toBe(shownBody);
      expect(headers, command).toEqual(
        expect.arrayContaining(shownHeaders.map((line) => line.replace(/^[^:]+:/, lower))),
      );
    }
  });
});

function lower(name: string): string {
  return name.toLowerCase();
}

test("no line that the Workers logged under abuse holds a stack trace or the key", () => {
  expect(local.logs.length).toBeGreaterThan(5);
  for (const line of local.logs) {
    expect(line).not.toContain(local.pipeline.key);
    expect(line).not.toMatch(/\n|\bat .*:\d+/);
  }
});
