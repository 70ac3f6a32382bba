/**
 * Counts how each request ended, and tells the consumer every few seconds (shared/report-times.ts): one queue message an isolate, not one a
 * request. The log gets the same: a repeated refusal is counted. The first request after a report arms the next
 * one within its own `waitUntil`, so that a lone request is reported too. Nothing here can fail a request.
 */
import { dependencies } from "../../shared/dependency.ts";
import { toHex } from "../../shared/hex.ts";
import type { OutcomesMessage } from "../../shared/messages.ts";
import { isRefusal, type RequestOutcome } from "../../shared/outcome.ts";
import { OutcomeCounter } from "../../shared/outcome-counter.ts";
import { RepeatedLines } from "../../shared/repeated-lines.ts";
import { ReportTimes } from "../../shared/report-times.ts";
import { type LogFields, writeLog } from "../../shared/write-log.ts";
import type { Tally } from "./tally.ts";

export class OutcomeReport {
  readonly #counter = new OutcomeCounter();
  /** Drawn with the first report: an isolate may draw nothing before its first request. */
  #reporter = "";
  #sequence = 0;
  readonly #times = new ReportTimes();
  readonly #lines = new RepeatedLines();

  /** Logs a refusal, unless the same was logged since the last report. */
  log(fields: LogFields & { readonly outcome: string; readonly reason: string }): void {
    const line = this.#lines.add(fields);
    if (line !== undefined) {
      writeLog("warn", line);
    }
  }

  /**
   * Counts a request that was answered, and sees to it that what was counted is sent soon. A tally without an outcome was
   * no export (a preflight, say).
   */
  count(
    tally: Tally,
    queue: Queue<OutcomesMessage>,
    ctx: Pick<ExecutionContext, "waitUntil">,
    now: number,
  ): void {
    try {
      const { outcome } = tally;
      if (outcome === undefined) {
        return;
      }
      this.#add(tally, outcome, now);
      const ms = this.#times.arm(now, isRefusal(outcome));
      if (ms !== undefined) {
        const later = new Promise((resolve) => setTimeout(resolve, ms));
        ctx.waitUntil(later.then(() => (this.#times.isArmed(now + ms) ? this.send(queue) : undefined)));
      }
    } catch (error) {
      writeLog("error", { message: "an outcome was not counted" }, error);
    }
  }

  #add(tally: Tally, outcome: RequestOutcome, now: number): void {
    const { tenant, key, reason } = tally;
    const { spans, rejectedSpans, sampledSpans, bytes, keyLookUps, meterCalls } = tally;
    const allSampled = outcome === "sampled";
    this.#counter.add(
      { tenant, key, outcome, reason },
      { requests: 1, spans: allSampled ? sampledSpans : spans, rejectedSpans, bytes, keyLookUps, meterCalls },
      now,
    );
    if (sampledSpans > 0 && !allSampled) {
      // The request has one outcome; of its spans, these have another.
      const none = { requests: 0, rejectedSpans: 0, bytes: 0, keyLookUps: 0, meterCalls: 0 };
      this.#counter.add(
        { tenant, key, outcome: "sampled", reason: "some_spans" },
        { ...none, spans: sampledSpans },
        now,
      );
    }
  }

  /** Sends what was counted and not sent. What the queue does not take is sent with the next report. */
  async send(queue: Queue<OutcomesMessage>): Promise<void> {
    this.#times.sent(Date.now());
    for (const line of this.#lines.end()) {
      writeLog("warn", line);
    }
    if (this.#reporter === "") {
      this.#reporter = toHex(crypto.getRandomValues(new Uint8Array(16)));
    }
    for (const counts of this.#counter.unsent()) {
      try {
        this.#sequence++;
        await queue.send({
          v: 1,
          kind: "outcomes",
          reporter: this.#reporter,
          sequence: this.#sequence,
          counts: [...counts],
        });
        this.#counter.sent(counts, Date.now());
      } catch (error) {
        writeLog(
          "warn",
          { message: `${dependencies.outcomesQueue} did not accept a report; it is sent with the next one` },
          error,
        );
        return;
      }
    }
  }
}
