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
import { assert } from "../../shared/assert.ts";
import { type AttemptReport, type GroupId, type GroupTask, isGroupId } from "../../shared/ledger/group.ts";
import {
  holds,
  type LedgerEvent,
  nextAlarm,
  type Settled,
  step,
  tokensNeeded,
} from "../../shared/ledger/machine.ts";
import { defaultSettings, type LedgerSettings, settingsFaster } from "../../shared/ledger/settings.ts";
import type { Doorbell, GroupBell } from "../../shared/messages.ts";
import type { PayloadKey } from "../../shared/payload-key.ts";
import { type LedgerCounts, LedgerStorage } from "./ledger-storage.ts";

export interface LedgerEnv {
  readonly GROUP: Queue<GroupBell>;
  /** Tests on real parts: every duration divided by this. */
  readonly LEDGER_TIMES_FASTER?: string;
}

/** For people who look at the ledger. Times in ms since the epoch. */
export interface LedgerStatus extends LedgerCounts {
  readonly oldestArrival: number | null;
  readonly oldestGroups: readonly {
    readonly group: GroupId;
    readonly state: string;
    readonly made: number;
    readonly attempts: number;
    readonly payloads: number;
    readonly due: number;
  }[];
}

const statusGroupsMax = 20;

export class Ledger extends DurableObject<LedgerEnv> {
  readonly #settings: LedgerSettings;
  readonly #storage: LedgerStorage;
  /** When the alarm rings next, as far as this instance knows. */
  #armedAt: number | null = null;

  constructor(ctx: DurableObjectState, env: LedgerEnv) {
    super(ctx, env);
    const faster = env.LEDGER_TIMES_FASTER;
    this.#settings = faster === undefined ? defaultSettings : settingsFaster(defaultSettings, Number(faster));
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

  /** Re-arms the alarm, should it have been given up. */
  async wake(): Promise<void> {
    this.#armedAt = null;
    await this.#arm();
  }

  async status(): Promise<LedgerStatus> {
    const groups = this.#storage.oldestGroups(statusGroupsMax);
    const arrivals = [...this.#storage.waiting.payloads, ...groups.flatMap(({ payloads }) => payloads)];
    const oldest = arrivals.reduce(
      (least, { arrival }) => Math.min(least, arrival),
      Number.POSITIVE_INFINITY,
    );
    return {
      ...this.#storage.counts(),
      oldestArrival: Number.isFinite(oldest) ? oldest : null,
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

  async #step(event: LedgerEvent): Promise<GroupTask | null> {
    const moment = { now: Date.now(), tokens: drawTokens(tokensNeeded(event)) };
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
      await this.env.GROUP.sendBatch(groups.map((group) => ({ body: { v: 1, group } })));
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
    console.error(JSON.stringify({ message, error: String(error) }));
  }
}

/** 128 random bits each. */
function drawTokens(count: number): readonly GroupId[] {
  const tokens: GroupId[] = [];
  for (let i = 0; i < count; i++) {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    const text = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    assert(isGroupId(text), "16 bytes are 32 hex digits");
    tokens.push(text);
  }
  return tokens;
}
