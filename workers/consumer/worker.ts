/**
 * The consumer: takes doorbells, and brings the payloads that they name into ClickHouse. It promises that a message
 * is acked only after the ledger has persisted what it names; from there on the ledger owns the payload, so an
 * outage of ClickHouse burns no queue retries.
 */
import { WorkerEntrypoint } from "cloudflare:workers";
import { assert, unreachable } from "../../shared/assert.ts";
import { type ClickHouseConnection, connectClickHouse } from "../../shared/clickhouse/connection.ts";
import type { Finding } from "../../shared/clickhouse/findings.ts";
import type { Check } from "../../shared/doctor/check.ts";
import type { AttemptReport, GroupTask } from "../../shared/ledger/group.ts";
import type { InFlight } from "../../shared/ledger/in-flight.ts";
import { overdueMs } from "../../shared/ledger/settings.ts";
import type { Whereabouts } from "../../shared/ledger/whereabouts.ts";
import { limits } from "../../shared/limits.ts";
import { deadLetterQueue } from "../../shared/messages.ts";
import { idOfKey, isPayloadKey, type PayloadId, type PayloadKey } from "../../shared/payload-key.ts";
import type { ReconcileFinding } from "../../shared/reconcile/effects.ts";
import type { MinuteBook } from "../../shared/reconcile/minute-book.ts";
import type { ReconcileReport } from "../../shared/reconcile/run.ts";
import { writeLog } from "../../shared/write-log.ts";
import type { ConsumerBindings } from "./bindings.ts";
import { ByteBudget } from "./byte-budget.ts";
import { checkTraces } from "./check-traces.ts";
import { clearRows } from "./clear-rows.ts";
import { closeGroup } from "./close-group.ts";
import { examineConsumer } from "./examine-consumer.ts";
import { insertGroup } from "./insert-group.ts";
import { readLedgerSettings, readReconcileSettings } from "./read-ledger-settings.ts";
import { countRows, readTable } from "./read-table.ts";
import { reconcile } from "./reconcile.ts";
import { type AskedFor, erase, replay } from "./replay.ts";
import { takeDeadMessages, takeMessages } from "./take-messages.ts";
import { tell } from "./tell.ts";
import { verifyGroup } from "./verify-group.ts";
import { readRecent, readVolumes } from "./watch.ts";
import { type Report, writeOutcomes } from "./write-outcomes.ts";

export { Ledger } from "./ledger-object.ts";

// One a Worker instance, shared by its invocations.
const bytesInHand = new ByteBudget(limits.consumerBytesInHandMax);

/** The story of one batch: take over, ack, and then the work that the ledger handed out with it. */
async function takeBatch(batch: MessageBatch, env: ConsumerBindings): Promise<void> {
  const world = {
    bucket: env.PAYLOADS,
    ledger: ledgerOf(env),
    writeOutcomes: (reports: readonly Report[]) => writeOutcomes(clickHouseOf(env), reports, Date.now()),
    tell: (findings: readonly Finding[]) => tell(clickHouseOf(env), env.ALERT_WEBHOOK, findings, Date.now()),
  };
  let tasks: readonly GroupTask[];
  if (batch.queue === deadLetterQueue) {
    tasks = await takeDeadMessages(batch.queue, batch.messages, world);
  } else {
    tasks = await takeMessages(batch.queue, batch.messages, world);
    batch.ackAll();
  }
  for (const task of tasks) {
    await finishGroup(task, env);
  }
}

/** Works on a group until the ledger has nothing more for this caller. Never throws: the ledger's lease brings it back. */
async function finishGroup(first: GroupTask, env: ConsumerBindings): Promise<void> {
  const clickHouse = clickHouseOf(env);
  const ledger = ledgerOf(env);
  try {
    for (let task: GroupTask | null = first; task !== null; ) {
      if (task.step === "receipts") {
        await closeGroup(env.PAYLOADS, clickHouse, task, Date.now());
        await ledger.settle([{ group: task.group, attempt: task.attempt }]);
        return;
      }
      const report = await attempt(task, env, clickHouse);
      logAttempt(task, report);
      task = await ledger.report(task.group, task.attempt, report);
    }
  } catch (error) {
    writeLog("error", { message: "a group was left to its lease", group: first.group }, error);
  }
}

/** One step of a group. What cannot be done or learnt now is a report too: the ledger rings the group again, later. */
async function attempt(
  task: Exclude<GroupTask, { step: "receipts" }>,
  env: ConsumerBindings,
  clickHouse: ClickHouseConnection,
): Promise<AttemptReport> {
  switch (task.step) {
    case "insert": {
      const release = await bytesInHand.take(outputBytes(task));
      try {
        return await insertGroup(env.PAYLOADS, clickHouse, task, readLedgerSettings(env).insertMs);
      } finally {
        release();
      }
    }
    case "measure":
      return await orRetry(async () => {
        const { measure } = await readTable(clickHouse, Date.now());
        assert(measure !== null, "a table that was inserted into is there");
        return { kind: "measured", table: measure };
      });
    case "count":
      return await orRetry(async () => {
        const keys = task.payloads.map(({ key }) => key);
        const counts = await countRows(clickHouse, keys.map(idOfKey));
        return {
          kind: "counted",
          payloads: keys.map((key) => ({ key, rowsByDay: counts.get(idOfKey(key)) ?? [] })),
        };
      });
    case "verify":
      return await orRetry(() =>
        verifyGroup(env.PAYLOADS, clickHouse, task, Date.now(), overdueMs(readLedgerSettings(env))),
      );
    case "clear":
      return await orRetry(() => clearRows(env.PAYLOADS, clickHouse, task, readLedgerSettings(env).insertMs));
    default:
      return unreachable(task);
  }
}

/** Reading evidence changes nothing, and deleting may be repeated: a failure of either is a clean one. */
async function orRetry(read: () => Promise<AttemptReport>): Promise<AttemptReport> {
  try {
    return await read();
  } catch (error) {
    return { kind: "retry", reason: `the evidence could not be read: ${String(error)}` };
  }
}

function outputBytes(task: GroupTask): number {
  return task.payloads.reduce((sum, payload) => sum + payload.outputBytes, 0);
}

function logAttempt(task: GroupTask, report: AttemptReport): void {
  const spans = task.payloads.reduce((sum, payload) => sum + payload.spans, 0);
  const line = {
    outcome: report.kind,
    group: task.group,
    attempt: task.attempt,
    payloads: task.payloads.length,
    spans,
  };
  if (task.step !== "insert" || report.kind === "stored") {
    writeLog("log", line);
  } else {
    writeLog("warn", "reason" in report ? { ...line, reason: report.reason } : line);
  }
}

function ledgerOf(env: ConsumerBindings) {
  return env.LEDGER.get(env.LEDGER.idFromName("0"));
}

function clickHouseOf(env: ConsumerBindings): ClickHouseConnection {
  return connectClickHouse(env, env.CLICKHOUSE, fetch);
}

/**
 * The story of one cron: the ledger is woken, the table checked, the reconciler run, and people told. With
 * `everything`, payloads of any age are rung, as a person asked. Throws what the reconciler's run failed with.
 */
async function tick(env: ConsumerBindings, everything: boolean): Promise<ReconcileReport | null> {
  // A ledger that is asked before the first payload arrives knows that nothing was there before it.
  const ledger = ledgerOf(env);
  const clickHouse = clickHouseOf(env);
  const now = Date.now();
  await ledger.wake();
  await checkTraces(clickHouse, ledger, now);
  const findings: Finding[] = [];
  const tellLater = async (found: readonly ReconcileFinding[]): Promise<void> => {
    findings.push(...found.map((finding) => ({ ...finding, openedAt: now })));
  };
  let report: ReconcileReport | null = null;
  let failure: unknown;
  try {
    const world = { bucket: env.PAYLOADS, queue: env.RING, clickHouse, ledger, tell: tellLater };
    report = await reconcile(world, readReconcileSettings(env), { now, everything });
  } catch (error) {
    failure = error;
  }
  const standing = await ledger.standing();
  const book = await ledger.book();
  const isBusy = (report?.listed ?? 0) > 0 || standing.open.length > 0;
  findings.push(
    ...(await ledger.judgeAlerts({
      runFailure: failure === undefined ? "" : String(failure),
      recent: isBusy ? await readRecent(clickHouse, now) : null,
      volumes: book === null ? null : await readVolumes(clickHouse, standing, book, now),
    })),
  );
  await tell(clickHouse, env.ALERT_WEBHOOK, findings, now);
  if (failure !== undefined) {
    throw failure;
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
    await takeBatch(batch, env);
  },

  async scheduled(_controller, env) {
    await tick(env, false);
  },
} satisfies ExportedHandler<ConsumerBindings>;
