/**
 * The ledger alone, in workerd and its SQLite: the real machine and the real store, without queues, R2 or ClickHouse.
 * A request does many steps, because a Worker's clock does not advance while it computes: time is taken from outside.
 *
 * Payloads come as they do at 50,000 per second: a batch of the queue has 100 segments of 32 payloads of 100 spans. The claim of
 * it leases the first group, the others are notified and fetched.
 */
import { DurableObject } from "cloudflare:workers";
import { assert } from "../../shared/assert.ts";
import { contentMinuteOf } from "../../shared/id-time.ts";
import { memberBytes } from "../../shared/ledger/id-records.ts";
import { type LedgerEvent, nextAlarm, step, tokensNeeded } from "../../shared/ledger/machine.ts";
import { defaultSettings } from "../../shared/ledger/settings.ts";
import { limits } from "../../shared/limits.ts";
import type { Doorbell } from "../../shared/messages.ts";
import { contentMinuteBytes, formatSlotKey, idOfHash, type PayloadId } from "../../shared/payload-key.ts";
import type { GroupId } from "../../shared/receipt.ts";
import { formatSegmentKey } from "../../shared/segment/segment-key.ts";
import { drawTokens } from "../../workers/consumer/draw-tokens.ts";
import { usualBounds } from "../../workers/consumer/ledger-ids.ts";
import { LedgerRuns } from "../../workers/consumer/ledger-runs.ts";
import { LedgerStorage } from "../../workers/consumer/ledger-storage.ts";

interface Bindings {
  readonly LEDGER: DurableObjectNamespace<BenchLedger>;
}

const segments = 100;
const segmentPayloads = 32;
const payloadsASecond = 50_000;
const spans = 100;
const codecVersion = 1;
/** What an SDK sends ended within so many ms before. */
const contentMs = 5000;
/** 10^8 ids are of 33 minutes at this rate. */
const lateMs = 30 * 60_000;
/** Ids of one run that is laid down: so many are merged at this rate. */
const runIds = limits.ledgerIdsMergedMax;
/** The ids are as random as they need be: `getRandomValues` takes longer than a payload. */
let random = 0x9e3779b9;

export class BenchLedger extends DurableObject<Bindings> {
  #now = Date.UTC(2026, 10, 24);
  #rows = 0;
  #groups = 0;
  #running: LedgerStorage | null = null;

  /**
   * Claims, inserts and receipts `batches` batches whose payloads nobody has seen. So large a share of them, `late`, has content of the
   * half hour before.
   */
  async cycle(batches: number, late: number): Promise<void> {
    this.#begin();
    for (let i = 0; i < batches; i++) {
      const doorbells = this.#doorbells(segments, segmentPayloads, late);
      for (let at = 0; at < doorbells.length; at += limits.claimDoorbellsMax) {
        const some = doorbells.slice(at, at + limits.claimDoorbellsMax);
        const messages = at + some.length === doorbells.length ? segments : null;
        this.#work({ kind: "claim", doorbells: some, messages, codecVersion });
      }
      for (let rings = this.#alarm(); rings.length > 0; rings = this.#alarm()) {
        for (const group of rings) {
          this.#work({ kind: "take", group, codecVersion });
        }
      }
      this.#now += ((segments * segmentPayloads) / payloadsASecond) * 1000;
      const { groups, waiting } = this.#storage.counts();
      assert(groups === 0 && waiting < 500, "what was claimed is stored before the next batch");
    }
    await this.ctx.storage.sync();
  }

  /** What a cycle does besides the ledger's part: it makes doorbells. */
  async nothing(batches: number): Promise<void> {
    for (let i = 0; i < batches; i++) {
      this.#doorbells();
    }
    await this.ctx.storage.sync();
  }

  /** One payload that comes alone: claimed, inserted, receipted. */
  async alone(count: number): Promise<void> {
    this.#begin();
    for (let i = 0; i < count; i++) {
      const [doorbell] = this.#doorbells(1, 1);
      assert(doorbell !== undefined, "one was made");
      this.#now += 2 * limits.groupAgeReadyMs;
      this.#work({ kind: "claim", doorbells: [doorbell], messages: 1, codecVersion });
    }
    await this.ctx.storage.sync();
  }

  /** Lays down so many ids as the store writes them: runs of groups that ended, 50,000 ids for each second of content. */
  async layDown(ids: number): Promise<void> {
    this.#begin();
    const runs = new LedgerRuns(this.ctx.storage.sql, usualBounds.filterBytesMax);
    runs.readAll();
    for (let laid = 0; laid < ids; laid += runIds) {
      const bytes = this.#members(Math.min(runIds, ids - laid));
      this.ctx.storage.transactionSync(() => {
        runs.add([{ at: Math.floor(this.#now), bytes }], 0);
      });
      this.#now += (runIds / payloadsASecond) * 1000;
    }
    await this.ctx.storage.sync();
  }

  /** What the instance had in memory is gone. */
  async stop(): Promise<void> {
    this.#running = null;
  }

  async start(): Promise<void> {
    this.#running = new LedgerStorage(this.#counted());
  }

  /** Nothing is remembered any more. */
  async clear(): Promise<void> {
    await this.ctx.storage.deleteAll();
    this.#running = null;
    this.#begin();
  }

  get #storage(): LedgerStorage {
    this.#running ??= new LedgerStorage(this.#counted());
    return this.#running;
  }

  async counts() {
    this.#begin();
    const { remembered, databaseBytes } = this.#storage.counts();
    return { remembered, databaseBytes, rows: this.#rows, groups: this.#groups };
  }

  #begin(): void {
    if (this.#storage.head === null) {
      this.#step({ kind: "born", facts: { epoch: null, anyPayload: false, anyRow: false } });
      // A ledger that knows no table measures before it inserts.
      const measure = { blocks: 0, windowBlocks: 100_000, windowMs: null, identity: "plain 0 1" };
      this.#step({ kind: "table", table: { refusal: "", measure } });
    }
  }

  #alarm(): readonly GroupId[] {
    const { rings } = this.#step({ kind: "alarm" });
    this.#now++;
    return rings;
  }

  /** A step, and all that follows for the group that it leases. */
  #work(event: LedgerEvent): void {
    let { task } = this.#step(event);
    this.#groups += task?.step === "insert" ? 1 : 0;
    while (task !== null) {
      const { group, attempt } = task;
      if (task.step === "insert") {
        const payloads = task.payloads.map(({ key }) => ({
          key,
          rowsByDay: [{ day: 20_781, rows: spans }],
          rejectedSpans: 0,
          bytes: 10_000,
        }));
        const report = { kind: "stored", payloads, codecVersion } as const;
        ({ task } = this.#step({ kind: "report", group, attempt, report }));
      } else {
        assert(task.step === "receipts", "what is stored is receipted");
        ({ task } = this.#step({ kind: "receipted", receipted: [{ group, attempt }] }));
      }
    }
  }

  #step(event: LedgerEvent) {
    const tokens = drawTokens(tokensNeeded(event));
    const moment = { now: Math.floor(this.#now), tokens, databaseBytes: this.#storage.databaseBytes };
    const { changes, task, rings } = step(this.#storage, event, moment, defaultSettings);
    this.#storage.apply(changes);
    nextAlarm(this.#storage, defaultSettings);
    return { task, rings };
  }

  #doorbells(objects = segments, payloads = segmentPayloads, late = 0): readonly Doorbell[] {
    const arrival = Math.floor(this.#now);
    return Array.from({ length: objects }, () => {
      const ids = Array.from({ length: payloads }, () => this.#id(late));
      const segment = formatSegmentKey(arrival, randomBytes().subarray(0, 10), ids);
      return ids.map((id, slot): Doorbell => {
        const key = formatSlotKey(segment, slot, "acme", id);
        return { v: 1, key, cause: "ingress", spans, outputBytes: 60_000, arrival, inflatedBytes: 30_000 };
      });
    }).flat();
  }

  /** The records of so many ids of this moment, in their order: their hashes are spread evenly. */
  #members(count: number): Uint8Array {
    const records = new Uint8Array(count * memberBytes);
    const view = new DataView(records.buffer);
    const contentMinute = contentMinuteOf(BigInt(Math.floor(this.#now) - contentMs / 2) * 1_000_000n);
    for (let i = 0; i < count; i++) {
      const at = i * memberBytes;
      view.setUint32(at, contentMinute << 8);
      view.setUint32(at + contentMinuteBytes, Math.floor(((i + Math.random()) / count) * 2 ** 32));
      for (let word = at + contentMinuteBytes + 4; word < at + memberBytes - 4; word += 4) {
        view.setUint32(word, nextRandom());
      }
      records[at + memberBytes - 1] = 0; // stored
    }
    return records;
  }

  #id(late: number): PayloadId {
    const withinMs = Math.random() < late ? lateMs : contentMs;
    const endedAt = Math.floor(this.#now) - Math.ceil(withinMs * Math.random());
    return idOfHash(randomBytes(), { contentMinute: contentMinuteOf(BigInt(endedAt) * 1_000_000n), from: 0 });
  }

  /** The rows that the platform would bill are counted. */
  #counted(): DurableObjectStorage {
    const { sql } = this.ctx.storage;
    const exec = (query: string, ...bindings: unknown[]) => {
      const cursor = sql.exec(query, ...bindings);
      this.#rows += cursor.rowsWritten;
      return cursor;
    };
    return {
      sql: new Proxy(sql, { get: (_, name) => (name === "exec" ? exec : Reflect.get(sql, name, sql)) }),
      transactionSync: <T>(closure: () => T): T => this.ctx.storage.transactionSync(closure),
    } as unknown as DurableObjectStorage;
  }
}

function randomBytes(): Uint8Array {
  const bytes = new Uint8Array(16);
  for (let at = 0; at < bytes.length; at++) {
    bytes[at] = nextRandom();
  }
  return bytes;
}

/** xorshift32 */
function nextRandom(): number {
  random ^= random << 13;
  random ^= random >>> 17;
  random ^= random << 5;
  return random >>> 0;
}

export default {
  async fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url);
    const ledger = env.LEDGER.get(env.LEDGER.idFromName(searchParams.get("ledger") ?? "large"));
    const count = Number(searchParams.get("count"));
    const late = Number(searchParams.get("late") ?? 0);
    switch (pathname) {
      case "/cycle":
        await ledger.cycle(count, late);
        return new Response();
      case "/nothing":
        await ledger.nothing(count);
        return new Response();
      case "/alone":
        await ledger.alone(count);
        return new Response();
      case "/lay":
        await ledger.layDown(count);
        return new Response();
      case "/stop":
        await ledger.stop();
        return new Response();
      case "/clear":
        await ledger.clear();
        return new Response();
      case "/start":
        await ledger.start();
        return new Response();
      default:
        return Response.json(await ledger.counts());
    }
  },
} satisfies ExportedHandler<Bindings>;
