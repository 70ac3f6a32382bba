import { expect, test } from "vitest";
import { migrateClickHouse } from "../../dev/clickhouse/migrate-clickhouse.ts";
import { workerNames } from "../../dev/worker-names.ts";
import { defaultSchemaSettings } from "../../shared/clickhouse/migrations.ts";
import { exportSpans, freshSpans } from "./local-pipeline.ts";
import { useClickHouse, useLocalPipeline } from "./use-pipeline.ts";

const server = useClickHouse();
const local = useLocalPipeline({ crons: false }, () => ({
  clickHouseUrl: server.url,
  ledgerTimesFaster: "30",
}));

async function tickCron(): Promise<void> {
  const consumer = await local.pipeline.workers.getWorker(workerNames.consumer);
  await consumer.scheduled({ scheduledTime: new Date(), cron: "* * * * *" });
}

async function health(): Promise<{ readonly status: number; readonly text: string }> {
  const response = await fetch(`${local.pipeline.console}/healthz`);
  return { status: response.status, text: await response.text() };
}

/** `/healthz` asks the ledger once in a third of a second here. */
const asked = { timeout: 15_000, interval: 100 };

async function refusal(): Promise<{ readonly text: string }> {
  await expect.poll(async () => (await health()).status, asked).toBe(503);
  return await health();
}

test("a table that cannot deduplicate gets nothing, says what fixes it, and goes on by itself when fixed", async () => {
  await expect.poll(health, asked).toEqual({ status: 200, text: "ok\n" });
  await local.query("ALTER TABLE otel_traces MODIFY SETTING non_replicated_deduplication_window = 0");
  await tickCron();
  const refused = await refusal();
  expect(refused.text).toContain("MODIFY SETTING non_replicated_deduplication_window = 100000");

  await exportSpans(local.pipeline, freshSpans(50));
  await new Promise((resolve) => setTimeout(resolve, 2500)); // longer than the way to the rows takes
  expect(await local.query("SELECT count() FROM otel_traces")).toBe("0");

  const [, command = ""] = /Fix it with: (ALTER .*)/.exec(refused.text) ?? [];
  await local.query(command);
  await tickCron();
  await expect.poll(health, asked).toEqual({ status: 200, text: "ok\n" });
  await local.eventually("SELECT count(), uniqExact(SpanId) FROM otel_traces", "50\t50", 20_000);
  const findings =
    "SELECT kind, state, severity FROM headrace_findings WHERE kind = 'table_check' ORDER BY at";
  expect(await local.query(findings)).toBe("table_check\topen\tpage\ntable_check\tresolved\tpage");
});

test("a table that is dropped and created anew gets nothing until a person accepts it, and then what it lacks of the last minutes", async () => {
  const declared = await local.query(
    "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = 'otel_traces' FORMAT TSVRaw",
  );
  const before = Number(await local.query("SELECT count() FROM otel_traces"));
  expect(before).toBeGreaterThan(0);
  await local.query("DROP TABLE otel_traces SYNC");
  await local.query(declared);
  // As `headrace deploy` does for a table that has the fence of another one (decision 73).
  const database = await local.query("SELECT currentDatabase()");
  expect(await migrateClickHouse({ url: server.url }, { ...defaultSchemaSettings, database })).toEqual([]);
  // No cron has looked yet: the first INSERT meets it.
  await exportSpans(local.pipeline, freshSpans(50));
  await new Promise((resolve) => setTimeout(resolve, 2500)); // longer than the way to the rows takes
  expect(await local.query("SELECT count() FROM otel_traces")).toBe("0");
  const refused = await refusal();
  expect(refused.text).toContain("npx headrace accept-table");
  await tickCron();
  expect((await health()).text).toContain("npx headrace accept-table");

  const accepted = await fetch(`${local.pipeline.console}/api/accept-table`, {
    method: "POST",
    headers: { authorization: `Bearer ${local.pipeline.adminToken}` },
  });
  expect(await accepted.json()).toEqual({ accepted: true });
  await tickCron();
  await expect.poll(health, asked).toEqual({ status: 200, text: "ok\n" });
  await local.eventually("SELECT count(), uniqExact(SpanId) FROM otel_traces", "50\t50", 30_000);
}, 60_000);

test("a server whose days are not UTC's gets nothing until it is restarted in UTC", async () => {
  const restart = async (timezone: string) => {
    await server.restart({ timezone });
    await tickCron();
  };
  await restart("Asia/Tokyo");
  // 23:00 UTC is the next day in Tokyo: the rows would be on a day that no receipt says.
  expect(await local.query("SELECT toDate(toDateTime64(1795561200, 9))")).toBe("2026-11-25");
  const refused = await refusal();
  expect(refused.text).toContain("The server's time zone is Asia/Tokyo");
  // Of these alone: what the dropped table had may be inserted again meanwhile.
  const these = `FROM otel_traces WHERE ResourceAttributes['zone'] = 'tokyo'`;
  await exportSpans(local.pipeline, freshSpans(50, 3, { zone: "tokyo" }));
  await new Promise((resolve) => setTimeout(resolve, 2500)); // longer than the way to the rows takes
  expect(await local.query(`SELECT count() ${these}`)).toBe("0");

  await restart("UTC");
  await expect.poll(health, asked).toEqual({ status: 200, text: "ok\n" });
  await local.eventually(`SELECT count(), uniqExact(SpanId) ${these}`, "50\t50", 20_000);
});
