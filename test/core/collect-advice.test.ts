/**
 * What advice comes to, by a clock that jumps: senders at a rate, over isolates that know nothing of one another, and collectors. Who
 * comes seldom goes alone and pays no calls; who comes often shares objects, over however many isolates; and no collector has more
 * than it answers well.
 */
import { describe, expect, test } from "vitest";
import { type SeededRandom, seededRandom } from "../../dev/send/seeded-random.ts";
import { type Advice, Advised, type Caller, collectorOf, Demand } from "../../shared/collect/advice.ts";
import { Crowd } from "../../shared/collect/crowd.ts";
import { type Gathered, Gathering, type Sized } from "../../shared/collect/gathering.ts";
import { KnownCollectors } from "../../shared/collect/known-collectors.ts";
import { limits } from "../../shared/limits.ts";
import { formatPayloadId, formatPayloadKey, objectOf, type PayloadId } from "../../shared/payload-key.ts";
import { lognormal } from "../fixtures/put-times.ts";

const start = Date.UTC(2026, 10, 24, 7, 41);
/** A call and its time awake: dollars per million (docs/costs.md). */
const callDollars = 0.31;
/** ms: median and p99. */
const r2 = [80, 400] as const;
const local = [10, 30] as const;

interface Load {
  readonly perSecond: number;
  /** In the first quarter of the time. */
  readonly before?: number;
  /** Equal in what they get. */
  readonly isolates: number;
  /** So many come at once; else they come at random. */
  readonly atOnce?: number;
  /** Each isolate's sender waits for its answers; then `perSecond` says nothing. */
  readonly waits?: boolean;
  readonly put?: readonly [median: number, p99: number];
  readonly lastsMs: number;
}

interface Sent extends Sized {
  readonly answered: () => void;
}

class Run {
  readonly #load: Load;
  readonly #random: SeededRandom;
  readonly #events: { readonly at: number; readonly happen: () => void }[] = [];
  readonly #isolates: readonly Advised[];
  readonly #gatherings = new Map<number, Gathering<Sent>>();
  #now = start;
  #sent = 0;
  /** From half of the time on, when the advice has settled. */
  payloads = 0;
  puts = 0;
  calls = 0;
  callsOf = new Map<number, number>();

  constructor(load: Load, seed = 1) {
    this.#load = load;
    this.#random = seededRandom(seed);
    this.#isolates = Array.from({ length: load.isolates }, () => new Advised());
    if (load.waits === true) {
      for (const isolate of this.#isolates) {
        this.#sendAgain(isolate);
      }
    } else {
      this.#arrivals(start);
    }
    for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
      this.#now = next.at;
      next.happen();
    }
  }

  get #isCounted(): boolean {
    return this.#now >= start + this.#load.lastsMs / 2;
  }

  #later(at: number, happen: () => void): void {
    this.#events.splice(this.#events.findLastIndex((event) => event.at <= at) + 1, 0, { at, happen });
  }

  #arrivals(now: number): void {
    const { perSecond, before = perSecond, atOnce = 1, isolates, lastsMs } = this.#load;
    const rate = now < start + lastsMs / 4 ? before : perSecond;
    const at = now - (Math.log(1 - this.#random.fraction()) * 1000 * atOnce) / rate;
    if (at < start + lastsMs) {
      this.#later(at, () => {
        const isolate = this.#isolates[Math.floor(this.#random.fraction() * isolates)];
        for (let i = 0; i < atOnce; i++) {
          this.#send(isolate as Advised, () => undefined);
        }
        this.#arrivals(at);
      });
    }
  }

  #sendAgain(isolate: Advised): void {
    if (this.#now < start + this.#load.lastsMs) {
      this.#send(isolate, () => this.#later(this.#now + 1, () => this.#sendAgain(isolate)));
    }
  }

  #putMs(): number {
    return lognormal(this.#random, this.#load.put ?? r2);
  }

  #send(isolate: Advised, answered: () => void): void {
    this.payloads += Number(this.#isCounted);
    const put = (ended: () => void): void => {
      this.puts += Number(this.#isCounted);
      this.#later(this.#now + this.#putMs(), ended);
    };
    if (isolate.takeAlone(this.#now)) {
      put(() => {
        isolate.aloneEnded();
        answered();
      });
      return;
    }
    const id = idOf(this.#sent++);
    const number = collectorOf(id, isolate.collectors);
    const caller = isolate.call();
    const gathering = this.#gatherings.get(number) ?? new Gathering<Sent>(limits.collectMsUsual, this.#now);
    this.#gatherings.set(number, gathering);
    this.calls += Number(this.#isCounted);
    if (this.#isCounted) {
      this.callsOf.set(number, (this.callsOf.get(number) ?? 0) + 1);
    }
    gathering.called(caller, 9000, this.#now);
    const sent: Sent = {
      id,
      bytes: 9000,
      outputBytes: 60_000,
      spans: 100,
      answered: () => {
        isolate.answered(gathering.advice(caller, this.#now), this.#now);
        answered();
      },
    };
    expect(gathering.add(sent, this.#now), "there is room").not.toBe("full");
    this.#look(gathering);
  }

  #look(gathering: Gathering<Sent>): void {
    for (const segment of gathering.closed(this.#now)) {
      this.puts += Number(this.#isCounted);
      this.#later(this.#now + this.#putMs(), () => this.#landed(gathering, segment));
    }
    const at = gathering.lookAt(this.#now);
    if (at !== null) {
      this.#later(Math.max(this.#now, at), () => this.#look(gathering));
    }
  }

  #landed(gathering: Gathering<Sent>, segment: Gathered<Sent>): void {
    const [first] = segment.payloads;
    const key = objectOf(formatPayloadKey(start, "acme", (first as Sent).id));
    gathering.stored(segment, key, this.#now);
    for (const { answered } of segment.payloads) {
      answered();
    }
    this.#look(gathering);
  }
}

function idOf(n: number): PayloadId {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint32(10, Math.imul(n, 2_654_435_761) >>> 0);
  return formatPayloadId(bytes);
}

/** Of the second half of a run: payloads per put, and calls per payload; and how many calls per second the busiest collector has. */
function measure(load: Load) {
  const { payloads, puts, calls, callsOf } = new Run(load);
  return {
    n: payloads / puts,
    calls: calls / payloads,
    collectors: callsOf.size,
    busiest: Math.max(0, ...callsOf.values()) / (load.lastsMs / 2000),
  };
}

describe("payloads that come seldom", () => {
  test.each([
    [0.01, 1, 16.2, 2e7],
    [0.1, 1, 14.5, 3e6],
    [1, 1, 11.1, 6e5],
    [1, 10, 11.1, 6e5],
    [4, 1, 9, 2e5],
    [4, 50, 9, 3e5],
  ])(
    "%d per second over %d isolates cost what they cost alone, within 2 %%",
    (perSecond, isolates, alone, lastsMs) => {
      const { n, calls } = measure({ perSecond, isolates, lastsMs });
      expect(calls * callDollars).toBeLessThan(0.02 * alone);
      expect(n).toBeGreaterThanOrEqual(1);
    },
  );

  test("go alone too where a sender waits for its answers, however fast it is", () => {
    for (const put of [r2, local]) {
      const { n, calls } = measure({ perSecond: 0, isolates: 1, waits: true, put, lastsMs: 40_000 });
      expect(n).toBe(1);
      expect(calls).toBeLessThan(0.15);
    }
  });

  test("and then eight at once share an object, but for the first of them", () => {
    const { n } = measure({ perSecond: 0.8, isolates: 1, atOnce: 8, lastsMs: 5e5 });
    expect(n).toBeGreaterThan(2.5);
  });
});

describe("payloads that come often share objects as if there were no advice", () => {
  test.each([
    [10, 50, [1.4, 1.8]],
    [20, 1, [2.5, 3.5]],
    [20, 50, [2.5, 3.5]],
    [50, 50, [5, 7]],
    [200, 50, [18, 22]],
  ] as const)("%d per second over %d isolates", (perSecond, isolates, [least, most]) => {
    const { n, calls, collectors } = measure({
      perSecond,
      isolates,
      lastsMs: perSecond < 100 ? 60_000 : 30_000,
    });
    expect(n).toBeGreaterThan(least);
    expect(n).toBeLessThan(most);
    expect(calls).toBeGreaterThan(0.9);
    expect(collectors).toBe(1);
  });

  test("and so do those that came seldom a while ago, however many isolates go alone by then", () => {
    const { n } = measure({ perSecond: 10, before: 1, isolates: 50, lastsMs: 200_000 });
    expect(n).toBeGreaterThan(1.4);
  });

  test("and so do those of two and eight senders that wait for their answers", () => {
    for (const [isolates, least] of [
      [2, 1.4],
      [8, 5],
    ] as const) {
      // Slow enough for one collector.
      const { n, collectors } = measure({
        perSecond: 0,
        isolates,
        waits: true,
        put: [20, 60],
        lastsMs: 20_000,
      });
      expect(collectors).toBe(1);
      expect(n).toBeGreaterThan(least);
    }
  });
});

test("no collector has more than it answers well, and there are no more of them than that takes", () => {
  for (const [perSecond, most] of [
    [300, 1],
    [600, 2],
    [1200, 4],
  ] as const) {
    const { n, collectors, busiest } = measure({ perSecond, isolates: 50, lastsMs: 12_000 });
    expect(collectors).toBe(most);
    expect(busiest).toBeLessThan(limits.collectorPayloadsASecond * 1.1);
    expect(n).toBeGreaterThan(18);
  }
});

describe("one of several collectors", () => {
  /** Of a minute in which so many calls per second came to it. */
  const adviceAt = (calls: number, caller: Caller, bytes = 9000): Advice => {
    const demand = new Demand(start);
    for (let ms = 0; ms < 60_000; ms += 1000 / calls) {
      demand.called(caller, bytes, start + ms);
    }
    return demand.advice(caller, 100, start + 60_000);
  };

  test("knows of what the others have: it sees one of so many", () => {
    expect(adviceAt(350, { collectors: 1, alone: 0 }).collectors).toBe(1);
    expect(adviceAt(450, { collectors: 1, alone: 0 }).collectors).toBe(2);
    expect(adviceAt(350, { collectors: 2, alone: 0 }).collectors).toBe(2);
    expect(adviceAt(350, { collectors: 8, alone: 0 }).collectors).toBe(8);
    expect(adviceAt(2000, { collectors: 4, alone: 0 }).collectors).toBe(limits.collectorsMax);
  });

  test("counts bytes too", () => {
    expect(adviceAt(100, { collectors: 1, alone: 0 }, 240_000).collectors).toBe(2);
  });

  test("advises fewer only where these have room to spare", () => {
    expect(adviceAt(150, { collectors: 2, alone: 0 }).collectors).toBe(2);
    expect(adviceAt(120, { collectors: 2, alone: 0 }).collectors).toBe(1);
    expect(adviceAt(10, { collectors: 8, alone: 0 }).collectors).toBe(1);
  });

  test("counts for each call the payloads that its caller has put alone", () => {
    expect(adviceAt(1, { collectors: 1, alone: 0 }).alone).toBe(limits.collectAlonePayloads);
    expect(adviceAt(1, { collectors: 1, alone: 8 }).alone).toBe(0);
    expect(adviceAt(1, { collectors: 4, alone: 1 }).alone).toBe(0);
  });
});

describe("an isolate", () => {
  test("that has no advice, or a collector that gives none, calls for each payload", () => {
    const advised = new Advised();
    expect(advised.takeAlone(start)).toBe(false);
    advised.answered({ collectors: 4, alone: 8 }, start);
    expect(advised.takeAlone(start)).toBe(true);
    advised.aloneEnded();
    advised.answered(undefined, start);
    expect(advised.takeAlone(start)).toBe(false);
    expect(advised.call().collectors).toBe(1);
  });

  test("tells what it has put alone once, and again where it was not answered", () => {
    const advised = new Advised();
    advised.answered({ collectors: 1, alone: 8 }, start);
    for (let i = 0; i < 8; i++) {
      expect(advised.takeAlone(start)).toBe(true);
      advised.aloneEnded();
    }
    expect(advised.takeAlone(start)).toBe(false);
    advised.bypassed();
    const caller = advised.call();
    expect(caller).toEqual({ collectors: 1, alone: 9 });
    expect(advised.call().alone).toBe(0);
    advised.unanswered(caller, false);
    expect(advised.call().alone).toBe(9);
  });

  test("puts one payload alone at a time, and none by advice that is five minutes old", () => {
    const advised = new Advised();
    advised.answered({ collectors: 1, alone: 8 }, start);
    expect(advised.takeAlone(start)).toBe(true);
    expect(advised.takeAlone(start + 1)).toBe(false);
    expect(advised.takeAlone(start + limits.collectAloneBusyMs), "one that nobody saw end is over").toBe(
      true,
    );
    advised.aloneEnded();
    expect(advised.takeAlone(start + limits.collectAloneMs)).toBe(false);
  });

  test("goes to more collectors where one is overloaded", () => {
    const advised = new Advised();
    const numbers = Array.from({ length: 5 }, () => {
      const caller = advised.call();
      advised.unanswered(caller, true);
      return caller.collectors;
    });
    expect(numbers).toEqual([1, 2, 4, 8, 8]);
  });
});

test("payloads are shared out evenly, and equal bytes meet", () => {
  for (const collectors of [1, 2, 4, 8]) {
    const counts = new Map<number, number>();
    for (let n = 0; n < 8000; n++) {
      const number = collectorOf(idOf(n), collectors);
      expect(number).toBe(collectorOf(idOf(n), collectors));
      counts.set(number, (counts.get(number) ?? 0) + 1);
    }
    expect(counts.size).toBe(collectors);
    expect(Math.max(...counts.values())).toBeLessThan((8000 / collectors) * 1.2);
  }
});

test("a crowd of which nothing is known yet is nobody", () => {
  const crowd = new Crowd(start);
  expect([crowd.rate(start), crowd.inFlightRate(start), crowd.inFlightMs(start), crowd.putMs]).toEqual([
    0,
    0,
    0,
    null,
  ]);
});

test("what a put takes is that of the last ones: each counts an eighth", () => {
  const crowd = new Crowd(start);
  crowd.putTook(80);
  expect(crowd.putMs).toBe(80);
  crowd.putTook(160);
  expect(crowd.putMs).toBe(90);
  crowd.putTook(10);
  expect(crowd.putMs).toBe(80);
  for (let i = 0; i < 60; i++) {
    crowd.putTook(400);
  }
  expect(crowd.putMs).toBeCloseTo(400, 0);
});

test("a payload that goes alone by advice is no try of a collector that is paused", () => {
  const known = new KnownCollectors();
  const id = idOf(1);
  known.advised.answered({ collectors: 1, alone: 8 }, start);
  expect(known.choose(id, start)).toEqual({ collector: 0, way: "alone by advice" });
  known.advised.aloneEnded();
  known.pauseOf(0).failed(start, start, "collector_failed");
  const later = start + 1500;
  expect(known.choose(id, later)).toEqual({ collector: 0, way: "alone by advice" });
  // So the one payload that tries the collector is the next one that has no advice.
  expect(known.choose(id, later)).toEqual({ collector: 0, way: "collector" });
  expect(known.choose(id, later)).toEqual({ collector: 0, way: "collector is paused" });
});
