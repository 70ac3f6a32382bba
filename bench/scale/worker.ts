/**
 * The ledger alone, in workerd and its SQLite: the real machine and the real store, without queues, R2 or ClickHouse.
 * A request does many steps, because a Worker's clock does not advance while it computes: time is taken from outside.
 */
import { DurableObject } from "cloudflare:workers";
import { assert } from "../../shared/assert.ts";
import { contentMinuteOf } from "../../shared/id-time.ts";
import { type LedgerEvent, step, tokensNeeded } from "../../shared/ledger/machine.ts";
import { defaultSettings } from "../../shared/ledger/settings.ts";
import type { Doorbell } from "../../shared/messages.ts";
import { formatPayloadKey, idOfHash } from "../../shared/payload-key.ts";
import { type GroupId, isGroupId } from "../../shared/receipt.ts";
import { LedgerStorage } from "../../workers/consumer/ledger-storage.ts";

interface Bindings {
  readonly LEDGER: DurableObjectNamespace<BenchLedger>;
}

/** One payload a doorbell, a hundred doorbells a claim, a hundred spans per payload: each claim makes one full group. */
const claimDoorbells = 100;
const spans = 100;
const codecVersion = 1;

export class BenchLedger extends DurableObject<Bindings> {
  readonly #storage = new LedgerStorage(this.ctx.storage);
  #drawn = Math.floor(Math.random() * 2 ** 40);
  #now = Date.UTC(2026, 10, 24);

  /** Claims, inserts and receipts `cycles` groups of a hundred payloads that nobody has seen. */
  async cycle(cycles: number): Promise<void> {
    this.#begin();
    for (let i = 0; i < cycles; i++) {
      const doorbells = Array.from({ length: claimDoorbells }, () => this.#doorbell());
      const task = this.#step({ kind: "claim", doorbells, codecVersion });
      assert(task?.step === "insert", "a full group is leased");
      const payloads = task.payloads.map(({ key }) => ({
        key,
        rowsByDay: [{ day: 20_781, rows: spans }],
        rejectedSpans: 0,
        bytes: 10_000,
      }));
      const report = { kind: "stored", payloads, codecVersion } as const;
      const { group, attempt } = task;
      const receipts = this.#step({ kind: "report", group, attempt, report });
      assert(receipts?.step === "receipts", "what is stored is receipted");
      this.#step({ kind: "receipted", receipted: [{ group, attempt: receipts.attempt }] });
      this.#now += 10;
    }
    await this.ctx.storage.sync();
  }

  /** Nothing: what a call costs by itself. */
  async nothing(): Promise<void> {
    await this.ctx.storage.sync();
  }

  async counts(): Promise<{ readonly remembered: number; readonly databaseBytes: number }> {
    this.#begin();
    return this.#storage.counts();
  }

  #begin(): void {
    if (this.#storage.head === null) {
      this.#step({ kind: "born", facts: { epoch: null, anyPayload: false, anyRow: false } });
      // A ledger that knows no table measures before it inserts.
      const measure = { blocks: 0, windowBlocks: 100_000, windowMs: null, identity: "plain 0 1" };
      this.#step({ kind: "table", table: { refusal: "", measure } });
    }
  }

  #step(event: LedgerEvent) {
    const tokens = Array.from({ length: tokensNeeded(event) }, () => this.#token());
    const moment = { now: this.#now, tokens, databaseBytes: this.#storage.databaseBytes };
    const { changes, task } = step(this.#storage, event, moment, defaultSettings);
    this.#storage.apply(changes);
    return task;
  }

  #token(): GroupId {
    const token = (this.#drawn++).toString(16).padStart(32, "0");
    assert(isGroupId(token), "a token is 32 hex digits");
    return token;
  }

  #doorbell(): Doorbell {
    // As an SDK sends it: the newest span ended within some seconds before.
    const contentMinute = contentMinuteOf(BigInt(this.#now - Math.ceil(5000 * Math.random())) * 1_000_000n);
    const id = idOfHash(crypto.getRandomValues(new Uint8Array(16)), { contentMinute, from: 0 });
    const key = formatPayloadKey(this.#now, "acme", id);
    return { v: 1, key, cause: "ingress", spans, outputBytes: 60_000, arrival: this.#now };
  }
}

export default {
  async fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url);
    const ledger = env.LEDGER.get(env.LEDGER.idFromName("0"));
    switch (pathname) {
      case "/cycle":
        await ledger.cycle(Number(searchParams.get("cycles")));
        return new Response();
      case "/nothing":
        await ledger.nothing();
        return new Response();
      default:
        return Response.json(await ledger.counts());
    }
  },
} satisfies ExportedHandler<Bindings>;
