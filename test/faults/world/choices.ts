/**
 * Where a schedule's choices come from. A choice is a small number, and 0 is always the plainest: nothing strikes,
 * the shortest wait. So one list of numbers is a whole schedule: it is recorded while a seed chooses, replayed to
 * show it again, and made smaller by writing zeros into it.
 */

export interface Choices {
  /** Does it happen, at this probability? */
  happens(probability: number): boolean;
  /** One of `n` that hardly differ: how long the network takes, which of two goes first. */
  below(n: number): number;
  /** One of `n` that do differ: how long a strike lasts, whom it hits. */
  oneOf(n: number): number;
}

/** sfc32 over a seed: fast, and the same on every machine. */
export class SeededChoices implements Choices {
  readonly #trace: number[] | null;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** With `trace`, every choice is appended to it. */
  constructor(seed: number, trace: number[] | null = null) {
    this.#trace = trace;
    this.#a = seed | 0;
    this.#b = (seed / 2 ** 32) | 0;
    this.#c = 0x9e3779b9;
    for (let i = 0; i < 12; i++) {
      this.#next();
    }
  }

  #next(): number {
    const t = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + t) | 0;
    return t >>> 0;
  }

  happens(probability: number): boolean {
    const does = this.#next() < probability * 2 ** 32;
    this.#trace?.push(does ? 1 : 0);
    return does;
  }

  below(n: number): number {
    const chosen = n <= 1 ? 0 : Math.floor((this.#next() / 2 ** 32) * n);
    this.#trace?.push(chosen);
    return chosen;
  }

  oneOf(n: number): number {
    return this.below(n);
  }
}

/** A recorded schedule, perhaps with zeros written into it. After its end nothing strikes any more. */
export class ReplayedChoices implements Choices {
  readonly #trace: readonly number[];
  /** How many choices were made. */
  made = 0;

  constructor(trace: readonly number[]) {
    this.#trace = trace;
  }

  happens(_probability: number): boolean {
    return (this.#trace[this.made++] ?? 0) !== 0;
  }

  below(n: number): number {
    return Math.min(this.#trace[this.made++] ?? 0, Math.max(0, n - 1));
  }

  oneOf(n: number): number {
    return this.below(n);
  }
}

/** Of things that differ, so many are tried where there are more. */
const fewMax = 3;

/**
 * All choices, one schedule after the other (as TigerBeetle's exhaustigen does): each run repeats the last one up to
 * its last choice that has another value left. At most `strikesMax` things happen in one schedule, and at most
 * `othersMax` of what differs are not the plainest; what hardly differs is not varied.
 */
export class EveryChoice implements Choices {
  readonly #strikesMax: number;
  readonly #othersMax: number;
  readonly #made: { chosen: number; of: number }[] = [];
  #at = 0;
  #strikes = 0;
  #others = 0;
  #hasBegun = false;

  constructor(strikesMax: number, othersMax: number = Number.POSITIVE_INFINITY) {
    this.#strikesMax = strikesMax;
    this.#othersMax = othersMax;
  }

  /** Goes to the next schedule. False: that was the last. */
  advance(): boolean {
    if (!this.#hasBegun) {
      this.#hasBegun = true;
      return true;
    }
    this.#made.length = this.#at; // what a longer schedule before this one chose is over
    for (let last = this.#made.pop(); last !== undefined; last = this.#made.pop()) {
      if (last.chosen + 1 < last.of) {
        this.#made.push({ chosen: last.chosen + 1, of: last.of });
        this.#at = 0;
        this.#strikes = 0;
        this.#others = 0;
        return true;
      }
    }
    return false;
  }

  /** The schedule's choices, for its story. */
  get trace(): readonly number[] {
    return this.#made.map(({ chosen }) => chosen);
  }

  #choose(of: number): number {
    const made = this.#made[this.#at];
    if (made === undefined) {
      this.#made.push({ chosen: 0, of });
    }
    return this.#made[this.#at++]?.chosen ?? 0;
  }

  happens(probability: number): boolean {
    if (probability <= 0 || this.#strikes >= this.#strikesMax) {
      return false;
    }
    const does = this.#choose(2) === 1;
    this.#strikes += does ? 1 : 0;
    return does;
  }

  below(_n: number): number {
    return 0;
  }

  oneOf(n: number): number {
    if (n <= 1 || this.#others >= this.#othersMax) {
      return 0;
    }
    const i = this.#choose(Math.min(n, fewMax));
    this.#others += i === 0 ? 0 : 1;
    // The i-th of a few values that span 0 to n-1.
    return n <= fewMax ? i : Math.floor((i * (n - 1)) / (fewMax - 1));
  }
}
