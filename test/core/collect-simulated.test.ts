/**
 * What waiting gains and costs, by a clock that jumps from event to event: requests at a rate, or from clients that wait for their
 * answers; puts whose times are drawn. `COLLECT_TABLE=1 npx vitest run --project core test/core/collect-simulated.test.ts` prints
 * the table of decision 91.
 */
import { describe, expect, test } from "vitest";
import { type SeededRandom, seededRandom } from "../../dev/send/seeded-random.ts";
import { type Gathered, Gathering, type Sized } from "../../shared/collect/gathering.ts";
import { formatPayloadId, type PayloadId } from "../../shared/payload-key.ts";
import { formatSegmentKey } from "../../shared/segment/segment-key.ts";
import { lognormal } from "../fixtures/put-times.ts";

const start = Date.UTC(2026, 10, 24, 7, 41);
const lastsMs = 60_000;

interface Load {
  /** Requests per second that nobody waits for; or so many clients, each of which sends again when it is answered. */
  readonly from: { readonly perSecond: number } | { readonly clients: number };
  /** A put's time in ms: half of them are below the first number, 99 of 100 below the second. */
  readonly put: readonly [number, number];
}

/** A request; times in ms since the epoch. */
interface Sent extends Sized {
  readonly at: number;
  putAt: number;
  answeredAt: number;
  readonly answered: (now: number) => void;
}

/** A minute of this load. */
class Minute {
  readonly #random: SeededRandom;
  readonly #put: Load["put"];
  readonly #gathering = new Gathering<Sent>(100, start);
  readonly #events: { readonly at: number; readonly happen: (now: number) => void }[] = [];
  readonly sent: Sent[] = [];
  puts = 0;

  constructor({ from, put }: Load, seed: number) {
    this.#random = seededRandom(seed);
    this.#put = put;
    if ("clients" in from) {
      for (let i = 0; i < from.clients; i++) {
        this.#later(start + i, (now) => this.#client(now));
      }
    } else {
      this.#arrivals(start, from.perSecond);
    }
    for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
      next.happen(next.at);
    }
  }

  #later(at: number, happen: (now: number) => void): void {
    this.#events.splice(this.#events.findLastIndex((event) => event.at <= at) + 1, 0, { at, happen });
  }

  #arrivals(now: number, perSecond: number): void {
    const at = now - (Math.log(1 - this.#random.fraction()) * 1000) / perSecond;
    if (at < start + lastsMs) {
      this.#later(at, () => {
        this.#send(at, () => undefined);
        this.#arrivals(at, perSecond);
      });
    }
  }

  #client(now: number): void {
    if (now < start + lastsMs) {
      this.#send(now, (answeredAt) => this.#later(answeredAt + 1, (again) => this.#client(again)));
    }
  }

  #send(now: number, answered: (now: number) => void): void {
    const size = { bytes: 9000, outputBytes: 60_000, spans: 100 };
    const sent: Sent = {
      id: idOf(this.sent.length),
      ...size,
      at: now,
      putAt: now,
      answeredAt: now,
      answered,
    };
    this.sent.push(sent);
    if (this.#gathering.add(sent, now) === "full") {
      throw new Error("this load has room");
    }
    this.#look(now);
  }

  #look(now: number): void {
    for (const segment of this.#gathering.closed(now)) {
      this.puts++;
      for (const sent of segment.payloads) {
        sent.putAt = now;
      }
      this.#later(now + lognormal(this.#random, this.#put), (landedAt) => this.#landed(segment, landedAt));
    }
    const at = this.#gathering.lookAt(now);
    if (at !== null) {
      this.#later(Math.max(now, at), (then) => this.#look(then));
    }
  }

  #landed(segment: Gathered<Sent>, now: number): void {
    const ids = segment.payloads.map(({ id }) => id);
    this.#gathering.stored(
      segment,
      formatSegmentKey(Math.floor(segment.openedAt), new Uint8Array(10), ids),
      now,
    );
    for (const sent of segment.payloads) {
      sent.answeredAt = now;
      sent.answered(now);
    }
    this.#look(now);
  }
}

function idOf(n: number): PayloadId {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint32(8, n);
  return formatPayloadId(bytes);
}

function quantile(numbers: readonly number[], share: number): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}

/** `n`: requests per put. Waits until the put begins, and until the answer, in ms: median and p99. */
function measure(name: string, load: Load) {
  const { sent, puts } = new Minute(load, 1);
  const of = (times: readonly number[]) => [quantile(times, 0.5), quantile(times, 0.99)] as const;
  const measured = {
    n: sent.length / puts,
    perSecond: sent.length / (lastsMs / 1000),
    wait: of(sent.map(({ at, putAt }) => putAt - at)),
    answer: of(sent.map(({ at, answeredAt }) => answeredAt - at)),
  };
  if (process.env["COLLECT_TABLE"] !== undefined) {
    const { n, perSecond, wait, answer } = measured;
    const shown = (times: readonly number[]) => times.map((ms) => ms.toFixed(0)).join(", ");
    process.stdout.write(
      `| ${name} | ${perSecond.toFixed(0)} | ${n.toFixed(1)} | ${shown(wait)} | ${shown(answer)} |\n`,
    );
  }
  return measured;
}

const r2 = [80, 400] as const;
const local = [10, 30] as const;

describe("requests of many senders share puts", () => {
  test.each([
    ["1 per second", 1, r2, [1, 1.1]],
    ["5 per second", 5, r2, [1, 1.4]],
    ["20 per second", 20, r2, [2.4, 3.4]],
    ["50 per second", 50, r2, [5, 7]],
    ["100 per second", 100, r2, [9.5, 12]],
    ["200 per second", 200, r2, [18, 22]],
    ["200 per second, puts of 40 ms", 200, [40, 150], [14, 21]],
    ["200 per second, puts of 150 ms", 200, [150, 800], [18, 24]],
    ["400 per second", 400, r2, [34, 42]],
  ] as const)("%s", (name, perSecond, put, [least, most]) => {
    const { n, wait } = measure(name, { from: { perSecond }, put });
    expect(n).toBeGreaterThanOrEqual(least);
    expect(n).toBeLessThanOrEqual(most);
    expect(wait[1]).toBeLessThanOrEqual(100.5);
  });

  test("and at 200 per second they wait half of the time that they may", () => {
    const alone = quantile(
      Array.from({ length: 5000 }, (_, i) => lognormal(seededRandom(i), r2)),
      0.5,
    );
    const { answer } = measure("200 per second", { from: { perSecond: 200 }, put: r2 });
    expect(answer[0] - alone).toBeLessThanOrEqual(70);
    expect(answer[1]).toBeLessThanOrEqual(400 + 130);
  });
});

describe("clients that wait for their answers", () => {
  test("one of them never waits for others", () => {
    for (const put of [r2, local]) {
      const { n, wait } = measure("1 client", { from: { clients: 1 }, put });
      expect(n).toBe(1);
      expect(wait).toEqual([0, 0]);
    }
  });

  test("eight of them share puts", () => {
    const { n, perSecond } = measure("8 clients", { from: { clients: 8 }, put: r2 });
    expect(n).toBeGreaterThan(5);
    expect(perSecond, "46 where they waited for what was usual").toBeGreaterThan(55);
  });

  test("eight of them on one machine are not slowed to the time that a payload may wait", () => {
    const { n, perSecond, wait } = measure("8 clients, puts of 10 ms", { from: { clients: 8 }, put: local });
    expect(n).toBeGreaterThan(5);
    expect(perSecond).toBeGreaterThan(450);
    expect(wait[1]).toBeLessThanOrEqual(40);
  });

  test("two and four of them wait for a few puts' time at most", () => {
    const two = measure("2 clients, puts of 10 ms", { from: { clients: 2 }, put: local });
    const four = measure("4 clients, puts of 10 ms", { from: { clients: 4 }, put: local });
    expect(two.perSecond).toBeGreaterThan(90);
    expect(four.perSecond).toBeGreaterThan(200);
  });
});
