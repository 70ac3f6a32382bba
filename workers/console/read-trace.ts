/** A trace as the table has it: which payloads brought it in, and what its first spans say. */
import * as v from "valibot";
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { countRowsQuery, receiptsQuery, tableName } from "../../shared/clickhouse/statements.ts";
import type { Fixed, TraceAnswer } from "../../shared/console/answers.ts";
import { fromHex } from "../../shared/hex.ts";
import { limits } from "../../shared/limits.ts";
import { formatPayloadId } from "../../shared/payload-key.ts";

const partsSchema = v.array(v.object({ payload: v.string(), tenant: v.string(), spans: v.number() }));
const spansSchema = v.array(
  v.object({
    spanId: v.string(),
    name: v.string(),
    service: v.string(),
    attributes: v.record(v.string(), v.string()),
  }),
);
const countsSchema = v.array(v.object({ payload: v.string(), rows: v.number() }));
const keysSchema = v.array(v.object({ key: v.string() }));

/** `trace`: 32 lower-case hex digits. A trace that is not there has no payloads. */
export async function readTrace(
  clickHouse: ClickHouseConnection,
  trace: string,
): Promise<Fixed<TraceAnswer>> {
  const { settings } = clickHouse;
  const table = tableName(settings, settings.tracesTable);
  const read = async <S extends v.GenericSchema>(query: string, schema: S): Promise<v.InferOutput<S>> =>
    await queryRows(clickHouse, schema, query, { trace });
  const where = "TraceId = {trace:String}";
  const parts = await read(
    `SELECT lower(hex(HeadracePayload)) AS payload, any(HeadraceTenant) AS tenant, toUInt32(count()) AS spans
      FROM ${table} WHERE ${where} GROUP BY HeadracePayload ORDER BY payload LIMIT ${limits.payloadsListed}`,
    partsSchema,
  );
  const spans = await read(
    `SELECT SpanId AS spanId, SpanName AS name, ServiceName AS service, SpanAttributes AS attributes
      FROM ${table} WHERE ${where} ORDER BY Timestamp, SpanId LIMIT ${limits.traceSpansListed}`,
    spansSchema,
  );
  const isOurs = ({ payload }: { readonly payload: string }): boolean => !/^0+$/.test(payload);
  const payloads: Fixed<TraceAnswer>["payloads"][number][] = [];
  for (const { payload, tenant, spans: ofTrace } of parts.filter(isOurs)) {
    const id = formatPayloadId(fromHex(payload));
    const counts = await read(countRowsQuery(settings, [id]), countsSchema);
    const keys = await read(receiptsQuery(settings, [id]), keysSchema);
    payloads.push({
      payload: id,
      tenant,
      spans: ofTrace,
      spansInAll: counts.reduce((sum, { rows }) => sum + rows, 0),
      keys: keys.map(({ key }) => key),
    });
  }
  const others = parts.filter((part) => !isOurs(part));
  return {
    trace,
    spansOfOthers: others.reduce((sum, part) => sum + part.spans, 0),
    payloads,
    spans,
  };
}
