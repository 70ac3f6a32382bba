import { describe, expect, test } from "vitest";
import { Random } from "../../bench/random.ts";
import { limits } from "../../shared/limits.ts";
import { type Account, type Allowance, type Ask, lease, nextMonthMs } from "../../shared/meter/account.ts";
import {
  admitLook,
  admitWhole,
  answeredUnits,
  giveBack,
  isKeyLimited,
  type KeyAccount,
  type KeyLimits,
  type KeyStep,
  type KeyTaken,
  keepLook,
  leaseUnits,
  noKeyLease,
  nothingTaken,
  type PerUnit,
} from "../../shared/meter/key-limits.ts";
import {
  admit,
  admitFirst,
  answered,
  isLimited,
  keepInRate,
  type Lease,
  noLease,
  refusedAlready,
  type Taken,
  takeBack,
  unanswered,
} from "../../shared/meter/lease.ts";
import { leaseAsk } from "../fixtures/lease-ask.ts";

const start = Date.UTC(2026, 10, 24, 7);
const rate = (perSecond: number, burst: number | null = null): Allowance => ({
  perSecond,
  burst,
  perMonth: null,
});
const quota = (perMonth: number): Allowance => ({ perSecond: null, burst: null, perMonth });

/** One isolate that asks for exactly what it needs, one request after another. */
function meterOf(allowed: Allowance) {
  let account: Account | undefined;
  return {
    ask(ask: Ask, now: number) {
      const result = lease(account, allowed, ask, now);
      account = result.account;
      return result;
    },
    account: () => account,
  };
}

describe("a rate", () => {
  test("admits the burst at once, then the rate, and says when the next request fits", () => {
    const meter = meterOf(rate(100, 50));
    expect(meter.ask(leaseAsk(50), start).answer).toMatchObject({ kind: "leased", amount: 50 });
    expect(meter.ask(leaseAsk(10), start).answer).toEqual({
      kind: "refused",
      limit: "rate",
      retryAfterMs: 100,
      left: 0,
    });
    expect(meter.ask(leaseAsk(10), start + 99).answer.kind).toBe("refused");
    expect(meter.ask(leaseAsk(10), start + 100).answer.kind).toBe("leased");
    expect(meter.ask(leaseAsk(50), start + 100_000).answer.kind, "no more than the burst is saved up").toBe(
      "leased",
    );
    expect(meter.ask(leaseAsk(1), start + 100_000).answer.kind).toBe("refused");
  });

  test("admits a request larger than its burst by a full bucket, which is then in debt", () => {
    const meter = meterOf(rate(10, 20));
    expect(meter.ask(leaseAsk(100), start).answer).toMatchObject({ kind: "leased", amount: 100 });
    expect(meter.ask(leaseAsk(1), start).answer).toMatchObject({ kind: "refused", retryAfterMs: 8100 });
    expect(meter.ask(leaseAsk(100), start + 9_999).answer.kind).toBe("refused");
    expect(meter.ask(leaseAsk(100), start + 10_000).answer.kind).toBe("leased");
  });

  test("a refused request costs nothing", () => {
    const meter = meterOf(rate(10, 20));
    meter.ask(leaseAsk(20), start);
    const before = meter.account();
    for (let i = 0; i < 10; i++) {
      expect(meter.ask(leaseAsk(20), start).answer.kind).toBe("refused");
    }
    expect(meter.account()).toEqual(before);
  });

  test("leases a share of what is left, and no more than is wanted", () => {
    const meter = meterOf(rate(100, 800));
    expect(meter.ask(leaseAsk(10, { wanted: 30 }), start).answer).toMatchObject({ amount: 30 });
    expect(meter.ask(leaseAsk(10, { wanted: 9999 }), start).answer).toMatchObject({ amount: 96 }); // an eighth of 770
    expect(meter.ask(leaseAsk(200, { wanted: 9999 }), start).answer).toMatchObject({ amount: 200 });
  });

  test("takes back what a living lease did not spend, and not what one that ran out did not", () => {
    const back = (alive: boolean) => {
      const meter = meterOf(rate(1, 100));
      meter.ask(leaseAsk(100), start);
      const unused = { amount: 40, month: "2026-11", alive };
      return meter.ask(leaseAsk(30, { unused }), start).answer.kind;
    };
    expect(back(true)).toBe("leased");
    expect(back(false)).toBe("refused");
  });

  test("that is set on a key which had none begins with a full burst", () => {
    const { account } = lease(undefined, quota(1000), leaseAsk(10), start);
    expect(lease(account, rate(10, 20), leaseAsk(20), start).answer.kind).toBe("leased");
  });
});

describe("a quota", () => {
  const month = { month: "2026-11", perMonth: 1000 };

  test("ends with its last span, says when the month does, and begins anew then", () => {
    const meter = meterOf(quota(1000));
    expect(meter.ask(leaseAsk(999), start).answer.kind).toBe("leased");
    expect(meter.ask(leaseAsk(2), start).answer).toEqual({
      kind: "refused",
      limit: "month",
      retryAfterMs: Date.UTC(2026, 11, 1) - start,
      left: 1,
    });
    expect(meter.ask(leaseAsk(1), start).answer.kind).toBe("leased");
    expect(meter.ask(leaseAsk(1), Date.UTC(2026, 11, 1) - 1).answer.kind).toBe("refused");
    expect(meter.ask(leaseAsk(1000), Date.UTC(2026, 11, 1)).answer.kind).toBe("leased");
  });

  test("the month after December is January's", () => {
    expect(nextMonthMs(Date.UTC(2026, 11, 31, 23))).toBe(Date.UTC(2027, 0, 1));
  });

  test("counts what was given back, if it is of this month", () => {
    const meter = meterOf(quota(1000));
    meter.ask(leaseAsk(1000), start);
    const unused = { amount: 100, month: "2026-10", alive: false };
    expect(meter.ask(leaseAsk(1, { unused }), start).answer.kind).toBe("refused");
    expect(meter.ask(leaseAsk(100, { unused: { ...unused, month: "2026-11" } }), start).answer.kind).toBe(
      "leased",
    );
  });

  test("counts what was admitted without the Meter", () => {
    const meter = meterOf(quota(1000));
    expect(meter.ask(leaseAsk(1, { unmetered: 1500 }), start).answer).toMatchObject({
      kind: "refused",
      left: 0,
    });
    expect(meter.account()?.used).toBe(1500);
  });

  test("is reported once at 80 % and once at 100 %, of which one is open, and resolved in the next month", () => {
    const meter = meterOf(quota(1000));
    const notices = (spans: number, now = start) => meter.ask(leaseAsk(spans), now).notices;
    expect(notices(799)).toEqual([]);
    expect(notices(1)).toEqual([{ ...month, percent: 80, state: "open", used: 800 }]);
    expect(notices(100)).toEqual([]);
    expect(notices(101), "a refusal is the end of a quota").toEqual([
      { ...month, percent: 80, state: "resolved", used: 900 },
      { ...month, percent: 100, state: "open", used: 900 },
    ]);
    expect(notices(100)).toEqual([]);
    expect(notices(1, Date.UTC(2026, 11, 1))).toEqual([
      { ...month, percent: 80, state: "resolved", used: 1000 },
      { ...month, percent: 100, state: "resolved", used: 1000 },
    ]);
  });
});

describe("an isolate", () => {
  const allowed = rate(100, 1000);

  /** A lease of an isolate that was granted `granted` for a request of 10. */
  function leased(granted: number, now = start): Lease {
    const asked = admit(noLease(now), allowed, 10, now);
    if (asked.decision.kind !== "ask") {
      throw new Error("an isolate without a lease asks");
    }
    const answer = { kind: "leased", amount: granted, month: "2026-11" } as const;
    return answered(asked.lease, allowed, asked.decision.ask, answer, now).lease;
  }

  test("without limits never asks", () => {
    expect(isLimited({ perSecond: null, burst: null, perMonth: null })).toBe(false);
    expect(isLimited(rate(1))).toBe(true);
    expect(isLimited(quota(1))).toBe(true);
  });

  test("spends its lease without asking, then asks for what it used in the last seconds", () => {
    let held = leased(110);
    for (let i = 0; i < 10; i++) {
      const next = admit(held, allowed, 10, start + i * 100);
      expect(next.decision.kind).toBe("admitted");
      held = next.lease;
    }
    const { decision } = admit(held, allowed, 10, start + 2000);
    // 110 spans in 2.5 s (half a second of it from before the first ask) are 44 a second; for 5 s: 220.
    expect(decision).toEqual({ kind: "ask", ask: leaseAsk(10, { wanted: 230 }) });
  });

  test("does not spend a lease that has run out, or another month's: it gives the rest back", () => {
    const unused = (now: number, held = leased(110)) => {
      const { decision } = admit(held, allowed, 10, now);
      return decision.kind === "ask" ? decision.ask.unused : undefined;
    };
    expect(unused(start + limits.meterLeaseMs)).toEqual({ amount: 100, month: "2026-11", alive: false });
    const december = Date.UTC(2026, 11, 1);
    expect(unused(december, leased(110, december - 5))).toMatchObject({ month: "2026-11", alive: false });
  });

  /** The lease of an isolate whose request of 10 was refused at `start`. */
  function refused(limit: "rate" | "month", left: number): Lease {
    const asked = admit(noLease(start), allowed, 10, start);
    const ask = asked.decision.kind === "ask" ? asked.decision.ask : leaseAsk(0);
    const answer = { kind: "refused", limit, retryAfterMs: 5000, left } as const;
    const { lease: held, decision } = answered(asked.lease, allowed, ask, answer, start);
    expect(decision).toEqual({ kind: "refused", refused: { limit, retryAfterMs: 5000 } });
    return held;
  }

  test("believes a refusal by rate for a moment, while the limits are the same", () => {
    const held = refused("rate", 4);
    expect(admit(held, allowed, 10, start + 100).decision).toEqual({
      kind: "refused",
      refused: { limit: "rate", retryAfterMs: 4900 },
    });
    expect(refusedAlready(held, allowed, 1, start + 100), "nine spans at 100 a second earlier").toEqual({
      limit: "rate",
      retryAfterMs: 4810,
    });
    expect(refusedAlready(held, allowed, 110, start + 100)).toMatchObject({ retryAfterMs: 5900 });
    expect(refusedAlready(held, rate(1000, 5), 10, start), "other limits were not refused").toBeUndefined();
    expect(admit(held, rate(200), 1, start + 100).decision.kind).toBe("ask");
    expect(admit(held, allowed, 1, start + limits.meterRefusalMs).decision.kind).toBe("ask");
  });

  test("believes a refusal by quota for as long as it lasts, at most a minute, and goes on asking for what fits", () => {
    const held = refused("month", 4);
    expect(admit(held, allowed, 5, start + 4999).decision).toMatchObject({ refused: { limit: "month" } });
    expect(admit(held, allowed, 4, start).decision.kind).toBe("ask");
    expect(admit(held, allowed, 5, start + 5000).decision.kind).toBe("ask");
  });

  test("over the rate asks at most five times a second, whatever it is answered", () => {
    let held = refused("rate", 0);
    let asks = 0;
    for (let now = start; now < start + limits.meterOverMs; now += 10) {
      const next = admit(held, allowed, 10, now);
      held = next.lease;
      if (next.decision.kind === "ask") {
        asks++;
        const answer = { kind: "leased", amount: 10, month: "2026-11" } as const;
        held = answered(held, allowed, next.decision.ask, answer, now).lease;
      }
    }
    expect(asks).toBeLessThanOrEqual((5 * limits.meterOverMs) / 1000);
  });

  test("admits while the Meter cannot be reached, asks again a second later, and reports what it admitted", () => {
    const asked = admit(noLease(start), allowed, 10, start);
    const ask = asked.decision.kind === "ask" ? asked.decision.ask : leaseAsk(0);
    let { lease: held, decision } = unanswered(asked.lease, ask, start) as ReturnType<typeof admit>;
    expect(decision.kind).toBe("unmetered");
    ({ lease: held, decision } = admit(held, allowed, 7, start + 1));
    expect(decision.kind).toBe("unmetered");
    ({ decision } = admit(held, allowed, 1, start + limits.meterAskAgainMs));
    expect(decision).toMatchObject({ kind: "ask", ask: { amount: 1, unmetered: 17 } });
  });

  test("spends again what a request gave back", () => {
    const held = takeBack(leased(10), { how: "admitted", amount: 10 });
    expect(admit(held, allowed, 10, start).decision.kind).toBe("admitted");
  });

  test("asks once for a stock, and beside that only for what each request needs", () => {
    const busy = { ...leased(10), used: 1000 };
    const first = admit(busy, allowed, 10, start + 1000);
    const second = admit(first.lease, allowed, 10, start + 1000);
    expect(first.decision).toMatchObject({ ask: { wanted: expect.toSatisfy((n: number) => n > 1000) } });
    expect(second.decision).toMatchObject({ ask: { wanted: 10 } });
    const later = start + 1000 + limits.meterTimeoutMs;
    const third = admit(second.lease, allowed, 10, later).decision;
    expect(third, "the first was broken off").toMatchObject({
      ask: { wanted: expect.toSatisfy((n) => n > 10) },
    });
  });
});

describe("what a look at a request takes", () => {
  /** An isolate and its Meter: what requests of so many spans come to, one after another, and the calls that it took. */
  function isolateOf(allowed: Allowance) {
    const meter = meterOf(allowed);
    let held = noLease(start);
    let calls = 0;
    const decided = (step: ReturnType<typeof admit>, now: number): Taken["how"] | "refused" => {
      held = step.lease;
      if (step.decision.kind !== "ask") {
        return step.decision.kind;
      }
      calls++;
      const { ask } = step.decision;
      const { lease: after, decision } = answered(held, allowed, ask, meter.ask(ask, now).answer, now);
      held = after;
      return decision.kind;
    };
    return {
      first: (now: number) => decided(admitFirst(held, allowed, 1, now), now),
      rest: (amount: number, now: number, how: Taken["how"], first = 1) =>
        decided(admit(held, allowed, amount, now, { how, amount: first }), now),
      keepInRate: (amount: number, kept: number) => {
        held = keepInRate(held, { how: "admitted", amount }, kept);
      },
      takeBack: (amount: number) => {
        held = takeBack(held, { how: "admitted", amount });
      },
      calls: () => calls,
      /** What the rate and the month have counted, what this isolate still holds left out. */
      spent: (now: number) => {
        const { account } = meter.ask(
          leaseAsk(0, {
            unused: { amount: held.left, month: "2026-11", alive: true },
            unmetered: held.unmetered,
            rateOnly: { amount: held.rateOnly, month: "2026-11" },
          }),
          now,
        );
        return { rate: 1000 - (account.tokens ?? 0), month: account.used };
      },
    };
  }
  const both: Allowance = { perSecond: 100, burst: 1000, perMonth: 100_000 };

  test("and its others are one call where requests are alike, and mostly none", () => {
    const isolate = isolateOf(both);
    const withoutFirst = meterOf(both);
    let [held, calls] = [noLease(start), 0];
    for (let i = 0; i < 200; i++) {
      const now = start + i * 200;
      expect(isolate.first(now)).toBe("admitted");
      expect(isolate.rest(10, now, "admitted")).toBe("admitted");
      const { lease: after, decision } = admit(held, both, 10, now);
      held = after;
      if (decision.kind === "ask") {
        calls++;
        const { answer } = withoutFirst.ask(decision.ask, now);
        ({ lease: held } = answered(held, both, decision.ask, answer, now));
      }
    }
    expect(isolate.calls()).toBeLessThanOrEqual(calls + 1);
    expect(isolate.spent(start + 40_000).month).toBe(2000);
  });

  test("of one that is larger than the burst is no part of the burst: it gets through when the bucket is full", () => {
    const isolate = isolateOf(rate(1, 1));
    expect(isolate.first(start)).toBe("admitted");
    expect(isolate.rest(10, start, "admitted")).toBe("admitted");
    expect(isolate.first(start + 1000)).toBe("refused");
    expect(isolate.first(start + 9000), "nine spans of debt").toBe("refused");
    expect(isolate.first(start + 10_000)).toBe("admitted");
    expect(isolate.rest(10, start + 10_000, "admitted")).toBe("admitted");
  });

  test("stays spent in the rate alone where the request brought nothing", () => {
    const isolate = isolateOf(both);
    for (let i = 0; i < 5; i++) {
      isolate.first(start);
      isolate.keepInRate(1, 1); // no good span
      isolate.first(start);
      isolate.rest(10, start, "admitted");
      isolate.keepInRate(10, 1); // a duplicate
    }
    expect(isolate.spent(start)).toEqual({ rate: 10, month: 0 });
  });

  test("stays spent where the look showed that it is more, whether or not the lease holds as much", () => {
    const isolate = isolateOf(both);
    for (const kept of [3, 900]) {
      isolate.first(start);
      isolate.keepInRate(1, kept);
    }
    expect(isolate.spent(start)).toEqual({ rate: 903, month: 0 });
  });

  test("costs nothing where the request is to be retried", () => {
    const isolate = isolateOf(both);
    isolate.first(start);
    isolate.takeBack(1);
    isolate.first(start);
    isolate.rest(10, start, "admitted");
    isolate.takeBack(10);
    isolate.first(start);
    expect(isolate.rest(200_000, start, "admitted"), "beyond the month").toBe("refused");
    expect(isolate.spent(start)).toEqual({ rate: 0, month: 0 });
  });

  test("is counted once where the Meter cannot be reached", () => {
    const asked = admitFirst(noLease(start), both, 1, start);
    const ask = asked.decision.kind === "ask" ? asked.decision.ask : leaseAsk(0);
    const { lease: held } = unanswered(asked.lease, ask, start);
    expect(held.unmetered).toBe(1);
    expect(admit(held, both, 10, start, { how: "unmetered", amount: 1 }).lease.unmetered).toBe(10);
    expect(keepInRate(held, { how: "unmetered", amount: 1 }, 1).unmetered).toBe(0);
  });
});

describe("a key with limits of spans and of bytes", () => {
  const none: Allowance = { perSecond: null, burst: null, perMonth: null };

  /** An isolate and its Meter: requests one after another, and the calls that they took. */
  function isolateOf(allowed: KeyLimits) {
    let account: KeyAccount = { spans: undefined, bytes: undefined };
    let held = noKeyLease(start);
    let calls = 0;
    const decided = ({ lease: after, decision }: KeyStep, now: number) => {
      held = after;
      if (decision.kind !== "ask") {
        return decision;
      }
      calls++;
      const result = leaseUnits(account, allowed, decision.asks, now);
      account = result.account;
      const end = answeredUnits(held, allowed, decision, result.answers, now);
      held = end.lease;
      return end.decision;
    };
    return {
      /** A request of which so many bytes come, and inflate to so many: its spans and all of its bytes, or the unit that refused it. */
      send(whole: PerUnit<number>, received: number, now: number) {
        const look = decided(admitLook(held, allowed, { spans: 1, bytes: received }, now), now);
        if (look.kind === "refused") {
          return look;
        }
        const all = decided(admitWhole(held, allowed, whole, look.taken, now), now);
        return all.kind === "refused" ? all : { ...all, kind: "admitted" as const };
      },
      look(received: number, looked: number, now: number) {
        const look = decided(admitLook(held, allowed, { spans: 1, bytes: received }, now), now);
        if (look.kind === "taken") {
          held = keepLook(held, allowed, look.taken, { spans: 1, bytes: looked });
        }
        return look;
      },
      giveBack(taken: KeyTaken) {
        held = giveBack(held, taken);
      },
      calls: () => calls,
      held: () => held,
      account: () => account,
    };
  }
  const request = { spans: 10, bytes: 7000 };

  test("asks for both in one call: no more calls than with a limit of spans", () => {
    const calls = (allowed: KeyLimits): number => {
      const isolate = isolateOf(allowed);
      const random = new Random(4);
      for (let i = 0; i < 2000; i++) {
        const spans = 1 + random.below(20);
        const whole = { spans, bytes: spans * (300 + random.below(1000)) };
        expect(isolate.send(whole, Math.ceil(whole.bytes / 8), start + i * 100).kind).toBe("admitted");
      }
      return isolate.calls();
    };
    const spans = { perSecond: 1000, burst: 10_000, perMonth: 10_000_000 };
    const bytes = { perSecond: 1_000_000, burst: 10_000_000, perMonth: 10_000_000_000 };
    const spansAlone = calls({ spans, bytes: none });
    expect(spansAlone).toBeLessThan(2000 * 0.1);
    expect(calls({ spans: none, bytes })).toBeLessThanOrEqual(1.2 * spansAlone);
    expect(calls({ spans, bytes })).toBeLessThanOrEqual(1.2 * spansAlone);
  });

  test("is refused by the unit that is used up, and pays nothing of the other", () => {
    for (const [allowed, unit, limit] of [
      [{ spans: rate(1, 1000), bytes: rate(1, 10_000) }, "bytes", "rate"],
      [{ spans: rate(1, 15), bytes: rate(1, 1_000_000) }, "spans", "rate"],
      [{ spans: rate(1, 1000), bytes: quota(10_000) }, "bytes", "month"],
      [{ spans: quota(15), bytes: rate(1, 1_000_000) }, "spans", "month"],
    ] as const) {
      const isolate = isolateOf(allowed);
      expect(isolate.send(request, 800, start).kind).toBe("admitted");
      const other = unit === "spans" ? "bytes" : "spans";
      const spent = () => {
        const { tokens, used } = isolate.account()[other] ?? { tokens: 0, used: 0 };
        const left = isolate.held()[other].left;
        return { tokens: tokens === null ? null : tokens + left, used: used - left };
      };
      const before = spent();
      for (let i = 0; i < 5; i++) {
        expect(isolate.send(request, 800, start)).toMatchObject({
          kind: "refused",
          unit,
          refused: { limit },
        });
      }
      expect(spent(), `${unit} by ${limit}`).toEqual(before);
    }
  });

  test("one that is larger than the burst of bytes gets through by a full bucket, and after its Retry-After", () => {
    const isolate = isolateOf({ spans: rate(1, 1), bytes: rate(100, 100) });
    let now = start;
    for (let i = 0; i < 5; i++) {
      expect(isolate.send(request, 800, now).kind).toBe("admitted");
      const refused = isolate.send(request, 800, now);
      if (refused.kind !== "refused") {
        throw new Error("70 seconds of bytes are owed");
      }
      expect(refused).toMatchObject({ unit: "bytes", refused: { limit: "rate" } });
      now += refused.refused.retryAfterMs;
    }
  });

  test("pays for a look with the bytes that it found, in the rate alone", () => {
    const isolate = isolateOf({
      spans: { perSecond: 1, burst: 10, perMonth: 1000 },
      bytes: { perSecond: 1000, burst: 50_000, perMonth: 1_000_000 },
    });
    const looks = Array.from({ length: 6 }, () => isolate.look(100, 20_000, start).kind);
    expect(looks, "60,000 of 50,000 bytes, and then nothing").toEqual([
      "taken",
      "taken",
      "taken",
      "refused",
      "refused",
      "refused",
    ]);
    expect(isolate.send({ spans: 1, bytes: 1 }, 1, start + 60_000).kind).toBe("admitted");
    const { spans, bytes } = isolate.account();
    const { left } = isolate.held().bytes;
    expect([spans?.used, (bytes?.used ?? 0) - left], "of the month").toEqual([1, 1]);
  });

  test("costs nothing where the request is to be retried", () => {
    const isolate = isolateOf({ spans: rate(1, 10), bytes: rate(1000, 7000) });
    for (let i = 0; i < 5; i++) {
      const sent = isolate.send(request, 800, start);
      expect(sent.kind).toBe("admitted");
      isolate.giveBack(sent.kind === "admitted" ? sent.taken : nothingTaken);
    }
  });

  test("a key that has only limits of bytes is not asked about spans", () => {
    const isolate = isolateOf({ spans: none, bytes: quota(10_000) });
    expect(isolate.send(request, 800, start).kind).toBe("admitted");
    expect(isolate.account().spans).toBeUndefined();
    expect(isKeyLimited({ spans: none, bytes: none })).toBe(false);
    expect(isKeyLimited({ spans: none, bytes: quota(1) })).toBe(true);
  });
});

describe("50 isolates and 100,000 requests", () => {
  interface Run {
    /** When each admitted request was, and its spans. */
    readonly admitted: readonly { readonly at: number; readonly spans: number }[];
    readonly calls: number;
    readonly refused: number;
    readonly seconds: number;
    readonly largest: number;
  }

  /** Requests at random times at random isolates; a call to the Meter takes 20 to 80 ms, and others go on meanwhile. */
  function simulate(allowed: Allowance, requestsPerSecond: number, seed: number): Run {
    const random = new Random(seed);
    const leases = Array.from({ length: 50 }, () => noLease(start));
    const calls: { at: number; isolate: number; ask: Ask; reply: number }[] = [];
    const admitted: { at: number; spans: number }[] = [];
    let account: Account | undefined;
    let now = start;
    let [asked, refused, largest] = [0, 0, 0];
    const settleUntil = (time: number): void => {
      for (;;) {
        const next = calls.reduce<number>(
          (best, call, i) => (call.reply <= time && call.reply < (calls[best]?.reply ?? time + 1) ? i : best),
          -1,
        );
        const [call] = next < 0 ? [] : calls.splice(next, 1);
        if (call === undefined) {
          return;
        }
        // The Meter decides half-way there.
        const result = lease(
          account,
          allowed,
          call.ask,
          Math.max(account?.at ?? 0, (call.at + call.reply) / 2),
        );
        account = result.account;
        const done = answered(
          leases[call.isolate] ?? noLease(0),
          allowed,
          call.ask,
          result.answer,
          call.reply,
        );
        leases[call.isolate] = done.lease;
        if (done.decision.kind === "admitted") {
          admitted.push({ at: call.reply, spans: call.ask.amount });
        } else {
          refused++;
        }
      }
    };
    for (let i = 0; i < 100_000; i++) {
      now += (2 * 1000 * random.below(1000)) / 1000 / requestsPerSecond;
      settleUntil(now);
      const isolate = random.below(50);
      const spans = random.chance(0.05) ? 200 + random.below(313) : 1 + random.below(20);
      largest = Math.max(largest, spans);
      const { lease: held, decision } = admit(leases[isolate] ?? noLease(0), allowed, spans, now);
      leases[isolate] = held;
      switch (decision.kind) {
        case "admitted":
          admitted.push({ at: now, spans });
          break;
        case "ask":
          asked++;
          calls.push({ at: now, isolate, ask: decision.ask, reply: now + 20 + random.below(60) });
          break;
        default:
          refused++;
      }
    }
    settleUntil(now + 1000);
    return {
      admitted: admitted.sort((a, b) => a.at - b.at),
      calls: asked,
      refused,
      seconds: (now - start) / 1000,
      largest,
    };
  }

  const total = (run: Run) => run.admitted.reduce((sum, { spans }) => sum + spans, 0);
  /** About 10 spans in 19 of 20 requests and 356 in the other. */
  const meanSpans = 27.8;

  test("within the rate: none is refused, and there are at most 0.05 calls per request", () => {
    const run = simulate(rate(30_000), 1000, 1); // 27,800 spans per second wanted
    expect(run.refused).toBe(0);
    expect(run.calls / 100_000).toBeLessThanOrEqual(0.05);
  });

  test("within the quota: the same", () => {
    const run = simulate(quota(20_000_000), 1000, 2);
    expect(run.refused).toBe(0);
    expect(run.calls / 100_000).toBeLessThanOrEqual(0.05);
  });

  test.each([2, 5])(
    "%d times over the rate: what is admitted is within the bound at all times, and not much less",
    (over) => {
      const spansPerSecond = Math.round((1000 * meanSpans) / over);
      const burstSpans = 2 * spansPerSecond;
      const run = simulate(rate(spansPerSecond, burstSpans), 1000, 3 + over);
      const lifeSeconds = limits.meterLeaseMs / 1000;
      for (const window of [1, 5, 20, 60]) {
        let [sum, first, most] = [0, 0, 0];
        for (const { at, spans } of run.admitted) {
          sum += spans;
          for (; (run.admitted[first]?.at ?? at) <= at - window * 1000; first++) {
            sum -= run.admitted[first]?.spans ?? 0;
          }
          most = Math.max(most, sum);
        }
        const bound = burstSpans + spansPerSecond * (window + lifeSeconds) + run.largest;
        expect(most, `in ${window} s`).toBeLessThanOrEqual(bound);
      }
      // Five a second from each isolate, and what was asked beside a call that was under way.
      expect(run.calls / run.seconds).toBeLessThan(50 * 8);
      expect(total(run)).toBeLessThanOrEqual(burstSpans + spansPerSecond * run.seconds + run.largest);
      expect(total(run)).toBeGreaterThan(0.9 * spansPerSecond * run.seconds);
    },
  );

  test("over the quota: never a span more, and all but a hundredth of it", () => {
    const run = simulate(quota(1_000_000), 1000, 9);
    expect(total(run)).toBeLessThanOrEqual(1_000_000);
    expect(total(run)).toBeGreaterThan(990_000);
    expect(run.refused).toBeGreaterThan(50_000);
  });
});
