/**
 * The consumer's work and the ledger in a day of their own: the real batches (shared/delivery/), the real life and machine of
 * the ledger, and its real store on SQLite, by a clock that jumps from one event to the next. What the platform would bill
 * is counted as it happens: rows by SQLite's own count, calls, alarms, messages, operations of R2. Queues deliver by the
 * rule of wrangler.toml; ClickHouse stores everything, in half a second.
 */
import { DurableObject } from "cloudflare:workers";
import { assert } from "../../shared/assert.ts";
import { Advised } from "../../shared/collect/advice.ts";
import { Gathering, type Sized } from "../../shared/collect/gathering.ts";
import { takeBatch } from "../../shared/delivery/batch.ts";
import type { DeliveryEffects, DeliveryWork } from "../../shared/delivery/effects.ts";
import {
  armRetry,
  begin,
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
import type { ReadMessage } from "../../shared/delivery/message.ts";
import type { Answered, Asked } from "../../shared/effect.ts";
import { contentMinuteOf } from "../../shared/id-time.ts";
import type { GroupPayload } from "../../shared/ledger/group.ts";
import { type BareBell, knows } from "../../shared/ledger/knows.ts";
import { type LedgerEvent, tokensNeeded } from "../../shared/ledger/machine.ts";
import { defaultSettings, type LedgerSettings } from "../../shared/ledger/settings.ts";
import { DAY_MS, limits } from "../../shared/limits.ts";
import type { Doorbell } from "../../shared/messages.ts";
import {
  formatPayloadKey,
  formatSlotKey,
  idOfHash,
  isInSegment,
  isPayloadKey,
  type ObjectKey,
  objectOf,
  type PayloadKey,
} from "../../shared/payload-key.ts";
import { type GroupId, isGroupId } from "../../shared/receipt.ts";
import { formatSegmentKey } from "../../shared/segment/segment-key.ts";
import { LedgerStorage } from "../../workers/consumer/ledger-storage.ts";
import { VirtualClock } from "./virtual-clock.ts";
import { VirtualQueue } from "./virtual-queue.ts";

interface Bindings {
  readonly LEDGER: DurableObjectNamespace<CostsLedger>;
}

const codecVersion = 1;
const spans = 100;
const insertMs = 500;
/** How long R2 takes for a put: half of them this, one of a hundred five times as long (assumed). */
const putMedianMs = 80;
const putSpread = Math.log(5) / 2.326;
/** gzip bytes of a request's body. */
const bodyBytes = 9000;
const collectMs = 100;
/** An object that is asked for nothing is put away by the platform after some ten seconds. */
const idleMs = 10_000;

/** What was counted, beside what each minute costs by itself. */
export interface Counted {
  payloads: number;
  groups: number;
  /** Rows by the table that they were written to; `alarms`: each arming is one. */
  rows: Record<string, number>;
  /** Calls of the ledger, its alarms among them. */
  ledgerCalls: number;
  ledgerStarts: number;
  /** Messages of the queues: each is written, read and deleted. */
  messages: Record<"ring" | "late" | "group", number>;
  invocations: number;
  r2: { puts: number; heads: number; gets: number };
  /** Calls of the collector, and ms for which it had something in hand. */
  collector: { calls: number; awakeMs: number };
  /** ms from the arrival to the end of the INSERT. */
  latencyMs: { p50: number; p99: number };
}

interface Frame extends Sized {
  /** ms since the epoch */
  readonly arrival: number;
  readonly answered: () => void;
}

/** A number of the normal distribution (Box and Muller). */
function normal(): number {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

export class CostsLedger extends DurableObject<Bindings> {
  readonly #clock = new VirtualClock(Date.UTC(2026, 10, 24));
  readonly #settings: LedgerSettings = {
    ...defaultSettings,
    // What is written to forget a payload is counted too, and not a day later.
    memoryMs: 10 * 60_000,
    clientRetryMs: 9 * 60_000,
  };
  readonly #ring = new VirtualQueue<ReadMessage>(this.#clock, 1000, 100, (batch) => this.#take(batch));
  readonly #late = new VirtualQueue<ReadMessage>(this.#clock, 5000, 100, (batch) => this.#take(batch));
  readonly #group = new VirtualQueue<ReadMessage>(this.#clock, 0, 1, (batch) => this.#take(batch));
  /** While the cron works: what it writes by itself is counted apart. */
  #isCron = false;
  #counted: Counted = nothing();
  #minutes = { count: 0, rows: 0, ledgerCalls: 0, r2Gets: 0, r2Puts: 0 };
  #storage = new LedgerStorage(this.#counting());
  #instance: Instance = newInstance();
  #calledAt = 0;
  #alarmAt: number | null = null;
  #drawn = 0;
  #latencies: number[] = [];
  readonly #inObject = new Map<ObjectKey, readonly Doorbell[]>();
  #gathering: Gathering<Frame> | null = null;
  /** Of the ingress's one isolate. */
  #advised = new Advised();
  #collectorCalledAt = 0;
  #lookAt = Number.POSITIVE_INFINITY;
  #wokeAt: number | null = null;

  /**
   * `payloads` that come at random, `rate` of them a second; until all of it is forgotten. `collects`: they go to the collector, or
   * alone by its advice.
   */
  async run(
    rate: number,
    payloads: number,
    collects: boolean,
  ): Promise<{ counted: Counted; aMinute: Record<string, number> }> {
    this.#gathering = collects ? new Gathering(collectMs, this.#clock.now) : null;
    let at = this.#clock.now + 60_000;
    for (let n = 0; n < payloads; n++) {
      at += (-Math.log(1 - Math.random()) / rate) * 1000;
      const arrival = Math.ceil(at);
      this.#clock.at(arrival, () => this.#accept(arrival));
    }
    const end = at + this.#settings.memoryMs + 20 * 60_000;
    for (let minute = this.#clock.now; minute < end; minute += 60_000) {
      this.#clock.at(minute, () => this.#tick());
    }
    this.#clock.runUntil(end);
    await this.ctx.storage.sync();
    const { remembered, groups, waiting } = this.#storage.counts();
    assert(remembered + groups + waiting === 0, "everything is stored, and forgotten");
    assert(this.#latencies.length === payloads, "each payload is stored once");
    this.#latencies.sort((a, b) => a - b);
    const quantile = (q: number): number => this.#latencies[Math.floor(q * (payloads - 1))] ?? 0;
    const { count, ...sums } = this.#minutes;
    return {
      counted: {
        ...this.#counted,
        payloads,
        latencyMs: { p50: quantile(0.5), p99: quantile(0.99) },
      },
      aMinute: Object.fromEntries(Object.entries(sums).map(([name, sum]) => [name, sum / count])),
    };
  }

  #accept(arrival: number): void {
    // As an SDK sends it: the newest span ended within some seconds before.
    const contentMinute = contentMinuteOf(BigInt(arrival - Math.ceil(5000 * Math.random())) * 1_000_000n);
    const id = idOfHash(crypto.getRandomValues(new Uint8Array(16)), { contentMinute, from: 0 });
    const { now } = this.#clock;
    const isAlone = this.#gathering !== null && this.#advised.takeAlone(now);
    if (this.#gathering !== null && !isAlone) {
      this.#counted.collector.calls++;
      const caller = this.#advised.call();
      const gathering = this.#collectorAt(now);
      gathering.called(caller, bodyBytes, now);
      const answered = (): void =>
        this.#advised.answered(gathering.advice(caller, this.#clock.now), this.#clock.now);
      const frame = { id, bytes: bodyBytes, outputBytes: 60_000, spans, arrival, answered };
      if (gathering.add(frame, now) !== "full") {
        this.#look(gathering);
        return;
      }
    }
    const key = formatPayloadKey(arrival, "acme", id);
    this.#put(() => {
      if (isAlone) {
        this.#advised.aloneEnded();
      }
      this.#landed(objectOf(key), [this.#doorbell(key, arrival)]);
    });
  }

  /** A call reaches the collector that is there, or a new one. */
  #collectorAt(now: number): Gathering<Frame> {
    if (this.#gathering?.isIdle !== false && now - this.#collectorCalledAt > idleMs) {
      this.#gathering = new Gathering(collectMs, now);
    }
    this.#collectorCalledAt = now;
    assert(this.#gathering !== null, "this run collects");
    return this.#gathering;
  }

  #put(landed: () => void): void {
    this.#counted.r2.puts++;
    this.#clock.after(putMedianMs * Math.exp(putSpread * normal()), landed);
  }

  /** As the collector's object does, when something came, a put has ended or its time is over. */
  #look(gathering: Gathering<Frame>): void {
    const { now } = this.#clock;
    this.#wokeAt ??= now;
    for (const segment of gathering.closed(now)) {
      this.#put(() => {
        const { payloads } = segment;
        const [first, ...others] = payloads;
        assert(first !== undefined, "a segment has a payload");
        const random = crypto.getRandomValues(new Uint8Array(10));
        const ids = payloads.map(({ id }) => id);
        // What nobody shares with has the object that it would have alone.
        const alone = others.length === 0 ? formatPayloadKey(first.arrival, "acme", first.id) : null;
        const key = alone === null ? formatSegmentKey(segment.openedAt, random, ids) : objectOf(alone);
        gathering.stored(segment, key, this.#clock.now);
        const doorbells = payloads.map(({ id, arrival }, slot) =>
          this.#doorbell(alone ?? formatSlotKey(key, slot, "acme", id), arrival),
        );
        this.#landed(key, doorbells);
        for (const { answered } of payloads) {
          answered();
        }
        this.#look(gathering);
      });
    }
    const next = gathering.lookAt(now);
    if (next !== null && (next < this.#lookAt || this.#lookAt <= now)) {
      this.#lookAt = Math.max(next, now);
      this.#clock.at(this.#lookAt, () => this.#look(gathering));
    }
    if (gathering.isIdle) {
      this.#counted.collector.awakeMs += now - this.#wokeAt;
      this.#wokeAt = null;
    }
  }

  /** An object is there: its doorbell, and R2's event. */
  #landed(object: ObjectKey, doorbells: readonly Doorbell[]): void {
    const [first] = doorbells;
    assert(first !== undefined, "an object has a payload");
    this.#counted.messages.ring++;
    this.#ring.send({ kind: "doorbells", doorbells });
    this.#inObject.set(object, doorbells);
    this.#clock.after(limits.lateDelaySeconds * 1000, () => {
      this.#counted.messages.late++;
      this.#late.send({ kind: "bare", key: isInSegment(object) ? object : first.key, cause: "event" });
    });
  }

  #doorbell(key: PayloadKey, arrival: number): Doorbell {
    const oldestDay = Math.floor(arrival / DAY_MS);
    const counts = { spans, outputBytes: 60_000, arrival, inflatedBytes: 30_000, oldestDay };
    return { v: 1, key, cause: "ingress", ...counts };
  }

  /** The ledger's part of the cron's minute. */
  #tick(): void {
    this.#isCron = true;
    this.#minutes.count++;
    this.#call(() => wake(this.#instance, this.#storage));
    const measure = {
      blocks: this.#counted.groups,
      windowBlocks: 100_000,
      windowMs: null,
      identity: "plain 0 1",
    };
    this.#call(() => takeStep(this.#instance, { kind: "table", table: { refusal: "", measure } }));
    this.#isCron = false;
  }

  // --- the consumer

  #take(batch: readonly ReadMessage[]): void {
    this.#counted.invocations++;
    const messages = batch.map((read) => ({ read, attempts: 1 }));
    const context = {
      now: () => this.#clock.now,
      codecVersion,
      deleteKeysMax: 1000,
      verifyGetsMax: 300,
    };
    this.#work(takeBatch(messages, false, context), undefined);
  }

  /** Goes on with the work until it waits for ClickHouse. */
  #work(work: DeliveryWork<void>, answered: Answered<DeliveryEffects> | undefined): void {
    let next = answered === undefined ? work.next() : work.next(answered);
    while (next.done !== true) {
      const asked = next.value;
      const value = this.#perform(asked);
      const answer = { is: "done", to: asked.name, value } as Answered<DeliveryEffects>;
      if (asked.name === "sendBlock" || asked.name === "writeReceipts") {
        this.#clock.after(asked.name === "sendBlock" ? insertMs : insertMs / 5, () =>
          this.#work(work, answer),
        );
        return;
      }
      next = work.next(answer);
    }
  }

  #perform(asked: Asked<DeliveryEffects>): DeliveryEffects[keyof DeliveryEffects]["answers"] {
    switch (asked.name) {
      case "knows":
        return this.#asked(asked.asks);
      case "completeDoorbell": {
        this.#counted.r2.heads++;
        const { key, cause } = asked.asks;
        const object = isPayloadKey(key) ? objectOf(key) : key;
        return (this.#inObject.get(object) ?? []).map((doorbell) => ({ ...doorbell, cause }));
      }
      case "claim":
        return this.#step({ kind: "claim", ...asked.asks, codecVersion });
      case "take":
        assert(isGroupId(asked.asks), "a group's id is 32 hex digits");
        return this.#step({ kind: "take", group: asked.asks, codecVersion });
      case "report": {
        const { task, report } = asked.asks;
        return this.#step({ kind: "report", group: task.group, attempt: task.attempt, report });
      }
      case "receipted":
        return this.#step({ kind: "receipted", receipted: asked.asks });
      case "buildBlock":
        return this.#build(asked.asks.payloads);
      case "sendBlock":
        for (const { arrival } of asked.asks.task.payloads) {
          this.#latencies.push(this.#clock.now + insertMs - arrival);
        }
        return {
          answer: { httpStatus: 200, exceptionCode: null, text: "", clickHouseHeaders: true },
          writtenRows: undefined,
        };
      case "ackAll":
      case "writeReceipts":
        return null;
      default:
        throw new Error(`nothing strikes here, and nobody asks to ${asked.name}`);
    }
  }

  #build(payloads: readonly GroupPayload[]): DeliveryEffects["buildBlock"]["answers"] {
    this.#counted.groups++;
    // As load-payloads.ts: an object is got once for those that follow one another in it.
    const objects = payloads.map(({ key }) => objectOf(key));
    this.#counted.r2.gets += objects.filter((object, i) => object !== objects[i - 1]).length;
    return {
      kind: "built",
      rows: spans * payloads.length,
      payloads: payloads.map(({ key, arrival }) => ({
        key,
        rowsByDay: [{ day: Math.floor(arrival / DAY_MS), rows: spans }],
        rejectedSpans: 0,
        bytes: 9000,
      })),
    };
  }

  // --- the ledger's object

  #step(event: LedgerEvent) {
    return this.#call(() => takeStep(this.#instance, event));
  }

  #asked(bells: readonly BareBell[]): readonly boolean[] {
    this.#called();
    return knows(this.#storage, bells);
  }

  #call<T>(life: () => Life<T>): T {
    this.#called();
    return this.#live(life());
  }

  /** A call reaches the instance that is there, or a new one. */
  #called(): void {
    if (this.#isCron) {
      this.#minutes.ledgerCalls++;
    } else {
      this.#counted.ledgerCalls++;
    }
    if (this.#clock.now - this.#calledAt > idleMs) {
      this.#counted.ledgerStarts += this.#isCron ? 0 : 1;
      this.#storage = new LedgerStorage(this.#counting());
      this.#instance = newInstance();
    }
    this.#calledAt = this.#clock.now;
  }

  #live<T>(life: Life<T>): T {
    let next = life.next();
    while (next.done !== true) {
      next = life.next(this.#performLife(next.value));
    }
    return next.value;
  }

  #performLife(effect: LifeEffect): LifeAnswer {
    switch (effect.do) {
      case "begin":
        this.#live(begin(this.#instance, this.#storage));
        return { to: "begin" };
      case "readAlarm":
        return { to: "readAlarm", at: this.#alarmAt };
      case "readEpoch":
        this.#read();
        return { to: "readEpoch", epoch: this.#storage.head?.epoch ?? null };
      case "readCounter":
        this.#read();
        return { to: "readCounter", counter: this.#storage.head?.counter ?? 0 };
      case "findPayload":
        return { to: "findPayload", found: false };
      case "findRow":
        return { to: "findRow", found: false };
      case "createEpoch":
        return { to: "createEpoch", created: true };
      case "putEpoch":
        return { to: "putEpoch" };
      case "putCounter":
        this.#minutes.r2Puts++;
        return { to: "putCounter" };
      case "step":
        return { to: "step", decided: this.#decide(effect.event) };
      case "armRetry":
        this.#arm(armRetry(this.#instance, this.#clock.now, this.#settings));
        return { to: "armRetry" };
      case "notify":
        for (const group of effect.groups) {
          this.#counted.messages.group++;
          this.#clock.after(20, () => this.#group.send({ kind: "group", group }));
        }
        return { to: "notify" };
      case "recordBroken":
        throw effect.broken;
      case "log":
        throw new Error(effect.message, { cause: effect.cause });
      default:
        return effect satisfies never;
    }
  }

  #decide(event: LedgerEvent) {
    const tokens = Array.from({ length: tokensNeeded(event) }, () => this.#token());
    const moment = { now: this.#clock.now, tokens, databaseBytes: this.#storage.databaseBytes };
    const decided = decideAndPersist(this.#storage, this.#instance, event, moment, this.#settings);
    this.#arm(decided.arm);
    return decided;
  }

  #arm(at: number | null): void {
    if (at === null) {
      return;
    }
    this.#write("alarms", 1);
    this.#alarmAt = at;
    this.#clock.at(Math.max(at, this.#clock.now), () => {
      if (this.#alarmAt === at) {
        this.#alarmAt = null;
        this.#call(() => fireAlarm(this.#instance));
      }
    });
  }

  /** An instance that starts looks at what R2 has of the ledger's life. */
  #read(): void {
    if (this.#isCron) {
      this.#minutes.r2Gets++;
    } else {
      this.#counted.r2.gets++;
    }
  }

  #token(): GroupId {
    const token = (this.#drawn++).toString(16).padStart(32, "0");
    assert(isGroupId(token), "a token is 32 hex digits");
    return token;
  }

  // --- counting

  /** The object's storage, which counts the rows that each statement writes. */
  #counting(): DurableObjectStorage {
    const { storage } = this.ctx;
    const { sql } = storage;
    const exec = (query: string, ...bindings: unknown[]) => {
      const cursor = sql.exec(query, ...bindings);
      // A statement that writes is done when `exec` returns.
      this.#write(tableOf(query), cursor.rowsWritten);
      return cursor;
    };
    const counting = new Proxy(sql, {
      get: (_, name) => (name === "exec" ? exec : Reflect.get(sql, name, sql)),
    });
    return {
      sql: counting,
      transactionSync: <T>(closure: () => T): T => storage.transactionSync(closure),
    } as unknown as DurableObjectStorage;
  }

  #write(table: string, rows: number): void {
    const isOwn = this.#isCron && (table === "documents" || table === "alarms");
    if (isOwn) {
      this.#minutes.rows += rows;
    } else if (rows > 0) {
      this.#counted.rows[table] = (this.#counted.rows[table] ?? 0) + rows;
    }
  }
}

function tableOf(query: string): string {
  const table = /(?:INTO|UPDATE|FROM)\s+(\w+)/.exec(query)?.[1] ?? "schema";
  return query.trimStart().startsWith("CREATE") ? "schema" : table;
}

function nothing(): Counted {
  return {
    payloads: 0,
    groups: 0,
    rows: {},
    ledgerCalls: 0,
    ledgerStarts: 0,
    messages: { ring: 0, late: 0, group: 0 },
    invocations: 0,
    r2: { puts: 0, heads: 0, gets: 0 },
    collector: { calls: 0, awakeMs: 0 },
    latencyMs: { p50: 0, p99: 0 },
  };
}

export default {
  async fetch(request, env) {
    const { searchParams } = new URL(request.url);
    const rate = Number(searchParams.get("rate"));
    const collects = searchParams.get("collect") === "on";
    const ledger = env.LEDGER.get(env.LEDGER.idFromName(`${rate} a second, collect ${collects}`));
    return Response.json(await ledger.run(rate, Number(searchParams.get("payloads")), collects));
  },
} satisfies ExportedHandler<Bindings>;
