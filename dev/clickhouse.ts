/**
 * `npm run clickhouse`: the local ClickHouse alone, with the schema applied, until Ctrl-C. For looking into the data of
 * a `npm run dev` that is not running, and for working on one that uses it by CLICKHOUSE_URL.
 */
import { join, resolve } from "node:path";
import { migrateClickHouse } from "./clickhouse/migrate-clickhouse.ts";
import { type SupervisedClickHouse, superviseClickHouse } from "./clickhouse/start-clickhouse.ts";
import { clickHousePasswordOf, openFolder } from "./state-folder.ts";

const portDefault = 8123;

function readPort(text: string | undefined): number {
  if (text === undefined || text === "") {
    return portDefault;
  }
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) {
    throw new Error(`HEADRACE_CLICKHOUSE_PORT is a port number, not "${text}"`);
  }
  return port;
}

async function start(): Promise<SupervisedClickHouse> {
  const port = readPort(process.env["HEADRACE_CLICKHOUSE_PORT"]);
  const state = resolve(process.env["HEADRACE_STATE"] || ".headrace");
  const directory = join(state, "clickhouse");
  openFolder(state);
  const clickhouse = await superviseClickHouse({
    directory,
    port,
    password: clickHousePasswordOf(state),
    onLog: (line) => process.stderr.write(`${line}\n`),
  });
  try {
    await migrateClickHouse({ url: clickhouse.url });
  } catch (error) {
    await clickhouse.stop();
    throw error;
  }
  const query = "SELECT ServiceName, count() FROM otel_traces GROUP BY ServiceName";
  process.stdout.write(
    `ClickHouse answers at ${clickhouse.url}\n` +
      `Its data is in        ${directory}\n` +
      `Try                   curl '${clickhouse.url}' --data "${query}"\n` +
      "Ctrl-C stops it.\n",
  );
  return clickhouse;
}

/** Starts, and stops at the first signal, also when that comes during the start. A second signal ends at once. */
async function main(): Promise<void> {
  const signal = new Promise<void>((end) => {
    for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.once(name, () => end());
    }
  });
  const clickhouse = await start();
  await signal;
  await clickhouse.stop();
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
