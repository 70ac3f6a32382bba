/**
 * What one request comes to, filled in at its stations and counted once, when it is answered: every request has exactly
 * one outcome, with a reason.
 */
import type { BypassReason } from "../../shared/collect/bypass.ts";
import type { RequestOutcome } from "../../shared/outcome.ts";
import type { RefusalReason } from "../../shared/refusal-reason.ts";
import { answerOf } from "./refusal.ts";

export class Tally {
  /** Empty while the key is not known. */
  tenant = "";
  /** The key's id; empty while it is not known to exist. */
  key = "";
  outcome: RequestOutcome | undefined;
  reason = "";
  /** Spans that were accepted. */
  spans = 0;
  rejectedSpans = 0;
  /** Spans left out by the key's sampling rate. */
  sampledSpans = 0;
  /** The body as received. */
  bytes = 0;
  keyLookUps = 0;
  meterCalls = 0;
  /** Why its payload went alone although a collector was to have it. */
  bypassed: BypassReason | undefined;

  sender(key: string, tenant: string): void {
    this.key = key;
    this.tenant = tenant;
  }

  end(outcome: RequestOutcome, reason: string): void {
    this.outcome = outcome;
    this.reason = reason;
  }

  refused(reason: RefusalReason): void {
    this.end(answerOf(reason).outcome, reason);
  }
}
