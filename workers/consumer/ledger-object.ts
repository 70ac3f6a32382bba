/**
 * The ledger's shell: a Durable Object that gathers an event's facts, lets the machine (shared/ledger/machine.ts)
 * decide, persists, and only then rings and answers. One object, named "0", for the whole lane.
 *
 * The persist of a step is one synchronous transaction, and `sync` waits until it is durable; a step that cannot
 * persist throws, its caller's messages are not acked, and come again. The alarm is armed in every path: by each
 * step, by itself whatever happens in it, and by the cron through `wake` (the platform gives up an alarm after six
 * failed tries).
 */
import { DurableObject } from "cloudflare:workers";
import * as v from "valibot";
import { type AlertFacts, judgeAlerts, nothingStands, type Standing } from "../../shared/alerts.ts";
import { assert } from "../../shared/assert.ts";
import { type ClickHouseBinding, connectClickHouse } from "../../shared/clickhouse/connection.ts";
import type { Finding } from "../../shared/clickhouse/findings.ts";
import { toHex } from "../../shared/hex.ts";
import {
  type AttemptReport,
  type Group,
  type GroupId,
  type GroupTask,
  isGroupId,
  type TableMeasure,
} from "../../shared/ledger/group.ts";
import type { Head } from "../../shared/ledger/head.ts";
import { type InFlight, inFlightOf } from "../../shared/ledger/in-flight.ts";
import {
  holds,
  type LedgerEvent,
  nextAlarm,
  type Settled,
  step,
  tokensNeeded,
} from "../../shared/ledger/machine.ts";
import type { LedgerSettings } from "../../shared/ledger/settings.ts";
import { type Whereabouts, whereaboutsOf } from "../../shared/ledger/whereabouts.ts";
import { limits } from "../../shared/limits.ts";
import type { Doorbell, GroupBell } from "../../shared/messages.ts";
import type { PayloadId, PayloadKey } from "../../shared/payload-key.ts";
import { beginRun, endRun, keepBook, newReconciler, type Reconciler } from "../../shared/reconcile/lease.ts";
import type { MinuteBook } from "../../shared/reconcile/minute-book.ts";
import { writeLog } from "../../shared/write-log.ts";
import { type LedgerCounts, LedgerStorage } from "./ledger-storage.ts";
import { counterKey, epochKey, readBirthFacts, readRestoredEpoch, writeFirstEpoch } from "./read-birth.ts";
import { readLedgerSettings, readReconcileSettings } from "./read-ledger-settings.ts";

/** Besides these, the ClickHouse variables of wrangler.toml: a new ledger asks whether the table has rows of ours. */
export interface LedgerEnv {
  readonly GROUP: Queue<GroupBell>;
  readonly PAYLOADS: R2Bucket;
  readonly CLICKHOUSE?: ClickHouseBinding;
  /** Tests on real parts: every duration divided by this. */
  readonly LEDGER_TIMES_FASTER?: string;
}

/** For people who look at the ledger. Times in ms since the epoch. */
export interface LedgerStatus extends LedgerCounts {
  readonly oldestArrival: number | null;
  readonly head: Head | null;
  /** Payloads that wait for a person, and why. */
  readonly held: readonly { readonly key: PayloadKey; readonly reason: string }[];
  readonly oldestGroups: readonly {
    readonly group: GroupId;
    readonly state: string;
    readonly made: number;
    readonly attempts: number;
    readonly payloads: number;
    readonly due: number;
  }[];
}

/** What the cron learns from outside the ledger. */
export type LearntFacts = Pick<AlertFacts, "runFailure" | "recent" | "volumes">;

const statusGroupsMax = 20;

export class Ledger extends DurableObject<LedgerEnv> {
  readonly #settings: LedgerSettings;
  readonly #storage: LedgerStorage;
  /** When the alarm rings next, as far as this instance knows. */
  #armedAt: number | null = null;
  /** Settled once this instance knows that it is born and not restored. */
  #begun: Promise<void> | null = null;

  constructor(ctx: DurableObjectState, env: LedgerEnv) {
    super(ctx, env);
    this.#settings = readLedgerSettings(env);
    this.#storage = new LedgerStorage(ctx.storage);
  }

  /**
   * Takes payloads over: once this resolves they are the ledger's, and their messages may be acked. Hands out at most
   * one group that is ready. Throws when it cannot persist: then nothing was taken over.
   */
  async claim(
    doorbells: readonly Doorbell[],
    codecVersion: number,
  ): Promise<{ readonly task: GroupTask | null }> {
    return { task: await this.#step({ kind: "claim", doorbells, codecVersion }) };
  }

  /** Queue `group` rang. Null: nothing to do for this caller (it is out, done, or not there). */
  async take(group: string, codecVersion: number): Promise<GroupTask | null> {
    assert(isGroupId(group), "a group's id is 32 hex digits");
    return this.#step({ kind: "take", group, codecVersion });
  }

  /** How an attempt ended. Answers with the group's next step for this caller, if there is one. */
  async report(group: string, attempt: number, report: AttemptReport): Promise<GroupTask | null> {
    assert(isGroupId(group), "a group's id is 32 hex digits");
    return this.#step({ kind: "report", group, attempt, report });
  }

  /** The receipts that these attempts were handed are in ClickHouse. */
  async settle(settled: readonly Settled[]): Promise<void> {
    await this.#step({ kind: "settle", settled });
  }

  /** Does the ledger hold each key's payload, waiting or in a live group? In the order asked. */
  async holds(keys: readonly PayloadKey[]): Promise<readonly boolean[]> {
    return holds(this.#storage, keys);
  }

  /** Where the ledger has a payload. */
  async whereIs(id: PayloadId): Promise<Whereabouts> {
    return whereaboutsOf(this.#storage, id);
  }

  /** The table check's result: why nothing may be inserted (empty: it may), and how far the dedup log is used. */
  async tableChecked(refusal: string, measure: TableMeasure | null): Promise<void> {
    await this.#step({ kind: "table", table: { refusal, measure } });
  }

  /** A person decides about a payload whose rows are inexact. */
  async resolve(key: PayloadKey, how: "accept" | "rewrite"): Promise<void> {
    await this.#step({ kind: "resolve", key, how });
  }

  /** Erases a payload under all of its keys: as soon as it is no longer live, and after the fence. */
  async erase(payload: Doorbell, reason: string): Promise<void> {
    await this.#step({ kind: "erase", payload, reason });
  }

  /** Begins a run of the reconciler. Null: another one is under way, and this one does not take over. */
  async beginReconcile(
    takesOver: boolean,
  ): Promise<{ readonly run: string; readonly book: MinuteBook | null } | null> {
    const [run] = drawTokens(1);
    assert(run !== undefined, "a token was drawn");
    const { leaseMs } = readReconcileSettings(this.env);
    const begun = beginRun(this.#reconciler(), { run, now: Date.now(), leaseMs, takesOver });
    if (begun === null) {
      return null;
    }
    this.#storage.keepNote("reconciler", begun);
    return { run, book: begun.book };
  }

  /** Keeps a run's book. False: the run was taken for dead, and another one has begun. */
  async keepBook(run: string, book: MinuteBook): Promise<boolean> {
    const { leaseMs } = readReconcileSettings(this.env);
    const kept = keepBook(this.#reconciler(), { run, now: Date.now(), leaseMs }, book);
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
  async book(): Promise<MinuteBook | null> {
    return this.#reconciler().book;
  }

  /** Judges what the cron has learnt, together with what the ledger knows, and says what is to be told. */
  async judgeAlerts(learnt: LearntFacts): Promise<readonly Finding[]> {
    const { head } = this.#storage;
    if (head === null) {
      return [];
    }
    const { standing, findings } = judgeAlerts(
      {
        ...learnt,
        now: Date.now(),
        oldestArrival: this.#oldestArrival(),
        held: this.#storage.heldGroups(statusGroupsMax).flatMap(heldPayloads),
        breakerOpen: head.breaker.isOpen,
        tableRefusal: head.table.refusal,
        clockAheadMs: head.table.measure?.clockAheadMs ?? 0,
        databaseBytes: this.#storage.databaseBytes,
        rescues: head.rescues,
        book: this.#reconciler().book,
      },
      this.#standing(),
    );
    this.#storage.keepNote("alerts", standing);
    return findings;
  }

  /** Which findings are open, and which hour's volumes were judged last. */
  async standing(): Promise<Standing> {
    return this.#standing();
  }

  #reconciler(): Reconciler {
    const note = this.#storage.note("reconciler");
    return note === undefined ? newReconciler : v.parse(reconcilerSchema, note);
  }

  #standing(): Standing {
    const note = this.#storage.note("alerts");
    return note === undefined ? nothingStands : v.parse(standingSchema, note);
  }

  #oldestArrival(): number | null {
    const groups = this.#storage.oldestGroups(statusGroupsMax);
    const payloads = [...this.#storage.waiting.payloads, ...groups.flatMap((group) => group.payloads)];
    return payloads.reduce<number | null>(
      (least, { arrival }) => (least === null ? arrival : Math.min(least, arrival)),
      null,
    );
  }

  /** The cron, each minute: re-arms the alarm, should it have been given up, and counts the minute in R2. */
  async wake(): Promise<void> {
    this.#armedAt = null;
    await this.#step({ kind: "minute" });
    const { head } = this.#storage;
    assert(head !== null, "a ledger that took a step is born");
    await this.env.PAYLOADS.put(counterKey, String(head.counter));
  }

  async status(): Promise<LedgerStatus> {
    const groups = this.#storage.oldestGroups(statusGroupsMax);
    return {
      ...this.#storage.counts(),
      head: this.#storage.head,
      oldestArrival: this.#oldestArrival(),
      held: this.#storage.heldGroups(statusGroupsMax).flatMap(heldPayloads),
      oldestGroups: groups.map(({ id, state, made, attempts, payloads, due }) => ({
        group: id,
        state: state.at,
        made,
        attempts,
        payloads: payloads.length,
        due,
      })),
    };
  }

  /** What is in flight, and what it waits for. */
  async inFlight(): Promise<InFlight> {
    return inFlightOf(
      this.#storage.head,
      this.#storage.waiting,
      this.#storage.oldestGroups(limits.inFlightGroupsLooked),
      this.#storage.groupsCount,
      Date.now(),
    );
  }

  /** Forms groups by age, rings what is due. Never throws: a failed alarm would be retried six times, then never. */
  override async alarm(): Promise<void> {
    this.#armedAt = null;
    try {
      await this.#step({ kind: "alarm" });
    } catch (error) {
      this.#log("the alarm failed and is armed again", error);
      await this.#armAt(Date.now() + this.#settings.retryFirstMs);
    }
  }

  /** Born, and not restored: known before the first step. A failure is the caller's, and tried again by the next. */
  async #begin(): Promise<void> {
    const { head } = this.#storage;
    if (head === null) {
      const facts = await readBirthFacts(
        this.env.PAYLOADS,
        connectClickHouse(this.env, this.env.CLICKHOUSE, fetch),
      );
      const isFirst = facts.epoch !== null || (await writeFirstEpoch(this.env.PAYLOADS, 1));
      await this.#decide({ kind: "born", facts: isFirst ? facts : { ...facts, anyPayload: true } });
      return;
    }
    const epoch = await readRestoredEpoch(this.env.PAYLOADS, head);
    if (epoch !== null) {
      this.#log(
        "the ledger was restored to an older time: everything it holds is verified",
        `epoch ${epoch}`,
      );
      await this.#decide({ kind: "restored", epoch });
      await this.env.PAYLOADS.put(epochKey, String(epoch));
    }
  }

  async #step(event: LedgerEvent): Promise<GroupTask | null> {
    this.#begun ??= this.#begin();
    try {
      await this.#begun;
    } catch (cause) {
      this.#begun = null;
      throw new Error("the ledger could not learn how it began", { cause });
    }
    return this.#decide(event);
  }

  /** One step: decide, persist, and only then ring and answer. No await stands between the reading and the persist. */
  async #decide(event: LedgerEvent): Promise<GroupTask | null> {
    const moment = {
      now: Date.now(),
      tokens: drawTokens(tokensNeeded(event)),
      databaseBytes: this.#storage.databaseBytes,
    };
    const { changes, rings, task } = step(this.#storage, event, moment, this.#settings);
    this.#storage.apply(changes);
    await this.#arm();
    await this.ctx.storage.sync();
    if (rings.length > 0) {
      // Not awaited: a queue can hang for a minute (workerd issues), and a ring that is lost is rung again when due.
      this.ctx.waitUntil(this.#ring(rings));
    }
    return task;
  }

  async #ring(groups: readonly GroupId[]): Promise<void> {
    try {
      for (let at = 0; at < groups.length; at += limits.queueMessagesMax) {
        const some = groups.slice(at, at + limits.queueMessagesMax);
        await this.env.GROUP.sendBatch(some.map((group) => ({ body: { v: 1, group } })));
      }
    } catch (error) {
      this.#log("groups were not rung and will be rung again", error);
    }
  }

  async #arm(): Promise<void> {
    const next = nextAlarm(this.#storage, this.#settings);
    if (next !== undefined) {
      await this.#armAt(next);
    }
  }

  /** Moves the alarm forward, never back: one that rings early finds nothing due, and a write is saved. */
  async #armAt(time: number): Promise<void> {
    if (this.#armedAt === null || time < this.#armedAt) {
      this.#armedAt = time;
      await this.ctx.storage.setAlarm(time);
    }
  }

  #log(message: string, error: unknown): void {
    writeLog("error", { message }, error);
  }
}

function heldPayloads({ state }: Group): LedgerStatus["held"] {
  return state.at === "held" ? state.found.map(({ key, reason }) => ({ key, reason })) : [];
}

// Both notes were written by this class: the schemas tell a damaged one from a wrong step.
const reconcilerSchema = v.custom<Reconciler>((note) => isObject(note) && "book" in note && "lease" in note);
const standingSchema = v.custom<Standing>((note) => isObject(note) && "open" in note && "rescues" in note);

function isObject(note: unknown): note is object {
  return typeof note === "object" && note !== null;
}

/** 128 random bits each. */
function drawTokens(count: number): readonly GroupId[] {
  const tokens: GroupId[] = [];
  for (let i = 0; i < count; i++) {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    const text = toHex(bytes);
    assert(isGroupId(text), "16 bytes are 32 hex digits");
    tokens.push(text);
  }
  return tokens;
}
