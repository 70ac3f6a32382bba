/**
 * The consumer: takes doorbells, and brings the payloads that they name into ClickHouse. It promises that a message
 * is acked only after the ledger has persisted what it names; from there on the ledger owns the payload, so an
 * outage of ClickHouse burns no queue retries.
 */
import { WorkerEntrypoint } from "cloudflare:workers";
import { isBrokenInvariant } from "../../shared/assert.ts";
import { type ClickHouseConnection, connectClickHouse } from "../../shared/clickhouse/connection.ts";
import type { Finding } from "../../shared/clickhouse/findings.ts";
import { takeBatch } from "../../shared/delivery/batch.ts";
import { readMessage } from "../../shared/delivery/message.ts";
import type { Check } from "../../shared/doctor/check.ts";
import { perform } from "../../shared/effect.ts";
import type { InFlight } from "../../shared/ledger/in-flight.ts";
import type { Whereabouts } from "../../shared/ledger/whereabouts.ts";
import { limits } from "../../shared/limits.ts";
import { deadLetterQueue } from "../../shared/messages.ts";
import { isPayloadKey, type PayloadId, type PayloadKey } from "../../shared/payload-key.ts";
import type { ReconcileFinding } from "../../shared/reconcile/effects.ts";
import type { MinuteBook } from "../../shared/reconcile/minute-book.ts";
import type { ReconcileReport } from "../../shared/reconcile/run.ts";
import { codecVersion } from "../../shared/rows/transcode.ts";
import type { ConsumerBindings } from "./bindings.ts";
import { checkTraces } from "./check-traces.ts";
import { examineConsumer } from "./examine-consumer.ts";
import { performerOf } from "./perform.ts";
import { readReconcileSettings } from "./read-ledger-settings.ts";
import { reconcile } from "./reconcile.ts";
import { type AskedFor, erase, replay } from "./replay.ts";
import { tell } from "./tell.ts";
import { readRecent, readVolumes } from "./watch.ts";

export { Ledger } from "./ledger-object.ts";

/** One batch: taken over, acknowledged, and then the work that the ledger handed out with it. */
async function takeMessages(batch: MessageBatch, env: ConsumerBindings): Promise<void> {
  const messages = batch.messages.map(({ body, attempts }) => ({ read: readMessage(body), attempts }));
  const context = { now: Date.now, deleteKeysMax: limits.r2DeleteKeysMax, codecVersion };
  const work = takeBatch(messages, batch.queue === deadLetterQueue, context);
  await perform(work, performerOf(batch, env, clickHouseOf(env), ledgerOf(env)));
}

function ledgerOf(env: ConsumerBindings) {
  return env.LEDGER.get(env.LEDGER.idFromName("0"));
}

function clickHouseOf(env: ConsumerBindings): ClickHouseConnection {
  return connectClickHouse(env, env.CLICKHOUSE, fetch);
}

/**
 * The story of one cron: the ledger is woken, the table checked, the reconciler run, and people told. Each part fails by
 * itself: a ledger that cannot be woken must not keep the alerts from being judged, for one of them may say why. With
 * `everything`, payloads of any age are notified about, as a person asked. Throws a broken invariant, else what the first part
 * failed with.
 */
async function tick(env: ConsumerBindings, everything: boolean): Promise<ReconcileReport | null> {
  const ledger = ledgerOf(env);
  const clickHouse = clickHouseOf(env);
  const now = Date.now();
  const failures: unknown[] = [];
  const byItself = async <T>(part: () => Promise<T>): Promise<T | null> => {
    try {
      return await part();
    } catch (error) {
      failures.push(error);
      return null;
    }
  };
  // A ledger that is asked before the first payload arrives knows that nothing was there before it.
  await byItself(() => ledger.wake());
  await byItself(() => checkTraces(clickHouse, ledger, env.PAYLOADS, now));
  const findings: Finding[] = [];
  const tellLater = async (found: readonly ReconcileFinding[]): Promise<void> => {
    findings.push(...found.map((finding) => ({ openedAt: now, ...finding })));
  };
  const world = { bucket: env.PAYLOADS, queue: env.RING, clickHouse, ledger, tell: tellLater };
  const settings = readReconcileSettings(env);
  const report = await byItself(() => reconcile(world, settings, { now, everything }));
  await byItself(async () => {
    const standing = await ledger.standing();
    const book = await ledger.book();
    const isBusy = (report?.listed ?? 0) > 0 || standing.open.length > 0;
    const judged = await ledger.judgeAlerts({
      runFailure: failures.map(String).join("; "),
      recent: isBusy ? await readRecent(clickHouse, now) : null,
      volumes: book === null ? null : await readVolumes(clickHouse, standing, book, now),
    });
    findings.push(...judged);
  });
  await tell(clickHouse, env.ALERT_WEBHOOK, findings, now);
  if (failures.length > 0) {
    throw failures.find(isBrokenInvariant) ?? failures[0];
  }
  return report;
}

/** What the console asks of the consumer, by service binding. */
export class Operations extends WorkerEntrypoint<ConsumerBindings> {
  /** Rings what nobody holds, however young. Null: a run is under way already. */
  async reconcile(): Promise<ReconcileReport | null> {
    return await tick(this.env, true);
  }

  /** How far the balance is proven. Null: the reconciler has not run yet. */
  async book(): Promise<MinuteBook | null> {
    return await ledgerOf(this.env).book();
  }

  /** Which of these keys the ledger has in flight, in the order asked. */
  async holds(keys: readonly PayloadKey[]): Promise<readonly boolean[]> {
    return await ledgerOf(this.env).holds(keys);
  }

  /** Where the ledger has a payload. */
  async whereIs(id: PayloadId): Promise<Whereabouts> {
    return await ledgerOf(this.env).whereIs(id);
  }

  /** What only this Worker can try out: its bindings, and ClickHouse as it is logged in there. */
  async examine(): Promise<readonly Check[]> {
    return await examineConsumer(this.env, clickHouseOf(this.env));
  }

  /** Brings payloads in again, wherever they ended. */
  async replay(keys: readonly string[]): Promise<AskedFor> {
    return await replay(this.env.PAYLOADS, this.env.RING, keys);
  }

  /** Erases payloads under all of their keys: rows, objects; their receipts stay and say why. */
  async erase(keys: readonly string[], reason: string): Promise<AskedFor> {
    return await erase(this.env.PAYLOADS, clickHouseOf(this.env), ledgerOf(this.env), keys, reason);
  }

  /**
   * Decides about a payload whose rows are inexact, and which the ledger holds for that: its rows stand as they are, or
   * the ledger has them deleted and written anew from R2. Anything else is not touched. False: that is no payload key.
   */
  async resolve(key: string, how: "accept" | "rewrite"): Promise<boolean> {
    if (!isPayloadKey(key)) {
      return false;
    }
    await ledgerOf(this.env).resolve(key, how);
    return true;
  }

  async status() {
    return await ledgerOf(this.env).status();
  }

  /** What is in flight, and what it waits for. */
  async inFlight(): Promise<InFlight> {
    return await ledgerOf(this.env).inFlight();
  }
}

export default {
  async queue(batch, env) {
    await takeMessages(batch, env);
  },

  async scheduled(_controller, env) {
    await tick(env, false);
  },
} satisfies ExportedHandler<ConsumerBindings>;
