/**
 * The whole pipeline on one machine: the three Workers in one workerd, ClickHouse, and the stand-ins for Cloudflare's crons
 * and R2 event notifications. `npm run dev` and the end-to-end tests start it here, so that the tests test what people run.
 *
 * Nothing in this process waits for workerd but by the event loop, which drains workerd's log meanwhile.
 */

import { randomBytes } from "node:crypto";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { privateNetworkWord } from "../shared/clickhouse/address.ts";
import { defaultSchemaSettings } from "../shared/clickhouse/migrations.ts";
import { limits } from "../shared/limits.ts";
import { tokensRefusal } from "../shared/token-strength.ts";
import { loginVariables } from "./clickhouse/login.ts";
import { migrateClickHouse } from "./clickhouse/migrate-clickhouse.ts";
import { ClickHouseStartError, superviseClickHouse } from "./clickhouse/start-clickhouse.ts";
import { askStandIns, driveStandIns, type StandIns } from "./drive-stand-ins.ts";
import { claimPort } from "./free-port.ts";
import { startGuardian } from "./guardian.ts";
import { prepareWorkers } from "./prepare-workers.ts";
import { CannotStart, type DevSettings } from "./settings.ts";
import { type DevFile, lockStateFolder, type StateFolder } from "./state-folder.ts";
import type { Workers } from "./workers.ts";

export interface Pipeline extends DevFile {
  /** For tests that look behind the HTTP interfaces, or break things on purpose. */
  readonly workers: Workers;
  readonly standIns: StandIns;
  /** Stops everything that was started, in order; loses nothing that was answered 200. */
  stop(): Promise<void>;
}

export interface PipelineOptions {
  readonly onLog: (level: string, message: string) => void;
  /** Which rings work; tests switch them off to see that each alone is enough. */
  readonly doorbells: boolean;
  readonly events: boolean;
  readonly crons: boolean;
  /** What is being done while it starts, in a few words. */
  readonly onStep?: (step: string) => void;
}

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");

/** Throws `CannotStart` with a message for the person at the terminal; then nothing is left running. */
export async function startPipeline(settings: DevSettings, options: PipelineOptions): Promise<Pipeline> {
  const stops: (() => Promise<void> | void)[] = [];
  const stop = async () => {
    for (let next = stops.pop(); next !== undefined; next = stops.pop()) {
      await next();
    }
  };
  const step = options.onStep ?? (() => undefined);
  try {
    const folder = lockStateFolder(settings.stateFolder);
    stops.push(() => folder.unlock());
    let ports = await claimPorts(settings);
    if (settings.clickHouseUrl === undefined) {
      await claimPort(settings.clickHousePort, "HEADRACE_CLICKHOUSE_PORT");
    }
    const guardian = startGuardian();
    stops.push(() => guardian.stop());

    // Two processes that need nothing of each other, and what this one loads meanwhile.
    step(settings.clickHouseUrl === undefined ? "Starting ClickHouse" : "Looking for ClickHouse");
    const ended = new AbortController();
    stops.push(() => ended.abort());
    const preparing = prepareWorkers(root, ended.signal);
    preparing.catch(() => undefined); // it is awaited below, unless something else fails first
    const clickHouseUrl = settings.clickHouseUrl ?? (await localClickHouse(settings, folder, options, stops));
    const clickHouse = clickHouseVariables(clickHouseUrl);
    const loading = import("./workers.ts");
    step("Bringing the schema up to date");
    await applySchema(clickHouse);

    step("Starting the Workers");
    const before = folder.readDevFile();
    const adminToken = before?.adminToken ?? randomBytes(24).toString("base64url");
    const refusal = tokensRefusal([{ name: `adminToken of ${folder.path}/dev.json`, value: adminToken }]);
    if (refusal !== "") {
      throw new CannotStart(`${refusal}, or delete that line: one is made.`);
    }
    const { startWorkers } = await loading;
    const prepared = await preparing;
    const eventDelaySeconds = Math.ceil(limits.lateDelaySeconds / Number(settings.ledgerTimesFaster ?? 1));
    const start = () =>
      startWorkers({
        prepared,
        ...folder.workersState(Date.now()),
        ports,
        clickHouse,
        settings,
        eventDelaySeconds,
        doorbells: options.doorbells,
        adminToken,
        onLog: options.onLog,
      });
    const { workers, standIns } = await start().catch(async (error: unknown) => {
      if (!isTaken(error)) {
        throw error;
      }
      // Somebody took it since it was looked for: another one, or, where it was asked for, a sentence that says so.
      ports = await claimPorts(settings);
      return await start();
    });
    stops.push(() => workers.dispose());
    const key = await askStandIns(standIns, "/key", before?.key ?? "");
    const schedule = driveStandIns(standIns, { ...options, eventDelaySeconds });
    stops.push(() => schedule.stop());

    const file: DevFile = {
      otlp: `http://127.0.0.1:${ports.ingress}`,
      key,
      clickhouse: clickHouseUrl,
      console: `http://127.0.0.1:${ports.console}`,
      adminToken,
    };
    folder.writeDevFile(file);
    await ringWhatNobodyHolds(file);
    return { ...file, workers, standIns, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function claimPorts(settings: DevSettings) {
  return {
    ingress: await claimPort(settings.port, "HEADRACE_PORT"),
    console: await claimPort(settings.consolePort, "HEADRACE_CONSOLE_PORT"),
  };
}

function isTaken(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ERR_ADDRESS_IN_USE";
}

/** Starts the local server, which is restarted whenever its process ends, and returns its address with the login. */
async function localClickHouse(
  settings: DevSettings,
  folder: StateFolder,
  options: PipelineOptions,
  stops: (() => Promise<void> | void)[],
): Promise<string> {
  try {
    const clickHouse = await superviseClickHouse({
      directory: join(folder.path, "clickhouse"),
      password: folder.clickHousePassword(),
      port: settings.clickHousePort,
      onLog: (line) => options.onLog("warn", line),
    });
    stops.push(() => clickHouse.stop());
    return clickHouse.url;
  } catch (error) {
    throw error instanceof ClickHouseStartError ? new CannotStart(error.message, { cause: error }) : error;
  }
}

/** Throws `CannotStart` when the server cannot be reached or its schema cannot be brought up to date. */
async function applySchema(variables: ClickHouseVariables): Promise<void> {
  const login = {
    url: variables.CLICKHOUSE_URL,
    user: variables.CLICKHOUSE_USER,
    password: variables.CLICKHOUSE_PASSWORD,
  };
  try {
    await migrateClickHouse(login, { ...defaultSchemaSettings, database: variables.CLICKHOUSE_DATABASE });
  } catch (error) {
    throw new CannotStart(`ClickHouse at ${login.url} could not be made ready: ${reasonOf(error)}`, {
      cause: error,
    });
  }
}

/** `fetch failed` says nothing: its cause does. */
function reasonOf(error: unknown): string {
  const { message, cause } = error instanceof Error ? error : new Error(String(error));
  return cause instanceof Error && cause.message !== "" ? `${message}: ${cause.message}` : message;
}

type ClickHouseVariables = Readonly<
  Record<`CLICKHOUSE_${"URL" | "NETWORK" | "USER" | "PASSWORD" | "DATABASE" | "TRACES_TABLE"}`, string>
> & { readonly CLICKHOUSE_CLUSTER?: string };

/** The Workers' variables for a ClickHouse URL, which may hold user, password, database and cluster (`/?database=…&cluster=…`). */
function clickHouseVariables(text: string): ClickHouseVariables {
  const url = new URL(text);
  const database = url.searchParams.get("database") ?? "default";
  const cluster = url.searchParams.get("cluster") ?? "";
  url.search = "";
  return {
    ...loginVariables(url.href),
    CLICKHOUSE_NETWORK: privateNetworkWord, // the settings were asked for it before anything started
    CLICKHOUSE_DATABASE: database,
    CLICKHOUSE_TRACES_TABLE: defaultSchemaSettings.tracesTable,
    ...(cluster === "" ? {} : { CLICKHOUSE_CLUSTER: cluster }),
  };
}

/**
 * The local queues live in memory: doorbells of an earlier run are gone. One reconciler run without the usual age
 * limit rings what nobody holds.
 */
async function ringWhatNobodyHolds(file: DevFile): Promise<void> {
  const response = await fetch(`${file.console}/api/reconcile`, {
    method: "POST",
    headers: { authorization: `Bearer ${file.adminToken}` },
  });
  if (!response.ok) {
    throw new Error(`the first reconciler run failed: ${response.status} ${await response.text()}`);
  }
}
