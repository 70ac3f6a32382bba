/**
 * The Meter: a Durable Object per tenant, which leases spans and bytes to the isolates of the ingress. The rules are pure
 * (shared/meter/key-limits.ts, kept-account.ts); this keeps the accounts. A debit is on disk before its lease is answered: the platform
 * holds answers back until what was written before them is durable.
 */
import { DurableObject } from "cloudflare:workers";
import * as v from "valibot";
import type { OutcomesMessage, QuotaMessage } from "../../shared/messages.ts";
import type { Account } from "../../shared/meter/account.ts";
import { leaseKept, type MeteredAccount, meteredAccount } from "../../shared/meter/kept-account.ts";
import type { Answers, Asks, KeyAccount, KeyLimits } from "../../shared/meter/key-limits.ts";
import { writeLog } from "../../shared/write-log.ts";

/** What the Meter may touch. */
export interface MeterBindings {
  /** What there is to tell the operator: neither the ingress nor its Meter can write into ClickHouse. */
  readonly OUTCOMES: Queue<OutcomesMessage | QuotaMessage>;
}

const unitFields = {
  tokens: v.nullable(v.number()),
  at: v.number(),
  // Earlier versions wrote none, and read what has it as if there were none.
  ahead: v.optional(v.number(), 0),
  month: v.string(),
  // An earlier version had another name for it: at worst operators are notified once more.
  reported: v.optional(v.picklist([0, 80, 100]), 0),
};

/**
 * An account as it is kept: that of spans, and that of bytes within it. So a release that knew no bytes reads it, and what it
 * wrote is read here.
 */
const accountSchema = v.object({
  ...unitFields,
  usedSpans: v.number(),
  bytes: v.optional(v.object({ ...unitFields, used: v.number() })),
});

function parseAccount(text: string): KeyAccount {
  const { usedSpans, bytes, ...spans } = v.parse(accountSchema, JSON.parse(text));
  return { spans: { ...spans, used: usedSpans }, bytes };
}

function formatAccount({ spans, bytes }: KeyAccount, now: number): string {
  const unused: Account = { tokens: null, at: now, ahead: 0, month: "", used: 0, reported: 0 };
  const { used: usedSpans, ...rest } = spans ?? unused;
  return JSON.stringify({ ...rest, usedSpans, bytes } satisfies v.InferInput<typeof accountSchema>);
}

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
  /** Leased in the month, less what was given back: what is leased and not spent yet counts as used. 0 where nothing limits it. */
  readonly usedSpans: number;
  readonly usedBytes: number;
}

export class Meter extends DurableObject<MeterBindings> {
  readonly #accounts = new Map<string, MeteredAccount>();

  constructor(ctx: DurableObjectState, env: MeterBindings) {
    super(ctx, env);
    ctx.storage.sql.exec(
      "CREATE TABLE IF NOT EXISTS accounts (account TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID",
    );
    for (const { account, state } of ctx.storage.sql.exec("SELECT account, state FROM accounts")) {
      this.#accounts.set(String(account), meteredAccount(parseAccount(String(state))));
    }
  }

  /** Leases or refuses. Never waits for anything but the disk. */
  async leaseUnits(
    { tenant, account, limits }: MeteredKey,
    asks: Asks,
  ): Promise<{ readonly answers: Answers }> {
    const now = Date.now();
    const before = this.#accounts.get(account) ?? meteredAccount();
    const { metered, answers, notices } = leaseKept(before, limits, asks, now);
    this.#accounts.set(account, metered);
    if (metered.kept !== before.kept) {
      this.#write(account, metered.kept, now);
    }
    for (const notice of notices) {
      const { unit, month, percent, state, used, perMonth } = notice;
      const of = { v: 1, kind: "quota", tenant, account, month, percent, state } as const;
      const message: QuotaMessage = { ...of, unit, used, perMonth };
      // People are notified later, not before the sender is answered. A notice that is not taken is said again.
      this.ctx.waitUntil(
        this.env.OUTCOMES.send(message).catch((error: unknown) => {
          writeLog("error", { message: "a quota notice was not taken", tenant }, error);
          const present = this.#accounts.get(account);
          const ofUnit = present?.account[unit];
          if (present !== undefined && ofUnit?.month === month && state === "open") {
            const reported = percent === 80 ? 0 : 80;
            const corrected = { ...present.account, [unit]: { ...ofUnit, reported } };
            this.#accounts.set(account, { ...present, account: corrected, kept: corrected });
            this.#write(account, corrected, now);
          }
        }),
      );
    }
    return { answers };
  }

  /** The tenant's accounts that were ever metered. */
  async usage(): Promise<readonly AccountUsage[]> {
    return [...this.#accounts].map(([account, { account: units }]) => {
      const month = [units.spans?.month ?? "", units.bytes?.month ?? ""].sort()[1] ?? "";
      const usedOf = (unit: Account | undefined): number => (unit?.month === month ? unit.used : 0);
      return { account, month, usedSpans: usedOf(units.spans), usedBytes: usedOf(units.bytes) };
    });
  }

  #write(account: string, state: KeyAccount, now: number): void {
    this.ctx.storage.sql.exec(
      "INSERT INTO accounts (account, state) VALUES (?, ?) ON CONFLICT (account) DO UPDATE SET state = excluded.state",
      account,
      formatAccount(state, now),
    );
  }
}
