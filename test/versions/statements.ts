/** What the product sends, made by its own functions: for an engine that another program drives. */
import { readSchemaFiles } from "../../dev/schema-files.ts";
import { assert } from "../../shared/assert.ts";
import {
  leftQuery,
  mutationsQuery,
  rowsDeletion,
  traceTimesDeletion,
} from "../../shared/clickhouse/deletion.ts";
import { defaultSchemaSettings, planMigrations } from "../../shared/clickhouse/migrations.ts";
import { receiptRow } from "../../shared/clickhouse/receipts.ts";
import * as statements from "../../shared/clickhouse/statements.ts";
import {
  bareExpression,
  fenceComment,
  fenceExpression,
  fenceQuery,
  fenceStatement,
} from "../../shared/clickhouse/table-fence.ts";
import { smallTraceQuestion } from "../../shared/console/one-trace-queries.ts";
import { formatPayloadId, formatPayloadKey, formatSlotKey } from "../../shared/payload-key.ts";
import { isGroupId } from "../../shared/receipt.ts";
import { formatSegmentKey } from "../../shared/segment/segment-key.ts";

const settings = { url: "", user: "default", password: "", database: "hr", tracesTable: "otel_traces" };

const fencedTable = "shared 1-1";

/** The schema in order, an INSERT's settings, the queries of VERIFY and of an erasure, two receipts. */
export async function readStatements(): Promise<object> {
  const group = "a".repeat(32);
  assert(isGroupId(group), "32 hexadecimal digits are a group's id");
  const id = formatPayloadId(new Uint8Array(16).fill(1));
  const now = Date.now();
  const inSegment = formatSlotKey(formatSegmentKey(now, new Uint8Array(10), [id]), 0, "acme", id);
  const day = Math.floor(now / 86_400_000);
  const database = settings.database;
  const erased = { ids: [id], days: [day, day + 1, day + 2], mark: group };
  const erasing = rowsDeletion(settings, erased);
  const planned = await planMigrations(readSchemaFiles(), { ...defaultSchemaSettings, database }, []);
  const {
    query: _query,
    query_id: _queryId,
    insert_deduplication_token: _token,
    wait_end_of_query: _httpOnly,
    ...insert
  } = statements.insertSpansParameters(settings, group, 1, 60_000, now + 60_000, null);
  return {
    schema: planned.flatMap(({ name, statements: texts }) => texts.map((sql) => [name, sql])),
    insert,
    fence: {
      // The server of the embedded engines has no UUID; its table's does not matter to the column.
      add: fenceStatement(settings, fencedTable, ""),
      change: fenceStatement(settings, fencedTable, "0"),
      read: `SELECT ${fenceQuery(settings)}`,
      bare: bareExpression(fenceExpression(fencedTable)),
      comment: fenceComment(fencedTable, now + 60_000),
      late: fenceComment(fencedTable, now - 1),
      elsewhere: fenceComment("shared 2-2", now + 60_000),
    },
    payloadHex: "01".repeat(16),
    day,
    receipts: [formatPayloadKey(now, "acme", id), inSegment].map((key) =>
      receiptRow(
        {
          key,
          outcome: "stored",
          group,
          spans: 2,
          rowsByDay: [{ day, rows: 2 }],
          rejectedSpans: 0,
          bytes: 10,
          reason: "",
        },
        now,
      ),
    ),
    queries: {
      count: statements.countRowsQuery(settings, [id]),
      counted: statements.countedRowsQuery(settings, [id], null),
      witness: statements.witnessQuery(settings, null),
      replicaWitness: statements.witnessQuery(settings, "replicated"),
      receipts: statements.receiptsQuery(settings, [id]),
      receiptClaims: statements.receiptClaimsQuery(settings, [id]),
      state: statements.tableStateQuery(settings),
      running: statements.runningQuery(settings, group, 90_000, null),
      kill: statements.killStatement(group, 90_000),
      complete: statements.completeViewStatement(settings, [id]),
      eraseTimes: traceTimesDeletion(settings, erased).statement.replace(
        /mutations_sync = 0$/,
        "mutations_sync = 2",
      ),
      erase: erasing.statement.replace(/mutations_sync = 0$/, "mutations_sync = 2"),
      mutations: mutationsQuery(settings, erasing),
      left: leftQuery(settings, erasing) ?? "",
      trace: smallTraceQuestion(settings, { traceId: "", tenant: null }).query.replaceAll(
        "{trace:String}",
        "'trace'",
      ),
    },
  };
}
