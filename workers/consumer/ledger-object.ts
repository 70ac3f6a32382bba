/**
 * The ledger's shell: a Durable Object that performs what the ledger's life (shared/delivery/ledger-life.ts) asks
 * for: it reads, persists, and only then notifies and answers. One object, named "0", for the whole lane.
 *
 * The persist of a step is one synchronous transaction, and `sync` waits until it is durable; a step that cannot
 * persist throws, its caller's messages are not acked, and are redelivered. The alarm is armed in every path: by each
 * step, by itself whatever happens in it, and by the cron through `wake` (the platform gives up an alarm after six
 * failed tries).
 */
import { DurableObject } from "cloudflare:workers";
import * as v from "valibot";
import {
  type AlertState,
  alertStateFromNote,
  type BrokenRecord,
  type Channel,
  judgeAlerts,
  markReported,
  noAlerts,
  recordBroken,
  recordWrongTokens,
  type StoredAlertState,
  type Unreported,
  type WrongTokens,
} from "../../shared/alerts.ts";
import { assert, BrokenInvariant, unreachable } from "../../shared/assert.ts";
import { type ClickHouseBinding, connectClickHouse } from "../../shared/clickhouse/connection.ts";
import type { Unsettled } from "../../shared/console/operations.ts";
import { alertFacts, heldPayloads, oldestArrival } from "../../shared/delivery/ledger-facts.ts";
import {
  armRetry,
  begin,
  type Decided,
  decideAndPersist,
  fireAlarm,
  type Instance,
  type Life,
  type LifeAnswer,
  type LifeEffect,
  newInstance,
  takeStep,
  wake,
} from "../../shared/delivery/ledger-life.ts";
import type { LedgerStatus } from "../../shared/delivery/ledger-status.ts";
import { DependencyFailed, dependencyOf } from "../../shared/dependency.ts";
import type { Finding } from "../../shared/finding.ts";
import { frontDoorLines } from "../../shared/front-door/text.ts";
import type { AttemptReport, GroupTask, TableMeasure } from "../../shared/ledger/group.ts";
import { groupsCountOf, type LookedInto, unlookedOf } from "../../shared/ledger/group-kinds.ts";
import { type InFlight, inFlightOf } from "../../shared/ledger/in-flight.ts";
import { type BareBell, knows } from "../../shared/ledger/knows.ts";
import { holds, type LedgerEvent, type Receipted, tokensNeeded } from "../../shared/ledger/machine.ts";
import type { LedgerSettings } from "../../shared/ledger/settings.ts";
import {
  type LedgerHealth,
  type QueueFailure,
  queueTroubleOf,
  queueTroubleText,
  troubleOf,
  troubleText,
} from "../../shared/ledger/trouble.ts";
import { unsettledOf } from "../../shared/ledger/unsettled.ts";
import { type Whereabouts, whereaboutsOf } from "../../shared/ledger/whereabouts.ts";
import { limits } from "../../shared/limits.ts";
import type { Doorbell, GroupBell } from "../../shared/messages.ts";
import { isPayloadId, type PayloadId, type PayloadKey } from "../../shared/payload-key.ts";
import { type GroupId, isGroupId, type Receipt } from "../../shared/receipt.ts";
import { type ChangedMinute, minutesToNote } from "../../shared/reconcile/changed-minutes.ts";
import type { Checkpoint } from "../../shared/reconcile/checkpoint.ts";
import type { LearntFacts } from "../../shared/reconcile/effects.ts";
import {
  beginRun,
  endRun,
  newReconciler,
  type Reconciler,
  reconcilerFromNote,
  type StoredReconciler,
  saveCheckpoint,
} from "../../shared/reconcile/lease.ts";
import { writeLog } from "../../shared/write-log.ts";
import { drawTokens } from "./draw-tokens.ts";
import { LedgerStorage } from "./ledger-storage.ts";
import { counterKey, createEpoch, epochKey, hasAnyPayload, hasAnyRow, readNumber } from "./read-birth.ts";
import { readLedgerSettings, readReconcileSettings } from "./read-ledger-settings.ts";

/** Besides these, the ClickHouse variables of wrangler.toml: a new ledger asks whether the table has rows of ours. */
export interface LedgerEnv {
  readonly GROUP: Queue<GroupBell>;
  readonly PAYLOADS: R2Bucket;
  readonly CLICKHOUSE?: ClickHouseBinding;
  /** For messages to operators, which name it. */
  readonly CLICKHOUSE_URL: string;
  /** Tests on real parts: every duration divided by this. */
  readonly LEDGER_TIMES_FASTER?: string;
}

const statusGroupsMax = 20;

export class Ledger extends DurableObject<LedgerEnv> {
  readonly #settings: LedgerSettings;
  readonly #storage: LedgerStorage;
  readonly #instance: Instance = newInstance();
  /** Resolved once this instance knows that it is born and not restored. */
  #begun: Promise<void> | null = null;
  /** Null: the queue of groups took the last message that it was given. */
  #queueFailure: QueueFailure | null = null;

  constructor(ctx: DurableObjectState, env: LedgerEnv) {
    super(ctx, env);
    this.#settings = readLedgerSettings(env);
    this.#storage = new LedgerStorage(ctx.storage);
  }

  /**
   * Takes payloads over: once this resolves they are the ledger's, and their messages may be acked. Leases at most
   * one group that is ready, and none where `messages` is null (others of the batch follow). Throws when it cannot persist: then nothing was taken over.
   */
  async claim(
    doorbells: readonly Doorbell[],
    codecVersion: number,
    messages: number | null = doorbells.length,
  ): Promise<{ readonly task: GroupTask | null }> {
    return { task: await this.#step({ kind: "claim", doorbells, messages, codecVersion }) };
  }

  /** Queue `group` notified. Null: nothing to do for this caller (it is leased, done, or unknown). */
  async take(group: string, codecVersion: number): Promise<GroupTask | null> {
    assert(isGroupId(group), "a group's id is 32 hex digits");
    return this.#step({ kind: "take", group, codecVersion });
  }

  /** How an attempt ended. Answers with the group's next step for this caller, if there is one. */
  async report(group: string, attempt: number, report: AttemptReport): Promise<GroupTask | null> {
    assert(isGroupId(group), "a group's id is 32 hex digits");
    if (report.kind === "broken") {
      this.#keepBroken(report.reason);
    }
    return this.#step({ kind: "report", group, attempt, report });
  }

  /** The receipts that these attempts were handed are in ClickHouse. */
  async receipted(receipted: readonly Receipted[]): Promise<void> {
    // Before they are noted: a crash in between leaves a note too many.
    for (const { group } of receipted) {
      const state = this.#storage.group(group)?.state;
      if (state?.at === "receipting") {
        this.#noteChanged(state.receipts);
      }
    }
    await this.#step({ kind: "receipted", receipted });
  }

  /** Does the ledger hold each key's payload, waiting or in a live group? In the order asked. */
  async holds(keys: readonly PayloadKey[]): Promise<readonly boolean[]> {
    return holds(this.#storage, keys);
  }

  /** Would the ledger change nothing, should these ring? In the order asked. */
  async knows(bells: readonly BareBell[]): Promise<readonly boolean[]> {
    return knows(this.#storage, bells);
  }

  /** Where the ledger has a payload. */
  async whereIs(id: PayloadId): Promise<Whereabouts> {
    return whereaboutsOf(this.#storage, id);
  }

  /** Where the ledger has each of these, in the order asked. */
  async whereAre(ids: readonly string[]): Promise<readonly Whereabouts[]> {
    return ids.map((id) => (isPayloadId(id) ? whereaboutsOf(this.#storage, id) : { at: "unknown" }));
  }

  /** The table check's result: why nothing may be inserted (empty: it may), and how far the dedup log is used. */
  async tableChecked(refusal: string, measure: TableMeasure | null): Promise<void> {
    await this.#step({ kind: "table", table: { refusal, measure } });
  }

  /** A person accepts whatever table answers now as the one to insert into. */
  async acceptTable(): Promise<void> {
    await this.#step({ kind: "acceptTable" });
  }

  /** A person decides about a payload whose rows are inexact. */
  async resolve(key: PayloadKey, how: "accept" | "rewrite"): Promise<void> {
    await this.#step({ kind: "resolve", key, how });
  }

  /** Erases a payload under all of its keys: as soon as it is no longer live, and after the fence. */
  async erase(payload: Doorbell, reason: string): Promise<void> {
    await this.eraseAll([payload], reason);
  }

  /** All of them in one step, so that they are erased together. */
  async eraseAll(payloads: readonly Doorbell[], reason: string): Promise<void> {
    await this.#step({ kind: "erase", payloads, reason });
  }

  /** Begins a run of the reconciler. Null: another one is under way, and this one does not take over. */
  async beginReconcile(takesOver: boolean): Promise<{
    readonly run: string;
    readonly checkpoint: Checkpoint | null;
    readonly table: string | null;
    readonly changed: readonly ChangedMinute[];
  } | null> {
    const [run] = drawTokens(1);
    assert(run !== undefined, "a token was drawn");
    const { leaseMs } = readReconcileSettings(this.env);
    const begun = beginRun(this.#reconciler(), { run, now: Date.now(), leaseMs, takesOver });
    if (begun === null) {
      return null;
    }
    this.#storage.keepNote("reconciler", begun);
    const changed = this.#storage.changedMinutes(limits.changedMinutesARun);
    return { run, checkpoint: begun.checkpoint, table: this.#storage.head?.table.identity ?? null, changed };
  }

  /** A run has sealed these minutes anew. */
  async sealedAnew(changed: readonly ChangedMinute[]): Promise<void> {
    this.#storage.forgetChanged(changed);
  }

  /** What of the sums by minute is not settled, at this moment. */
  async unsettled(): Promise<Unsettled> {
    const groups = this.#storage.oldestGroups(limits.inFlightGroupsLooked);
    const { waiting, groupsCount } = this.#storage;
    return {
      checkpoint: this.#reconciler().checkpoint,
      changed: this.#storage.changedMinutes(limits.changedMinutesShown).map(({ minute }) => minute),
      ...unsettledOf(waiting, groups, groupsCount, limits.unsettledKeysMax),
    };
  }

  /** Keeps a run's checkpoint. False: the run was taken for dead, and another one has begun. */
  async saveCheckpoint(run: string, checkpoint: Checkpoint): Promise<boolean> {
    const { leaseMs } = readReconcileSettings(this.env);
    const kept = saveCheckpoint(this.#reconciler(), { run, now: Date.now(), leaseMs }, checkpoint);
    if (kept === null) {
      return false;
    }
    this.#storage.keepNote("reconciler", kept);
    await this.ctx.storage.sync();
    return true;
  }

  async endReconcile(run: string): Promise<void> {
    this.#storage.keepNote("reconciler", endRun(this.#reconciler(), run));
  }

  /** How far the reconciler has come. Null: it has not run yet, or its memory was lost. */
  async checkpoint(): Promise<Checkpoint | null> {
    return this.#reconciler().checkpoint;
  }

  /** Judges what the cron has learnt, together with what the ledger knows. Answers what is still to be reported. */
  async judgeAlerts(learnt: LearntFacts): Promise<readonly Unreported[]> {
    const now = Date.now();
    const looked = this.#looked();
    const { trouble, isLong } = this.#trouble(looked, now);
    const known = {
      head: this.#storage.head,
      waiting: this.#storage.waiting,
      looked,
      databaseBytes: this.#storage.databaseBytes,
      broken: this.#broken(),
      wrongTokens: this.#wrongTokens(),
      trouble: isLong ? trouble : "",
      settings: this.#settings,
      checkpoint: this.#reconciler().checkpoint,
    };
    const { alertState } = judgeAlerts(alertFacts(known, learnt, now), this.#alertState());
    this.#storage.keepNote("alerts", alertState);
    return alertState.unreported;
  }

  /** Notes that these channels have reported these findings. */
  async alertsReported(unreported: readonly Unreported[], reached: readonly Channel[]): Promise<void> {
    this.#storage.keepNote("alerts", markReported(this.#alertState(), unreported, reached));
  }

  /** What the alerts were judged by last, and how far the reconciler has come (null: it has not run yet). */
  async alertState(): Promise<{ readonly alertState: AlertState; readonly checkpoint: Checkpoint | null }> {
    return { alertState: this.#alertState(), checkpoint: this.#reconciler().checkpoint };
  }

  #reconciler(): Reconciler {
    const note = this.#storage.note("reconciler");
    return note === undefined ? newReconciler : v.parse(reconcilerSchema, note);
  }

  #alertState(): AlertState {
    const note = this.#storage.note("alerts");
    return note === undefined ? noAlerts : v.parse(alertStateSchema, note);
  }

  #broken(): BrokenRecord | null {
    const note = this.#storage.note("broken");
    return note === undefined ? null : v.parse(brokenSchema, note);
  }

  /** The console turned an address away. */
  async reportWrongTokens(address: string): Promise<void> {
    this.#storage.keepNote("wrongTokens", recordWrongTokens(this.#wrongTokens(), address, Date.now()));
  }

  #wrongTokens(): WrongTokens | null {
    const note = this.#storage.note("wrongTokens");
    return note === undefined ? null : v.parse(wrongTokensSchema, note);
  }

  #keepBroken(claim: string): void {
    this.#storage.keepNote("broken", recordBroken(this.#broken(), claim, Date.now()));
  }

  #looked(): LookedInto {
    return this.#storage.groupsLookedInto(limits.inFlightGroupsLooked);
  }

  /** The cron, each minute: arms the alarm again, should it have been given up, and counts the minute in R2. */
  async wake(): Promise<void> {
    await this.#live(wake(this.#instance, this.#storage));
  }

  async status(): Promise<LedgerStatus> {
    const looked = this.#looked();
    const held = looked.groups.flatMap(heldPayloads);
    return {
      ...this.#storage.counts(),
      head: this.#storage.head,
      oldestArrival: oldestArrival(this.#storage.waiting, looked.groups),
      held,
      heldCount: held.length + unlookedOf(looked, "held"),
      trouble: this.#trouble(looked, Date.now()).trouble,
      frontDoor: frontDoorLines(this.#alertState().frontDoor),
      oldestGroups: looked.groups
        .slice(0, statusGroupsMax)
        .map(({ id, state, made, attempts, payloads, due }) => ({
          group: id,
          state: state.at,
          made,
          attempts,
          payloads: payloads.length,
          due,
        })),
    };
  }

  /** Are payloads stored? For an outside check, and as little as it needs. */
  async health(): Promise<LedgerHealth> {
    const { trouble, isLong } = this.#trouble(this.#looked(), Date.now());
    const { head } = this.#storage;
    return {
      trouble,
      isFailing: isLong || head?.breaker.isOpen === true,
      refusal: head?.table.refusal ?? "",
      reconciledAt: this.#reconciler().checkpoint?.ranAt ?? null,
    };
  }

  /** The findings that stand open by the last judgement: also while ClickHouse, which has them all, does not answer. */
  async openFindings(): Promise<readonly Finding[]> {
    return this.#alertState().open;
  }

  /** What the attempts failed of, and whether the queue by which they are asked for takes messages. */
  #trouble(looked: LookedInto, now: number): { readonly trouble: string; readonly isLong: boolean } {
    const { groups } = looked;
    const groupsCount = groupsCountOf(looked);
    const { head, waiting } = this.#storage;
    const ofAttempts = troubleOf(head, waiting, groups, groupsCount);
    const ofQueue = queueTroubleOf(this.#queueFailure, waiting, groups, groupsCount);
    const { host } = new URL(this.env.CLICKHOUSE_URL);
    const sentences = [
      ...(ofAttempts === null ? [] : [troubleText(ofAttempts, host, now)]),
      ...(ofQueue === null ? [] : [queueTroubleText(ofQueue, now)]),
    ];
    const since = Math.min(...[ofAttempts, ofQueue].flatMap((trouble) => trouble?.since ?? []));
    return { trouble: sentences.join(" "), isLong: now - since >= this.#settings.notDeliveredMs };
  }

  /** What is in flight, and what it waits for. */
  async inFlight(): Promise<InFlight> {
    return inFlightOf(this.#storage.head, this.#storage.waiting, this.#looked(), Date.now());
  }

  /**
   * A broken invariant is not thrown: the alarm is armed again already, and the platform's six tries would end it. One
   * that could not be armed again throws, and those tries are what is left until the next `wake`.
   */
  override async alarm(): Promise<void> {
    try {
      await this.#live(fireAlarm(this.#instance));
    } catch (error) {
      if (!(error instanceof BrokenInvariant)) {
        throw error;
      }
      writeLog("error", { message: "the alarm broke an invariant and is armed again" }, error);
    }
  }

  async #step(event: LedgerEvent): Promise<GroupTask | null> {
    const task = await this.#live(takeStep(this.#instance, event));
    if (task?.step === "receipts") {
      this.#noteChanged(task.receipts.filter(({ isWritten }) => isWritten !== true));
    }
    return task;
  }

  /** Receipts that are leased, or were written, may be of minutes that are sealed. */
  #noteChanged(receipts: readonly Receipt[]): void {
    const now = Date.now();
    this.#storage.noteChanged(minutesToNote(receipts, now, readReconcileSettings(this.env).ageMs), now);
  }

  /** Performs what a part of the object's life asks for, one effect after the other. */
  async #live<T>(life: Life<T>): Promise<T> {
    let next = life.next();
    while (next.done !== true) {
      let answer: LifeAnswer;
      try {
        answer = await this.#perform(next.value);
      } catch (error) {
        next = life.throw(error);
        continue;
      }
      next = life.next(answer);
    }
    return next.value;
  }

  /** Does one effect and answers it. Throws when it cannot be done. */
  async #perform(effect: LifeEffect): Promise<LifeAnswer> {
    const bucket = dependencyOf(this.env.PAYLOADS, "r2");
    switch (effect.do) {
      case "begin":
        await this.#begin();
        return { to: "begin" };
      case "readAlarm":
        return { to: "readAlarm", at: await this.ctx.storage.getAlarm() };
      case "readEpoch":
        return { to: "readEpoch", epoch: await readNumber(bucket, epochKey) };
      case "readCounter":
        return { to: "readCounter", counter: await readNumber(bucket, counterKey) };
      case "findPayload":
        return { to: "findPayload", found: await hasAnyPayload(bucket) };
      case "findRow": {
        const clickHouse = connectClickHouse(this.env, this.env.CLICKHOUSE, fetch);
        return { to: "findRow", found: await hasAnyRow(clickHouse) };
      }
      case "createEpoch":
        return { to: "createEpoch", created: await createEpoch(bucket, effect.epoch) };
      case "putEpoch":
        await bucket.put(epochKey, String(effect.epoch));
        return { to: "putEpoch" };
      case "putCounter":
        await bucket.put(counterKey, String(effect.counter));
        return { to: "putCounter" };
      case "step":
        return { to: "step", decided: await this.#decide(effect.event) };
      case "armRetry":
        await this.#armAt(armRetry(this.#instance, Date.now(), this.#settings));
        return { to: "armRetry" };
      case "notify":
        // Not awaited: a queue can hang for a minute (workerd issues), and a message that is lost is sent again when due.
        this.ctx.waitUntil(this.#notify(effect.groups));
        return { to: "notify" };
      case "recordBroken":
        writeLog("error", { message: "an invariant of the ledger is broken" }, effect.broken);
        this.#keepBroken(effect.broken.message);
        return { to: "recordBroken" };
      case "log":
        writeLog("error", { message: effect.message }, effect.cause);
        return { to: "log" };
      default:
        return unreachable(effect);
    }
  }

  /** Once in an instance's life, by the first caller. It gets a failure; the next caller retries. */
  async #begin(): Promise<void> {
    this.#begun ??= this.#live(begin(this.#instance, this.#storage));
    try {
      await this.#begun;
    } catch (cause) {
      this.#begun = null;
      if (cause instanceof BrokenInvariant) {
        throw cause;
      }
      throw new Error("the ledger could not establish its starting state", { cause });
    }
  }

  /** There is no await between the reading of the state and the setting of the alarm, so that they are one write. */
  async #decide(event: LedgerEvent): Promise<Decided> {
    const { databaseBytes } = this.#storage;
    const moment = {
      now: Date.now(),
      tokens: drawTokens(tokensNeeded(event)),
      databaseBytes,
      trimTo: databaseBytes > this.#settings.databaseBytesMax ? this.#storage.trimTo() : undefined,
    };
    const decided = decideAndPersist(this.#storage, this.#instance, event, moment, this.#settings);
    await this.#armAt(decided.arm);
    await this.ctx.storage.sync();
    return decided;
  }

  async #armAt(time: number | null): Promise<void> {
    if (time !== null) {
      await this.ctx.storage.setAlarm(time);
    }
  }

  async #notify(groups: readonly GroupId[]): Promise<void> {
    try {
      for (let at = 0; at < groups.length; at += limits.queueMessagesMax) {
        const some = groups.slice(at, at + limits.queueMessagesMax);
        await this.env.GROUP.sendBatch(some.map((group) => ({ body: { v: 1, group } })));
      }
      this.#queueFailure = groups.length === 0 ? this.#queueFailure : null;
    } catch (cause) {
      const error = new DependencyFailed("groupQueue", cause);
      this.#queueFailure = { since: this.#queueFailure?.since ?? Date.now(), text: error.message };
      writeLog("error", { message: "groups were not notified and will be again" }, error);
    }
  }
}

// The notes were written by this class: the schemas tell a damaged one from a wrong step.
const reconcilerSchema = v.pipe(
  v.custom<StoredReconciler>((note) => isObject(note) && "lease" in note),
  v.transform(reconcilerFromNote),
);
const alertStateSchema = v.pipe(
  v.custom<StoredAlertState>((note) => isObject(note) && "open" in note && "rescues" in note),
  v.transform(alertStateFromNote),
);
const brokenSchema = v.custom<BrokenRecord>((note) => isObject(note) && "claim" in note && "times" in note);

const wrongTokensSchema = v.custom<WrongTokens>((note) => isObject(note) && "addresses" in note);

function isObject(note: unknown): note is object {
  return typeof note === "object" && note !== null;
}
