/**
 * What a collector and its callers tell one another. A caller is an isolate of the ingress: with each call it says how many payloads
 * it has put alone since its last one, and among how many collectors it chooses. The answer says how many more it may put alone,
 * because payloads come too seldom to share an object, and among how many collectors it is to choose from now on.
 *
 * Nothing depends on it: a payload may go alone at any time, and any collector takes any payload. Old advice costs money and no more.
 */
import { assert } from "../assert.ts";
import { limits } from "../limits.ts";
import { base32hex, type PayloadId } from "../payload-key.ts";
import { Crowd } from "./crowd.ts";

/** Said with each call. */
export interface Caller {
  /** It chose among so many collectors. */
  readonly collectors: number;
  /** Payloads that it has put alone since its last call. */
  readonly alone: number;
}

/** Said with each answer. */
export interface Advice {
  readonly collectors: number;
  /** So many payloads go alone before the next call; 0: none. */
  readonly alone: number;
}

/** The collector of this payload: equal bytes meet in one. */
export function collectorOf(id: PayloadId, collectors: number): number {
  // A digit of the hash, in ids of either version: 32 values, which each number of collectors divides.
  return base32hex.indexOf(id.charAt(20)) % collectors;
}

/**
 * What all callers together bring, as one collector sees it. A call counts for the payloads that the caller has put alone before it,
 * and for those that went to other collectors: one of two collectors sees every second payload. So each of them estimates the whole.
 */
export class Demand {
  readonly #since: number;
  readonly #payloads: Crowd;
  readonly #bytes: Crowd;

  /** `now`, here and below: ms since the epoch. */
  constructor(now: number) {
    this.#since = now;
    this.#payloads = new Crowd(now, limits.collectDemandMs);
    this.#bytes = new Crowd(now, limits.collectDemandMs);
  }

  called({ collectors, alone }: Caller, bytes: number, now: number): void {
    const payloads = collectors * (1 + alone);
    this.#payloads.arrived(now, payloads);
    this.#bytes.arrived(now, payloads * bytes);
  }

  /** From now on a put of this collector is in flight, or none. */
  setInFlight(isInFlight: boolean, now: number): void {
    this.#payloads.setInFlight(isInFlight, now);
  }

  /** `lingerMs`: what a payload waits for others at most. */
  advice({ collectors }: Caller, lingerMs: number, now: number): Advice {
    const known =
      1 - Math.exp(-Math.max(now - this.#since, limits.collectDemandMs / 5) / limits.collectDemandMs);
    const rate = this.#payloads.rate(now) / known;
    // Senders that wait for their answers send nothing while a put is in flight: many as they are, there is nobody to share with.
    const isSeen = this.#payloads.inFlightMs(now) >= limits.collectSeenMs;
    const shared = isSeen ? Math.min(rate, this.#payloads.inFlightRate(now)) : rate;
    const load =
      1000 *
      Math.max(
        rate / limits.collectorPayloadsASecond,
        this.#bytes.rate(now) / known / limits.collectorBytesASecond,
      );
    return {
      collectors: collectorsFor(load, collectors),
      alone: shared * lingerMs < limits.collectSharesMin ? limits.collectAlonePayloads : 0,
    };
  }
}

/** `load`: how many collectors it would fill. Fewer than there are only where they would have room to spare. */
function collectorsFor(load: number, before: number): number {
  const powerOfTwo = (least: number): number => {
    const collectors = 2 ** Math.max(0, Math.ceil(Math.log2(least)));
    return Math.min(collectors, limits.collectorsMax);
  };
  return load > before
    ? powerOfTwo(load)
    : Math.min(powerOfTwo(before), powerOfTwo(load / limits.collectorSpareShare));
}

/** What a caller does by the advice that it has had last. */
export class Advised {
  #collectors = 1;
  #aloneLeft = 0;
  #until = Number.NEGATIVE_INFINITY;
  /** One of its payloads is on its way alone until then, or ends before. */
  #busyUntil = Number.NEGATIVE_INFINITY;
  /** Not reported yet. */
  #alone = 0;

  get collectors(): number {
    return this.#collectors;
  }

  /**
   * Does this payload go alone? One at a time: what comes while it is on its way could have shared an object with it, and is given to
   * the collector. So of payloads that come all at once one goes alone, however seldom they do.
   */
  takeAlone(now: number): boolean {
    if (this.#aloneLeft === 0 || now >= this.#until || now < this.#busyUntil) {
      return false;
    }
    this.#aloneLeft--;
    this.#alone++;
    this.#busyUntil = now + limits.collectAloneBusyMs;
    return true;
  }

  /** What went alone has been answered. */
  aloneEnded(): void {
    this.#busyUntil = Number.NEGATIVE_INFINITY;
  }

  /** A payload goes alone although the collector was to have it. */
  bypassed(): void {
    this.#alone++;
  }

  /** What to say with a call that begins now. */
  call(): Caller {
    const caller = {
      collectors: this.#collectors,
      alone: Math.min(this.#alone, limits.collectAloneReportedMax),
    };
    this.#alone = 0;
    return caller;
  }

  /** Undefined: by a collector that gives no advice. */
  answered(advice: Advice | undefined, now: number): void {
    const { collectors, alone } = advice ?? { collectors: 1, alone: 0 };
    assert(collectors >= 1 && alone >= 0, "advice is a number of collectors and one of payloads");
    this.#collectors = Math.min(collectors, limits.collectorsMax);
    this.#aloneLeft = Math.min(alone, limits.collectAlonePayloads);
    this.#until = now + limits.collectAloneMs;
  }

  /** The call was not answered. `isOverloaded`: the platform says that the collector has too many. */
  unanswered({ alone }: Caller, isOverloaded: boolean): void {
    this.#alone += alone;
    if (isOverloaded) {
      this.#collectors = Math.min(2 * this.#collectors, limits.collectorsMax);
    }
  }
}
