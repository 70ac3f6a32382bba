/**
 * Why a request is not accepted, as data, and the one function that turns a reason into HTTP. The words are
 * `word-refusal.ts`'s.
 * Only 429, 502, 503 and 504 are retried by exporters (OTLP/HTTP, "Failures"): whatever is our own fault must be
 * 503, since an exporter drops what any other status answers.
 */
import type { Inspection } from "../../shared/otlp/inspect.ts";
import type { RequestOutcome } from "../../shared/outcome.ts";
import type { BodyType } from "../../shared/payload-key.ts";
import type { RefusalReason } from "../../shared/refusal-reason.ts";

/** The header that a key came in. */
export type KeyHeader = "Authorization" | "x-api-key";

/** What `Authorization` holds where no key can be read. */
export type UnreadKey =
  | "nothing"
  | "escaped_space"
  | "key_without_scheme"
  | "key_behind_another_scheme"
  | "no_key";

/** What of a body is larger than it may be. */
export type TooLarge =
  | { readonly what: "received"; readonly isCompressed: boolean }
  /** `message`: of the decoder. */
  | { readonly what: "inflated"; readonly message: string }
  /** `message`: which list, and how many are read. */
  | { readonly what: "list"; readonly message: string }
  | { readonly what: "spans" | "row" | "rows" | "attributes"; readonly inspection: Inspection }
  | { readonly what: "names" }
  /** The resource whose repetition takes the most, and how many spans repeat it. */
  | { readonly what: "hardly_compresses"; readonly resourceBytes: number; readonly spans: number };

/** What is needed to mend it. A key is never in it: `key` is as much of one as may be shown, `name` what people call it. */
type Cause =
  | { readonly reason: "unknown_path"; readonly path: string }
  | { readonly reason: "wrong_method"; readonly method: string }
  /** The media type, empty where none was sent. */
  | { readonly reason: "wrong_content_type"; readonly media: string }
  | { readonly reason: "wrong_content_encoding"; readonly encoding: string }
  | { readonly reason: "missing_key"; readonly sent: UnreadKey }
  | {
      readonly reason: "unknown_key";
      readonly key: string;
      readonly header: KeyHeader;
      readonly fault: "not_ours" | "mistyped" | "not_found";
    }
  | { readonly reason: "unknown_keys_flood"; readonly key: string }
  | { readonly reason: "revoked_key" | "disabled_key"; readonly key: string; readonly name: string }
  /** `expiredAt` in ms since the epoch. */
  | {
      readonly reason: "expired_key";
      readonly key: string;
      readonly name: string;
      readonly expiredAt: number;
    }
  | { readonly reason: "forbidden_origin"; readonly name: string; readonly origin: string }
  | {
      readonly reason: "rate_exceeded" | "byte_rate_exceeded";
      readonly name: string;
      readonly perSecond: number | null;
      readonly retryAfterSeconds: number;
    }
  /** `at`: within the month that is used up, in ms since the epoch. */
  | {
      readonly reason: "quota_exceeded" | "byte_quota_exceeded";
      readonly name: string;
      readonly perMonth: number | null;
      readonly at: number;
    }
  | { readonly reason: "fruitless_requests"; readonly name: string; readonly retryAfterSeconds: number }
  | { readonly reason: "too_large"; readonly size: TooLarge }
  /** `type`: what it is not; undefined where it could not even be inflated. `mistake`: what it seems to be instead. */
  | {
      readonly reason: "corrupt_body";
      readonly type: BodyType | undefined;
      readonly fault: string;
      readonly mistake: string | undefined;
    }
  | {
      readonly reason: "all_spans_rejected";
      readonly inspection: Inspection;
      readonly mistake: string | undefined;
    }
  /** Bytes that came, and that the client said. */
  | {
      readonly reason: "slow_body";
      readonly isBelowRate: boolean;
      readonly received: number | undefined;
      readonly claimed: number | undefined;
    }
  | {
      readonly reason: "broken_body";
      readonly received: number | undefined;
      readonly claimed: number | undefined;
    }
  | { readonly reason: "busy" | "keys_unreachable" | "store_unreachable" | "internal" };

export type Refusal = Cause & {
  /** Spans that were refused one by one, where that is why. */
  readonly rejectedSpans?: number;
  /** Bytes of the body without its content encoding, where they were looked at: they count in the key's rate. */
  readonly inflatedBytes?: number;
  /** Retry-After of a retryable refusal, 1 or more; `limits.retryAfterSeconds` where it does not say. */
  readonly retryAfterSeconds?: number;
};

/** The isolate has too many bytes in hand: received, inflated and converted ones together. */
export const noRoom: Refusal = { reason: "busy" };

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
