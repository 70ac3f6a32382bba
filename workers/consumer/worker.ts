/**
 * The consumer: takes doorbells, and brings the payloads that they name into ClickHouse. It promises that a message
 * is acked only after the ledger has persisted what it names; from there on the ledger owns the payload, so an
 * outage of ClickHouse burns no queue retries.
 */
import { WorkerEntrypoint } from "cloudflare:workers";
import { type ClickHouseConnection, connectClickHouse } from "../../shared/clickhouse/connection.ts";
import type { AskedFor, Fixed, Forgotten } from "../../shared/console/answers.ts";
import type { ConsumerOperations, Unsettled } from "../../shared/console/operations.ts";
import { takeBatch } from "../../shared/delivery/batch.ts";
import type { LedgerStatus } from "../../shared/delivery/ledger-status.ts";
import { readMessage } from "../../shared/delivery/message.ts";
import { dependencyOf } from "../../shared/dependency.ts";
import type { Check } from "../../shared/doctor/check.ts";
import { perform } from "../../shared/effect.ts";
import type { Finding } from "../../shared/finding.ts";
import { readFrontDoorSettings } from "../../shared/front-door/front-door.ts";
import type { InFlight } from "../../shared/ledger/in-flight.ts";
import type { LedgerHealth } from "../../shared/ledger/trouble.ts";
import type { Whereabouts } from "../../shared/ledger/whereabouts.ts";
import { limits, MINUTE_MS } from "../../shared/limits.ts";
import { deadLetterQueue } from "../../shared/messages.ts";
import { idOfKey, isPayloadKey, type PayloadId, type PayloadKey } from "../../shared/payload-key.ts";
import type { Checkpoint } from "../../shared/reconcile/checkpoint.ts";
import type { Presence } from "../../shared/reconcile/presence.ts";
import type { ReconcileReport } from "../../shared/reconcile/run.ts";
import { tick } from "../../shared/reconcile/tick.ts";
import { codecVersion } from "../../shared/rows/transcode.ts";
import { writeLog } from "../../shared/write-log.ts";
import { erase, resumeErasures } from "./asked-erasures.ts";
import type { ConsumerBindings } from "./bindings.ts";
import { examineConsumer } from "./examine-consumer.ts";
import { forget, readPresences } from "./forget.ts";
import { performerOf } from "./perform.ts";
import { cronPerformerOf } from "./perform-tick.ts";
import { readReconcileSettings } from "./read-ledger-settings.ts";
import { replay } from "./replay.ts";

export { Ledger } from "./ledger-object.ts";

/** One batch: taken over, acknowledged, and then the work that the ledger leased with it. */
async function takeMessages(batch: MessageBatch, bindings: ConsumerBindings): Promise<void> {
  const env = nameDependencies(bindings);
  const messages = batch.messages.map(({ body, attempts }) => ({ read: readMessage(body), attempts }));
  const { r2DeleteKeysMax: deleteKeysMax, verifyGetsMax } = limits;
  const context = { now: Date.now, deleteKeysMax, verifyGetsMax, codecVersion };
  const work = takeBatch(messages, batch.queue === deadLetterQueue, context);
  await perform(work, performerOf(batch, env, clickHouseOf(env), ledgerOf(env)));
}

/** Where R2 or the ring's queue fails, the log and what waits for it say so. */
function nameDependencies(env: ConsumerBindings): ConsumerBindings {
  return {
    ...env,
    PAYLOADS: dependencyOf(env.PAYLOADS, "r2"),
    RING: dependencyOf(env.RING, "ringQueue"),
  };
}

function ledgerOf(env: ConsumerBindings) {
  return env.LEDGER.get(env.LEDGER.idFromName("0"));
}

function clickHouseOf(env: ConsumerBindings): ClickHouseConnection {
  return connectClickHouse(env, env.CLICKHOUSE, fetch);
}

/** One tick of the cron. With `everything`, payloads of any age are notified about, as a person asked. */
async function runTick(bindings: ConsumerBindings, everything: boolean): Promise<ReconcileReport | null> {
  const env = nameDependencies(bindings);
  const now = Date.now();
  const work = tick({ now, everything }, readReconcileSettings(env), readFrontDoorSettings(env));
  return await perform(work, cronPerformerOf(env, clickHouseOf(env), ledgerOf(env), now));
}

/** A list of R2 every ten minutes: a ledger is lost rarely. */
function isMinuteOfErasures(now: number): boolean {
  return Math.floor(now / MINUTE_MS) % 10 === 0;
}

/** Whether this invocation's subrequests went into it. It fails by itself: the tick is more. */
async function resumesErasures(env: ConsumerBindings): Promise<boolean> {
  try {
    const targets = { bucket: env.PAYLOADS, clickHouse: clickHouseOf(env), ledger: ledgerOf(env) };
    return await resumeErasures(targets, Date.now());
  } catch (error) {
    writeLog("warn", { message: "erasures that were asked for could not be looked at" }, error);
    return false;
  }
}

/** What the console asks of the consumer, by service binding: shared/console/operations.ts says what each does. */
export class Operations extends WorkerEntrypoint<ConsumerBindings> implements ConsumerOperations {
  /** Operators see its failures, so they name what failed. */
  get #ledger() {
    return dependencyOf(ledgerOf(this.env), "ledger");
  }

  async reconcile(): Promise<ReconcileReport | null> {
    return await runTick(this.env, true);
  }

  async checkpoint(): Promise<Checkpoint | null> {
    return await this.#ledger.checkpoint();
  }

  async holds(keys: readonly PayloadKey[]): Promise<readonly boolean[]> {
    return await this.#ledger.holds(keys);
  }

  async whereIs(id: PayloadId): Promise<Whereabouts> {
    return await this.#ledger.whereIs(id);
  }

  async whereAre(ids: readonly string[]): Promise<readonly Whereabouts[]> {
    return await this.#ledger.whereAre(ids);
  }

  async examine(): Promise<readonly Check[]> {
    const clickHouse = clickHouseOf(this.env);
    const performer = cronPerformerOf(this.env, clickHouse, ledgerOf(this.env), Date.now());
    return await examineConsumer(this.env, clickHouse, performer);
  }

  async replay(keys: readonly string[]): Promise<Fixed<AskedFor>> {
    const { PAYLOADS, RING } = nameDependencies(this.env);
    return await replay(PAYLOADS, RING, keys);
  }

  async presence(id: PayloadId): Promise<Presence> {
    const seen = await readPresences(clickHouseOf(this.env), this.#ledger, [id]);
    return seen.get(id)?.presence ?? "no_receipt";
  }

  async forget(asked: readonly string[]): Promise<Fixed<Forgotten>> {
    const { PAYLOADS, RING } = nameDependencies(this.env);
    return await forget(PAYLOADS, RING, clickHouseOf(this.env), this.#ledger, asked);
  }

  async erase(keys: readonly string[], reason: string): Promise<Fixed<AskedFor>> {
    const { PAYLOADS: bucket } = nameDependencies(this.env);
    const targets = { bucket, clickHouse: clickHouseOf(this.env), ledger: this.#ledger };
    return await erase(targets, keys, reason, Date.now());
  }

  async reportWrongTokens(address: string): Promise<void> {
    await this.#ledger.reportWrongTokens(address);
  }

  async resolve(key: string, how: "accept" | "rewrite"): Promise<boolean> {
    const at = isPayloadKey(key) ? await ledgerOf(this.env).whereIs(idOfKey(key)) : null;
    if (!isPayloadKey(key) || at?.at !== "group" || at.state !== "held") {
      return false;
    }
    await this.#ledger.resolve(key, how);
    return true;
  }

  async acceptTable(): Promise<void> {
    await this.#ledger.acceptTable();
  }

  async status(): Promise<LedgerStatus> {
    return await this.#ledger.status();
  }

  async health(): Promise<LedgerHealth> {
    return await this.#ledger.health();
  }

  async openFindings(): Promise<readonly Finding[]> {
    return await this.#ledger.openFindings();
  }

  async unsettled(): Promise<Unsettled> {
    return await ledgerOf(this.env).unsettled();
  }

  async inFlight(): Promise<InFlight> {
    return await this.#ledger.inFlight();
  }
}

export default {
  async queue(batch, env) {
    await takeMessages(batch, env);
  },

  async scheduled(_controller, env) {
    const resumed = isMinuteOfErasures(Date.now()) && (await resumesErasures(env));
    if (!resumed) {
      await runTick(env, false);
    }
  },
} satisfies ExportedHandler<ConsumerBindings>;
