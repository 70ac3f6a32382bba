/**
 * The product in front of two replicas that are stopped and started: the Workers in workerd, one address that sends each request to
 * the next replica, clients that send all the time. The protocol's durations are 30 times shorter, the replicas' are not.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { RandomIdGenerator } from "@opentelemetry/sdk-trace";
import { describe, expect, test } from "vitest";
import { generateSpans } from "../../dev/send/generate-spans.ts";
import { type SeededRandom, seededRandom } from "../../dev/send/seeded-random.ts";
import { assert } from "../../shared/assert.ts";
import { toHex } from "../../shared/hex.ts";
import { isPayloadId, payloadIdToBytes } from "../../shared/payload-key.ts";
import { type ChaosPipeline, startChaosPipeline } from "../chaos/chaos-pipeline.ts";
import { readBalance } from "../chaos/check-ends.ts";
import { ask } from "../engine/token-inserts.ts";
import { isStand, newSchema, useCluster } from "./cluster.ts";
import { moveBetween } from "./moving-address.ts";
import type { Replica } from "./stand.ts";

const cluster = useCluster();
const chaosMs = Number(process.env["HEADRACE_CLUSTER_CHAOS_SECONDS"] ?? 120) * 1000;
/** What is under way must go on: a machine that is busy with other things takes long, and is not stuck. */
const standstillMs = 60_000;
const settleMs = 420_000;

describe.runIf(isStand)("replicas that are stopped and started", () => {
  test("lose nothing and double nothing", { timeout: chaosMs + settleMs + 60_000 }, async () => {
    const { r1, r2, name } = cluster();
    const { replicas } = cluster().stand();
    const seed = Math.floor(Math.random() * 1e6);
    const database = await newSchema(cluster());
    const moving = await moveBetween([r1, r2]);
    const folder = mkdtempSync(join(tmpdir(), "headrace-cluster-chaos-"));
    const logs: string[] = [];
    const pipeline = await startChaosPipeline({
      settings: {
        port: 0,
        consolePort: 0,
        clickHousePort: 0,
        stateFolder: folder,
        clickHouseUrl: `${moving.url}/?database=${database}&cluster=${name}`,
        ledgerTimesFaster: "30",
      },
      seed,
      cronMs: 4000,
      onFault: () => undefined,
      onLog: (line) => logs.push(line),
    });
    try {
      const random = seededRandom(seed);
      const end = Date.now() + chaosMs;
      const sent = new Map<string, number>();
      const [faults] = await Promise.all([
        storm(random, replicas, database, end),
        ...[1, 2].map(() => client(pipeline, random, end, sent)),
      ]);
      pipeline.calm();
      await settle(pipeline, logs);
      const found = await rowsOf(r1, database);
      expect(await rowsOf(r2, database)).toEqual(found);
      const wrong = [...sent].filter(([id, spans]) => found.get(id) !== `${spans} of ${spans}`);
      const text = wrong.map(([id, spans]) => `${id}: ${found.get(id) ?? "none"}, sent ${spans}`).join("\n");
      expect(text, `seed ${seed}, ${faults.join(" ")}\n${logs.slice(-40).join("\n")}`).toBe("");
      expect(sent.size).toBeGreaterThan(20);
      expect(new Set(faults).size).toBe(3);
      console.log(`${sent.size} payloads stored once at both replicas; ${faults.join(", ")}; seed ${seed}`);
    } finally {
      await pipeline.kill();
      await moving.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

/** One replica at a time is killed and started again, stopped where it is for seconds, or kept from fetching. */
async function storm(
  random: SeededRandom,
  replicas: readonly Replica[],
  database: string,
  end: number,
): Promise<readonly string[]> {
  const faults: string[] = [];
  const kinds = ["killed", "stopped", "lags"] as const;
  // The first three come in every run, however slow the machine is.
  for (let next = 0; next < kinds.length || Date.now() < end; next++) {
    await wait(random.integer(1000, 4000));
    const replica = random.pick(replicas);
    const kind = kinds[next % kinds.length] ?? "killed";
    faults.push(kind);
    switch (kind) {
      case "killed":
        await replica.kill();
        await wait(random.integer(0, 6000));
        await replica.start();
        break;
      case "stopped":
        replica.pause();
        await wait(random.integer(2000, 14_000)); // its ZooKeeper session lasts 10 s
        replica.resume();
        break;
      case "lags":
        await ask(`SYSTEM STOP FETCHES ${database}.otel_traces`, {}, replica.url);
        await wait(random.integer(2000, 8000));
        await ask(`SYSTEM START FETCHES ${database}.otel_traces`, {}, replica.url);
        break;
    }
  }
  return faults;
}

/** Sends until `end`; what was not answered 200 is sent again, byte for byte, until it is. */
async function client(
  pipeline: ChaosPipeline,
  random: SeededRandom,
  end: number,
  sent: Map<string, number>,
): Promise<void> {
  while (Date.now() < end) {
    const spans = random.integer(1, 30);
    const made = [
      ...generateSpans({
        spans,
        services: 2,
        seed: random.integer(0, 1_000_000),
        batchSpans: spans,
        startMs: Date.now() - 61_000,
        windowMs: 60_000,
        resource: {},
        ids: new RandomIdGenerator(),
      }),
    ].flat();
    const body = new Uint8Array(ProtobufTraceSerializer.serializeRequest(made) ?? []);
    for (;;) {
      const { otlp, key } = pipeline.addresses;
      const response = await fetch(`${otlp}/v1/traces`, {
        method: "POST",
        headers: { "content-type": "application/x-protobuf", "x-api-key": key },
        body,
      }).catch(() => undefined);
      await response?.arrayBuffer();
      if (response?.status === 200) {
        const id = response.headers.get("x-headrace-payload") ?? "";
        assert(isPayloadId(id), "a 200 says which payload it is");
        sent.set(toHex(payloadIdToBytes(id)), made.length);
        break;
      }
      await wait(500);
    }
    await wait(600);
  }
}

async function settle(pipeline: ChaosPipeline, logs: readonly string[]): Promise<void> {
  const end = Date.now() + settleMs;
  let left = Number.POSITIVE_INFINITY;
  let standsSince = Date.now();
  for (;;) {
    const balance = await readBalance(pipeline.addresses).catch(() => undefined);
    const now = balance === undefined ? left : balance.missing.length + balance.inFlight;
    if (now !== left) {
      left = now;
      standsSince = Date.now();
    }
    if (balance !== undefined && balance.missing.length === 0 && balance.inFlight === 0) {
      expect(balance).toMatchObject({ balanced: true, dead: 0 });
      return;
    }
    if (Date.now() > Math.min(end, standsSince + standstillMs)) {
      throw new Error(`not settled: ${JSON.stringify(balance)}\n${logs.slice(-60).join("\n")}`);
    }
    await wait(1000);
  }
}

/** Of each payload at a replica: "rows of distinct spans". */
async function rowsOf(url: string, database: string): Promise<ReadonlyMap<string, string>> {
  await ask(`SYSTEM SYNC REPLICA ${database}.otel_traces`, {}, url);
  const text = await ask(
    `SELECT lower(hex(HeadracePayload)), count(), uniqExact(SpanId) FROM ${database}.otel_traces GROUP BY 1 FORMAT TSV`,
    {},
    url,
  );
  return new Map(
    text.split("\n").map((line) => {
      const [id = "", rows = "", distinct = ""] = line.split("\t");
      return [id, `${rows} of ${distinct}`];
    }),
  );
}
