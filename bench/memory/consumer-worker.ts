/**
 * The consumer's own code, given the groups that a benchmark wants it to work on: the whole batch handler with its
 * budget of bytes, real R2 and a real ClickHouse behind it. Only the ledger is a stand-in that leases the groups; the
 * real one is here too, as the Durable Object that it is, and the reconciler's run over a listing that is made up.
 */

import { connectClickHouse } from "../../shared/clickhouse/connection.ts";
import { perform } from "../../shared/effect.ts";
import type { GroupTask } from "../../shared/ledger/group.ts";
import { limits } from "../../shared/limits.ts";
import { formatPayloadMetadata } from "../../shared/messages.ts";
import { everyTrace } from "../../shared/otlp/sample-threshold.ts";
import {
  formatPayloadId,
  formatPayloadKey,
  idOfKey,
  type PayloadKey,
  payloadIdToBytes,
} from "../../shared/payload-key.ts";
import { reconcileRun } from "../../shared/reconcile/run.ts";
import { reconcileSettings } from "../../shared/reconcile/settings.ts";
import type { ConsumerBindings } from "../../workers/consumer/bindings.ts";
import { cronPerformerOf } from "../../workers/consumer/perform-tick.ts";
import consumer from "../../workers/consumer/worker.ts";

export { Ledger } from "../../workers/consumer/ledger-object.ts";

/** Leases one group, and keeps how it ended. */
class OneGroup {
  readonly #task: GroupTask;
  ended = "nothing was reported";

  constructor(task: GroupTask) {
    this.#task = task;
  }

  idFromName(name: string): string {
    return name;
  }

  get(): this {
    return this;
  }

  async take(): Promise<GroupTask> {
    return this.#task;
  }

  async report(
    _group: string,
    _attempt: number,
    report: { readonly kind: string; readonly reason?: string },
  ) {
    this.ended =
      report.kind === "stored" || report.kind === "verified"
        ? report.kind
        : JSON.stringify(report).slice(0, 500);
    return null;
  }
}

/** The consumer works on all of these groups at once, each in a queue batch of its own. */
async function work(tasks: readonly GroupTask[], env: ConsumerBindings): Promise<Response> {
  const ledgers = tasks.map((task) => new OneGroup(task));
  await Promise.all(
    tasks.map(async ({ group }, index) => {
      const batch = {
        queue: "headrace-group",
        messages: [{ body: { v: 1, group } }],
        ackAll: () => undefined,
      };
      await consumer.queue(batch as unknown as MessageBatch, { ...env, LEDGER: ledgers[index] } as never);
    }),
  );
  return Response.json(ledgers.map(({ ended }) => ended));
}

/** `count` payloads of one minute that nobody holds, claimed a hundred at a time; then everything that looks at them. */
async function fillLedger(env: ConsumerBindings, count: number): Promise<Response> {
  const ledger = env.LEDGER.get(env.LEDGER.idFromName("0"));
  const arrival = Date.now();
  for (let from = 0; from < count; from += limits.claimDoorbellsMax) {
    const doorbells = Array.from({ length: limits.claimDoorbellsMax }, () => ({
      v: 1 as const,
      key: keyOf(crypto.getRandomValues(new Uint8Array(16)), arrival),
      cause: "ingress" as const,
      spans: 25,
      outputBytes: 20_000,
      arrival,
    }));
    await ledger.claim(doorbells, 1);
  }
  await ledger.wake();
  await ledger.inFlight();
  const { groups, waiting } = await ledger.status();
  return Response.json({ groups, waiting });
}

function keyOf(id: Uint8Array, arrival: number) {
  return formatPayloadKey(arrival, "bench", formatPayloadId(id));
}

/** One run over a listing of `count` keys of one minute, none of which has a receipt or is held: all are notified. */
async function reconcileMinute(env: ConsumerBindings, count: number): Promise<Response> {
  const now = Date.now();
  const arrival = now - 10 * 60_000;
  const customMetadata = formatPayloadMetadata({
    version: "1",
    type: "pb",
    encoding: "gzip",
    spans: 100,
    rejectedSpans: 0,
    inflatedBytes: 52_500,
    outputBytes: 68_000,
    arrival,
    startMinMs: 0,
    startMaxMs: now,
    sampleThreshold: everyTrace,
  });
  const first = keyOf(new Uint8Array(16), arrival);
  const keyAt = (index: number): PayloadKey => {
    const id = new Uint8Array(16);
    new DataView(id.buffer).setUint32(0, index);
    return keyOf(id, arrival);
  };
  // The listing is made page by page: kept whole it would be more than what is measured.
  const indexAfter = (key: string): number =>
    key < first
      ? 0
      : key > keyAt(count - 1)
        ? count
        : new DataView(payloadIdToBytes(idOfKey(key as PayloadKey)).buffer).getUint32(0) + 1;
  let notified = 0;
  const bucket = {
    async list({ startAfter, cursor, limit }: R2ListOptions) {
      const from = indexAfter(cursor ?? startAfter ?? "");
      const page = Array.from({ length: Math.min(limit ?? 1, count - from) }, (_, i) => keyAt(from + i));
      return {
        objects: page.map((key) => ({ key, customMetadata: { ...customMetadata } })),
        truncated: from + page.length < count,
        cursor: page.at(-1),
      };
    },
  };
  let lease = 0;
  const never = async () => {
    throw new Error("a run alone asks for nothing of the tick");
  };
  const performer = cronPerformerOf(
    {
      ...env,
      PAYLOADS: bucket as unknown as R2Bucket,
      RING: {
        sendBatch: async (batch: readonly unknown[]) => {
          notified += batch.length;
        },
      } as never,
    },
    connectClickHouse(env, env.CLICKHOUSE, fetch),
    {
      holds: async (asked) => asked.map(() => false),
      sealedAnew: async () => {},
      beginReconcile: async () => ({ run: String(++lease), checkpoint: null, table: null, changed: [] }),
      saveCheckpoint: async () => true,
      endReconcile: async () => undefined,
      wake: never,
      tableChecked: never,
      alertState: never,
      judgeAlerts: never,
      alertsReported: never,
    },
    now,
  );
  const report = await perform(reconcileRun({ now, everything: false }, reconcileSettings), performer);
  return Response.json({ notified, listed: report?.listed });
}

export default {
  async fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url);
    const count = Number(searchParams.get("count"));
    switch (pathname) {
      case "/work":
        return await work(await request.json(), {
          ...env,
          CLICKHOUSE_INSERT_COMPRESSION: searchParams.get("compression") ?? "zstd",
        });
      case "/ledger":
        return await fillLedger(env, count);
      case "/reconcile":
        return await reconcileMinute(env, count);
      default:
        return new Response("no such work", { status: 404 });
    }
  },
} satisfies ExportedHandler<ConsumerBindings>;
