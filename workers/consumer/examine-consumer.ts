/**
 * What `doctor` can learn in this Worker only: ClickHouse as it is logged in here, create-only puts on the real bucket,
 * and the queues that it sends to. It leaves nothing behind. Every check ends as a check: what throws is `bad`.
 */
import * as v from "valibot";
import { queryRows, runStatement } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { counted } from "../../shared/counted.ts";
import { bad, type Check, good, warning } from "../../shared/doctor/check.ts";
import { type ClickHouseFacts, judgeClickHouse, neededRights } from "../../shared/doctor/judge-clickhouse.ts";
import { perform } from "../../shared/effect.ts";
import { readFrontDoorSettings } from "../../shared/front-door/front-door.ts";
import { frontDoorLines } from "../../shared/front-door/text.ts";
import { toHex } from "../../shared/hex.ts";
import type { CronPerformer } from "../../shared/reconcile/effects.ts";
import { watchFrontDoor } from "../../shared/reconcile/watch-front-door.ts";
import type { ConsumerBindings } from "./bindings.ts";

export async function examineConsumer(
  env: ConsumerBindings,
  clickHouse: ClickHouseConnection,
  performer: CronPerformer,
): Promise<readonly Check[]> {
  const parts = await Promise.all([
    examineClickHouse(clickHouse),
    examineBucket(env.PAYLOADS),
    examineQueues(env),
    examineFrontDoor(env, performer),
  ]);
  return parts.flat();
}

async function examineClickHouse(clickHouse: ClickHouseConnection): Promise<readonly Check[]> {
  const { settings } = clickHouse;
  const where = new URL(settings.url).host;
  try {
    const facts = await readFacts(clickHouse);
    return [
      good("clickhouse login", `${settings.user} at ${where}, ${facts.answeredAt - facts.askedAt} ms away`),
      ...judgeClickHouse(facts, settings),
    ];
  } catch (error) {
    return [
      bad(
        "clickhouse login",
        `${settings.user} at ${where}: ${oneLine(error)}`,
        "check that it answers at that address, and set CLICKHOUSE_URL, CLICKHOUSE_USER and CLICKHOUSE_PASSWORD again: npx headrace deploy --set-secrets",
      ),
    ];
  }
}

const serverSchema = v.tuple([
  v.object({
    version: v.string(),
    timezone: v.string(),
    now: v.number(),
    async_insert: v.string(),
    deduplicate_insert: v.nullable(v.string()),
  }),
]);
const tablesSchema = v.array(
  v.object({ name: v.string(), engine: v.string(), engine_full: v.string(), create_table_query: v.string() }),
);
const columnsSchema = v.tuple([v.object({ columns: v.number() })]);

const ourTables = [
  "headrace_receipts",
  "headrace_receipt_ids",
  "headrace_receipt_minutes",
  "headrace_receipt_places",
  "headrace_dead_letters",
  "headrace_minutes",
  "headrace_findings",
  "headrace_outcomes",
  "headrace_watermarks",
  "headrace_usage",
];

async function readFacts(clickHouse: ClickHouseConnection): Promise<ClickHouseFacts> {
  const { settings } = clickHouse;
  const read = async <S extends v.GenericSchema>(query: string, schema: S): Promise<v.InferOutput<S>> =>
    await queryRows(clickHouse, schema, query);
  const askedAt = Date.now();
  const [server] = await read(
    `SELECT version() AS version, serverTimezone() AS timezone, toFloat64(toUnixTimestamp64Milli(now64(3))) AS now,
      (SELECT toString(value) FROM system.settings WHERE name = 'async_insert') AS async_insert,
      (SELECT any(value) FROM system.settings WHERE name = 'deduplicate_insert') AS deduplicate_insert`,
    serverSchema,
  );
  const answeredAt = Date.now();
  const tables = await read(
    `SELECT name, engine, engine_full, create_table_query FROM system.tables WHERE database = '${settings.database}'`,
    tablesSchema,
  );
  const [{ columns }] = await read(
    `SELECT toUInt32(count()) AS columns FROM system.columns WHERE database = '${settings.database}'
      AND table = '${settings.tracesTable}' AND name IN ('HeadraceTenant', 'HeadracePayload')`,
    columnsSchema,
  );
  const table = (name: string) => {
    const row = tables.find((one) => one.name === name);
    return row === undefined ? undefined : { engine: row.engine, engineFull: row.engine_full };
  };
  const traces = tables.find(({ name }) => name === settings.tracesTable);
  return {
    version: server.version,
    timezone: server.timezone,
    deduplicateInsert: server.deduplicate_insert ?? "",
    now: server.now,
    askedAt,
    answeredAt,
    asyncInsert: server.async_insert,
    traces: table(settings.tracesTable),
    traceTimes: table(`${settings.tracesTable}_trace_id_ts`),
    hasProjection: traces?.create_table_query.includes("PROJECTION headrace_counts") ?? false,
    hasOurColumns: columns === 2,
    missingTables: ourTables.filter((name) => table(name) === undefined),
    localTables: tables
      .filter(({ name, engine }) => ourTables.includes(name) && engine.endsWith("MergeTree"))
      .filter(({ engine }) => !/^(Replicated|Shared)/.test(engine))
      .map(({ name }) => name),
    missingRights: await missingRights(clickHouse, traces?.engine),
  };
}

/** CHECK GRANT answers 1 or 0, and takes no FORMAT. A server that does not know it has no short answer. */
async function missingRights(
  clickHouse: ClickHouseConnection,
  engine: string | undefined,
): Promise<readonly string[] | undefined> {
  const missing: string[] = [];
  try {
    for (const right of neededRights(clickHouse.settings, engine)) {
      if ((await runStatement(clickHouse, `CHECK GRANT ${right}`)).trim() !== "1") {
        missing.push(right);
      }
    }
  } catch {
    return undefined; // said as a warning: what is not allowed shows as a failure of its own
  }
  return missing;
}

/** The zone is asked as the cron asks it. What is not set is a warning: the zone is then watched by nobody. */
async function examineFrontDoor(env: ConsumerBindings, performer: CronPerformer): Promise<readonly Check[]> {
  const check = "zone";
  const look = watchFrontDoor(readFrontDoorSettings(env), null, Date.now());
  try {
    const frontDoor = await perform(look, performer);
    return frontDoorLines(frontDoor).map(({ verdict, text }) =>
      verdict === "good"
        ? good(check, text)
        : verdict === "bad"
          ? bad(check, text, "docs/operating.md, zone_refused: a rule with the action Skip for /v1/traces")
          : warning(
              check,
              text,
              "set ZONE_ID and ZONE_ANALYTICS_TOKEN (Zone · Analytics · Read) in the --env-file: npx headrace deploy --set-secrets",
            ),
    );
  } catch (error) {
    return [bad(check, oneLine(error), "this is a bug in Headrace: please report it")];
  }
}

/** Two create-only puts of one key: the first must be kept, the second must find it. */
async function examineBucket(bucket: R2Bucket): Promise<readonly Check[]> {
  const check = "r2 create-only put";
  const key = `doctor/${toHex(crypto.getRandomValues(new Uint8Array(16)))}`;
  const onlyIf = new Headers({ "If-None-Match": "*" });
  try {
    const first = await bucket.put(key, "first", { onlyIf });
    const second = await putAgain(bucket, key, onlyIf);
    const kept = await (await bucket.get(key))?.text();
    return first !== null && second === null && kept === "first"
      ? [good(check, "the second put of a key is refused, and the first one's bytes stay")]
      : [
          bad(
            check,
            `first put ${first === null ? "refused" : "kept"}, second ${second === null ? "refused" : "kept"}, the object holds ${kept === undefined ? "nothing" : `"${kept}"`}`,
            "this bucket lets a payload be overwritten: ask Cloudflare's support, and do not send to it",
          ),
        ];
  } catch (error) {
    return [bad(check, oneLine(error), "npx headrace deploy (it creates the bucket and the binding)")];
  } finally {
    await bucket.delete(key).catch(() => undefined); // an object of five bytes, outside every prefix that is read
  }
}

/** R2 takes one write a second to one key, and answers the next with an error: that is a refusal too. */
async function putAgain(bucket: R2Bucket, key: string, onlyIf: Headers): Promise<R2Object | null> {
  try {
    return await bucket.put(key, "second", { onlyIf });
  } catch {
    return null;
  }
}

/** A bell for a group that does not exist is taken, and nothing comes of it. */
async function examineQueues({ GROUP, RING }: ConsumerBindings): Promise<readonly Check[]> {
  const mend = "npx headrace deploy (it creates the queues and the bindings)";
  const checks: Check[] = [];
  try {
    await GROUP.send({ v: 1, group: toHex(crypto.getRandomValues(new Uint8Array(16))) });
    checks.push(good("queue group", "takes messages"));
  } catch (error) {
    checks.push(bad("queue group", oneLine(error), mend));
  }
  for (const [name, queue] of [
    ["ring", RING],
    ["group", GROUP],
  ] as const) {
    try {
      const { backlogCount } = await queue.metrics();
      checks.push(
        backlogCount < 10_000
          ? good(`queue ${name} backlog`, counted(backlogCount, "message"))
          : warning(
              `queue ${name} backlog`,
              `${counted(backlogCount, "message")} waiting`,
              "npx headrace status: while ClickHouse is slow or down they wait in the ledger, not here; check the consumer's errors",
            ),
      );
    } catch (error) {
      checks.push(bad(`queue ${name} backlog`, oneLine(error), mend));
    }
  }
  return checks;
}

function oneLine(error: unknown): string {
  const text = error instanceof Error && error.message !== "" ? error.message : String(error);
  return (text.split("\n")[0] ?? "").slice(0, 300);
}
