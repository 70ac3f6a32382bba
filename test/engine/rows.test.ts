/**
 * A block's rows as a real engine prints them. Expected values are written by hand from the Collector's rules, or
 * taken from the SDK's span objects; never from our own reading of our own bytes.
 */
import type { HrTime } from "@opentelemetry/api";
import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { beforeAll, describe, expect, test } from "vitest";
import { corpusBounds, makeSpans } from "../../bench/corpus.ts";
import { Random } from "../../bench/random.ts";
import { jsonToProtobuf } from "../../shared/otlp/json.ts";
import { columns } from "../../shared/rows/columns.ts";
import { BlockBuilder } from "../../shared/rows/transcode.ts";
import { payload } from "../fixtures/blocks.ts";
import {
  attribute,
  bounds,
  bytesField,
  fixed64Field,
  join,
  keyValue,
  type Part,
  request,
  resource,
  span,
  spanId,
  startNanos,
  stringField,
  traceId,
  value,
  varintField,
} from "../fixtures/protobuf.ts";
import { ask, EngineError, insertBlock, newTracesTable, rowsOf } from "./traces-table.ts";

async function stored(...bodies: readonly Uint8Array[]): Promise<string> {
  const builder = new BlockBuilder();
  for (const body of bodies) {
    builder.add(payload(body));
  }
  const table = await newTracesTable();
  await insertBlock(table, builder.finish());
  return table;
}

describe("the column list", () => {
  test("has the table's names and types, in the table's order", async () => {
    const table = await newTracesTable();
    const described = await rowsOf(
      `SELECT name, type FROM system.columns WHERE table = '${table}' ORDER BY position`,
    );
    expect(columns).toEqual(described);
  });
});

describe("a span by hand", () => {
  const full = span(
    stringField(3, "vendor=1"),
    bytesField(4, spanId),
    attribute("zz", value.string("last")),
    attribute("a", value.int(-5)),
    attribute("größe", value.array(value.string("x"), value.double(1.5))),
    attribute("a", value.bool(true)),
    bytesField(11, [
      fixed64Field(1, startNanos + 1n),
      stringField(2, "first"),
      bytesField(3, keyValue("k", value.int(1))),
    ]),
    bytesField(11, [fixed64Field(1, startNanos + 2n)]),
    bytesField(13, [
      bytesField(1, traceId),
      bytesField(2, spanId),
      stringField(3, "l=2"),
      bytesField(4, keyValue("b", value.none)),
      bytesField(4, keyValue("a", value.bytes(1))),
    ]),
    bytesField(13, [bytesField(1, new Uint8Array(16)), bytesField(2, new Uint8Array(8))]),
    bytesField(15, [stringField(2, "it broke"), varintField(3, 2)]),
    join([0x85, 0x01], [1, 1, 0, 0]),
  );

  test("has every column as the Collector's exporter writes it", async () => {
    const body = bytesField(1, [
      resource(
        ["service.name", value.string("shop")],
        ["host", value.string("h")],
        ["service.name", value.string("second")],
      ),
      bytesField(2, [bytesField(1, [stringField(1, "lib"), stringField(2, "1.0")]), bytesField(2, full)]),
    ]);
    const [row] = await rowsOf(
      `SELECT * EXCEPT HeadracePayload, hex(HeadracePayload) AS payload FROM ${await stored(body)}`,
    );
    expect(row).toEqual({
      Timestamp: "2026-11-24 07:00:00.000000000",
      TraceId: "0102030405060708090a0b0c0d0e0f10",
      SpanId: "a1a2a3a4a5a6a7a8",
      ParentSpanId: "a1a2a3a4a5a6a7a8",
      TraceState: "vendor=1",
      SpanName: "op",
      SpanKind: "Server",
      ServiceName: "shop",
      ResourceAttributes: expect.anything(),
      ScopeName: "lib",
      ScopeVersion: "1.0",
      SpanAttributes: expect.anything(),
      Duration: "1500",
      StatusCode: "Error",
      StatusMessage: "it broke",
      "Events.Timestamp": ["2026-11-24 07:00:00.000000001", "2026-11-24 07:00:00.000000002"],
      "Events.Name": ["first", ""],
      "Events.Attributes": [{ k: "1" }, {}],
      "Links.TraceId": ["0102030405060708090a0b0c0d0e0f10", ""],
      "Links.SpanId": ["a1a2a3a4a5a6a7a8", ""],
      "Links.TraceState": ["l=2", ""],
      "Links.Attributes": [{ a: "AQ==", b: "" }, {}],
      HeadraceTenant: "acme",
      payload: "000102030405060708090A0B0C0D0E0F",
    });
  });

  test("keeps duplicate keys, sorted by key, equal ones in the order of arrival", async () => {
    const table = await stored(request(full));
    expect(await rowsOf(`SELECT SpanAttributes.keys AS k, SpanAttributes.values AS v FROM ${table}`)).toEqual(
      [{ k: ["a", "a", "größe", "zz"], v: ["-5", "true", '["x",1.5]', "last"] }],
    );
  });

  test("has empty text and 0 for what is absent", async () => {
    const bare = join(bytesField(1, traceId), bytesField(2, spanId), fixed64Field(7, startNanos));
    const [row] = await rowsOf(
      `SELECT * EXCEPT (HeadracePayload, Timestamp, TraceId, SpanId) FROM ${await stored(bytesField(1, bytesField(2, bytesField(2, bare))))}`,
    );
    expect(row).toEqual({
      ParentSpanId: "",
      TraceState: "",
      SpanName: "",
      SpanKind: "Unspecified",
      ServiceName: "",
      ResourceAttributes: {},
      ScopeName: "",
      ScopeVersion: "",
      SpanAttributes: {},
      Duration: "0",
      StatusCode: "Unset",
      StatusMessage: "",
      "Events.Timestamp": [],
      "Events.Name": [],
      "Events.Attributes": [],
      "Links.TraceId": [],
      "Links.SpanId": [],
      "Links.TraceState": [],
      "Links.Attributes": [],
      HeadraceTenant: "acme",
    });
  });

  test("has the kinds, the status codes, and nothing for numbers that have no name", async () => {
    const spans = [0, 1, 2, 3, 4, 5, 6, 99, 300, -1].map((kind) =>
      span(varintField(6, kind), stringField(5, String(kind)), bytesField(15, varintField(3, kind))),
    );
    expect(
      await rowsOf(
        `SELECT SpanName AS n, SpanKind AS k, StatusCode AS s FROM ${await stored(request(...spans))} ORDER BY toInt32(SpanName)`,
      ),
    ).toEqual([
      { n: "-1", k: "", s: "" },
      { n: "0", k: "Unspecified", s: "Unset" },
      { n: "1", k: "Internal", s: "Ok" },
      { n: "2", k: "Server", s: "Error" },
      { n: "3", k: "Client", s: "" },
      { n: "4", k: "Producer", s: "" },
      { n: "5", k: "Consumer", s: "" },
      { n: "6", k: "", s: "" },
      { n: "99", k: "", s: "" },
      { n: "300", k: "", s: "" },
    ]);
  });

  test("that ends before it starts, as ClickHouse reads a time, has Duration 0, a long one its nanoseconds", async () => {
    const goZeroTime = 11651379494838206464n; // time.Time{}.UnixNano() as unsigned: the year 1754
    const ends = [
      startNanos - 1n,
      startNanos,
      startNanos + 1n,
      startNanos + 2n ** 33n,
      2n ** 63n - 1n,
      2n ** 63n,
      goZeroTime,
      2n ** 64n - 1n,
    ];
    const spans = ends.map((end, i) => span(fixed64Field(8, end), stringField(5, `n${i}`)));
    expect(
      await rowsOf(`SELECT Duration AS d FROM ${await stored(request(...spans))} ORDER BY SpanName`),
    ).toEqual([
      { d: "0" },
      { d: "0" },
      { d: "1" },
      { d: String(2n ** 33n) },
      { d: String(2n ** 63n - 1n - startNanos) },
      { d: "0" },
      { d: "0" },
      { d: "0" },
    ]);
  });

  test("never makes a query over its row fail, whatever times it has", async () => {
    const times = [0n, 1n, 2n ** 63n - 1n, 2n ** 63n, 11651379494838206464n, 2n ** 64n - 1n];
    const spans = times.map((time) => span(fixed64Field(8, time), bytesField(11, fixed64Field(1, time))));
    const table = await stored(request(...spans));
    const [row] = await rowsOf(
      `SELECT count() AS n,
        max(addNanoseconds(Timestamp, Duration)) > toDateTime64('2200-01-01', 9) AS late,
        sum(toInt128(Duration)) > 0 AS durations, avg(Duration) > 0 AS mean,
        max(dateDiff('second', Timestamp, addNanoseconds(Timestamp, Duration))) > 0 AS seconds,
        sum(length(toString(Events.Timestamp[1]))) > 0 AS texts,
        sum(toUnixTimestamp64Nano(Events.Timestamp[1]) != 3) AS events,
        countIf(Events.Timestamp[1] BETWEEN Timestamp AND addNanoseconds(Timestamp, Duration)) AS inside,
        sum(dateDiff('nanosecond', Timestamp, Events.Timestamp[1]) != 3) AS offsets
      FROM ${table}`,
    );
    expect(row).toMatchObject({ n: "6", late: 1, durations: 1, mean: 1, seconds: 1, texts: 1 });
  });

  test("has values as text, whatever their type", async () => {
    const cases: readonly (readonly [Part, string])[] = [
      [value.string(""), ""],
      [value.none, ""],
      [value.bool(false), "false"],
      [value.int(2n ** 63n - 1n), "9223372036854775807"],
      [value.double(-0), "-0"],
      [value.double(1e21), "1e+21"],
      [value.double(Number.NaN), "NaN"],
      [value.bytes(255), "/w=="],
      [value.array(), "[]"],
      [
        value.map(keyValue("b", value.int(1)), keyValue("a", value.string("\u2028"))),
        '{"a":"\\u2028","b":1}',
      ],
      [value.array(value.double(Number.NaN)), '["NaN"]'],
      [value.string("x".repeat(70_000)), "x".repeat(70_000)],
      [value.string("ü".repeat(64)), "ü".repeat(64)],
    ];
    const attributes = cases.map(([content], i) => attribute(`k${String(i).padStart(2, "0")}`, content));
    expect(
      await rowsOf(`SELECT SpanAttributes.values AS v FROM ${await stored(request(span(attributes)))}`),
    ).toEqual([{ v: cases.map(([, text]) => text) }]);
  });

  test("takes its service name from the first such attribute, of any type", async () => {
    const named = (...attributes: (readonly [string, Part])[]): Uint8Array =>
      bytesField(1, [resource(...attributes), bytesField(2, bytesField(2, span()))]);
    const table = await stored(
      named(["service.name", value.int(7)]),
      named(["service.name", value.none], ["service.name", value.string("later")]),
      named(["service_name", value.string("no")]),
      named(["a", value.none], ["service.name", value.array(value.string("x"))]),
    );
    expect(await rowsOf(`SELECT ServiceName AS s FROM ${table} ORDER BY s`)).toEqual([
      { s: "" },
      { s: "" },
      { s: "7" },
      { s: '["x"]' },
    ]);
  });

  test("starts on the day that toDate says", async () => {
    const midnight = (startNanos / 86_400_000_000_000n) * 86_400_000_000_000n;
    const spans = [midnight - 1n, midnight, midnight + 86_399_999_999_999n].map((at) =>
      span(fixed64Field(7, at)),
    );
    const builder = new BlockBuilder();
    const { rowsByDay } = builder.add(payload(request(...spans)));
    const table = await newTracesTable();
    await insertBlock(table, builder.finish());
    expect(
      await rowsOf(
        `SELECT toUInt16(toDate(Timestamp)) AS day, toUInt32(count()) AS rows FROM ${table} GROUP BY day ORDER BY day`,
      ),
    ).toEqual([...rowsByDay].map(([day, rows]) => ({ day, rows })));
  });
});

describe("an SDK's spans", () => {
  const spans = makeSpans(new Random(41), "checkout", 700);
  const protobuf = ProtobufTraceSerializer.serializeRequest(spans) ?? new Uint8Array(0);

  test("are the rows that the SDK's span objects say", async () => {
    const builder = new BlockBuilder();
    builder.add(payload(protobuf, corpusBounds));
    const table = await newTracesTable();
    await insertBlock(table, builder.finish());
    const rows = await rowsOf(
      `SELECT * EXCEPT (HeadraceTenant, HeadracePayload) FROM ${table} ORDER BY SpanId`,
    );
    expect(rows).toEqual(
      [...spans].sort((a, b) => (a.spanContext().spanId < b.spanContext().spanId ? -1 : 1)).map(expectedRow),
    );
  });

  test("sent as JSON are the same rows, by every column's hash", async () => {
    const { JsonTraceSerializer } = await import("@opentelemetry/otlp-transformer");
    const json = JsonTraceSerializer.serializeRequest(spans) ?? new Uint8Array(0);
    const hashes: unknown[] = [];
    for (const body of [protobuf, jsonToProtobuf(json)]) {
      const builder = new BlockBuilder();
      builder.add(payload(body, corpusBounds));
      const table = await newTracesTable();
      await insertBlock(table, builder.finish());
      const sums = columns
        .map(({ name }) => `sum(cityHash64(toString(\`${name}\`))) AS \`${name}\``)
        .join(", ");
      hashes.push(await rowsOf(`SELECT ${sums} FROM ${table}`));
    }
    expect(hashes[1]).toEqual(hashes[0]);
  });
});

function expectedRow(span: ReadableSpan): unknown {
  const context = span.spanContext();
  return {
    Timestamp: timeText(span.startTime),
    TraceId: context.traceId,
    SpanId: context.spanId,
    ParentSpanId: span.parentSpanContext?.spanId ?? "",
    TraceState: context.traceState?.serialize() ?? "",
    SpanName: span.name,
    SpanKind: ["Internal", "Server", "Client", "Producer", "Consumer"][span.kind],
    ServiceName: "checkout",
    ResourceAttributes: expectedMap(span.resource.attributes),
    ScopeName: span.instrumentationScope.name,
    ScopeVersion: span.instrumentationScope.version ?? "",
    SpanAttributes: expectedMap(span.attributes),
    Duration: String(nanos(span.endTime) - nanos(span.startTime)),
    StatusCode: ["Unset", "Ok", "Error"][span.status.code],
    StatusMessage: span.status.message ?? "",
    "Events.Timestamp": span.events.map((event) => timeText(event.time)),
    "Events.Name": span.events.map((event) => event.name),
    "Events.Attributes": span.events.map((event) => expectedMap(event.attributes ?? {})),
    "Links.TraceId": span.links.map((link) => link.context.traceId),
    "Links.SpanId": span.links.map((link) => link.context.spanId),
    "Links.TraceState": span.links.map((link) => link.context.traceState?.serialize() ?? ""),
    "Links.Attributes": span.links.map((link) => expectedMap(link.attributes ?? {})),
  };
}

function expectedMap(attributes: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(attributes).map(([key, content]) => [
      key,
      typeof content === "object" ? JSON.stringify(content) : String(content),
    ]),
  );
}

function nanos([seconds, rest]: HrTime): bigint {
  return BigInt(seconds) * 1_000_000_000n + BigInt(rest);
}

function timeText([seconds, rest]: HrTime): string {
  const date = new Date(seconds * 1000).toISOString();
  return `${date.slice(0, 10)} ${date.slice(11, 19)}.${String(rest).padStart(9, "0")}`;
}

describe("dictionaries", () => {
  test.each([1, 2, 255, 256, 257, 65_536, 65_537])("of %i keys", async (keys) => {
    // Row i has a name, an attribute key, an event name and an event's key of its own, all recognised by the value of "i".
    const spans = Array.from({ length: keys }, (_, i) =>
      join(
        bytesField(1, traceId),
        bytesField(2, spanId),
        stringField(5, `name-${i}`),
        fixed64Field(7, startNanos),
        bytesField(9, keyValue(`key-${i}`, value.string(String(i)))),
        bytesField(11, [
          stringField(2, `event-${i}`),
          bytesField(3, keyValue(`event-key-${i}`, value.string(String(i)))),
        ]),
      ),
    );
    const table = await stored(request(...spans));
    const i = "SpanAttributes.values[1]";
    expect(
      await rowsOf(`SELECT count() AS rows, uniqExact(SpanName) AS names, uniqExact(${i}) AS values,
        countIf(SpanName = 'name-' || ${i}) AS ownNames,
        countIf(SpanAttributes.keys = ['key-' || ${i}]) AS ownKeys,
        countIf(\`Events.Name\` = ['event-' || ${i}]) AS ownEvents,
        countIf(mapKeys(\`Events.Attributes\`[1]) = ['event-key-' || ${i}] AND \`Events.Attributes\`[1]['event-key-' || ${i}] = ${i}) AS ownEventKeys
        FROM ${table}`),
    ).toEqual([
      Object.fromEntries(
        ["rows", "names", "values", "ownNames", "ownKeys", "ownEvents", "ownEventKeys"].map((name) => [
          name,
          String(keys),
        ]),
      ),
    ]);
  });
});

describe("the block's edges", () => {
  test("no rows: whatever the engine answers to such a block, it stores nothing", async () => {
    const table = await newTracesTable();
    await insertBlock(table, new BlockBuilder().finish()).catch((error: unknown) => {
      expect(error).toBeInstanceOf(EngineError);
    });
    expect(await ask(`SELECT count() FROM ${table}`)).toBe("0\n");
  });

  test("many payloads, several resources and scopes, each with its own", async () => {
    const tenants = ["acme", "other", "acme"];
    const builder = new BlockBuilder();
    for (const [index, tenant] of tenants.entries()) {
      const body = join(
        ...[0, 1, 2].map((r) =>
          bytesField(1, [
            resource(["service.name", value.string(`s${index}${r}`)], [`r${r}`, value.int(r)]),
            ...[0, 1].map((s) =>
              bytesField(2, [
                bytesField(1, stringField(1, `scope${s}`)),
                ...Array.from({ length: 50 * r + s }, (_, i) =>
                  bytesField(2, span(stringField(5, `${index}${r}${s}-${i}`))),
                ),
              ]),
            ),
          ]),
        ),
      );
      builder.add({ ...payload(body), id: new Uint8Array(16).fill(index), tenant });
    }
    const table = await newTracesTable();
    await insertBlock(table, builder.finish());
    const wrong = `countIf(NOT (startsWith(SpanName, substring(ServiceName, 2) || substring(ScopeName, 6))
      AND ResourceAttributes['r' || substring(ServiceName, 3)] = substring(ServiceName, 3)
      AND length(ResourceAttributes) = 2 AND hex(HeadracePayload) = repeat('0' || substring(ServiceName, 2, 1), 16)
      AND HeadraceTenant = ['acme', 'other', 'acme'][toUInt8(substring(ServiceName, 2, 1)) + 1]))`;
    expect(
      await rowsOf(`SELECT count() AS rows, uniqExact(SpanName) AS names, ${wrong} AS wrong FROM ${table}`),
    ).toEqual([{ rows: "909", names: "909", wrong: "0" }]);
  });

  test("texts longer than a chunk", async () => {
    const long = (letter: string, length: number): string => letter.repeat(length);
    const spans = [300_000, 10, 900_000, 262_144, 1].map((length, i) =>
      span(
        stringField(5, `n${i}`),
        attribute("text", value.string(long("x", length))),
        stringField(3, long("s", length)),
      ),
    );
    expect(
      await rowsOf(
        `SELECT length(SpanAttributes['text']) AS a, length(TraceState) AS b, replaceAll(SpanAttributes['text'], 'x', '') || replaceAll(TraceState, 's', '') AS rest FROM ${await stored(request(...spans))} ORDER BY SpanName`,
      ),
    ).toEqual([300_000, 10, 900_000, 262_144, 1].map((n) => ({ a: String(n), b: String(n), rest: "" })));
  });

  test("a misspelt column is refused, not ignored", async () => {
    const table = await newTracesTable();
    await ask(`ALTER TABLE ${table} RENAME COLUMN HeadraceTenant TO HeadraceTenants`);
    const builder = new BlockBuilder();
    builder.add(payload(request(span())));
    await expect(insertBlock(table, builder.finish())).rejects.toThrow(EngineError);
    expect(await ask(`SELECT count() FROM ${table}`)).toBe("0\n");
  });
});

beforeAll(() => {
  expect(bounds.startMaxMs).toBeGreaterThan(Number(startNanos / 1_000_000n));
});
