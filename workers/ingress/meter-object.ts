/**
 * The Meter: a Durable Object a tenant, which leases spans to the isolates of the ingress. The rules are pure
 * (shared/meter/account.ts); this keeps the accounts. A debit is on disk before its lease is answered: the platform
 * holds answers back until what was written before them is durable.
 */
import { DurableObject } from "cloudflare:workers";
import * as v from "valibot";
import type { OutcomesMessage, QuotaMessage } from "../../shared/messages.ts";
import { type Account, type Answer, type Ask, type KeyLimits, lease } from "../../shared/meter/account.ts";
import { writeLog } from "../../shared/write-log.ts";

/** What the Meter may touch. */
export interface MeterBindings {
  /** What there is to tell the operator: neither the ingress nor its Meter can write into ClickHouse. */
  readonly OUTCOMES: Queue<OutcomesMessage | QuotaMessage>;
}

const accountSchema = v.object({
  tokens: v.nullable(v.number()),
  at: v.number(),
  month: v.string(),
  usedSpans: v.number(),
  reported: v.picklist([0, 80, 100]),
});

/** Which account of which tenant is asked about, and what its key's record allows. */
export interface MeteredKey {
  readonly tenant: string;
  /** The id of the first key of the line. */
  readonly account: string;
  readonly limits: KeyLimits;
}

export interface AccountUsage {
  readonly account: string;
  readonly month: string;
  /** Spans leased in the month, less what was given back: what is out and not spent yet counts as used. */
  readonly usedSpans: number;
}

export class Meter extends DurableObject<MeterBindings> {
  readonly #accounts = new Map<string, Account>();

  constructor(ctx: DurableObjectState, env: MeterBindings) {
    super(ctx, env);
    ctx.storage.sql.exec(
      "CREATE TABLE IF NOT EXISTS accounts (account TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID",
    );
    for (const { account, state } of ctx.storage.sql.exec("SELECT account, state FROM accounts")) {
      this.#accounts.set(String(account), v.parse(accountSchema, JSON.parse(String(state))));
    }
  }

  /** Leases spans or refuses. Never waits for anything but the disk. */
  async lease({ tenant, account, limits }: MeteredKey, ask: Ask): Promise<{ readonly answer: Answer }> {
    const now = Date.now();
    const { account: after, answer, notices } = lease(this.#accounts.get(account), limits, ask, now);
    this.#keep(account, after);
    for (const notice of notices) {
      const message: QuotaMessage = { v: 1, kind: "quota", tenant, account, ...notice };
      // People are told later, not before the sender is answered. A notice that is not taken is said again.
      this.ctx.waitUntil(
        this.env.OUTCOMES.send(message).catch((error: unknown) => {
          writeLog("error", { message: "a quota notice was not taken", tenant }, error);
          const present = this.#accounts.get(account);
          if (present !== undefined && notice.state === "open" && present.month === notice.month) {
            this.#keep(account, { ...present, reported: notice.percent === 80 ? 0 : 80 });
          }
        }),
      );
    }
    return { answer };
  }

  /** The tenant's accounts that were ever metered. */
  async usage(): Promise<readonly AccountUsage[]> {
    return [...this.#accounts].map(([account, { month, usedSpans }]) => ({ account, month, usedSpans }));
  }

  #keep(account: string, state: Account): void {
    this.#accounts.set(account, state);
    this.ctx.storage.sql.exec(
      "INSERT INTO accounts (account, state) VALUES (?, ?) ON CONFLICT (account) DO UPDATE SET state = excluded.state",
      account,
      JSON.stringify(state),
    );
  }
}
