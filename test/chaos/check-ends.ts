/** How a chaos run ended, payload by payload: read from ClickHouse and the console, compared with what clients know. */

import * as v from "valibot";
import { fetchClickHouse } from "../../dev/clickhouse/login.ts";
import type { SentPayload } from "./chaos-clients.ts";
import type { Addresses } from "./chaos-pipeline.ts";

export interface Ends {
  readonly accepted: number;
  readonly stored: number;
  readonly dead: number;
  /** Ended as `expired`: the table's TTL keeps none of their rows. */
  readonly expired: number;
  /** Refused for the same reason, where the ingress knew it. */
  readonly refused: number;
  /** Never answered 200, and stored all the same (whole, once): the client gave up before its answer. */
  readonly storedUnanswered: number;
  /** Each a sentence naming a payload: lost, doubled, in part, on both sides. Empty: exactly once. */
  readonly wrong: readonly string[];
  readonly lost: number;
  readonly doubled: number;
  readonly spans: number;
}

const rowsSchema = v.array(v.object({ payload: v.string(), spans: v.array(v.string()) }));
const receiptsSchema = v.array(v.object({ payload: v.string(), outcomes: v.array(v.string()) }));

async function query<S extends v.GenericSchema>(
  url: string,
  sql: string,
  schema: S,
): Promise<v.InferOutput<S>> {
  const response = await fetchClickHouse(url, { method: "POST", body: `${sql} FORMAT JSONEachRow` });
  const text = await response.text();
  if (!response.ok) {
    throw new Error(text);
  }
  return v.parse(
    schema,
    text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line)),
  );
}

/** `clickHouse`: the server itself, not through the proxy. */
export async function checkEnds(clickHouse: string, sent: readonly SentPayload[]): Promise<Ends> {
  const rows = new Map(
    (
      await query(
        clickHouse,
        "SELECT lower(hex(HeadracePayload)) AS payload, groupArray(SpanId) AS spans FROM otel_traces GROUP BY payload",
        rowsSchema,
      )
    ).map(({ payload, spans }) => [payload, spans]),
  );
  const receipts = new Map(
    (
      await query(
        clickHouse,
        "SELECT lower(hex(payload)) AS payload, groupArray(toString(outcome)) AS outcomes FROM headrace_receipts FINAL GROUP BY payload",
        receiptsSchema,
      )
    ).map(({ payload, outcomes }) => [payload, outcomes]),
  );
  const wrong: string[] = [];
  let [stored, dead, expired, refused, storedUnanswered, lost, doubled, spans] = [0, 0, 0, 0, 0, 0, 0, 0];
  for (const payload of sent) {
    const { id, spanIds, kind, accepted, tooOld } = payload;
    const found = rows.get(id) ?? [];
    const outcomes = receipts.get(id) ?? [];
    const name = `payload ${id} (${kind}, ${spanIds.length} spans)`;
    spans += found.length;
    refused += payload.refused ? 1 : 0;
    if (!accepted && !payload.refused) {
      wrong.push(`${name} was never answered 200, however often it was sent`);
    }
    if (found.length > new Set(found).size) {
      doubled += 1;
      wrong.push(`${name} is doubled: ${found.length} rows; receipts ${outcomes.join(", ")}`);
    } else if (found.length > 0 && !isWhole(found, payload)) {
      lost += 1;
      wrong.push(`${name} is there in part: ${found.length} rows; receipts ${outcomes.join(", ")}`);
    } else if (found.length > 0) {
      stored += accepted ? 1 : 0;
      storedUnanswered += accepted ? 0 : 1;
      if (outcomes.filter((outcome) => outcome === "stored").length !== 1) {
        wrong.push(`${name} is stored, and its receipts are: ${outcomes.join(", ") || "none"}`);
      }
    } else if (outcomes.includes("dead")) {
      dead += accepted ? 1 : 0;
      if (kind !== "poison") {
        wrong.push(`${name} is a good one and dead`);
      }
    } else if (isWhole([], payload)) {
      // Refused at the edge, or expired: a receipt that says `stored` would claim rows that nobody has.
      expired += outcomes.includes("expired") ? 1 : 0;
      if (outcomes.includes("stored")) {
        wrong.push(`${name} has no rows, and its receipts are: ${outcomes.join(", ")}`);
      }
      if (tooOld.size === 0 && outcomes.length > 0) {
        wrong.push(`${name} keeps no trace, and its receipts are: ${outcomes.join(", ")}`);
      }
    } else if (accepted) {
      lost += 1;
      wrong.push(`${name} was answered 200 and is lost; receipts ${outcomes.join(", ") || "none"}`);
    }
  }
  const known = new Set(sent.map(({ id }) => id));
  for (const [id, found] of rows) {
    if (!known.has(id)) {
      wrong.push(`${found.length} rows of a payload ${id} that nobody sent`);
    }
  }
  const accepted = sent.filter((payload) => payload.accepted).length;
  return { accepted, stored, dead, expired, refused, storedUnanswered, wrong, lost, doubled, spans };
}

/** Everything that was sent, or the half that its key keeps of it; what the TTL drops may be there or not. */
function isWhole(found: readonly string[], { spanIds, half, tooOld }: SentPayload): boolean {
  const set = new Set(found);
  return [spanIds, ...(half === undefined ? [] : [half])].some(
    (wanted) =>
      wanted.every((id) => set.has(id) || tooOld.has(id)) && found.every((id) => wanted.includes(id)),
  );
}

/** Rows altogether, and distinct (payload, span): equal when nothing is doubled. */
export async function countRows(
  clickHouse: string,
): Promise<{ readonly rows: number; readonly distinct: number; readonly tracesWithoutTimes: number }> {
  const [counts] = await query(
    clickHouse,
    `SELECT toUInt32(count()) AS rows, toUInt32(uniqExact(HeadracePayload, SpanId)) AS distinct,
      (SELECT toUInt32(uniqExact(TraceId)) FROM otel_traces WHERE TraceId NOT IN (SELECT TraceId FROM otel_traces_trace_id_ts)) AS tracesWithoutTimes
    FROM otel_traces`,
    v.array(v.object({ rows: v.number(), distinct: v.number(), tracesWithoutTimes: v.number() })),
  );
  if (counts === undefined) {
    throw new Error("a count has one row");
  }
  return counts;
}

const watermarkSchema = v.object({
  watermark: v.nullable(v.pipe(v.string(), v.transform(Date.parse))),
  openMinutes: v.array(v.looseObject({ minute: v.string(), pending: v.number() })),
});

/** Up to when everything is proven to have ended, ms since the epoch; 0: not known. And what keeps it. */
export async function readWatermark({
  console,
  adminToken,
}: Pick<Addresses, "console" | "adminToken">): Promise<{ readonly at: number; readonly open: string }> {
  const response = await fetch(`${console}/api/watermark`, {
    headers: { authorization: `Bearer ${adminToken}` },
  });
  const { watermark, openMinutes } = v.parse(watermarkSchema, await response.json());
  return { at: watermark ?? 0, open: JSON.stringify(openMinutes) };
}

const balanceSchema = v.object({
  balanced: v.boolean(),
  accepted: v.number(),
  stored: v.number(),
  dead: v.number(),
  duplicate: v.number(),
  inFlight: v.number(),
  missing: v.array(v.string()),
});
export type BalanceRead = v.InferOutput<typeof balanceSchema>;

export async function readBalance({
  console,
  adminToken,
}: Pick<Addresses, "console" | "adminToken">): Promise<BalanceRead> {
  const response = await fetch(`${console}/api/balance?hours=24`, {
    headers: { authorization: `Bearer ${adminToken}` },
  });
  return v.parse(balanceSchema, await response.json());
}
