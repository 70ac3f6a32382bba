/**
 * How busy a collector is, as far as its waiting depends on it: how often payloads come, how often they come while a put is in
 * flight, and how long a put takes. All of it fades: what was `fadeMs` ago (a second, where nothing else is said) counts a third.
 *
 * Arrivals while a put is in flight are what tells many senders from one. A sender that waits for its answer sends nothing while its
 * own put is in flight, however fast it is: to wait for others would only make it slower.
 */

const usualFadeMs = 1000;
/** Of a new put's time in the smoothed one. */
const putShare = 1 / 8;

export class Crowd {
  readonly #fadeMs: number;
  #at: number;
  #arrivals = 0;
  #arrivalsInFlight = 0;
  #inFlightMs = 0;
  #isInFlight = false;
  #putMs: number | null = null;

  /** `now`, here and below: ms since the epoch. */
  constructor(now: number, fadeMs = usualFadeMs) {
    this.#at = now;
    this.#fadeMs = fadeMs;
  }

  /** `weight`: what comes with it counts too. */
  arrived(now: number, weight = 1): void {
    this.#fade(now);
    this.#arrivals += weight;
    this.#arrivalsInFlight += this.#isInFlight ? weight : 0;
  }

  /** From now on a put is in flight, or none. */
  setInFlight(isInFlight: boolean, now: number): void {
    this.#fade(now);
    this.#isInFlight = isInFlight;
  }

  /** A put ended well. */
  putTook(ms: number): void {
    this.#putMs = this.#putMs === null ? ms : this.#putMs + (ms - this.#putMs) * putShare;
  }

  /** What a put takes. Null: none has ended yet. */
  get putMs(): number | null {
    return this.#putMs;
  }

  /** Arrivals per ms while a put is in flight. */
  inFlightRate(now: number): number {
    this.#fade(now);
    return this.#arrivalsInFlight === 0 ? 0 : this.#arrivalsInFlight / Math.max(this.#inFlightMs, 1);
  }

  /** For how long a put was in flight, as far as it has not faded. */
  inFlightMs(now: number): number {
    this.#fade(now);
    return this.#inFlightMs;
  }

  /** Arrivals per ms. */
  rate(now: number): number {
    this.#fade(now);
    return this.#arrivals / this.#fadeMs;
  }

  #fade(now: number): void {
    const passed = now - this.#at;
    if (passed <= 0) {
      return; // a clock that was set back
    }
    const left = Math.exp(-passed / this.#fadeMs);
    this.#arrivals *= left;
    this.#arrivalsInFlight *= left;
    this.#inFlightMs = this.#inFlightMs * left + (this.#isInFlight ? this.#fadeMs * (1 - left) : 0);
    this.#at = now;
  }
}
