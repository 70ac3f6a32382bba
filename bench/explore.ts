/**
 * `npm run bench -- explore [spans|price] [folder] [small]`: what the console's traces cost ClickHouse at real sizes: spans of a day, made in it from a
 * seed (5 × 10^7, or `spans`), asked for by the console's own handlers. Of each question the rows that ClickHouse read, the
 * queries, and the time, cold (its caches emptied, files read past the system's cache) and warm. Then (`price`: this alone) what the projection
 * costs: an INSERT, the disk, a merge, and a DELETE of 500 payloads, with it and without it in turns. The spans are kept in `folder`,
 * where one is given, and are not made again. `small`: of a table with small granules, which has a database of its own there.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loginVariables } from "../dev/clickhouse/login.ts";
import { migrateClickHouse } from "../dev/clickhouse/migrate-clickhouse.ts";
import { type ClickHouseConnection, connectClickHouse } from "../shared/clickhouse/connection.ts";
import { defaultSchemaSettings } from "../shared/clickhouse/migrations.ts";
import { asksOfSpans } from "../shared/console/trace-filter.ts";
import { countTraces } from "../workers/console/count-traces.ts";
import { listTraces, parseListQuestion } from "../workers/console/list-traces.ts";
import { readTrace } from "../workers/console/read-trace.ts";
import { readTraceShape } from "../workers/console/read-trace-shape.ts";
import { nothingRemembered, type SearchMemory, startSearch } from "../workers/console/trace-search.ts";
import { type EngineSession, startEngineSession } from "./engine-session.ts";
import { dayStart, madeColumns, madeSpans, spansPerTrace } from "./explore/made-spans.ts";
import { projectionPrice } from "./explore/projection-price.ts";
import { median } from "./median.ts";

const spansUsual = 50_000_000;
/** Spans of one INSERT: so many parts as a day of the consumer's groups leaves after their first merges. */
const spansPerInsert = 250_000;
const warmRuns = 9;
const dayMs = Date.parse(`${dayStart.replace(" ", "T")}Z`);

/** What is asked of ClickHouse, and what its answers say that they read. */
interface Meter {
  queries: number;
  rows: number;
  isCold: boolean;
}

export async function benchExplore(
  spans = String(spansUsual),
  kept?: string,
  granules?: string,
): Promise<void> {
  const isSmall = granules === "small";
  const database = isSmall ? "small" : "default";
  const folder = kept ?? mkdtempSync(join(tmpdir(), "headrace-explore-"));
  mkdirSync(folder, { recursive: true });
  const engine = await startEngineSession(folder, kept !== undefined);
  try {
    await engine.ask(`CREATE DATABASE IF NOT EXISTS ${database}`);
    await migrateClickHouse(
      { url: engine.url },
      { ...defaultSchemaSettings, database, smallGranules: isSmall, leaveOut: [] },
    );
    const answered: Line[] = [];
    if (spans !== "price") {
      const table = `${database}.otel_traces`;
      if ((await engine.text(`SELECT count() FROM ${table}`)) === "0") {
        await fill(engine, table, Number(spans));
      }
      await settle(engine, database);
      answered.push(...(await askAll(engine, database, Number(spans))));
      console.table(answered);
    }
    const price = await projectionPrice(engine);
    console.table(price);
    console.log(JSON.stringify({ benchmark: "explore", spans, answered, price }));
  } finally {
    await engine.stop();
    if (kept === undefined) {
      rmSync(folder, { recursive: true, force: true });
    }
  }
}

async function fill(engine: EngineSession, table: string, spans: number): Promise<void> {
  const tracesInAll = Math.ceil(spans / spansPerTrace);
  const step = Math.ceil(spansPerInsert / spansPerTrace);
  for (let first = 0; first < tracesInAll; first += step) {
    const count = Math.min(step, tracesInAll - first);
    await engine.ask(`INSERT INTO ${table} (${madeColumns}) ${madeSpans(first, count, tracesInAll)}`, {
      insert_deduplicate: "0",
      materialize_skip_indexes_on_insert: "0",
      min_insert_block_size_rows: "1000000",
      min_insert_block_size_bytes: "0",
      max_block_size: "2000",
      max_insert_threads: "1",
    });
    if (first % (40 * step) === 0) {
      console.log(`${first * spansPerTrace} of about ${spans} spans`);
    }
  }
}

/** Questions are asked of a table at rest: what merges take is not theirs. */
async function settle(engine: EngineSession, database: string): Promise<void> {
  while ((await engine.text("SELECT count() FROM system.merges")) !== "0") {
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  console.log(
    await engine.text(
      `SELECT concat(toString(count()), ' parts, ', toString(sum(rows)), ' rows, ', formatReadableSize(sum(data_compressed_bytes))) FROM system.parts WHERE active AND database = '${database}' AND table = 'otel_traces'`,
    ),
  );
}

function meteredFetch(meter: Meter): typeof fetch {
  return async (input, init) => {
    const url = new URL(String(input));
    // The summary in the headers is that of the whole query then.
    url.searchParams.set("wait_end_of_query", "1");
    if (meter.isCold) {
      url.searchParams.set("min_bytes_to_use_direct_io", "1");
    }
    const response = await fetch(url, init);
    const summary: unknown = JSON.parse(response.headers.get("x-clickhouse-summary") ?? "{}");
    const rows =
      typeof summary === "object" && summary !== null && "read_rows" in summary ? summary.read_rows : 0;
    meter.queries++;
    meter.rows += Number(rows);
    return response;
  };
}

interface Line {
  readonly question: string;
  readonly queries: number;
  readonly rowsRead: number;
  readonly coldMs: number;
  readonly warmMs: number;
  /** Of the server's process, in steps of 10 ms over all warm runs: a busy machine changes it less. */
  readonly warmCpuMs: number;
  readonly found: string;
}

async function askAll(engine: EngineSession, database: string, spans: number): Promise<readonly Line[]> {
  const meter: Meter = { queries: 0, rows: 0, isCold: false };
  const variables = {
    ...loginVariables(engine.url),
    CLICKHOUSE_DATABASE: database,
    CLICKHOUSE_TRACES_TABLE: "otel_traces",
  };
  const clickHouse = connectClickHouse(variables, undefined, meteredFetch(meter), "read_only");
  const memory = nothingRemembered();
  const lines: Line[] = [];
  const measure = async (question: string, answering: () => Promise<string>): Promise<void> => {
    // On a busy machine a search may have no answer in its time: the others are asked all the same.
    const act = async (): Promise<string> => await answering().catch(String);
    await engine.ask("SYSTEM DROP MARK CACHE");
    await engine.ask("SYSTEM DROP UNCOMPRESSED CACHE");
    meter.isCold = true;
    const [coldMs] = await timed(act);
    meter.isCold = false;
    await act();
    Object.assign(meter, { queries: 0, rows: 0 });
    const [firstMs, found] = await timed(act);
    const { queries, rows } = meter;
    const warm = [firstMs];
    const cpuBefore = engine.cpuSeconds();
    while (warm.length < warmRuns && firstMs < 2000) {
      warm.push((await timed(act))[0]);
    }
    const runs = warm.length - 1;
    const cpuMs = runs === 0 ? Number.NaN : ((engine.cpuSeconds() - cpuBefore) * 1000) / runs;
    lines.push({
      question,
      queries,
      rowsRead: rows,
      coldMs: Math.round(coldMs),
      warmMs: Math.round(median(warm)),
      warmCpuMs: Math.round(cpuMs),
      found,
    });
    console.log(JSON.stringify(lines.at(-1)));
  };
  const search = async (query: string, act: "list" | "times"): Promise<string> =>
    await searched(clickHouse, memory, query, act);
  const hour = range(12, 13);
  const day = range(0, 24);
  await searched(clickHouse, memory, hour, "list"); // what it remembers of login and table is asked once a minute
  const [session] = (
    await engine.text(
      `SELECT SpanAttributes['session.id'] FROM ${database}.otel_traces WHERE ${within("03:00")} LIMIT 1`,
    )
  ).split("\n");
  await measure("newest 50 roots of an hour", async () => await search(hour, "list"));
  await measure("newest 50 roots of the day", async () => await search(day, "list"));
  await measure(
    "newest 50 roots of an hour, of a service",
    async () => await search(`${hour}&match=root&service=service-07`, "list"),
  );
  await measure("longest 50 roots of an hour", async () => await search(`${hour}&sort=duration`, "list"));
  await measure("roots over an hour", async () => await search(hour, "times"));
  await measure("roots over the day", async () => await search(day, "times"));
  await measure(
    "spans of a service with errors, an hour",
    async () => await search(`${hour}&service=service-07&status=error`, "list"),
  );
  await measure(
    "an attribute that is frequent, the day",
    async () => await search(`${day}&where=http.response.status_code=500`, "list"),
  );
  await measure(
    "an attribute of one trace at 03:00, the day",
    async () => await search(`${day}&where=session.id=${session}`, "list"),
  );
  for (const size of [7, 35, 270, 10_000].filter((one) => one * 50 < spans)) {
    await askTrace(engine, database, clickHouse, size, measure);
  }
  return lines;
}

/** What a person waits for until the waterfall is there, and until all of it is. */
async function askTrace(
  engine: EngineSession,
  database: string,
  clickHouse: ClickHouseConnection,
  size: number,
  measure: (question: string, answering: () => Promise<string>) => Promise<void>,
): Promise<void> {
  const id = await engine.text(
    `SELECT TraceId FROM ${database}.otel_traces WHERE ${within("12:00", size < 1000 ? 60 : 7200)} GROUP BY TraceId HAVING count() >= ${size} ORDER BY count() LIMIT 1`,
  );
  if (id !== "") {
    await measure(
      `the shape of a trace of ${size} spans by its id`,
      async () => `${(await readTraceShape(clickHouse, { traceId: id, tenant: null })).spansCount} spans`,
    );
    await measure(
      `a trace of ${size} spans by its id, whole`,
      async () => `${(await readTrace(clickHouse, { traceId: id, tenant: null })).spansCount} spans`,
    );
  }
}

async function searched(
  clickHouse: Parameters<typeof startSearch>[0],
  memory: SearchMemory,
  query: string,
  act: "list" | "times",
): Promise<string> {
  const parameters = new URLSearchParams(query);
  const question = parseListQuestion(parameters, dayMs);
  const search = await startSearch(clickHouse, memory, Date.now);
  if (!question.ok || typeof search === "string") {
    throw new Error(String(search));
  }
  if (act === "times") {
    const { filter } = question.value;
    const times = await countTraces(search, filter);
    return `${times.steps.reduce((sum, step) => sum + (step?.count ?? 0), 0)} ${asksOfSpans(filter) ? "spans" : "roots"}`;
  }
  const { traces, notes } = await listTraces(search, question.value);
  return `${traces.length} traces${notes.length === 0 ? "" : `; ${notes.join(" ")}`}`;
}

function range(fromHour: number, toHour: number): string {
  const at = (hour: number): string => new Date(dayMs + hour * 3_600_000).toISOString();
  return `from=${at(fromHour)}&to=${at(toHour)}`;
}

function within(time: string, seconds = 60): string {
  const at = `toDateTime64('${dayStart.slice(0, 11)}${time}:00', 9)`;
  return `Timestamp >= ${at} AND Timestamp < ${at} + INTERVAL ${seconds} SECOND`;
}

/** ms by the clock, and what it gave. */
async function timed<T>(act: () => Promise<T>): Promise<readonly [number, T]> {
  const began = performance.now();
  const given = await act();
  return [performance.now() - began, given];
}
