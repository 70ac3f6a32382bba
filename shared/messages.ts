/**
 * What crosses a border between our parts: queue messages, R2 event notifications, and the custom metadata of a
 * payload. Each is parsed once, here, with valibot; past it the types are trusted.
 */
import * as v from "valibot";
import { keyIdPattern } from "./api-key.ts";
import type { SpanBounds } from "./otlp/span-check.ts";
import { requestOutcomes } from "./outcome.ts";
import {
  formatSlotKey,
  isPayloadId,
  isPayloadKey,
  isSegmentKey,
  type ObjectKey,
  type PayloadId,
  type PayloadKey,
  tenantPattern,
} from "./payload-key.ts";

const segmentKeySchema = v.custom<ObjectKey>(
  (input) => typeof input === "string" && isSegmentKey(input),
  "not a segment's key",
);
const payloadKeySchema = v.custom<PayloadKey>(
  (input) => typeof input === "string" && isPayloadKey(input),
  "not a payload key",
);
const countSchema = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
/** A group's id: its insert_deduplication_token, 128 random bits as 32 lower-case hex digits. */
const groupIdSchema = v.pipe(v.string(), v.regex(/^[0-9a-f]{32}$/));

/** The dead-letter queue of every other queue, as wrangler.toml names it (test/tidy.test.ts); it has none of its own. */
export const deadLetterQueue = "headrace-dead";

/** Why a payload was notified. Only `reconcile`, `audit` and `replay` may question an id that the ledger knows as done. */
const causes = ["ingress", "event", "reconcile", "audit", "replay"] as const;
export type Cause = (typeof causes)[number];

/** A queue message that names one payload, with what grouping needs to know of it. */
export const doorbellSchema = v.object({
  v: v.literal(1),
  key: payloadKeySchema,
  cause: v.picklist(causes),
  spans: countSchema,
  outputBytes: countSchema,
  /** Time of arrival, ms since the epoch. */
  arrival: countSchema,
  /** Bytes of the body without its content encoding, and the first day (since the epoch) of its spans. An older ingress says neither. */
  inflatedBytes: v.exactOptional(countSchema),
  oldestDay: v.exactOptional(countSchema),
});
export type Doorbell = v.InferOutput<typeof doorbellSchema>;
/** What a doorbell says of a payload besides its key. */
export type Counts = Omit<Doorbell, "v" | "key" | "cause">;

/** A queue message that names payloads of one segment, each with what grouping needs to know of it. */
export const segmentDoorbellSchema = v.object({
  v: v.literal(2),
  key: segmentKeySchema,
  cause: v.picklist(causes),
  payloads: v.array(
    v.object({
      slot: countSchema,
      tenant: v.pipe(v.string(), v.regex(tenantPattern)),
      id: v.custom<PayloadId>((input) => typeof input === "string" && isPayloadId(input), "not a payload id"),
      spans: countSchema,
      outputBytes: countSchema,
      arrival: countSchema,
      inflatedBytes: countSchema,
      oldestDay: v.exactOptional(countSchema),
    }),
  ),
});
export type SegmentDoorbell = v.InferOutput<typeof segmentDoorbellSchema>;

/** The doorbells of the payloads that one of a segment names. */
export function doorbellsOf({ key, cause, payloads }: SegmentDoorbell): readonly Doorbell[] {
  return payloads.map(({ slot, tenant, id, ...counts }) => ({
    v: 1,
    key: formatSlotKey(key, slot, tenant, id),
    cause,
    ...counts,
  }));
}

/** A queue message that names one payload, whose object says the rest. */
export const bareDoorbellSchema = v.strictObject({
  v: v.literal(1),
  key: payloadKeySchema,
  cause: v.picklist(causes),
});
export type BareDoorbell = v.InferOutput<typeof bareDoorbellSchema>;

/** A queue message that names one group which is ready to be inserted. */
export const groupBellSchema = v.object({ v: v.literal(1), group: groupIdSchema });
export type GroupBell = v.InferOutput<typeof groupBellSchema>;

const keyIdSchema = v.pipe(v.string(), v.regex(keyIdPattern));

const quotaFields = {
  v: v.literal(1),
  kind: v.literal("quota"),
  tenant: v.pipe(v.string(), v.regex(tenantPattern)),
  /** The id of the first key of the line. */
  account: keyIdSchema,
  month: v.pipe(v.string(), v.regex(/^\d{4}-\d{2}$/)),
  percent: v.picklist([80, 100]),
  state: v.picklist(["open", "resolved"]),
};

/** A queue message from a tenant's Meter: a key's quota is nearly used, or used up, or a new month has begun. */
export const quotaMessageSchema = v.union([
  v.object({
    ...quotaFields,
    unit: v.picklist(["spans", "bytes"]),
    used: countSchema,
    perMonth: countSchema,
  }),
  // A Meter that knew no bytes.
  v.pipe(
    v.object({ ...quotaFields, usedSpans: countSchema, spansPerMonth: countSchema }),
    v.transform(({ usedSpans, spansPerMonth, ...rest }) => ({
      ...rest,
      unit: "spans" as const,
      used: usedSpans,
      perMonth: spansPerMonth,
    })),
  ),
]);
export type QuotaMessage = v.InferOutput<typeof quotaMessageSchema>;

/** How many requests of one minute ended in one way. Empty texts where no key names the tenant. */
const outcomeCountSchema = v.object({
  /** Start of the minute, ms since the epoch. */
  minute: countSchema,
  tenant: v.union([v.literal(""), v.pipe(v.string(), v.regex(tenantPattern))]),
  key: v.union([v.literal(""), keyIdSchema]),
  outcome: v.picklist(requestOutcomes),
  /** A word of the ingress's: why. */
  reason: v.pipe(v.string(), v.regex(/^[a-z_]{0,40}$/)),
  requests: countSchema,
  spans: countSchema,
  rejectedSpans: countSchema,
  bytes: countSchema,
  keyLookUps: countSchema,
  meterCalls: countSchema,
});
export type OutcomeCount = v.InferOutput<typeof outcomeCountSchema>;

/**
 * A queue message with what one isolate of the ingress has counted. A count is the whole of its minute so far: a later
 * message (by `sequence`) replaces what an earlier one said.
 */
export const outcomesMessageSchema = v.object({
  v: v.literal(1),
  kind: v.literal("outcomes"),
  /** Drawn at the isolate's first report: 128 random bits as hex. */
  reporter: groupIdSchema,
  sequence: countSchema,
  counts: v.array(outcomeCountSchema),
});
export type OutcomesMessage = v.InferOutput<typeof outcomesMessageSchema>;

/**
 * An R2 event notification, as documented under r2/buckets/event-notifications. It carries no custom metadata: a
 * `head` completes it into a doorbell.
 */
export const r2EventSchema = v.object({
  account: v.string(),
  action: v.string(),
  bucket: v.string(),
  object: v.object({ key: v.string(), size: v.optional(v.number()), eTag: v.optional(v.string()) }),
  eventTime: v.string(),
});
export type R2Event = v.InferOutput<typeof r2EventSchema>;

const digits = v.pipe(v.string(), v.regex(/^\d{1,15}$/), v.transform(Number));

/** Content encodings that the ingress accepts and the consumer inflates. */
export const contentEncodings = ["identity", "gzip", "deflate", "zstd"] as const;
export type ContentEncoding = (typeof contentEncodings)[number];

/**
 * A payload's custom metadata in R2 (values are strings there). The bounds are those that the ingress applied; the
 * consumer uses these and never its own settings, so that both refuse the same spans.
 */
export const payloadMetadataSchema = v.object({
  version: v.literal("1"),
  type: v.picklist(["pb", "json"]),
  encoding: v.picklist(contentEncodings),
  /** Spans accepted: the rows that the consumer must write. */
  spans: digits,
  rejectedSpans: digits,
  inflatedBytes: digits,
  /** What the consumer holds for it at most: its rows, and no less than the body as received. */
  outputBytes: digits,
  /** ms since the epoch */
  arrival: digits,
  /** Span start times accepted, ms since the epoch, both inclusive. */
  startMinMs: digits,
  startMaxMs: digits,
  /** The first span end time accepted. A payload of an older version has none. */
  endMinMs: v.exactOptional(digits),
  /** The first day of its spans, in days since the epoch. A payload of an older version has none. */
  oldestDay: v.exactOptional(digits),
  /** Traces below it were left out (otlp/sample-threshold.ts). A payload of an older version has none. */
  sampleThreshold: v.exactOptional(v.pipe(v.string(), v.regex(/^[0-9a-f]{14}$/))),
  /**
   * What the ingress has seen changed before it is stored (otlp/repairs.ts). A payload of an older version has none: a
   * wrong id in a link or a parent refused its span then.
   */
  repairs: v.exactOptional(digits),
  /** Texts of a protobuf body among them: such a body is rewritten before it is walked. */
  repairedTexts: v.exactOptional(digits),
});
export type PayloadMetadata = v.InferOutput<typeof payloadMetadataSchema>;

/** What grouping needs to know of a payload, from its metadata. */
export function countsOf({ spans, outputBytes, arrival, inflatedBytes, oldestDay }: PayloadMetadata): Counts {
  return { spans, outputBytes, arrival, inflatedBytes, ...(oldestDay === undefined ? {} : { oldestDay }) };
}

/** The bounds by which the ingress has accepted a payload's spans, as the consumer's walk takes them. */
export function acceptedBounds(metadata: PayloadMetadata): SpanBounds {
  const { startMinMs, startMaxMs, endMinMs = 0, sampleThreshold, repairs, repairedTexts = 0 } = metadata;
  return {
    startMinMs,
    startMaxMs,
    endMinMs,
    ...(sampleThreshold === undefined ? {} : { sampleThreshold }),
    textsRepaired: repairedTexts > 0,
    wrongIdsRefuse: repairs === undefined,
  };
}

/** The metadata as R2 takes it. */
export function formatPayloadMetadata(metadata: PayloadMetadata): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const [name, value] of Object.entries(metadata)) {
    texts[name] = String(value);
  }
  return texts;
}
