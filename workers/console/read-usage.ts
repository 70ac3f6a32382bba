/**
 * What each tenant has sent, by day. Payloads, spans and bytes are from the receipts, and so are evidence; what was
 * never accepted is from the ingress's counts, and so is best effort. For one tenant: what its keys have used of their
 * months, as its Meter knows it.
 */
import * as v from "valibot";
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import type { Fixed, UsageAnswer } from "../../shared/console/answers.ts";
import { limits } from "../../shared/limits.ts";
import type { MeterNamespace } from "./bindings.ts";

const receivedSchema = v.array(
  v.object({
    tenant: v.string(),
    day: v.string(),
    payloads: v.number(),
    spans: v.number(),
    rejectedSpans: v.number(),
    bytes: v.number(),
  }),
);
const countedSchema = v.array(
  v.object({
    tenant: v.string(),
    day: v.string(),
    sampledSpans: v.number(),
    limitedRequests: v.number(),
    limitedSpans: v.number(),
  }),
);

type Received = v.InferOutput<typeof receivedSchema>[number];
type Counted = v.InferOutput<typeof countedSchema>[number];

const accountsSchema = v.array(
  v.object({ account: v.string(), month: v.string(), usedSpans: v.number(), usedBytes: v.number() }),
);

/** `since` is a day, `2026-11-24`. */
export async function readUsage(
  clickHouse: ClickHouseConnection,
  meters: MeterNamespace,
  since: string,
  tenant: string | undefined,
): Promise<Fixed<UsageAnswer>> {
  const parameters = { since, ...(tenant === undefined ? {} : { tenant }) };
  const ofTenant = tenant === undefined ? "" : "AND tenant = {tenant:String}";
  const ask = async <S extends v.GenericSchema>(query: string, schema: S): Promise<v.InferOutput<S>> =>
    await queryRows(clickHouse, schema, query, parameters);
  const [received, counted, accounts] = await Promise.all([
    ask(
      `SELECT tenant, toString(day) AS day, toFloat64(payloads) AS payloads, toFloat64(spans) AS spans,
          toFloat64(rejected_spans) AS rejectedSpans, toFloat64(bytes) AS bytes
        FROM headrace_usage AS u WHERE u.day >= {since:Date} ${ofTenant} LIMIT ${limits.outcomesListed}`,
      receivedSchema,
    ),
    ask(
      `SELECT tenant, toString(toDate(minute)) AS day,
          toFloat64(sumIf(spans, outcome = 'sampled')) AS sampledSpans,
          toFloat64(sumIf(requests, outcome IN ('rate_limited', 'over_quota'))) AS limitedRequests,
          toFloat64(sumIf(spans, outcome IN ('rate_limited', 'over_quota'))) AS limitedSpans
        FROM headrace_outcomes FINAL WHERE minute >= {since:Date} AND tenant != '' ${ofTenant}
        GROUP BY tenant, day LIMIT ${limits.outcomesListed}`,
      countedSchema,
    ),
    tenant === undefined ? undefined : readAccounts(meters, tenant),
  ]);
  return {
    since,
    days: joinDays(received, counted),
    ...(accounts === undefined ? {} : { accounts }),
  };
}

async function readAccounts(meters: MeterNamespace, tenant: string) {
  return v.parse(accountsSchema, await meters.get(meters.idFromName(tenant)).usage());
}

/** Both sides by tenant and day, the newest first. A day that only one side knows is 0 on the other. */
function joinDays(received: readonly Received[], counted: readonly Counted[]): Fixed<UsageAnswer>["days"] {
  const nothing = { payloads: 0, spans: 0, rejectedSpans: 0, bytes: 0 };
  const uncounted = { sampledSpans: 0, limitedRequests: 0, limitedSpans: 0 };
  const nameOf = ({ tenant, day }: { readonly tenant: string; readonly day: string }) => `${day} ${tenant}`;
  const rows = new Map(received.map((row) => [nameOf(row), { ...row, bestEffort: uncounted }]));
  for (const { tenant, day, ...bestEffort } of counted) {
    const name = nameOf({ tenant, day });
    rows.set(name, { ...(rows.get(name) ?? { tenant, day, ...nothing }), bestEffort });
  }
  return [...rows.values()].sort((a, b) =>
    a.day === b.day ? (a.tenant < b.tenant ? -1 : 1) : a.day < b.day ? 1 : -1,
  );
}
