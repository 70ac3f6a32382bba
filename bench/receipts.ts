/**
 * `npm run bench -- receipts`: what the receipts cost at size, on a real engine, before schema/0013 and after it.
 *
 * 1. bytes per receipt on disk
 * 2. what the receipts of ids claim, as VERIFY and an erasure ask for it: of 1, 100 and 500 ids over the month, half of which have some,
 *    and of 500 that all have one
 * 3. rows of an audit's page of 1,000 payloads, with and without its days named
 * 4. what a stream of INSERTs costs, merges included, and what of it grows with the table
 * 5. the receipts of 500 ids of one group and of 500 over the month, and 3, with ids of version 1, which are at random, and of version 2, which begin with
 *    their time (`npm run bench -- receipts ids`: this alone)
 * 6. `npm run bench -- receipts segments` alone: bytes of payloads in segments, before schema/0017 and after it, and then look-ups
 *
 * `npm run bench -- receipts 3e7` makes so many (10^7 without). The engine makes them itself, over the 36 days before now.
 * By the clock (least and median) and by the CPU time of the server's process, which a busy machine changes less. On a disk: of what
 * lies in /dev/shm each read is handed to another thread, for Linux cannot say there that it need not wait. That made four times
 * the CPU of some thousand small reads.
 */
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { statementRunner } from "../dev/clickhouse/run-statement.ts";
import { readSchemaFiles } from "../dev/schema-files.ts";
import { defaultSchemaSettings, migrate } from "../shared/clickhouse/migrations.ts";
import { receiptColumns } from "../shared/clickhouse/receipts.ts";
import { countedRowsQuery, countRowsQuery, receiptClaimsQuery } from "../shared/clickhouse/statements.ts";
import { toHex } from "../shared/hex.ts";
import { DAY_MS } from "../shared/limits.ts";
import {
  contentMinuteBytes,
  formatPayloadId,
  type PayloadId,
  payloadIdToBytes,
} from "../shared/payload-key.ts";
import { type EngineSession, startEngineSession } from "./engine-session.ts";
import { median } from "./median.ts";
import { cpuSecondsOf } from "./process-cost.ts";

const days = 36;
const tenants = 20;
/** Payloads of one group have one `group_id`. */
const groupPayloads = 100;
/** What 200 requests per second have in one (decision 0091). */
const segmentPayloads = 20;
/** 200 payloads per second. */
const busyMinute = 12_000;
const rounds = 7;
const idsOfGroup = 500;
const settings = { url: "", user: "", password: "", database: "default", tracesTable: "otel_traces" };
const base32 = (bytes: string): string =>
  `translate(base32Encode(${bytes}), 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', '0123456789abcdefghijklmnopqrstuv')`;
const idText = `substring(${base32("id")}, 1, 26)`;

/** The id of receipt `number`, which arrived at `m`. Version 2: its content is of that minute or of the one before. */
const idSql = {
  1: "CAST(MD5(toString(number)), 'FixedString(16)')",
  2: "CAST(concat(unhex(hex(toUInt32(intDiv(toUnixTimestamp(m) - 1577836800, 60) - number % 2))), substring(MD5(toString(number)), 1, 13)), 'FixedString(16)')",
} as const;
type Version = keyof typeof idSql;

/** Receipts are over `days` before `end` (ms since the epoch): when `number` of `inAll` arrived. */
function minuteSql(inAll: number, end: number): string {
  const start = Math.floor((end - days * DAY_MS) / 60_000) * 60;
  const minutes = (days * DAY_MS) / 60_000;
  return `toDateTime(${start} + intDiv(number * ${minutes}, ${inAll}) * 60, 'UTC')`;
}

const segmentText = base32(`SHA256(toString(intDiv(number, ${segmentPayloads})))`);
/** What the key has before the tenant, of a payload in a segment: `segment-key.ts` says of what its name is made. */
const segmentSql = `concat('_2/', arrayStringConcat(arrayMap(shift -> substring('0123456789abcdefghijklmnopqrstuv',
      1 + toUInt32(bitAnd(bitShiftRight(sipHash64(intDiv(number, ${segmentPayloads})) % 60000, shift), 31)), 1), [15, 10, 5, 0])),
    substring(${segmentText}, 1, 16), '0k', substring(${segmentText}, 17, 13), '/', leftPad(toString(number % ${segmentPayloads}), 3, '0'), '/')`;

/** Receipts `from` to `to` of `inAll`, as a SELECT. `place`: what the key has between minute and tenant. */
function receiptsSql(
  from: number,
  to: number,
  inAll: number,
  end: number,
  version: Version = 1,
  place = "''",
): string {
  return `SELECT concat('p/0/t/', formatDateTime(m, '%Y-%m-%dT%H%i'), '/', ${place}, t, '/', ${idText}) AS key, hex(id) AS payload_hex, m AS minute, t AS tenant,
      if(number % 100 = 0, 'duplicate', 'stored') AS outcome, lower(hex(MD5(concat('g', toString(intDiv(number, ${groupPayloads})))))) AS group_id,
      toUInt32(400 + rand(1) % 200) AS spans, 0 AS rejected_spans, map(toDate(m), spans) AS spans_by_day,
      20000 + rand(2) % 40000 AS bytes, '' AS reason, toDateTime64(m, 3, 'UTC') + 20 + (rand(3) % 20000) / 1000 AS at
    FROM (SELECT number, ${minuteSql(inAll, end)} AS m, ${idSql[version]} AS id,
      concat('tenant-', toString(rand(4) % ${tenants})) AS t FROM numbers(${from}, ${to - from}))`;
}

async function fill(
  engine: EngineSession,
  receipts: number,
  end: number,
  version: Version = 1,
  place?: string,
): Promise<void> {
  const steps = days * 2;
  for (let step = 0; step < steps; step++) {
    const [from, to] = [step, step + 1].map((at) => Math.floor((receipts * at) / steps));
    await engine.ask(
      `INSERT INTO headrace_receipts (${receiptColumns.join(", ")}) ${receiptsSql(from ?? 0, to ?? 0, receipts, end, version, place)}`,
    );
  }
}

/** As many ids as VERIFY asks for at once: of payloads that came one after another, and of which half have receipts. */
async function groupIds(
  engine: EngineSession,
  receipts: number,
  end: number,
  version: Version,
): Promise<readonly PayloadId[]> {
  const known = idsOfGroup / 2;
  const first = Math.floor(Math.random() * (receipts - known));
  const text = await engine.text(
    `SELECT lower(hex(id)) FROM (SELECT number, ${minuteSql(receipts, end)} AS m, ${idSql[version]} AS id FROM numbers(${first}, ${known})) FORMAT TSVRaw`,
  );
  const bytes = text.split("\n").map((hex) => Buffer.from(hex, "hex"));
  const others = bytes.map((one) => {
    const other = randomBytes(one.length);
    return version === 1
      ? other
      : Buffer.concat([one.subarray(0, contentMinuteBytes), other]).subarray(0, 16);
  });
  return [...bytes, ...others].map(formatPayloadId);
}

/** Ids over the whole month, `known` of which have receipts. */
async function ids(
  engine: EngineSession,
  count: number,
  { receipts, end }: Filled,
  known: number,
  version: Version = 1,
): Promise<readonly PayloadId[]> {
  const text = await engine.text(
    `SELECT lower(hex(id)) FROM (SELECT number, ${minuteSql(receipts, end)} AS m, ${idSql[version]} AS id FROM (SELECT rand64() % ${receipts} AS number FROM numbers(${known}))) FORMAT TSVRaw`,
  );
  const knownIds = text.split("\n").map((hex) => formatPayloadId(Buffer.from(hex, "hex")));
  const others = Array.from({ length: count - knownIds.length }, () => formatPayloadId(randomBytes(16)));
  return [...knownIds, ...others];
}

/** The statement of before schema/0013: by the index on `payload`. */
function receiptsQueryBefore(asked: readonly PayloadId[]): string {
  const literals = asked.map((id) => `unhex('${toHex(payloadIdToBytes(id))}')`);
  return `SELECT key, toString(outcome), group_id, spans, rejected_spans, spans_by_day, bytes, reason, at
    FROM headrace_receipts FINAL WHERE payload IN (${literals.join(", ")}) ORDER BY key`;
}

async function time(
  engine: EngineSession,
  name: string,
  query: (round: number) => Promise<string>,
): Promise<void> {
  const wallMs: number[] = [];
  const cpuMs: number[] = [];
  let rows = 0;
  const run = statementRunner({ url: engine.url });
  for (let round = -1; round < rounds; round++) {
    const sql = await query(round);
    const [wall, cpu] = [performance.now(), cpuSecondsOf(engine.pid)];
    // As the consumer sends it: in the body. As a part of the address, 500 ids cost a second to be read.
    const answer = await run(`${sql} FORMAT JSONCompact`);
    if (round >= 0) {
      wallMs.push(performance.now() - wall);
      cpuMs.push((cpuSecondsOf(engine.pid) - cpu) * 1000);
      rows = JSON.parse(answer).statistics.rows_read;
    }
  }
  const cpu = cpuMs.reduce((sum, one) => sum + one, 0) / rounds;
  console.log(
    `  ${name.padEnd(34)} | least ${Math.min(...wallMs).toFixed(0)} ms | median ${median(wallMs).toFixed(0)} | CPU ${cpu.toFixed(0)} | rows read ${rows}`,
  );
}

async function bytesPerReceipt(engine: EngineSession): Promise<void> {
  const text = await engine.text(
    `WITH (SELECT sum(rows) FROM system.parts WHERE database = 'default' AND active AND table = 'headrace_receipts') AS receipts
      SELECT table, count(), sum(bytes_on_disk) / receipts FROM system.parts
      WHERE database = 'default' AND active AND table LIKE 'headrace_receipt%' AND rows > 0 GROUP BY table ORDER BY table FORMAT TSVRaw`,
  );
  let sum = 0;
  for (const line of text.split("\n")) {
    const [table, parts, bytes] = line.split("\t");
    sum += Number(bytes);
    console.log(`  ${table}: ${Number(bytes).toFixed(1)} bytes per receipt, ${parts} parts`);
  }
  console.log(`  in all: ${sum.toFixed(1)} bytes per receipt`);
}

const mergedSql =
  "SELECT toFloat64(sumIf(value, event = 'MergedRows')), toFloat64(sumIf(value, event = 'InsertedRows')) FROM system.events FORMAT TSVRaw";

async function merged(engine: EngineSession): Promise<number> {
  return Number((await engine.text(mergedSql)).split("\t")[0]);
}

async function settle(engine: EngineSession): Promise<void> {
  for (let quiet = 0; quiet < 3; ) {
    const running = await engine.text("SELECT count() FROM system.merges FORMAT TSVRaw");
    quiet = running === "0" ? quiet + 1 : 0;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

/** Groups of 250 payloads, as fast as they are taken: 1,000 payloads per second are four of these a second. */
async function stream(engine: EngineSession, end: number): Promise<void> {
  const [inserts, rowsAnInsert] = [1000, 250];
  const rows = inserts * rowsAnInsert;
  await settle(engine);
  const cpuOf = async (work: () => Promise<void>) => {
    const [cpu, rewritten] = [cpuSecondsOf(engine.pid), await merged(engine)];
    await work();
    return { cpu: cpuSecondsOf(engine.pid) - cpu, rewritten: (await merged(engine)) - rewritten };
  };
  const insertAll = async () => {
    for (let n = 0; n < inserts; n++) {
      // The last minutes before `end`: 1,000 a second.
      const at = end + Math.floor((n * rowsAnInsert) / 60_000) * 60_000;
      const sql = receiptsSql(1e9 + n * rowsAnInsert, 1e9 + (n + 1) * rowsAnInsert, 1e15, at + days * DAY_MS);
      await engine.ask(
        `INSERT INTO headrace_receipts (${receiptColumns.join(", ")}) SETTINGS async_insert = 0 ${sql}`,
        { max_threads: "1" },
      );
    }
  };
  const tables = (await engine.text("SHOW TABLES LIKE 'headrace_receipt%'")).split("\n");
  const each = async (sql: string) => {
    for (const table of tables.filter((one) => !one.endsWith("_mv"))) {
      await engine.ask(`${sql} ${table}`);
    }
  };
  await each("SYSTEM STOP MERGES");
  const inserting = await cpuOf(insertAll);
  const merging = await cpuOf(async () => {
    await each("SYSTEM START MERGES");
    await settle(engine);
  });
  console.log(
    `  ${inserts} INSERTs of ${rowsAnInsert}: CPU ${((inserting.cpu / rows) * 1e6).toFixed(1)} µs per receipt with the SELECT that makes them; then merges: ${((merging.cpu / rows) * 1e6).toFixed(2)} µs, each row rewritten ${(merging.rewritten / rows).toFixed(1)} times in all its tables`,
  );
  const whole = await cpuOf(async () => {
    await each("OPTIMIZE TABLE");
    await settle(engine);
  });
  if (whole.rewritten > 0) {
    console.log(
      `  a large merge: ${((whole.cpu / whole.rewritten) * 1e6).toFixed(2)} µs CPU per row that it writes (${whole.rewritten} rows)`,
    );
  }
}

/** Of one group; and what of it is the first look. */
async function measureGroup(
  engine: EngineSession,
  receipts: number,
  end: number,
  version: Version,
): Promise<void> {
  const name = `${idsOfGroup} ids of one group, version ${version}`;
  await time(engine, name, async () =>
    receiptClaimsQuery(settings, await groupIds(engine, receipts, end, version)),
  );
  await time(engine, "… their places alone", async () => {
    const heads = (await groupIds(engine, receipts, end, version)).map(
      (id) => `unhex('${toHex(payloadIdToBytes(id).subarray(0, 8))}')`,
    );
    return `SELECT head, minute, tenant, segment, slot FROM headrace_receipt_ids WHERE head IN (${heads.join(", ")}) AND path = ''`;
  });
}

/** How many receipts the table has, and when the last arrived (ms since the epoch). */
interface Filled {
  readonly receipts: number;
  readonly end: number;
}

async function measure(engine: EngineSession, filled: Filled, name: string): Promise<void> {
  const query =
    name === "before"
      ? receiptsQueryBefore
      : (asked: readonly PayloadId[]) => receiptClaimsQuery(settings, asked);
  await settle(engine);
  await bytesPerReceipt(engine);
  for (const count of [1, 100, 500]) {
    const known = Math.ceil(count / 2);
    await time(engine, `of ${count} ids`, async () => query(await ids(engine, count, filled, known)));
  }
  await time(engine, "of 500 ids, each with a receipt", async () =>
    query(await ids(engine, 500, filled, 500)),
  );
}

/** Rows of as many payloads over as many days; of each the projection has one row per day, however many spans it has. */
async function measureAudit(
  engine: EngineSession,
  receipts: number,
  end: number,
  version: Version,
): Promise<void> {
  const payloads = Math.min(receipts, 3e6);
  /** The ids of `count` payloads from `first` on, with their numbers. */
  const numbered = (first: number, count: number) =>
    `(SELECT number, ${minuteSql(payloads, end)} AS m, ${idSql[version]} AS id FROM numbers(${first}, ${count}))`;
  for (let day = 0; day < days; day++) {
    const [from, to] = [day, day + 1].map((at) => Math.floor((payloads * at) / days));
    const time0 = Math.floor((end - (days - day) * DAY_MS) / DAY_MS) * 86_400;
    await engine.ask(
      `INSERT INTO otel_traces (Timestamp, TraceId, ServiceName, HeadracePayload) SELECT toDateTime64(${time0} + number % 86400, 9), toString(number), 's', id FROM ${numbered(from ?? 0, (to ?? 0) - (from ?? 0))} SETTINGS materialize_skip_indexes_on_insert = 0`,
    );
  }
  console.log(`rows of an audit's page of 1,000, of ${payloads} payloads with ids of version ${version}:`);
  const page = async () => {
    const day = Math.floor(Math.random() * (days - 1));
    const from = Math.floor((payloads * day) / days);
    const text = await engine.text(`SELECT lower(hex(id)) FROM ${numbered(from, 1000)} FORMAT TSVRaw`);
    const asked = text.split("\n").map((hex) => formatPayloadId(Buffer.from(hex, "hex")));
    return { asked, day: Math.floor((end - (days - day) * DAY_MS) / DAY_MS) };
  };
  await time(engine, "without days", async () => countRowsQuery(settings, (await page()).asked));
  await time(engine, "its days named", async () => {
    const { asked, day } = await page();
    return countedRowsQuery(settings, asked, null, [day, day + 1]);
  });
}

/** The same look-ups in tables of ids that are at random, and of ids that begin with their time. */
async function compareIds(engine: EngineSession, receipts: number, end: number): Promise<void> {
  for (const version of [1, 2] as const) {
    console.log(`${receipts} receipts of ids of version ${version}:`);
    for (const table of ["headrace_receipts", "headrace_receipt_ids", "otel_traces"]) {
      await engine.ask(`TRUNCATE TABLE ${table}`);
    }
    await fill(engine, receipts, end, version);
    await engine.ask("OPTIMIZE TABLE headrace_receipts FINAL");
    await engine.ask("OPTIMIZE TABLE headrace_receipt_ids FINAL");
    await settle(engine);
    await bytesPerReceipt(engine);
    await measureGroup(engine, receipts, end, version);
    await time(engine, "500 ids over the month, each with one", async () =>
      receiptClaimsQuery(settings, await ids(engine, 500, { receipts, end }, 500, version)),
    );
    await measureAudit(engine, receipts, end, version);
  }
}

/** The same of payloads in segments: their bytes with a name per payload and with one per segment, and the look-ups with the latter. */
async function compareSegments(engine: EngineSession, receipts: number, end: number): Promise<void> {
  for (const [name, until, table] of [
    ["a segment's name per payload (schema/0016)", "0017", "headrace_receipt_places"],
    ["a segment's name once (schema/0018)", "9999", "headrace_receipt_ids"],
  ] as const) {
    await migrate(
      readSchemaFiles().filter((file) => file.name < until),
      defaultSchemaSettings,
      statementRunner({ url: engine.url }),
    );
    const inSegments = async (minutes: string, fillAll: () => Promise<void>): Promise<void> => {
      console.log(`${receipts} receipts of payloads in segments of ${segmentPayloads}, ${minutes}, ${name}:`);
      for (const one of ["headrace_receipts", "headrace_receipt_places", table]) {
        await engine.ask(`TRUNCATE TABLE ${one}`);
      }
      await fillAll();
      await engine.ask("OPTIMIZE TABLE headrace_receipts FINAL");
      await engine.ask(`OPTIMIZE TABLE ${table} FINAL`);
      await settle(engine);
      await bytesPerReceipt(engine);
    };
    const inAll = busyMinute * days * 24 * 60;
    await inSegments(`${busyMinute} a minute`, async () => {
      await engine.ask(
        `INSERT INTO headrace_receipts (${receiptColumns.join(", ")}) ${receiptsSql(inAll - receipts, inAll, inAll, end, 2, segmentSql)}`,
      );
    });
    await inSegments(`over ${days} days`, async () => await fill(engine, receipts, end, 2, segmentSql));
  }
  await measureGroup(engine, receipts, end, 2);
  await time(engine, "500 ids over the month, each with one", async () =>
    receiptClaimsQuery(settings, await ids(engine, 500, { receipts, end }, 500, 2)),
  );
}

const idsAlone = 5e6;

/** `part`: how many receipts, or `ids`, or `segments`; of these `count`. */
export async function benchReceipts(part?: string, count?: string): Promise<void> {
  const isAlone = part === "ids" || part === "segments";
  const receipts = Number(isAlone ? (count ?? idsAlone) : (part ?? 1e7));
  const engine = await startEngineSession(tmpdir());
  const run = statementRunner({ url: engine.url });
  const end = Date.now() - DAY_MS;
  const migrateBefore = (name: string) =>
    migrate(
      readSchemaFiles().filter((file) => file.name < name),
      defaultSchemaSettings,
      run,
    );
  try {
    if (part === "segments") {
      await compareSegments(engine, receipts, end);
      return;
    }
    if (!isAlone) {
      await migrateBefore("0013");
      await fill(engine, receipts, end);
      await engine.ask("OPTIMIZE TABLE headrace_receipts FINAL");
      console.log(`${receipts} receipts over ${days} days\nbefore:`);
      await measure(engine, { receipts, end }, "before");
      await stream(engine, end);
      const [began, cpu] = [performance.now(), engine.cpuSeconds()];
      await migrateBefore("9999");
      console.log(
        `schema/0013 to 0018: ${((performance.now() - began) / 1000).toFixed(1)} s, CPU ${(engine.cpuSeconds() - cpu).toFixed(1)} s\nafter:`,
      );
      await engine.ask("OPTIMIZE TABLE headrace_receipts FINAL");
      await engine.ask("OPTIMIZE TABLE headrace_receipt_minutes FINAL");
      await measure(engine, { receipts, end }, "after");
      await stream(engine, end);
    }
    await migrateBefore("9999");
    await compareIds(engine, receipts, end);
  } finally {
    await engine.stop();
  }
}
