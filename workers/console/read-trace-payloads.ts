/** Which payloads brought a trace's spans, and how those ended, by their receipts. */
import * as v from "valibot";
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { countRowsQuery, receiptsQuery } from "../../shared/clickhouse/statements.ts";
import type { TracePayload } from "../../shared/console/traces.ts";
import { fromHex, toHex } from "../../shared/hex.ts";
import { limits } from "../../shared/limits.ts";
import {
  formatPayloadId,
  minuteToMs,
  type PayloadId,
  parsePayloadKey,
  payloadIdToBytes,
} from "../../shared/payload-key.ts";

export const broughtSchema = v.array(
  v.object({ payload: v.string(), tenant: v.string(), spans: v.number() }),
);
/** How many spans of a trace a payload brought; `payload`: its id in hex. */
export type BroughtSpans = v.InferOutput<typeof broughtSchema>[number];
const countsSchema = v.array(v.object({ payload: v.string(), rows: v.number() }));
const receiptsSchema = v.array(
  v.object({
    key: v.string(),
    outcome: v.string(),
    group_id: v.string(),
    reason: v.string(),
    at: v.number(),
  }),
);

/** By hex: another exporter's rows have no payload. */
export const isOurs = (payload: string): boolean => !/^0+$/.test(payload);

/** Of spans by their begin: the payloads that brought them, in that order. */
export function payloadsOfRows(
  rows: readonly { readonly payload: string; readonly tenant: string }[],
): readonly BroughtSpans[] {
  const byPayload = new Map<string, BroughtSpans>();
  for (const { payload, tenant } of rows) {
    if (isOurs(payload)) {
      const { spans } = byPayload.get(payload) ?? { spans: 0 };
      byPayload.set(payload, { payload, tenant, spans: spans + 1 });
    }
  }
  return [...byPayload.values()];
}

/** What is to be said of them; `brought` by spans of one trace. */
export async function readPayloads(
  clickHouse: ClickHouseConnection,
  settings: Readonly<Record<string, string>>,
  brought: readonly BroughtSpans[],
): Promise<TracePayload[]> {
  const ids = brought.map(({ payload }) => formatPayloadId(fromHex(payload)));
  const rowsById = new Map<string, number>();
  const receiptsById = new Map<string, TracePayload["receipts"]>();
  for (let from = 0; from < ids.length; from += limits.idsAQuery) {
    const some = ids.slice(from, from + limits.idsAQuery);
    const [counts, receipts] = await Promise.all([
      queryRows(clickHouse, countsSchema, countRowsQuery(clickHouse.settings, some), {}, { settings }),
      queryRows(clickHouse, receiptsSchema, receiptsQuery(clickHouse.settings, some), {}, { settings }),
    ]);
    for (const { payload, rows } of counts) {
      rowsById.set(payload, (rowsById.get(payload) ?? 0) + rows);
    }
    for (const receipt of receipts) {
      const parsed = parsePayloadKey(receipt.key);
      if (parsed !== undefined) {
        const hex = toHex(payloadIdToBytes(parsed.id));
        receiptsById.set(hex, [...(receiptsById.get(hex) ?? []), receiptOf(receipt, parsed.minute)]);
      }
    }
  }
  return brought.map(({ payload, tenant, spans }, index) => {
    const receipts = receiptsById.get(payload) ?? [];
    return {
      payload: ids[index] ?? ("" as PayloadId),
      tenant,
      spans,
      spansInAll: rowsById.get(payload) ?? spans,
      keys: receipts.map(({ key }) => key),
      receipts,
    };
  });
}

function receiptOf(
  { key, outcome, group_id, reason, at }: v.InferOutput<typeof receiptsSchema>[number],
  minute: string,
): TracePayload["receipts"][number] {
  return {
    key,
    arrival: new Date(minuteToMs(minute)).toISOString(),
    outcome,
    group: /^0*$/.test(group_id) ? "" : group_id,
    reason,
    at: new Date(at).toISOString(),
  };
}
