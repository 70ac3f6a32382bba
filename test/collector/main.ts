/**
 * `npm run compare:collector`: the real Collector with its ClickHouse exporter, and our code, write the same requests
 * into the same engine; the rows are compared with EXCEPT both ways in all 22 columns. Then the differences that are
 * meant. `-- --write` keeps requests and rows as the fixtures of test/engine/collector.test.ts.
 *
 * It needs Go the first time, to build the Collector; it says so and ends with 2 where there is none.
 */

import { deepStrictEqual } from "node:assert";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { wholeBatching } from "../../bench/peers/batching.ts";
import { buildCollector, PeerUnavailable } from "../../bench/peers/build-collector.ts";
import { collectorVersion } from "../../bench/peers/pinned.ts";
import { startCollector } from "../../bench/peers/run-collector.ts";
import { fetchClickHouse } from "../../dev/clickhouse/login.ts";
import { migrateClickHouse } from "../../dev/clickhouse/migrate-clickhouse.ts";
import { startClickHouse } from "../../dev/clickhouse/start-clickhouse.ts";
import { claimPort } from "../../dev/free-port.ts";
import { defaultSchemaSettings } from "../../shared/clickhouse/migrations.ts";
import { columnListText } from "../../shared/rows/columns.ts";
import type { Block } from "../../shared/rows/transcode.ts";
import {
  type CapturedDifferences,
  type CapturedRequest,
  writeCaptured,
  writeCapturedDifferences,
} from "./captured.ts";
import { type CollectorRequest, collectorRequests } from "./corpus.ts";
import { differenceOf, meantDifferences } from "./meant-differences.ts";
import { ourBlock, ourBlockOrNone } from "./our-block.ts";
import { collectorColumns, describedRows, rowsExcept } from "./row-comparison.ts";

const differencesShownMax = 5;
const database = "collector";
const theirs = `${database}.otel_traces`;

class World {
  readonly #clickhouse: string;
  readonly #collector: string;
  #tables = 0;

  constructor(clickhouse: string, collector: string) {
    this.#clickhouse = clickhouse;
    this.#collector = collector;
  }

  async ask(query: string, body?: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
    const url = new URL(this.#clickhouse);
    url.search = new URLSearchParams({ query, input_format_skip_unknown_fields: "0" }).toString();
    const response = await fetchClickHouse(url, { method: "POST", ...(body === undefined ? {} : { body }) });
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (!response.ok) {
      throw new Error(Buffer.from(bytes).toString("utf8"));
    }
    return bytes;
  }

  async rows(query: string): Promise<unknown[]> {
    const bytes = await this.ask(
      `${query} SETTINGS output_format_json_quote_64bit_integers = 1 FORMAT JSONEachRow`,
    );
    const lines = Buffer.from(bytes).toString("utf8").split("\n");
    return lines.filter((line: string) => line !== "").map((line: string): unknown => JSON.parse(line));
  }

  /** The Collector's status for a request; its rows are stored when it answers 200. */
  async send({ type, body }: Pick<CollectorRequest, "type" | "body">): Promise<number> {
    const response = await fetch(`${this.#collector}/v1/traces`, {
      method: "POST",
      headers: { "Content-Type": type === "json" ? "application/json" : "application/x-protobuf" },
      body: new Uint8Array(body),
    });
    const answer = await response.text();
    if (process.argv.includes("--verbose") && response.status !== 200) {
      console.log(answer);
    }
    if (response.status !== 200 && response.status !== 400) {
      throw new Error(`the Collector answered ${response.status}: ${answer}`);
    }
    return response.status;
  }

  /** A table like the Collector's with our two columns and the block's rows. */
  async ourTable(block: Block): Promise<string> {
    const name = `ours_${++this.#tables}`;
    await this.ask(`CREATE TABLE ${name} AS ${theirs}`);
    await this.ask(
      `ALTER TABLE ${name} ADD COLUMN HeadraceTenant LowCardinality(String) DEFAULT '', ADD COLUMN HeadracePayload FixedString(16) DEFAULT ''`,
    );
    if (block.rows > 0) {
      const body = new Uint8Array(Buffer.concat([...block.chunks]));
      await this.ask(`INSERT INTO ${name} (${columnListText}) FORMAT Native`, body);
    }
    return name;
  }

  async count(table: string): Promise<number> {
    return Number(Buffer.from(await this.ask(`SELECT count() FROM ${table} FORMAT TSVRaw`)).toString());
  }

  async clear(): Promise<void> {
    await this.ask(`TRUNCATE TABLE ${theirs}`);
  }
}

/** The corpus both ways. Returns the number of rows that differ. */
async function compareCorpus(world: World, write: boolean): Promise<number> {
  const requests = collectorRequests();
  const accepted: CapturedRequest[] = [];
  for (const request of requests) {
    const status = await world.send(request);
    if (status === 200) {
      accepted.push({ ...request, body: Uint8Array.from(request.body) });
    }
  }
  const ours = await world.ourTable(ourBlock(accepted));
  const missing = await world.rows(rowsExcept(theirs, ours, "clamped"));
  const surplus = await world.rows(rowsExcept(ours, theirs, "clamped"));
  const refused = requests.length - accepted.length;
  console.log(
    `${requests.length} requests, ${refused} of which the Collector cannot read; ` +
      `${await world.count(theirs)} rows of the Collector's, ${await world.count(ours)} of ours`,
  );
  for (const [title, rows] of [
    ["The Collector has and we have not", missing],
    ["We have and the Collector has not", surplus],
  ] as const) {
    console.log(`${title}: ${rows.length} rows`);
    for (const row of rows.slice(0, differencesShownMax)) {
      console.log(JSON.stringify(row).slice(0, 3000));
    }
  }
  if (write) {
    const list = collectorColumns.map(({ name }) => `\`${name}\``).join(", ");
    const rows = await world.ask(
      `SELECT ${list} FROM ${theirs} ORDER BY ALL SETTINGS max_block_size = 1000000 FORMAT Native`,
    );
    writeCaptured(accepted, rows);
    console.log(`kept ${accepted.length} requests and the Collector's rows in test/fixtures/collector/`);
  }
  return missing.length + surplus.length;
}

async function compareTables(world: World): Promise<void> {
  const described = v.parse(
    v.array(v.object({ name: v.string(), type: v.string(), default_kind: v.string() })),
    await world.rows(
      `SELECT name, type, default_kind FROM system.columns WHERE database = '${database}' AND table = 'otel_traces' ORDER BY position`,
    ),
  );
  const stored = described.filter(({ default_kind }) => default_kind !== "ALIAS");
  deepStrictEqual(
    stored.map(({ name, type }) => ({ name, type })),
    collectorColumns.map(({ name, type }) => ({ name, type })),
  );
  console.log(
    `The exporter's own table has our ${collectorColumns.length} columns, with the same types, in the same order`,
  );
}

const describedSchema = v.array(v.object({ row: v.string() }));

/** The differences that are meant are there, and no other. Throws where they are not. */
async function compareMeantDifferences(world: World, write: boolean): Promise<void> {
  const captured: CapturedDifferences = {};
  for (const { name, body, ...expected } of meantDifferences) {
    await world.clear();
    const status = await world.send({ type: "protobuf", body });
    const ours = await world.ourTable(ourBlockOrNone(body));
    const [their, our] = await Promise.all(
      [theirs, ours].map(async (table) =>
        v.parse(describedSchema, await world.rows(describedRows(table))).map(({ row }) => row),
      ),
    );
    deepStrictEqual({ status, ...differenceOf(their ?? [], our ?? []) }, expected, name);
    captured[name] = { status, rows: their ?? [] };
    console.log(`As meant: ${name}`);
  }
  if (write) {
    writeCapturedDifferences(captured);
  }
}

/** The exporter's own tables take our schema, and the exporter goes on inserting. Throws where it does not. */
async function upgradeTables(world: World, url: string): Promise<void> {
  const applied = await migrateClickHouse({ url }, { ...defaultSchemaSettings, database });
  await world.clear();
  const [request] = collectorRequests();
  const status = request === undefined ? 0 : await world.send(request);
  deepStrictEqual({ status, hasRows: (await world.count(theirs)) > 0 }, { status: 200, hasRows: true });
  console.log(`Its tables took the ${applied.length} files of schema/, and it goes on inserting.`);
}

async function main(): Promise<number> {
  const binary = buildCollector();
  const folder = mkdtempSync(join(tmpdir(), "headrace-collector-"));
  const directory = join(folder, "clickhouse");
  mkdirSync(directory);
  const clickhouse = await startClickHouse({ directory });
  try {
    const port = await claimPort(0, "");
    const collector = await startCollector({
      binary,
      folder,
      port,
      clickhouseUrl: clickhouse.url,
      database,
      table: "otel_traces",
      createSchema: true,
      compress: "lz4",
      batching: wholeBatching,
      queue: "none",
    });
    try {
      console.log(
        `OpenTelemetry Collector ${collectorVersion} with its ClickHouse exporter, against our code`,
      );
      const world = new World(clickhouse.url, `http://127.0.0.1:${port}`);
      await compareTables(world);
      const write = process.argv.includes("--write");
      const differences = await compareCorpus(world, write);
      await compareMeantDifferences(world, write);
      await upgradeTables(world, clickhouse.url);
      console.log(differences === 0 ? "The rows are the same." : `${differences} rows differ.`);
      return differences === 0 ? 0 : 1;
    } catch (error) {
      console.error(collector.log());
      throw error;
    } finally {
      await collector.stop();
    }
  } finally {
    await clickhouse.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    console.error(error instanceof PeerUnavailable ? `Not compared: ${error.message}` : error);
    process.exitCode = error instanceof PeerUnavailable ? 2 : 1;
  },
);
