/**
 * Counts how requests ended, by minute, tenant, key, outcome and reason, within one isolate. It forgets a count only
 * when it was sent as it is and its minute is over; a count that grew meanwhile is sent again, whole. Best effort: what
 * an isolate has not sent when it ends is lost.
 */
import { assert } from "./assert.ts";
import { limits, MINUTE_MS } from "./limits.ts";
import type { OutcomeCount } from "./messages.ts";

export type OutcomeLabels = Pick<OutcomeCount, "tenant" | "key" | "outcome" | "reason">;
export type OutcomeNumbers = Omit<OutcomeCount, keyof OutcomeLabels | "minute">;

export class OutcomeCounter {
  readonly #counts = new Map<string, OutcomeCount>();
  /** What was sent last of a count that is kept. */
  readonly #sent = new Map<string, OutcomeCount>();

  /** `now` in ms since the epoch. */
  add(labels: OutcomeLabels, numbers: OutcomeNumbers, now: number): void {
    const minute = now - (now % MINUTE_MS);
    const name = nameOf(minute, labels);
    // Beyond the limit a new tenant and key is counted without its name: the sums stay right.
    const known = this.#counts.has(name) || this.#counts.size < limits.outcomesMax;
    const kept = known ? labels : { tenant: "", key: "", outcome: labels.outcome, reason: "too_many_keys" };
    const keptName = nameOf(minute, kept);
    const before = this.#counts.get(keptName);
    this.#counts.set(keptName, {
      minute,
      ...kept,
      requests: (before?.requests ?? 0) + numbers.requests,
      spans: (before?.spans ?? 0) + numbers.spans,
      rejectedSpans: (before?.rejectedSpans ?? 0) + numbers.rejectedSpans,
      bytes: (before?.bytes ?? 0) + numbers.bytes,
      keyLookUps: (before?.keyLookUps ?? 0) + numbers.keyLookUps,
      meterCalls: (before?.meterCalls ?? 0) + numbers.meterCalls,
    });
  }

  /** Counts that were not sent as they are, in lists of at most `limits.outcomesAMessage`. */
  unsent(): readonly (readonly OutcomeCount[])[] {
    const due = [...this.#counts]
      .filter(([name, count]) => this.#sent.get(name) !== count)
      .map(([, count]) => count);
    const lists: OutcomeCount[][] = [];
    for (let at = 0; at < due.length; at += limits.outcomesAMessage) {
      lists.push(due.slice(at, at + limits.outcomesAMessage));
    }
    return lists;
  }

  /** These were sent. Whatever is over and sent is forgotten. */
  sent(counts: readonly OutcomeCount[], now: number): void {
    for (const count of counts) {
      const name = nameOf(count.minute, count);
      const present = this.#counts.get(name);
      assert(present !== undefined, "a count is kept until it was sent");
      if (present === count && count.minute + MINUTE_MS <= now) {
        this.#counts.delete(name);
        this.#sent.delete(name);
      } else {
        this.#sent.set(name, count);
      }
    }
    for (const [name, count] of this.#counts) {
      if (this.#sent.get(name) === count && count.minute + MINUTE_MS <= now) {
        this.#counts.delete(name);
        this.#sent.delete(name);
      }
    }
  }
}

function nameOf(minute: number, { tenant, key, outcome, reason }: OutcomeLabels): string {
  return `${minute} ${tenant} ${key} ${outcome} ${reason}`;
}
