/** `GET /api/minutes`: how many payloads were accepted and how they ended, by minute or hour, and by tenant. */
import * as v from "valibot";
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { minuteStepsQuery } from "../../shared/clickhouse/minutes.ts";
import type { Minutes } from "../../shared/console/answers.ts";
import { minuteSteps, type StepFacts, stepRange } from "../../shared/console/minute-steps.ts";
import type { ConsumerOperations } from "../../shared/console/operations.ts";
import { watermarkOf } from "../../shared/reconcile/checkpoint.ts";
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
    receipted: v.array(v.string()),
  }),
);

/** `now`: ms since the epoch. Throws when ClickHouse or the ledger cannot be asked. */
export async function readMinutes(
  clickHouse: ClickHouseConnection,
  consumer: Pick<ConsumerOperations, "unsettled">,
  { hours, tenant }: Asked<"GET /api/minutes">["query"],
  now: number,
): Promise<Minutes> {
  const range = stepRange(now, hours);
  return minuteSteps({
    now,
    ...range,
    ...(await readSums(clickHouse, consumer, range)),
    tenant: tenant ?? null,
  });
}

/**
 * What ended since a time, by step and tenant, and what is in flight beside it. The ledger is asked first: a payload that
 * ends in between is seen by its receipt.
 */
export async function readSums(
  clickHouse: ClickHouseConnection,
  consumer: Pick<ConsumerOperations, "unsettled">,
  { since, stepMs }: Pick<StepFacts, "since" | "stepMs">,
): Promise<Pick<StepFacts, "ended" | "unsettled">> {
  const unsettled = await consumer.unsettled();
  const { checkpoint, changed } = unsettled;
  const query = minuteStepsQuery(clickHouse.settings, {
    since,
    stepMs,
    unsealedSince: checkpoint === null ? since : watermarkOf(checkpoint),
    changed,
    keys: unsettled.keys.map(({ key }) => key),
  });
  return { ended: await queryRows(clickHouse, rowsSchema, query), unsettled };
}
