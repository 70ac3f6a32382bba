/**
 * What the promises need of ClickHouse, judged from what it says of itself. Pure: workers/consumer/examine-consumer.ts
 * asks. Each failure comes with the statement that fixes it.
 */
import type { ClickHouseSettings } from "../clickhouse/connection.ts";
import { tableName } from "../clickhouse/statements.ts";
import {
  checkServer,
  checkTable,
  checkVersion,
  type TableDeclaration,
  windowOf,
} from "../clickhouse/table-check.ts";
import { leastKeptMs, readTtl } from "../clickhouse/ttl.ts";
import { DAY_MS, limits } from "../limits.ts";
import { bad, type Check, good, warning } from "./check.ts";

export interface ClickHouseFacts {
  /** `26.7.1.1` */
  readonly version: string;
  readonly timezone: string;
  /** The setting `deduplicate_insert` of the login; empty where the server does not know it. */
  readonly deduplicateInsert: string;
  /** Its clock, and ours when it was asked and when it answered: ms since the epoch. */
  readonly now: number;
  readonly askedAt: number;
  readonly answeredAt: number;
  /** Its default; we send async_insert=0 with every INSERT. */
  readonly asyncInsert: string;
  readonly traces: TableDeclaration | undefined;
  /** The target of the view that says where a trace lies in time. */
  readonly traceTimes: TableDeclaration | undefined;
  readonly hasProjection: boolean;
  readonly hasOurColumns: boolean;
  /** Tables of ours that are not there. */
  readonly missingTables: readonly string[];
  /** Tables of ours whose rows are at one server only. */
  readonly localTables: readonly string[];
  /** Rights that the login lacks, as GRANT names them; undefined: the server cannot say. */
  readonly missingRights: readonly string[] | undefined;
}

const deploy = "npx headrace deploy";

export function judgeClickHouse(facts: ClickHouseFacts, settings: ClickHouseSettings): readonly Check[] {
  const traces = tableName(settings, settings.tracesTable);
  const times = tableName(settings, `${settings.tracesTable}_trace_id_ts`);
  // Each is judged with the others as they must be.
  const others = { timezone: "UTC", deduplicateInsert: "", deduplicateInsertSelect: "", clockAheadMs: 0 };
  return [
    judgeVersion(facts.version),
    judgeClock(facts),
    judgeServer("clickhouse timezone", settings, { ...others, timezone: facts.timezone }, facts.timezone),
    judgeServer(
      "clickhouse deduplication",
      settings,
      { ...others, deduplicateInsert: facts.deduplicateInsert },
      facts.deduplicateInsert === ""
        ? "as every INSERT asks for it"
        : `deduplicate_insert = ${facts.deduplicateInsert}`,
    ),
    facts.asyncInsert === "0"
      ? good("clickhouse async_insert", "off by default")
      : good("clickhouse async_insert", "on by default; ours are sent with async_insert = 0"),
    ...judgeTables(facts, settings, traces, times),
    judgeRights(facts.missingRights, settings),
    ...judgeCluster(facts, settings),
  ];
}

/** VERIFY takes nothing for evidence before every replica has said what it runs. */
function judgeCluster(
  { traces, localTables }: ClickHouseFacts,
  { cluster }: ClickHouseSettings,
): readonly Check[] {
  if (traces?.engine.startsWith("Replicated") !== true) {
    return [];
  }
  const check = "clickhouse cluster";
  if (localTables.length > 0) {
    return [
      bad(
        check,
        `the traces are replicated, but ${localTables.join(", ")} only at one server: other replicas do not have its rows`,
        `set CLICKHOUSE_CLUSTER, or CLICKHOUSE_REPLICAS, and run ${deploy}: it says how to make these replicated`,
      ),
    ];
  }
  return cluster === undefined
    ? [
        warning(
          check,
          "the traces are replicated, and CLICKHOUSE_CLUSTER is not set: unless there is one replica only, what has to be verified waits",
          "set CLICKHOUSE_CLUSTER to the cluster of system.clusters that has all replicas, and run npx headrace deploy",
        ),
      ]
    : [good(check, `replicas are asked as ${cluster}`)];
}

function judgeVersion(version: string): Check {
  const check = "clickhouse version";
  const [wrong = "", mend = ""] = checkVersion(version).split(" Fix it with ");
  return wrong === "" ? good(check, version) : bad(check, wrong, mend);
}

/** The server's clock against ours, halfway between question and answer. */
function judgeClock({ now, askedAt, answeredAt }: ClickHouseFacts): Check {
  const difference = Math.round(now - (askedAt + answeredAt) / 2);
  const doubt = (answeredAt - askedAt) / 2;
  return Math.abs(difference) - doubt > limits.clockDifferenceMs
    ? bad(
        "clickhouse clock",
        `${difference} ms beside the Worker's clock`,
        "let ntpd or chronyd set the clock of ClickHouse's host: TTL and times of receipts depend on it",
      )
    : good(
        "clickhouse clock",
        `within ${Math.max(Math.abs(difference), Math.ceil(doubt))} ms of the Worker's`,
      );
}

/** One half of the table check of the server, as that says it: "what is wrong. Fix it with: …". */
function judgeServer(
  check: string,
  settings: ClickHouseSettings,
  server: Parameters<typeof checkServer>[1],
  found: string,
): Check {
  const refusal = checkServer(settings, server);
  const [wrong = "", mend = ""] = refusal.split(/ Fix it with:? /);
  return refusal === "" ? good(check, found) : bad(check, wrong, mend);
}

function judgeTables(
  facts: ClickHouseFacts,
  settings: ClickHouseSettings,
  traces: string,
  times: string,
): readonly Check[] {
  const refusal = checkTable(settings, facts.traces);
  const [, command = ""] = /Fix it with: (.*)/.exec(refusal) ?? [];
  const checks: Check[] = [
    facts.missingTables.length === 0
      ? good("clickhouse schema", "every table is there")
      : bad(
          "clickhouse schema",
          `missing: ${facts.missingTables.join(", ")}`,
          `${deploy} (it applies schema/)`,
        ),
    refusal === ""
      ? good("clickhouse window", windowText(facts.traces))
      : bad("clickhouse window", refusal, command === "" ? deploy : command),
  ];
  if (facts.traces === undefined) {
    return checks;
  }
  checks.push(judgeTimes(facts.traceTimes, times));
  checks.push(
    facts.hasOurColumns
      ? good("clickhouse columns", "HeadraceTenant and HeadracePayload are there")
      : bad(
          "clickhouse columns",
          "HeadraceTenant or HeadracePayload is missing",
          `${deploy} (it applies schema/)`,
        ),
    facts.hasProjection
      ? good("clickhouse projection", "headrace_counts is there")
      : bad(
          "clickhouse projection",
          "headrace_counts is missing: counting the rows of a payload reads the whole table",
          `ALTER TABLE ${traces} ADD PROJECTION headrace_counts (SELECT HeadracePayload, toDate(Timestamp) AS day, count() GROUP BY HeadracePayload, day); ALTER TABLE ${traces} MATERIALIZE PROJECTION headrace_counts`,
        ),
    judgeTtl(facts.traces, traces),
  );
  return checks;
}

function windowText(declaration: TableDeclaration | undefined): string {
  return declaration === undefined
    ? ""
    : `${declaration.engine}, the last ${windowOf(declaration).blocks} blocks are remembered`;
}

function judgeTimes(declaration: TableDeclaration | undefined, times: string): Check {
  const check = "clickhouse view window";
  if (declaration === undefined) {
    return bad(check, `there is no table ${times}`, `${deploy} (it applies schema/)`);
  }
  const { blocks } = windowOf(declaration);
  return blocks < limits.deduplicationWindowMin
    ? bad(
        check,
        `${times} remembers ${blocks} blocks: a retry doubles its rows`,
        `ALTER TABLE ${times} MODIFY SETTING non_replicated_deduplication_window = ${limits.deduplicationWindow}, replicated_deduplication_window = ${limits.deduplicationWindow}`,
      )
    : good(check, `${blocks} blocks`);
}

/** ClickHouse drops expired rows at the INSERT, and still answers 200. */
function judgeTtl(declaration: TableDeclaration, traces: string): Check {
  const check = "clickhouse TTL";
  const ttl = readTtl(declaration.engineFull);
  if (ttl.kind === "none") {
    return good(check, "none: spans are kept");
  }
  if (ttl.kind === "unclear") {
    return bad(
      check,
      `the table has a TTL that we do not understand (${ttl.clause})`,
      `ALTER TABLE ${traces} MODIFY TTL toDateTime(Timestamp) + toIntervalDay(90)`,
    );
  }
  const days = Math.floor(leastKeptMs(ttl) / DAY_MS);
  const least = Math.ceil((limits.spanAgeMaxMs + limits.payloadRetentionMs) / DAY_MS) + 1;
  return days < least
    ? warning(
        check,
        `${days} days: older spans are refused when they arrive, and younger ones leave before they are a week old in R2`,
        `ALTER TABLE ${traces} MODIFY TTL toDateTime(Timestamp) + toIntervalDay(${least})`,
      )
    : good(check, `${days} days`);
}

function judgeRights(missing: readonly string[] | undefined, settings: ClickHouseSettings): Check {
  const check = "clickhouse rights";
  if (missing === undefined) {
    return warning(check, "the server does not say what the login may do", "SHOW GRANTS");
  }
  return missing.length === 0
    ? good(check, `${settings.user} may do everything that is needed`)
    : bad(
        check,
        `${settings.user} lacks ${missing.join("; ")}`,
        missing.map((right) => `GRANT ${right} TO ${settings.user}`).join("; "),
      );
}

/** What the consumer's login must be allowed, as GRANT names it. */
export function neededRights(settings: ClickHouseSettings, engine = ""): readonly string[] {
  return [
    `SELECT, INSERT ON ${settings.database}.*`,
    `ALTER DELETE ON ${settings.database}.${settings.tracesTable}`,
    `ALTER DELETE ON ${settings.database}.${settings.tracesTable}_trace_id_ts`,
    "SELECT ON system.parts",
    "SELECT ON system.processes",
    "SELECT ON system.mutations",
    ...(engine.startsWith("Replicated")
      ? ["SELECT ON system.replicas", "SELECT ON system.replicated_merge_tree_settings"]
      : []),
    ...(settings.cluster === undefined ? [] : ["REMOTE, CREATE TEMPORARY TABLE ON *.*"]),
  ];
}
