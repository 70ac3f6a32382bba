/** What the console asks of ClickHouse, on a real engine: the sums by minute, dead letters, and the metrics. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { loginVariables } from "../../dev/clickhouse/login.ts";
import { statementRunner } from "../../dev/clickhouse/run-statement.ts";
import { readSchemaFiles } from "../../dev/schema-files.ts";
import { insertRows } from "../../shared/clickhouse/ask.ts";
import { type ClickHouseConnection, connectClickHouse } from "../../shared/clickhouse/connection.ts";
import { formatDateTime64 } from "../../shared/clickhouse/date-time.ts";
import { deadLetterColumns, deadLetterRow } from "../../shared/clickhouse/dead-letters.ts";
import { findingColumns, findingRow } from "../../shared/clickhouse/finding-row.ts";
import { defaultSchemaSettings, migrate } from "../../shared/clickhouse/migrations.ts";
import { minuteColumns } from "../../shared/clickhouse/minutes.ts";
import { receiptColumns, receiptRow } from "../../shared/clickhouse/receipts.ts";
import type { ConsumerOperations, Unsettled } from "../../shared/console/operations.ts";
import { noneLookedInto } from "../../shared/ledger/group-kinds.ts";
import { bornHead } from "../../shared/ledger/head.ts";
import { type InFlight, inFlightOf } from "../../shared/ledger/in-flight.ts";
import { nothingWaits } from "../../shared/ledger/view.ts";
import type { PayloadOutcome } from "../../shared/outcome.ts";
import { formatPayloadId, formatPayloadKey } from "../../shared/payload-key.ts";
import type { GroupId, Receipt } from "../../shared/receipt.ts";
import { newCheckpoint, opened, withOpen } from "../../shared/reconcile/checkpoint.ts";
import { listDeadLetters } from "../../workers/console/dead-letters.ts";
import { readMetrics } from "../../workers/console/read-metrics.ts";
import { readMinutes } from "../../workers/console/read-minutes.ts";
import { readExposition } from "../console/exposition.ts";

const MINUTE_MS = 60_000;
// The middle of a month and of an hour, so that no sum of this test crosses one.
const now = Date.UTC(2026, 10, 15, 12, 30, 20);
const minuteAt = (ago: number) => Math.floor(now / MINUTE_MS) * MINUTE_MS - ago * MINUTE_MS;
const database = `c_${crypto.randomUUID().replaceAll("-", "")}`;
const run = statementRunner({ url: inject("clickhouse") });
let clickHouse: ClickHouseConnection;
let drawn = 0;

function receipt(minute: number, tenant: string, outcome: PayloadOutcome, spans = 10): Receipt {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint32(0, ++drawn);
  return {
    key: formatPayloadKey(minute, tenant, formatPayloadId(bytes)),
    outcome,
    group: "0".repeat(32) as GroupId,
    spans,
    rowsByDay: [],
    rejectedSpans: 1,
    bytes: 100,
    reason: outcome === "dead" ? "rejected:349" : "",
  };
}

async function insert(table: string, columns: readonly string[], values: readonly object[]): Promise<void> {
  await insertRows(clickHouse, table, columns, values);
}

const sealed = (ago: number, tenant: string, counts: object) => ({
  minute: minuteAt(ago) / 1000,
  tenant,
  sealed: true,
  accepted: 0,
  stored: 0,
  dead: 0,
  duplicate: 0,
  erased: 0,
  expired: 0,
  spans: 0,
  rejected_spans: 0,
  bytes: 0,
  key_checksum: "0",
  at: formatDateTime64(now),
  ...counts,
});

const nothing: InFlight = inFlightOf(null, nothingWaits, noneLookedInto, now);
const sealedTo = { ...newCheckpoint(minuteAt(6)), ranAt: now - 20_000 };
/** The ledger's side: what it would answer, made by its own functions. */
const consumer = (
  inFlight: InFlight = nothing,
  changed: readonly number[] = [],
  keys: Unsettled["keys"] = [],
): Pick<ConsumerOperations, "checkpoint" | "inFlight" | "status" | "unsettled"> => ({
  unsettled: async () => ({ checkpoint: sealedTo, changed, keys, others: [], isWhole: true }),
  status: async () => ({
    waiting: 0,
    groups: 0,
    remembered: 7,
    databaseBytes: 4096,
    oldestArrival: null,
    head: bornHead({ epoch: null, anyPayload: false, anyRow: false }, now, 4),
    held: [],
    trouble: "",
    frontDoor: [],
    oldestGroups: [],
  }),
  checkpoint: async () => sealedTo,
  inFlight: async () => inFlight,
});

const dead = receipt(minuteAt(2), "a", "dead");
const failure = {
  failed: 9,
  refused: 7,
  since: now,
  at: now,
  kind: "refused",
  code: 349,
  name: "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
  text: "no",
} as const;
const replayed = receipt(minuteAt(3), "b", "dead");

beforeAll(async () => {
  await migrate(readSchemaFiles(), { ...defaultSchemaSettings, database }, run);
  clickHouse = connectClickHouse(
    { ...variables(), ...loginVariables(inject("clickhouse")) },
    undefined,
    fetch,
    "read_only",
  );
  await insert("headrace_minutes", minuteColumns, [
    sealed(50, "a", { accepted: 5, stored: 4, duplicate: 1, spans: 400, bytes: 4000 }),
    sealed(50, "b", { accepted: 2, stored: 1, dead: 1, spans: 100, bytes: 1000 }),
    sealed(8, "a", { accepted: 3, stored: 3, spans: 30, rejected_spans: 2, bytes: 300 }),
    sealed(90, "a", { accepted: 99, stored: 99, spans: 9900, bytes: 9900 }), // before the last hour
  ]);
  const receipts = [
    receipt(minuteAt(8), "a", "stored"), // of a sealed minute: its row says it already
    receipt(minuteAt(2), "a", "stored"),
    receipt(minuteAt(2), "a", "stored"),
    receipt(minuteAt(2), "b", "erased"),
    dead,
    replayed,
    { ...replayed, outcome: "stored" as const },
  ];
  await insert(
    "headrace_receipts",
    receiptColumns,
    receipts.map((one) => receiptRow(one, now)),
  );
  await insert("headrace_dead_letters", deadLetterColumns, [
    deadLetterRow(dead, failure, now),
    deadLetterRow(replayed, null, now),
  ]);
  const finding = { subject: "ledger", tenant: "", message: "m", openedAt: now } as const;
  await insert("headrace_findings", findingColumns, [
    findingRow({ ...finding, kind: "breaker_open", state: "open", severity: "page" }, now),
    findingRow({ ...finding, kind: "in_flight", state: "open", severity: "page" }, now),
    findingRow({ ...finding, kind: "in_flight", state: "resolved", severity: "page" }, now + 1),
  ]);
});

afterAll(async () => {
  await run(`DROP DATABASE ${database} SYNC`);
});

describe("payloads by minute", () => {
  test("are of the rows of sealed minutes, and of receipts where a minute is not sealed, each once", async () => {
    const { steps, tenants } = await readMinutes(clickHouse, consumer(), { hours: 1 }, now);
    const found = steps.filter(({ accepted }) => accepted > 0);
    expect(
      found.map(({ at, accepted, spans, sealed: isSealed }) => [at.slice(11, 16), accepted, spans, isSealed]),
    ).toEqual([
      ["11:40", 7, 500, true],
      ["12:22", 3, 30, true],
      ["12:27", 1, 10, false],
      ["12:28", 4, 20, false],
    ]);
    expect(found.at(-1)).toMatchObject({ stored: 2, dead: 1, erased: 1 });
    expect(tenants).toMatchObject([
      { tenant: "a", accepted: 11, stored: 9, dead: 1, rejectedSpans: 4 },
      { tenant: "b", accepted: 4 },
    ]);
  });

  test("of a minute that was sealed while an older one is open are counted once", async () => {
    const open = { ...opened(minuteAt(40), now), listed: 4, pending: 3 };
    const unsettled = await consumer().unsettled();
    const held = {
      unsettled: async () => ({ ...unsettled, checkpoint: withOpen(sealedTo, open), isWhole: false }),
    };
    const { steps } = await readMinutes(clickHouse, held, { hours: 1 }, now);
    const found = steps.filter(({ accepted }) => accepted > 0);
    expect(found.map(({ at, accepted }) => [at.slice(11, 16), accepted])).toEqual([
      ["11:40", 7],
      ["11:50", 3],
      ["12:22", 3],
      ["12:27", 1],
      ["12:28", 4],
    ]);
  });

  test("of a minute that changed after it was sealed are those of its receipts", async () => {
    const { steps } = await readMinutes(clickHouse, consumer(nothing, [minuteAt(8)]), { hours: 1 }, now);
    expect(steps.find(({ at }) => at.slice(11, 16) === "12:22")).toMatchObject({ accepted: 1, spans: 10 });
    expect(steps.find(({ at }) => at.slice(11, 16) === "11:40")).toMatchObject({ accepted: 7 });
  });

  test("that are in flight and have a receipt count once, by it", async () => {
    const fresh = receipt(minuteAt(1), "a", "stored").key;
    const keys = [dead.key, fresh].map((key) => ({ key, spans: 3 }));
    const { steps } = await readMinutes(clickHouse, consumer(nothing, [], keys), { hours: 1 }, now);
    const found = steps.filter(({ accepted }) => accepted > 0).slice(-2);
    expect(found).toMatchObject([
      { accepted: 4, dead: 1, inFlight: 0 },
      { accepted: 1, inFlight: 1, spans: 3 },
    ]);
  });

  test("of a day are by hour", async () => {
    const { steps } = await readMinutes(clickHouse, consumer(), { hours: 24 }, now);
    expect(steps).toHaveLength(24);
    expect(steps.slice(-2).map(({ accepted }) => accepted)).toEqual([106, 8]);
  });

  test("of one tenant are its own", async () => {
    const { steps } = await readMinutes(clickHouse, consumer(), { hours: 1, tenant: "b" }, now);
    expect(steps.reduce((sum, { accepted }) => sum + accepted, 0)).toBe(4);
  });
});

/** Where the table answers R2 is not asked. */
const noBucket = {} as R2Bucket;

test("a dead letter that was replayed and stored is none any more", async () => {
  expect(await listDeadLetters(noBucket, clickHouse, { whereAre: async () => [] })).toMatchObject([
    { key: dead.key, message: "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN (349): no", refusals: 7 },
  ]);
});

describe("metrics", () => {
  const valuesOf = (text: string) =>
    Object.fromEntries(
      readExposition(text).map(({ name, labels, value }) => [
        [name.replace("headrace_", ""), ...Object.values(labels)].join(" "),
        value,
      ]),
    );

  test("are in Prometheus' format, and say what the ledger and the tables say", async () => {
    const values = valuesOf(await readMetrics(clickHouse, consumer(), Promise.resolve([]), now));
    expect(values).toMatchObject({
      watermark_age_seconds: 6 * 60 + 20,
      open_minutes: 0,
      in_flight_payloads: 0,
      in_flight_oldest_age_seconds: 0,
      "rescues_total event": 0,
      "rescues_total reconcile": 0,
      breaker_open: 0,
      table_refused: 0,
      ledger_bytes: 4096,
      dead_letters: 1,
      clickhouse_up: 1,
      "findings_open breaker_open page": 1,
      "month_payloads a stored": 108,
      "month_payloads a in_flight": 0,
      "month_payloads b dead": 1,
      "month_spans a": 10_350,
      "month_bytes b": 1200,
    });
    expect(values).not.toHaveProperty("findings_open in_flight page");
  });

  test("are those that the alert rules ask for, and those that docs/console.md lists", async () => {
    const reported = new Set(
      readExposition(await readMetrics(clickHouse, consumer(), Promise.resolve([]), now)).map(
        ({ name }) => name,
      ),
    );
    const namesIn = (path: string): Set<string> => {
      const text = readFileSync(join(import.meta.dirname, "..", "..", path), "utf8");
      return new Set(
        text.match(
          /\bheadrace_[a-z_]+(?:_seconds|_total|_bytes|_payloads|_spans|_groups|_minutes|_open|_out|_slots|_refused|_letters|_failing|_up|_by_kind)\b/g,
        ),
      );
    };
    const asked = namesIn("dashboards/prometheus-rules.yml");
    expect(asked.size).toBeGreaterThan(8);
    expect([...asked].filter((name) => !reported.has(name))).toEqual([]);
    expect([...namesIn("docs/console.md")].sort()).toEqual([...reported].sort());
  });

  test("are the ledger's alone while ClickHouse does not answer, and say so", async () => {
    const away = connectClickHouse(
      { ...variables(), CLICKHOUSE_URL: "http://127.0.0.1:1" },
      undefined,
      fetch,
    );
    const values = valuesOf(await readMetrics(away, consumer(), Promise.resolve([]), now));
    expect(values).toMatchObject({ clickhouse_up: 0, watermark_age_seconds: 380, breaker_open: 0 });
    expect(values).not.toHaveProperty("dead_letters");
  });
});

function variables() {
  return {
    CLICKHOUSE_USER: "default",
    CLICKHOUSE_DATABASE: database,
    CLICKHOUSE_TRACES_TABLE: "otel_traces",
  };
}
