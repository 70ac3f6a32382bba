/**
 * Why a request is not accepted, and the one function that turns a reason into HTTP.
 * Only 429, 502, 503 and 504 are retried by exporters (OTLP/HTTP, "Failures"): whatever is our own fault must be
 * 503, since an exporter drops what any other status answers.
 */
import type { RequestOutcome } from "../../shared/outcome.ts";
import type { RefusalReason } from "../../shared/refusal-reason.ts";

export interface Refusal {
  readonly reason: RefusalReason;
  /** For the developer of the exporter: what is wrong and what to do. */
  readonly message: string;
  /** Spans that were refused one by one, where that is why. */
  readonly rejectedSpans?: number;
  /** Bytes of the body without its content encoding, where they were looked at: they count in the key's rate. */
  readonly inflatedBytes?: number;
  /** Retry-After of a retryable refusal, 1 or more; `limits.retryAfterSeconds` where it does not say. */
  readonly retryAfterSeconds?: number;
}

/** The isolate has too many bytes in hand: received, inflated and converted ones together. */
export const noRoom: Refusal = {
  reason: "busy",
  message: "Too many bodies are being received at this moment. Try again.",
};

export interface RefusalAnswer {
  readonly status: number;
  readonly outcome: RequestOutcome;
  readonly retryable: boolean;
  /** Whether the data is wrong for good: OTLP/HTTP asks for a google.rpc.BadRequest in the details then. */
  readonly badRequest?: true;
}

export function answerOf(reason: RefusalReason): RefusalAnswer {
  switch (reason) {
    case "unknown_path":
      return { status: 404, outcome: "unsupported", retryable: false };
    case "wrong_method":
      return { status: 405, outcome: "unsupported", retryable: false };
    case "wrong_content_type":
    case "wrong_content_encoding":
      return { status: 415, outcome: "unsupported", retryable: false };
    case "missing_key":
    case "unknown_key":
    case "revoked_key":
    case "expired_key":
      return { status: 401, outcome: "unauthenticated", retryable: false };
    case "disabled_key":
    case "forbidden_origin":
      return { status: 403, outcome: "forbidden", retryable: false };
    case "unknown_keys_flood":
    case "rate_exceeded":
    case "byte_rate_exceeded":
    case "fruitless_requests":
      return { status: 429, outcome: "rate_limited", retryable: true };
    case "quota_exceeded":
    case "byte_quota_exceeded":
      return { status: 429, outcome: "over_quota", retryable: true };
    case "too_large":
      return { status: 413, outcome: "too_large", retryable: false };
    case "corrupt_body":
    case "all_spans_rejected":
      return { status: 400, outcome: "malformed", retryable: false, badRequest: true };
    case "busy":
    case "slow_body":
    case "broken_body":
    case "keys_unreachable":
    case "store_unreachable":
    case "internal":
      return { status: 503, outcome: "unavailable", retryable: true };
  }
}
