/** Rows of the traces table for tests of what the console finds in it: each with what a test says, and the rest as usual. */
import { insertRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";

export interface SpanRow {
  readonly trace: string;
  readonly span: string;
  readonly parent?: string;
  /** ns since the epoch */
  readonly at: bigint;
  readonly durationNs?: bigint;
  readonly service?: string;
  readonly name?: string;
  readonly kind?: string;
  readonly status?: string;
  /** Nothing: "it failed" where it did. */
  readonly statusMessage?: string;
  readonly attributes?: Readonly<Record<string, string>>;
  readonly resource?: Readonly<Record<string, string>>;
  readonly events?: readonly {
    readonly at: bigint;
    readonly name: string;
    readonly attributes: Readonly<Record<string, string>>;
  }[];
  readonly links?: readonly {
    readonly trace: string;
    readonly span: string;
    readonly attributes?: Readonly<Record<string, string>>;
  }[];
  readonly tenant?: string;
  /** 32 hex digits; nothing: the Collector's exporter wrote it. */
  readonly payload?: string;
}

const columns = [
  "Timestamp",
  "TraceId",
  "SpanId",
  "ParentSpanId",
  "SpanName",
  "SpanKind",
  "ServiceName",
  "ResourceAttributes",
  "SpanAttributes",
  "Duration",
  "StatusCode",
  "StatusMessage",
  "Events.Timestamp",
  "Events.Name",
  "Events.Attributes",
  "Links.TraceId",
  "Links.SpanId",
  "Links.TraceState",
  "Links.Attributes",
  "HeadraceTenant",
  "HeadracePayload",
];

function time(ns: bigint): string {
  return `${ns / 1_000_000_000n}.${String(ns % 1_000_000_000n).padStart(9, "0")}`;
}

/** Stores them with one INSERT. */
export async function insertSpans(clickHouse: ClickHouseConnection, rows: readonly SpanRow[]): Promise<void> {
  const { database, tracesTable } = clickHouse.settings;
  // A payload's id is 16 bytes of any value, which JSON cannot say: it is written as text, and turned into bytes beside.
  const staging = `staging_${crypto.randomUUID().replaceAll("-", "")}`;
  const { runStatement } = await import("../../shared/clickhouse/ask.ts");
  await runStatement(
    clickHouse,
    `CREATE TABLE ${database}.${staging} ENGINE = Memory AS SELECT * EXCEPT HeadracePayload, '' AS HeadracePayload FROM ${database}.${tracesTable} WHERE 0`,
  );
  await insertRows(
    clickHouse,
    staging,
    columns,
    rows.map((row) => ({
      Timestamp: time(row.at),
      TraceId: row.trace,
      SpanId: row.span,
      ParentSpanId: row.parent ?? "",
      SpanName: row.name ?? "GET /",
      SpanKind: row.kind ?? "Server",
      ServiceName: row.service ?? "shop",
      ResourceAttributes: row.resource ?? { "service.name": row.service ?? "shop" },
      SpanAttributes: row.attributes ?? {},
      Duration: String(row.durationNs ?? 1_000_000n),
      StatusCode: row.status ?? "Unset",
      StatusMessage: row.statusMessage ?? (row.status === "Error" ? "it failed" : ""),
      "Events.Timestamp": (row.events ?? []).map(({ at }) => time(at)),
      "Events.Name": (row.events ?? []).map(({ name }) => name),
      "Events.Attributes": (row.events ?? []).map(({ attributes }) => attributes),
      "Links.TraceId": (row.links ?? []).map(({ trace }) => trace),
      "Links.SpanId": (row.links ?? []).map(({ span }) => span),
      "Links.TraceState": (row.links ?? []).map(() => ""),
      "Links.Attributes": (row.links ?? []).map(({ attributes }) => attributes ?? {}),
      HeadraceTenant: row.tenant ?? "acme",
      HeadracePayload: row.payload ?? "0".repeat(32),
    })),
  );
  const list = columns.map((name) => `\`${name}\``).join(", ");
  await runStatement(
    clickHouse,
    `INSERT INTO ${database}.${tracesTable} (${list}) SELECT ${list.replace("`HeadracePayload`", "unhex(HeadracePayload)")} FROM ${database}.${staging}`,
  );
  await runStatement(clickHouse, `DROP TABLE ${database}.${staging}`);
}
