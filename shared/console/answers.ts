/**
 * What the console's API answers, as its readers (the page, the CLI) parse it. Times are ISO 8601, UTC, unless a field
 * says otherwise. Fields that a reader does not use may be added at any time.
 */
import * as v from "valibot";
import { failureKinds } from "../ledger/failure.ts";
import { waitReasons } from "../ledger/in-flight.ts";

const count = v.number();

/** What attempts failed of (ledger/failure.ts). `at`: ms since the epoch. */
export const failureSchema = v.object({
  failed: count,
  refused: count,
  since: v.number(),
  at: v.number(),
  kind: v.picklist(failureKinds),
  code: v.nullable(v.number()),
  name: v.string(),
  text: v.string(),
});

/** `GET /api/watermark` */
export const watermarkSchema = v.object({
  watermark: v.nullable(v.string()),
  behindSeconds: v.nullable(v.number()),
  ranAt: v.nullable(v.string()),
  openMinutesCount: count,
});
export type Watermark = v.InferOutput<typeof watermarkSchema>;

/** `GET /api/minutes`: a step is a minute or an hour. */
const stepSchema = v.object({
  at: v.string(),
  /** Everything below added up. */
  accepted: count,
  stored: count,
  dead: count,
  duplicate: count,
  erased: count,
  expired: count,
  inFlight: count,
  /** Of what is stored, and of what is in flight. */
  spans: count,
  bytes: count,
  /** All of its minutes are sealed: these numbers are final. */
  sealed: v.boolean(),
});
export type MinuteStep = v.InferOutput<typeof stepSchema>;

const tenantSumSchema = v.object({
  tenant: v.string(),
  accepted: count,
  stored: count,
  dead: count,
  duplicate: count,
  erased: count,
  expired: count,
  inFlight: count,
  spans: count,
  rejectedSpans: count,
  bytes: count,
});
export type TenantSum = v.InferOutput<typeof tenantSumSchema>;

export const minutesSchema = v.object({
  since: v.string(),
  stepSeconds: count,
  steps: v.array(stepSchema),
  /** Of the whole range, those with most spans first. */
  tenants: v.array(tenantSumSchema),
  tenantsCount: count,
});
export type Minutes = v.InferOutput<typeof minutesSchema>;

/** `GET /api/in-flight`. Times in ms since the epoch. */
export const inFlightSchema = v.object({
  waiting: count,
  groupsCount: count,
  payloads: count,
  oldestArrival: v.nullable(v.number()),
  groups: v.array(
    v.object({
      group: v.string(),
      state: v.picklist(["open", "counting", "verifying", "closing", "held", "clearing"]),
      waitsFor: v.picklist(waitReasons),
      until: v.nullable(v.number()),
      made: v.number(),
      oldestArrival: v.number(),
      payloads: count,
      spans: count,
      attempts: count,
      inserts: count,
      refusals: count,
      failure: v.nullable(failureSchema),
      outcomeUnknown: v.boolean(),
      tenants: v.array(v.string()),
      keys: v.array(v.string()),
    }),
  ),
});
export type InFlightAnswer = v.InferOutput<typeof inFlightSchema>;

/** `GET /api/status`, as far as a person needs it. Times in ms since the epoch. */
export const statusSchema = v.object({
  remembered: count,
  databaseBytes: count,
  head: v.nullable(
    v.object({
      birth: v.number(),
      rescues: v.object({ event: count, reconcile: count }),
      lateBells: count,
      breaker: v.object({ isOpen: v.boolean(), inFlight: v.array(v.string()), concurrencyLimit: count }),
      table: v.object({ refusal: v.string() }),
    }),
  ),
  held: v.array(v.object({ key: v.string(), reason: v.string() })),
  /** What keeps payloads from being brought in, in one sentence; empty: nothing does. */
  trouble: v.optional(v.string(), ""),
});
export type Status = v.InferOutput<typeof statusSchema>;

/** `GET /api/dead-letters` */
export const deadLettersSchema = v.array(
  v.object({
    key: v.string(),
    tenant: v.string(),
    reason: v.string(),
    /** What ClickHouse or the decoder said last, and how often it was refused. */
    message: v.string(),
    refusals: count,
    spans: count,
    /** The key of its record in R2. */
    record: v.string(),
    at: v.string(),
  }),
);
export type DeadLetter = v.InferOutput<typeof deadLettersSchema>[number];

/** `GET /api/findings` */
export const findingsSchema = v.array(
  v.object({
    kind: v.string(),
    subject: v.string(),
    state: v.string(),
    severity: v.string(),
    tenant: v.string(),
    message: v.string(),
    openedAt: v.string(),
    at: v.string(),
  }),
);
export type ListedFinding = v.InferOutput<typeof findingsSchema>[number];

/** `GET /api/payload-spans` */
export const payloadSpansSchema = v.object({
  key: v.string(),
  arrival: v.string(),
  type: v.picklist(["pb", "json"]),
  encoding: v.string(),
  bytes: count,
  /** Spans met, those that are refused included; only the first are listed. */
  spansCount: count,
  spans: v.array(
    v.object({
      service: v.string(),
      name: v.string(),
      kind: v.string(),
      start: v.string(),
      durationMs: v.number(),
      status: v.string(),
      statusMessage: v.string(),
      traceId: v.string(),
      spanId: v.string(),
      parentSpanId: v.string(),
      scope: v.string(),
      attributes: v.array(v.tuple([v.string(), v.string()])),
      resource: v.array(v.tuple([v.string(), v.string()])),
      events: count,
      links: count,
      /** Why it is refused; empty: it is not. */
      rejected: v.string(),
    }),
  ),
  /** Why the body could not be read to its end; empty: it could. */
  failure: v.string(),
});
export type PayloadSpans = v.InferOutput<typeof payloadSpansSchema>;

/** `GET /api/keys`, as far as the page shows it. */
export const keysSchema = v.object({
  keys: v.array(
    v.object({
      id: v.string(),
      tenant: v.string(),
      name: v.string(),
      status: v.string(),
      spansPerSecond: v.nullable(v.number()),
      burstSpans: v.nullable(v.number()),
      spansPerMonth: v.nullable(v.number()),
      bytesPerSecond: v.nullable(v.number()),
      burstBytes: v.nullable(v.number()),
      bytesPerMonth: v.nullable(v.number()),
      sample: v.number(),
      account: v.string(),
      expiresAt: v.nullable(v.string()),
    }),
  ),
  cursor: v.optional(v.string()),
});
export type ListedKey = v.InferOutput<typeof keysSchema>["keys"][number];

/** `GET /api/usage?tenant=`: what the tenant's metered keys have used of their months. */
export const usageSchema = v.object({
  accounts: v.optional(
    v.array(
      v.object({ account: v.string(), month: v.string(), usedSpans: v.number(), usedBytes: v.number() }),
    ),
    [],
  ),
});

/** `GET /api/outcomes`: how requests ended, as the ingress counted them; best effort. */
export const outcomesSchema = v.object({
  outcomes: v.array(
    v.object({
      tenant: v.string(),
      outcome: v.string(),
      reason: v.string(),
      requests: count,
      spans: count,
    }),
  ),
  truncated: v.boolean(),
});
export type OutcomeSums = v.InferOutput<typeof outcomesSchema>;

/** `POST /api/replay`, `POST /api/erase` */
export const askedForSchema = v.object({ taken: v.array(v.string()), missing: v.array(v.string()) });

/** `POST /api/resolve` */
export const resolvedSchema = v.object({ resolved: v.boolean() });

/** `GET /api/about` */
export const aboutSchema = v.object({
  /** Where exporters send to, without a path; empty where the console was not told. */
  otlp: v.string(),
});

/** Every answer that is not 200. */
export const refusalSchema = v.object({ error: v.string() });
