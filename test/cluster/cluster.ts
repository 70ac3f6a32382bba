/**
 * The replicas that the tests of this folder run against: those of the stand, or of any cluster that is given by its replicas'
 * addresses (HEADRACE_CLUSTER_URLS, with commas between; HEADRACE_CLUSTER_NAME, its name in system.clusters). Statements, a
 * database of one's own with the real schema, and the consumer's own functions on it.
 */
import { afterAll, beforeAll } from "vitest";
import { corpusBounds, makeCorpus } from "../../bench/corpus.ts";
import { splitLogin } from "../../dev/clickhouse/login.ts";
import { migrateReplicas } from "../../dev/clickhouse/migrate-clickhouse.ts";
import { statementRunner } from "../../dev/clickhouse/run-statement.ts";
import {
  newReading,
  type Read,
  type Reading,
  readBehindBarrier,
  wordsNeeded,
} from "../../shared/clickhouse/barrier.ts";
import { type ClickHouseConnection, connectClickHouse } from "../../shared/clickhouse/connection.ts";
import { defaultSchemaSettings, type SchemaSettings } from "../../shared/clickhouse/migrations.ts";
import type { Replicas } from "../../shared/clickhouse/replicated-schema.ts";
import { insertSpansParameters } from "../../shared/clickhouse/statements.ts";
import type { ServerWitness, TableWitness } from "../../shared/clickhouse/table-identity.ts";
import { formatPayloadId, type PayloadId } from "../../shared/payload-key.ts";
import { BlockBuilder } from "../../shared/rows/transcode.ts";
import { countRows, readWitness } from "../../workers/consumer/read-table.ts";
import { type Answered, send } from "../engine/token-inserts.ts";
import { type Stand, startStand } from "./stand.ts";

const givenUrls = (process.env["HEADRACE_CLUSTER_URLS"] ?? "").split(",").filter((url) => url !== "");
/** Servers can be killed and stopped here. */
export const isStand = givenUrls.length === 0;

export interface Cluster {
  readonly r1: string;
  readonly r2: string;
  readonly name: string;
  /** Throws where the cluster is a given one. */
  stand(): Stand;
}

/** One for the tests of a file, from its first test to its last. */
export function useCluster(): () => Cluster {
  let stand: Stand | undefined;
  beforeAll(async () => {
    stand = isStand ? await startStand() : undefined;
  });
  afterAll(async () => {
    await stand?.stop();
  });
  return () => {
    const [r1 = "", r2 = ""] = stand?.replicas.map(({ url }) => url) ?? givenUrls;
    return {
      r1,
      r2,
      name: stand?.cluster ?? process.env["HEADRACE_CLUSTER_NAME"] ?? "default",
      stand() {
        if (stand === undefined) {
          throw new Error("this test is for the stand alone");
        }
        return stand;
      },
    };
  };
}

export const newDatabase = (): string => `c_${crypto.randomUUID().replaceAll("-", "").slice(0, 12)}`;
export const newToken = (): string => crypto.randomUUID().replaceAll("-", "");

export function replicasOf(...[first, ...others]: [string, ...string[]]): Replicas {
  const at = (url: string) => statementRunner({ url });
  return { onCluster: null, servers: [at(first), ...others.map(at)] };
}

/** A database with the schema at both replicas. */
export async function newSchema({ r1, r2 }: Cluster, changed: Partial<SchemaSettings> = {}): Promise<string> {
  const database = newDatabase();
  await migrateReplicas(replicasOf(r1, r2), { ...defaultSchemaSettings, database, ...changed });
  return database;
}

export function connect(url: string, database: string, cluster = ""): ClickHouseConnection {
  const login = splitLogin(url);
  return connectClickHouse(
    {
      CLICKHOUSE_URL: login.url,
      CLICKHOUSE_USER: login.user,
      CLICKHOUSE_PASSWORD: login.password,
      CLICKHOUSE_DATABASE: database,
      CLICKHOUSE_TRACES_TABLE: "otel_traces",
      CLICKHOUSE_CLUSTER: cluster,
    },
    undefined,
    fetch,
  );
}

export const spans = 50;

export interface Payload {
  readonly id: PayloadId;
  readonly bytes: Uint8Array;
}

export function newPayload(): Payload {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return { id: formatPayloadId(bytes), bytes };
}

/** The consumer's INSERT of one payload of 50 spans under a token. */
export async function insertPayload(
  url: string,
  database: string,
  payload: Payload,
  token: string,
  {
    identity = null,
    byColumn = false,
    settings = {},
  }: { identity?: string | null; byColumn?: boolean; settings?: Record<string, string> } = {},
): Promise<Answered> {
  const connection = connect(url, database);
  const { query = "", ...parameters } = insertSpansParameters(
    connection.settings,
    token,
    1,
    60_000,
    Date.now() + 60_000,
    identity,
    byColumn,
  );
  const [body] = makeCorpus(1, 1, spans);
  if (body === undefined) {
    throw new Error("the corpus has a payload");
  }
  const builder = new BlockBuilder();
  builder.add({ id: payload.bytes, tenant: "acme", body: body.protobuf, bounds: corpusBounds, spans });
  const block = new Uint8Array(Buffer.concat([...builder.finish().chunks]));
  return await send(query, { ...parameters, ...settings }, block, url);
}

/** Rows of a payload as one server shows them. */
export async function rowsAt(url: string, database: string, { id }: Payload): Promise<number> {
  const { rows } = await countRows(connect(url, database), [id], "replicated");
  return (rows.get(id) ?? []).reduce((sum, day) => sum + day.rows, 0);
}

export async function daysAt(url: string, database: string, { id }: Payload): Promise<readonly number[]> {
  const { rows } = await countRows(connect(url, database), [id], "replicated");
  return (rows.get(id) ?? []).map(({ day }) => day);
}

export interface CountedBehindBarrier {
  readonly sent: string;
  /** Undefined: no evidence. */
  readonly rows: number | undefined;
  readonly reason: string;
}

/** A whole reading as VERIFY, the audit and the deletion do it. `urls`: where its statements go, in turns. */
export async function countBehindBarrier(
  urls: readonly string[],
  database: string,
  { id }: Payload,
  begun: Reading = newReading(identityOf(database), wordsNeeded.settled),
): Promise<CountedBehindBarrier> {
  interface Counted {
    readonly rows: number;
    readonly witness: ServerWitness | TableWitness | null;
  }
  const sent: string[] = [];
  const here = (what: string): ClickHouseConnection => {
    const url = urls[sent.length % urls.length] ?? "";
    sent.push(what);
    return connect(url, database);
  };
  const steps = readBehindBarrier<Counted, () => Promise<unknown>, never>(begun, {
    *look(table) {
      return yield async () => await readWitness(here("look"), table);
    },
    *count(table) {
      return yield async () => {
        const { rows, witness } = await countRows(here("count"), [id], table);
        return { rows: (rows.get(id) ?? []).reduce((sum, day) => sum + day.rows, 0), witness };
      };
    },
  });
  let next = steps.next();
  while (next.done !== true) {
    next = steps.next((await next.value()) as never);
  }
  const read: Read<Counted> = next.value;
  return read.kind === "evidence"
    ? { sent: sent.join(" "), rows: read.counted.rows, reason: "" }
    : { sent: sent.join(" "), rows: undefined, reason: read.reason };
}

/** Of the traces of a database that `newSchema` made: the macro {shard} is 01 on the stand. */
export function identityOf(database: string, shard = process.env["HEADRACE_CLUSTER_SHARD"] ?? "01"): string {
  return `replicated /clickhouse/tables/${shard}/${database}/otel_traces`;
}

/** Until `look` answers what is wanted. */
export async function eventually<T>(look: () => Promise<T>, wanted: T, ms = 30_000): Promise<void> {
  const end = Date.now() + ms;
  for (;;) {
    const found = await look().catch((error: unknown) => String(error));
    if (found === wanted) {
      return;
    }
    if (Date.now() > end) {
      throw new Error(`still ${String(found)}, not ${String(wanted)}, after ${ms} ms`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
