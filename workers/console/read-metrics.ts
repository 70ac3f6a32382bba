/**
 * `GET /metrics`: the pipeline's state for Prometheus. docs/console.md lists the names. Each of the two is reported also while
 * the other does not answer: `headrace_ledger_up` and `headrace_clickhouse_up` say which it was.
 */
import * as v from "valibot";
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { tableName } from "../../shared/clickhouse/statements.ts";
import type { TenantSum } from "../../shared/console/answers.ts";
import { type MetricFamily, type MetricSample, metricsText } from "../../shared/console/metrics-text.ts";
import { tenantSums } from "../../shared/console/minute-steps.ts";
import type { ConsumerOperations } from "../../shared/console/operations.ts";
import type { LedgerStatus } from "../../shared/delivery/ledger-status.ts";
import { groupKinds } from "../../shared/ledger/group-kinds.ts";
import type { InFlight } from "../../shared/ledger/in-flight.ts";
import { DAY_MS, limits } from "../../shared/limits.ts";
import { payloadOutcomes } from "../../shared/outcome.ts";
import { type Checkpoint, watermarkOf } from "../../shared/reconcile/checkpoint.ts";
import { writeLog } from "../../shared/write-log.ts";
import { stillDead } from "./dead-letters.ts";
import { probed, type Unreachable } from "./probe-dependencies.ts";
import { readSums } from "./read-minutes.ts";

const findingsSchema = v.array(v.object({ kind: v.string(), severity: v.string(), open: v.number() }));
const deadSchema = v.tuple([v.object({ dead: v.number() })]);
interface TableFacts {
  readonly findings: v.InferOutput<typeof findingsSchema>;
  readonly dead: number;
  /** Of the month. */
  readonly tenants: readonly TenantSum[];
}

/** `probing`: the dependencies that do not answer. `now`: ms since the epoch. */
export async function readMetrics(
  clickHouse: ClickHouseConnection,
  consumer: Pick<ConsumerOperations, "checkpoint" | "inFlight" | "status" | "unsettled">,
  probing: Promise<readonly Unreachable[]>,
  now: number,
): Promise<string> {
  const [unreachable, ledger, facts] = await Promise.all([
    probing,
    orNull(readLedger(consumer), "metrics without those of the ledger"),
    orNull(readTables(clickHouse, consumer, now), "metrics without those of ClickHouse's tables"),
  ]);
  return metricsText([
    ...(ledger === null
      ? []
      : [
          ...checkpointFamilies(ledger.checkpoint, now),
          ...inFlightFamilies(ledger.inFlight, now),
          ...statusFamilies(ledger.status),
        ]),
    gauge("ledger_up", "1: the ledger answered the questions of this scrape.", {
      value: ledger === null ? 0 : 1,
    }),
    gauge(
      "dependency_up",
      "1: what the ingress needs answers; checked once in ten seconds.",
      ...probed.map((dependency) => ({
        labels: { dependency },
        value: unreachable.some((one) => one.dependency === dependency) ? 0 : 1,
      })),
    ),
    ...tableFamilies(facts),
  ]);
}

async function readLedger(consumer: Pick<ConsumerOperations, "checkpoint" | "inFlight" | "status">) {
  const [checkpoint, inFlight, status] = await Promise.all([
    consumer.checkpoint(),
    consumer.inFlight(),
    consumer.status(),
  ]);
  return { checkpoint, inFlight, status };
}

/** Null: it could not be read, which the log says. */
async function orNull<T>(reading: Promise<T>, message: string): Promise<T | null> {
  try {
    return await reading;
  } catch (error) {
    writeLog("warn", { message }, error);
    return null;
  }
}

async function readTables(
  clickHouse: ClickHouseConnection,
  consumer: Pick<ConsumerOperations, "unsettled">,
  now: number,
): Promise<TableFacts> {
  const read = async <S extends v.GenericSchema>(query: string, schema: S): Promise<v.InferOutput<S>> =>
    await queryRows(clickHouse, schema, query);
  const table = (name: string): string => tableName(clickHouse.settings, name);
  const since = Date.parse(`${new Date(now).toISOString().slice(0, 7)}-01T00:00:00Z`);
  // Steps of a month's length: nothing is made of them.
  const range = { since, stepMs: 31 * DAY_MS };
  const [findings, [{ dead }], sums] = await Promise.all([
    read(
      `SELECT kind, toString(severity) AS severity, toUInt32(count()) AS open FROM ${table("headrace_findings")} FINAL
        WHERE state = 'open' GROUP BY kind, severity ORDER BY kind, severity`,
      findingsSchema,
    ),
    read(
      `SELECT toUInt32(count()) AS dead FROM ${table("headrace_dead_letters")} FINAL
        WHERE key IN (${stillDead})`,
      deadSchema,
    ),
    readSums(clickHouse, consumer, range),
  ]);
  const tenants = tenantSums({ now, ...range, ...sums }).slice(0, limits.metricsTenantsMax);
  return { findings, dead, tenants };
}

const gauge = (name: string, help: string, ...samples: readonly MetricSample[]): MetricFamily => ({
  name: `headrace_${name}`,
  type: "gauge",
  help,
  samples,
});
const counter = (name: string, help: string, ...samples: readonly MetricSample[]): MetricFamily => ({
  ...gauge(`${name}_total`, help, ...samples),
  type: "counter",
});

function checkpointFamilies(checkpoint: Checkpoint | null, now: number): readonly MetricFamily[] {
  if (checkpoint === null) {
    return [];
  }
  const watermark = watermarkOf(checkpoint);
  return [
    gauge(
      "watermark_timestamp_seconds",
      "Everything accepted before this time is balanced with nothing in flight.",
      {
        value: watermark / 1000,
      },
    ),
    gauge("watermark_age_seconds", "How far the watermark is behind; about 360 when all is well.", {
      value: Math.max(0, now - watermark) / 1000,
    }),
    gauge("open_minutes", "Minutes that were walked and could not be sealed.", {
      value: checkpoint.open.length,
    }),
    gauge("reconciler_last_run_timestamp_seconds", "When a run of the reconciler last finished; 0: never.", {
      value: checkpoint.ranAt / 1000,
    }),
  ];
}

function inFlightFamilies(inFlight: InFlight, now: number): readonly MetricFamily[] {
  const { payloads, groupsCount, kinds, waiting, oldestWork } = inFlight;
  return [
    gauge(
      "in_flight_payloads",
      "Payloads that the ledger holds: those that wait, and those of the oldest groups of each kind (a lower bound above 50 of one).",
      { value: payloads },
    ),
    gauge("in_flight_groups", "Groups that have not ended.", { value: groupsCount }),
    ...(kinds === undefined
      ? []
      : [
          gauge(
            "in_flight_groups_by_kind",
            "And what they are: usual, asked for by a person, failing, refused by ClickHouse, erasures that fail, held for a person.",
            ...groupKinds.map((kind) => ({ labels: { kind }, value: kinds[kind] })),
          ),
        ]),
    gauge("in_flight_waiting_payloads", "Payloads that wait to become a group.", { value: waiting }),
    gauge(
      "in_flight_oldest_age_seconds",
      "Since the longest work in flight began, without replays, erasures and what waits for a person; 0: there is none.",
      {
        value: oldestWork === null ? 0 : Math.max(0, now - oldestWork) / 1000,
      },
    ),
  ];
}

function statusFamilies({ head, held, heldCount, trouble, databaseBytes, remembered }: LedgerStatus) {
  return [
    gauge(
      "held_payloads",
      "Payloads that wait for a person's decision: some of their rows are there, but not exactly all.",
      {
        value: heldCount ?? held.length,
      },
    ),
    gauge("delivery_failing", "1: payloads cannot be stored, and wait.", {
      value: trouble === "" ? 0 : 1,
    }),
    gauge("ledger_bytes", "Size of the ledger's database.", { value: databaseBytes }),
    gauge("ledger_remembered_payloads", "Finished payloads that the ledger still knows.", {
      value: remembered,
    }),
    ...(head === null
      ? []
      : [
          counter(
            "rescues",
            "Payloads found by a later ring because no doorbell arrived, since the ledger began.",
            { labels: { ring: "event" }, value: head.rescues.event },
            { labels: { ring: "reconcile" }, value: head.rescues.reconcile },
          ),
          counter("late_bells", "Notifications for payloads whose rows a person had removed.", {
            value: head.lateBells,
          }),
          gauge("breaker_open", "1: INSERTs fail, and one is tried at a time.", {
            value: head.breaker.isOpen ? 1 : 0,
          }),
          gauge("inserts_out", "INSERTs in flight.", { value: head.breaker.inFlight.length }),
          gauge("insert_slots", "INSERTs that may be in flight at once.", {
            value: head.breaker.concurrencyLimit,
          }),
          gauge("table_refused", "1: the table check refuses the traces table, and nothing is inserted.", {
            value: head.table.refusal === "" ? 0 : 1,
          }),
        ]),
  ];
}

function tableFamilies(facts: TableFacts | null): readonly MetricFamily[] {
  const up = gauge("clickhouse_up", "1: ClickHouse answered the queries of this scrape.", {
    value: facts === null ? 0 : 1,
  });
  if (facts === null) {
    return [up];
  }
  const { findings, dead, tenants } = facts;
  return [
    up,
    gauge("dead_letters", "Dead letters that nobody has replayed or purged.", { value: dead }),
    gauge(
      "findings_open",
      "Open findings.",
      ...findings.map(({ kind, severity, open }) => ({ labels: { kind, severity }, value: open })),
    ),
    gauge(
      "month_payloads",
      "Payloads that arrived since the month began (UTC), by how they ended, or in flight. A replay or an erasure moves them.",
      ...tenants.flatMap((row) => [
        ...payloadOutcomes.map((outcome) => ({
          labels: { tenant: row.tenant, outcome },
          value: row[outcome],
        })),
        { labels: { tenant: row.tenant, outcome: "in_flight" }, value: row.inFlight },
      ]),
    ),
    gauge(
      "month_spans",
      "Spans stored, and in flight, of these payloads.",
      ...tenants.map(({ tenant, spans }) => ({ labels: { tenant }, value: spans })),
    ),
    gauge(
      "month_bytes",
      "Bytes received of those that ended.",
      ...tenants.map(({ tenant, bytes }) => ({ labels: { tenant }, value: bytes })),
    ),
  ];
}
