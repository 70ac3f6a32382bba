/**
 * Gathers what the alerts are judged by (shared/alerts.ts) beyond what the ledger knows itself. ClickHouse is asked
 * only when something arrived or a finding stands open, so that an idle one can sleep.
 */
import * as v from "valibot";
import type { AlertFacts, Standing, TenantVolume } from "../../shared/alerts.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { recentQuery, volumesQuery } from "../../shared/clickhouse/minutes.ts";
import { limits } from "../../shared/limits.ts";
import { type MinuteBook, watermarkOf } from "../../shared/reconcile/minute-book.ts";
import { writeLog } from "../../shared/write-log.ts";

const hourMs = 3_600_000;

const recentSchema = v.tuple([v.object({ dead: v.number(), ended: v.number() })]);

/** Dead letters of the last quarter of an hour; null where ClickHouse did not answer. `now`: ms since the epoch. */
export async function readRecent(
  clickHouse: ClickHouseConnection,
  now: number,
): Promise<AlertFacts["recent"]> {
  return await orNull(async () => {
    const [recent] = v.parse(
      recentSchema,
      await read(clickHouse, recentQuery(clickHouse.settings, now - limits.alertDeadMs)),
    );
    return recent;
  });
}

const volumesSchema = v.array(v.object({ tenant: v.string(), daysAgo: v.number(), spans: v.number() }));

/**
 * Spans by tenant of the last whole hour and of the same hour of seven days before, once that hour is sealed (or an
 * hour later, whatever is open); null when it was judged already, is not over, or ClickHouse did not answer.
 */
export async function readVolumes(
  clickHouse: ClickHouseConnection,
  { volumeHour }: Standing,
  book: MinuteBook,
  now: number,
): Promise<AlertFacts["volumes"]> {
  const reached = Math.max(watermarkOf(book), now - limits.alertVolumeAtLastMs);
  const hour = (Math.floor(reached / hourMs) - 1) * hourMs;
  if (hour <= volumeHour) {
    return null;
  }
  return await orNull(async () => {
    const rows = v.parse(
      volumesSchema,
      await read(clickHouse, volumesQuery(clickHouse.settings, hour, volumeDays)),
    );
    return { hour, tenants: volumesOf(rows) };
  });
}

/** The median is taken over so many days. */
const volumeDays = 7;

function volumesOf(rows: v.InferOutput<typeof volumesSchema>): readonly TenantVolume[] {
  const tenants = [...new Set(rows.map(({ tenant }) => tenant))];
  return tenants.map((tenant) => {
    const spansOf = (days: number): number =>
      rows.find((row) => row.tenant === tenant && row.daysAgo === days)?.spans ?? 0;
    return {
      tenant,
      spans: spansOf(0),
      before: Array.from({ length: volumeDays }, (_, index) => spansOf(index + 1)),
    };
  });
}

async function read({ client }: ClickHouseConnection, query: string): Promise<unknown> {
  const answer = await client.query({ query, format: "JSONEachRow" });
  return await answer.json();
}

async function orNull<T>(learn: () => Promise<T>): Promise<T | null> {
  try {
    return await learn();
  } catch (error) {
    writeLog("warn", { message: "an alert's facts could not be read" }, error);
    return null;
  }
}
