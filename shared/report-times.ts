/**
 * When an isolate reports how its requests ended. A report costs a message, $1.20 a million: what was refused, and the first request after
 * a pause, is known soon; an isolate that takes in one request after the other says so less often.
 */
import { limits } from "./limits.ts";

export class ReportTimes {
  /** When the report that is armed is due, in ms since the epoch; null: none is. */
  #dueAt: number | null = null;
  /** When the last one was sent. */
  #sentAt = Number.NEGATIVE_INFINITY;

  /**
   * A request ended at `now`. Returns after how many ms what was counted is to be reported, undefined where a report is armed that comes
   * soon enough. One that did not come in twice its time (its request was cut off) is waited for no longer.
   */
  arm(now: number, isRefused: boolean): number | undefined {
    const soon = now + limits.outcomeReportMs;
    // A clock that was put back: the last one is not ahead.
    const sentAt = Math.min(this.#sentAt, now);
    const dueAt = isRefused ? soon : Math.max(soon, sentAt + limits.outcomeReportBusyMs);
    if (this.#dueAt !== null && this.#dueAt <= dueAt && now < this.#dueAt + limits.outcomeReportMs) {
      return undefined;
    }
    this.#dueAt = dueAt;
    return dueAt - now;
  }

  /** False: the report that was armed for `dueAt` has been sent by a more urgent one. */
  isArmed(dueAt: number): boolean {
    return this.#dueAt === dueAt;
  }

  sent(now: number): void {
    this.#dueAt = null;
    this.#sentAt = now;
  }
}
