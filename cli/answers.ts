/** What the console answers, as far as the CLI reads it. Fields that a newer console adds are let through. */
import * as v from "valibot";
import { failureSchema } from "../shared/console/answers.ts";

export const watermarkSchema = v.looseObject({
  watermark: v.nullable(v.string()),
  behindSeconds: v.nullable(v.number()),
  ranAt: v.nullable(v.string()),
  openMinutes: v.array(
    v.looseObject({
      minute: v.string(),
      listed: v.number(),
      pending: v.number(),
      example: v.nullable(v.string()),
      dueAt: v.string(),
    }),
  ),
  openMinutesCount: v.number(),
});

export const balanceSchema = v.looseObject({
  since: v.string(),
  balanced: v.boolean(),
  truncated: v.boolean(),
  accepted: v.number(),
  stored: v.number(),
  dead: v.number(),
  duplicate: v.number(),
  erased: v.number(),
  expired: v.number(),
  inFlight: v.number(),
  missing: v.array(v.string()),
});

export type Balance = v.InferOutput<typeof balanceSchema>;

/** A console of an older release does not say what keeps payloads from being brought in. */
export const statusSchema = v.looseObject({ trouble: v.optional(v.string(), "") });

export const findingsSchema = v.array(
  v.looseObject({
    kind: v.string(),
    subject: v.string(),
    state: v.string(),
    severity: v.string(),
    tenant: v.string(),
    message: v.string(),
    openedAt: v.string(),
  }),
);
export type Finding = v.InferOutput<typeof findingsSchema>[number];

export const deadLettersSchema = v.array(
  v.looseObject({
    key: v.string(),
    tenant: v.string(),
    reason: v.string(),
    // A console of an older release says neither.
    message: v.optional(v.string(), ""),
    refusals: v.optional(v.number(), 0),
    spans: v.number(),
    record: v.string(),
    at: v.string(),
  }),
);

export const payloadSchema = v.looseObject({
  payload: v.string(),
  tenant: v.nullable(v.string()),
  keys: v.array(v.string()),
  objects: v.array(v.looseObject({ key: v.string(), bytes: v.number() })),
  ledger: v.looseObject({
    at: v.string(),
    due: v.optional(v.number()),
    failure: v.optional(v.nullable(failureSchema), null),
  }),
  receipts: v.array(
    v.looseObject({ key: v.string(), outcome: v.string(), spans: v.number(), reason: v.string() }),
  ),
  deadLetters: v.array(v.looseObject({ key: v.string(), reason: v.string(), message: v.string() })),
  rows: v.array(v.object({ day: v.string(), rows: v.number() })),
  // A console of an older release says neither.
  presence: v.optional(v.string(), ""),
  advice: v.optional(v.string(), ""),
  steps: v.array(v.object({ at: v.string(), key: v.string(), what: v.string() })),
});
export type Payload = v.InferOutput<typeof payloadSchema>;

export const traceSchema = v.looseObject({
  trace: v.string(),
  spansOfOthers: v.number(),
  payloads: v.array(
    v.looseObject({
      payload: v.string(),
      tenant: v.string(),
      spans: v.number(),
      spansInAll: v.number(),
      keys: v.array(v.string()),
    }),
  ),
  spans: v.array(
    v.looseObject({ name: v.string(), service: v.string(), attributes: v.record(v.string(), v.string()) }),
  ),
});

export const payloadsSchema = v.looseObject({
  keys: v.array(v.string()),
  spans: v.number(),
  next: v.nullable(v.string()),
});

const count = v.nullable(v.number());
export const keySchema = v.looseObject({
  id: v.string(),
  tenant: v.string(),
  name: v.string(),
  status: v.string(),
  spansPerSecond: count,
  burstSpans: count,
  spansPerMonth: count,
  // A console of a release before these limits does not name them.
  bytesPerSecond: v.optional(count, null),
  burstBytes: v.optional(count, null),
  bytesPerMonth: v.optional(count, null),
  origins: v.array(v.string()),
  sample: v.number(),
  expiresAt: v.nullable(v.string()),
});
export type Key = v.InferOutput<typeof keySchema>;
export const newKeySchema = v.looseObject({ ...keySchema.entries, key: v.string() });
export const keysSchema = v.looseObject({ keys: v.array(keySchema), cursor: v.optional(v.string()) });
