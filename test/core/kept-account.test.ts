import { assert, describe, expect, test } from "vitest";
import { Random } from "../../bench/random.ts";
import { limits } from "../../shared/limits.ts";
import { type Ask, burstOf, monthOf, nextMonthMs, refilled } from "../../shared/meter/account.ts";
import { leaseKept, type MeteredAccount, meteredAccount } from "../../shared/meter/kept-account.ts";
import type { KeyLimits } from "../../shared/meter/key-limits.ts";
import { leaseAsk } from "../fixtures/lease-ask.ts";

const start = Date.UTC(2026, 10, 24, 7);
const spansAlone = (perSecond: number | null, perMonth: number | null): KeyLimits => ({
  spans: { perSecond, burst: null, perMonth },
  bytes: { perSecond: null, burst: null, perMonth: null },
});

/** A Meter's account, and how often it was written. */
function meterOf(allowed: KeyLimits) {
  let metered: MeteredAccount = meteredAccount();
  let written = 0;
  return {
    lease(spans: Ask, now: number, bytes: Ask | null = null) {
      const step = leaseKept(metered, allowed, { spans, bytes }, now);
      written += step.metered.kept === metered.kept ? 0 : 1;
      metered = step.metered;
      return step;
    },
    startAnew() {
      metered = meteredAccount(metered.kept);
    },
    metered: () => metered,
    written: () => written,
  };
}

describe("what is on disk of an account", () => {
  test("is the account itself while little was leased", () => {
    const meter = meterOf(spansAlone(null, 1000));
    meter.lease(leaseAsk(10), start);
    expect(meter.metered().kept).toEqual(meter.metered().account);
    meter.lease(leaseAsk(10), start + 1000);
    expect(meter.metered().kept.spans?.used).toBe(20);
    expect(meter.written()).toBe(2);
  });

  test("is written seldom where many leases come: of 20,000, fewer than 700 times", () => {
    const meter = meterOf(spansAlone(1000, 1_000_000_000));
    for (let i = 0; i < 20_000; i++) {
      meter.lease(leaseAsk(100), start + i * 250);
    }
    expect(meter.metered().account.spans?.used).toBe(2_000_000);
    expect(meter.written()).toBeGreaterThan(100);
    expect(meter.written()).toBeLessThan(700);
  });

  test("does not change where everything is refused, by rate or by quota", () => {
    const meter = meterOf(spansAlone(10, 1000));
    meter.lease(leaseAsk(100), start);
    const before = meter.written();
    for (let i = 1; i < 50; i++) {
      const { answers } = meter.lease(leaseAsk(90), start + i * 100);
      expect(answers.kind).toBe("refused");
    }
    expect(meter.written()).toBe(before);
  });

  test("has what people were notified of", () => {
    const meter = meterOf(spansAlone(null, 100_000));
    const notices: string[] = [];
    for (let i = 0; i < 101; i++) {
      const step = meter.lease(leaseAsk(1000), start + i);
      notices.push(...step.notices.map(({ percent, state }) => `${percent} ${state}`));
      meter.startAnew();
    }
    expect(notices).toEqual(["80 open", "80 resolved", "100 open"]);
  });

  test("is of the month", () => {
    const meter = meterOf(spansAlone(null, 1000));
    meter.lease(leaseAsk(500), start);
    meter.lease(leaseAsk(10), nextMonthMs(start));
    meter.startAnew();
    meter.lease(leaseAsk(10), nextMonthMs(start) + 1000);
    expect(meter.metered().account.spans?.used).toBe(20);
  });

  test("has what was given back, though little is leased with it: a Meter that starts anew does not count it for the rest of the month", () => {
    const meter = meterOf(spansAlone(null, 1_000_000));
    let [now, admitted, left] = [start, 0, 0];
    for (let minute = 0; minute < 60; minute++) {
      // Each minute one isolate sends much at once, and half a minute later one request more.
      for (const [amount, wanted] of [
        [100, 600],
        [1, 1],
      ] as const) {
        const unused = left === 0 ? null : { amount: left, month: "2026-11", alive: false };
        const { answers } = meter.lease(leaseAsk(amount, { wanted, unused }), now);
        const answer = answers.kind === "leased" ? answers.answers.spans : null;
        assert(answer?.kind === "leased", "it is within the quota");
        admitted += amount;
        left = answer.amount - amount;
        meter.startAnew();
        now += 30_000;
      }
    }
    const used = meter.metered().account.spans?.used ?? 0;
    expect(used).toBeGreaterThanOrEqual(admitted + left);
    expect(used, "a hundredth of each lease of 600").toBeLessThanOrEqual(admitted + left + 60 * 6);
  });

  test("allows no more than the account, and little less; whenever the Meter starts anew", () => {
    for (let seed = 0; seed < 60; seed++) {
      const random = new Random(seed);
      const allowed: KeyLimits = {
        spans: {
          perSecond: random.pick([null, 50, 5000]),
          burst: random.pick([null, 400]),
          perMonth: random.pick([null, 20_000, 10_000_000]),
        },
        bytes: {
          perSecond: random.pick([null, 10_000]),
          burst: null,
          perMonth: random.pick([null, 1_000_000]),
        },
      };
      const meter = meterOf(allowed);
      let [now, spansLeased, bytesLeased, unspent] = [start, 0, 0, 0];
      for (let i = 0; i < 1500; i++) {
        now += random.below(random.pick([10, 1000, 20_000]));
        const amount = 1 + random.below(100);
        const wanted = amount + random.below(200);
        const given = random.chance(0.3) ? unspent : 0;
        const unused = given === 0 ? null : { amount: given, month: monthOf(now), alive: false };
        const { metered, answers } = meter.lease(
          leaseAsk(amount, { wanted, unused }),
          now,
          leaseAsk(amount * 20),
        );
        spansLeased -= given;
        unspent -= given;
        if (answers.kind === "leased") {
          const { spans, bytes } = answers.answers;
          unspent += spans?.kind === "leased" ? spans.amount - amount : 0;
          spansLeased += spans?.kind === "leased" ? spans.amount : 0;
          bytesLeased += bytes?.kind === "leased" ? bytes.amount : 0;
        }
        for (const unit of ["spans", "bytes"] as const) {
          const [account, kept] = [metered.account[unit], metered.kept[unit]];
          expect(account !== undefined && kept !== undefined).toBe(true);
          if (account === undefined || kept === undefined) {
            continue;
          }
          const leased = metered.leased[unit];
          expect(kept.used).toBeGreaterThanOrEqual(account.used);
          expect(kept.used).toBeLessThanOrEqual(allowed[unit].perMonth ?? Number.POSITIVE_INFINITY);
          expect(kept.used - account.used).toBeLessThanOrEqual(leased * limits.meterAheadShare);
          const [left, keptLeft] = [
            refilled(account, allowed[unit], now),
            refilled(kept, allowed[unit], now),
          ];
          if (Number.isFinite(left)) {
            expect(keptLeft).toBeLessThanOrEqual(left + 1e-6);
            expect(left - keptLeft).toBeLessThanOrEqual(
              burstOf(allowed[unit]) * limits.meterLeaseShare + 1e-6,
            );
          }
        }
        if (random.chance(0.003)) {
          meter.startAnew();
        }
      }
      expect(spansLeased).toBeLessThanOrEqual(allowed.spans.perMonth ?? Number.POSITIVE_INFINITY);
      expect(bytesLeased).toBeLessThanOrEqual(allowed.bytes.perMonth ?? Number.POSITIVE_INFINITY);
    }
  });
});
