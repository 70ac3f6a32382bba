/**
 * A collector that failed is left alone for a while: a second at first, and up to half a minute. Then one payload tries it, and the
 * others wait for no collector until that one is answered: where it hangs, one sender waits for it and not all. Payloads go alone
 * meanwhile.
 */
import { limits } from "../limits.ts";
import type { BypassReason } from "./bypass.ts";

export class CollectorPause {
  #pauseMs = 0;
  /** When it last failed, and until when it is left alone; ms since the epoch. */
  #failedAt = Number.NEGATIVE_INFINITY;
  #until = Number.NEGATIVE_INFINITY;
  /** One payload tries it until then, or has its answer before. */
  #triedUntil = Number.NEGATIVE_INFINITY;

  /** Why it is left alone, while it is. */
  #why: BypassReason = "collector_failed";

  get why(): BypassReason {
    return this.#why;
  }

  /** Whether the collector is given this payload. */
  take(now: number): boolean {
    if (now < this.#until || now < this.#triedUntil) {
      return false;
    }
    if (this.#pauseMs > 0) {
      this.#triedUntil = now + limits.collectPatienceMs;
    }
    return true;
  }

  /** A call was answered that began at `startedAt`. One that began before the last failure says nothing of what is since. */
  worked(startedAt: number): void {
    if (startedAt > this.#failedAt) {
      this.#pauseMs = 0;
      this.#triedUntil = Number.NEGATIVE_INFINITY;
    }
  }

  /** It works, and had no room for a call that began at `startedAt`: that passes within a put's time. */
  full(startedAt: number, now: number): void {
    if (startedAt <= this.#failedAt) {
      return;
    }
    this.worked(startedAt);
    this.#why = "collector_full";
    this.#until = Math.max(this.#until, now + limits.collectPauseFirstMs);
  }

  /** A call failed that began at `startedAt`. Those that were waiting together fail together: that is one failure. */
  failed(startedAt: number, now: number, why: Exclude<BypassReason, "collector_full">): void {
    this.#why = why;
    if (startedAt > this.#failedAt) {
      this.#pauseMs = Math.min(
        limits.collectPauseMaxMs,
        this.#pauseMs === 0 ? limits.collectPauseFirstMs : 2 * this.#pauseMs,
      );
      this.#failedAt = now;
      this.#until = now + this.#pauseMs;
      this.#triedUntil = Number.NEGATIVE_INFINITY;
    }
  }
}
