/** `GET /api/minutes`: how many payloads were accepted and how they ended, by minute or hour, and by tenant. */
import * as v from "valibot";
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { minuteStepsQuery } from "../../shared/clickhouse/minutes.ts";
import type { Minutes } from "../../shared/console/answers.ts";
import type { ConsumerOperations } from "../../shared/console/operations.ts";
import { watermarkOf } from "../../shared/reconcile/checkpoint.ts";
import { minuteSteps, stepRange } from "../../shared/reconcile/minute-steps.ts";
import type { Asked } from "./answer-request.ts";

const rowsSchema = v.array(
  v.object({
    step: v.number(),
    tenant: v.string(),
    stored: v.number(),
    dead: v.number(),
    duplicate: v.number(),
    erased: v.number(),
    expired: v.number(),
    spans: v.number(),
    rejectedSpans: v.number(),
    bytes: v.number(),
  }),
);

/** `now`: ms since the epoch. Throws when ClickHouse or the ledger cannot be asked. */
export async function readMinutes(
  clickHouse: ClickHouseConnection,
  consumer: Pick<ConsumerOperations, "checkpoint" | "inFlight">,
  { hours, tenant }: Asked<"GET /api/minutes">["query"],
  now: number,
): Promise<Minutes> {
  const { since, stepMs } = stepRange(now, hours);
  // What is in flight is asked before the receipts: a payload that ends in between is seen by its receipt as well, for
  // one poll, and never by neither.
  const [checkpoint, inFlight] = await Promise.all([consumer.checkpoint(), consumer.inFlight()]);
  const unsealedSince = checkpoint === null ? since : watermarkOf(checkpoint);
  const query = minuteStepsQuery(clickHouse.settings, since, unsealedSince, stepMs);
  const ended = await queryRows(clickHouse, rowsSchema, query);
  return minuteSteps({
    now,
    since,
    stepMs,
    ended,
    inFlight: inFlight.minutes,
    checkpoint,
    tenant: tenant ?? null,
  });
}
