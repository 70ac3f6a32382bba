/**
 * What the console's API answers: the Worker builds its answers to these types, the page and the CLI parse them, and the
 * OpenAPI document is made of them (routes.ts says which route answers what). An answer may have further fields, which a
 * reader of this version leaves out. A field with a default is one that a console of an older release does not name.
 */
import * as v from "valibot";
import { failureKinds } from "../failure.ts";
import { groupKinds } from "../ledger/group-kinds.ts";
import { waitReasons } from "../ledger/in-flight.ts";
import { payloadOutcomes } from "../outcome.ts";

const count = v.number();
/** ISO 8601, UTC: `2026-11-27T07:23:59Z`, with or without a fraction. */
export const timeText = v.string();
/** Milliseconds since the epoch. */
export const timeMs = v.number();

/** Everything of a type that an answer is made of, as its builder has it: nothing of it is changed any more. */
export type Fixed<T> = T extends (infer E)[]
  ? readonly Fixed<E>[]
  : T extends object
    ? { readonly [K in keyof T]: Fixed<T[K]> }
    : T;

/** Why attempts failed (shared/failure.ts). */
const failureSchema = v.object({
  failed: count,
  refused: count,
  since: timeMs,
  at: timeMs,
  kind: v.picklist(failureKinds),
  code: v.nullable(v.number()),
  name: v.string(),
  text: v.string(),
});

/** `GET /api/watermark` */
export const watermarkSchema = v.object({
  /**
   * Everything that arrived before is stored, dead, duplicate, erased or expired, and nothing of it is in flight. Null
   * until the reconciler has run once.
   */
  watermark: v.nullable(timeText),
  behindSeconds: v.nullable(v.number()),
  /** When a run of the reconciler last came to its end. */
  ranAt: v.nullable(timeText),
  /** Minutes that are not sealed, the oldest first; at most 100. */
  openMinutes: v.array(
    v.object({
      minute: timeText,
      /** Payloads that were listed in it, and how many of them have not ended. */
      listed: count,
      pending: count,
      /** One that has not. */
      example: v.nullable(v.string()),
      tries: count,
      /** When it is looked at again. */
      dueAt: timeText,
    }),
  ),
  openMinutesCount: count,
});
export type Watermark = v.InferOutput<typeof watermarkSchema>;

/** How payloads ended, and how many have not. */
const outcomeCounts = {
  stored: count,
  dead: count,
  duplicate: count,
  erased: count,
  expired: count,
  inFlight: count,
};

/** `GET /api/balance` */
export const balanceSchema = v.object({
  /** First minute of the range, which ends now. */
  since: v.string(),
  /** Whether every accepted payload has ended or is held. */
  balanced: v.boolean(),
  /** The range has more payloads than are listed, and the numbers are those of its beginning: ask for a shorter one. */
  truncated: v.boolean(),
  accepted: count,
  ...outcomeCounts,
  /** Accepted, without receipt, and held by nobody. Sorted. */
  missing: v.array(v.string()),
  /**
   * And so many more without receipt, in flight or missing: their segments have more indexes than one answer reads, or a damaged
   * one, so that no key of theirs is known here.
   */
  unnamed: v.optional(count, 0),
});
export type BalanceAnswer = v.InferOutput<typeof balanceSchema>;

/** `GET /api/minutes`: a step is a minute or an hour. */
const stepSchema = v.object({
  at: timeText,
  /** Everything below added up. */
  accepted: count,
  ...outcomeCounts,
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
  ...outcomeCounts,
  spans: count,
  rejectedSpans: count,
  bytes: count,
});
export type TenantSum = v.InferOutput<typeof tenantSumSchema>;

export const minutesSchema = v.object({
  since: timeText,
  stepSeconds: count,
  steps: v.array(stepSchema),
  /** Of the whole range, those with most spans first. */
  tenants: v.array(tenantSumSchema),
  tenantsCount: count,
});
export type Minutes = v.InferOutput<typeof minutesSchema>;

/** The states of a group (ledger/group.ts). */
const groupStates = ["open", "counting", "verifying", "receipting", "held", "clearing"] as const;

/** `GET /api/in-flight` */
export const inFlightSchema = v.object({
  /** Payloads that wait to become a group. */
  waiting: count,
  /** Groups altogether, of which the oldest of each kind are listed. */
  groupsCount: count,
  /** And by kind (ledger/group-kinds.ts), of however many. Absent where a consumer of an earlier version answers. */
  kinds: v.exactOptional(v.object(v.entriesFromList(groupKinds, count))),
  /** With more groups than are listed it is a lower bound. */
  payloads: count,
  oldestArrival: v.nullable(timeMs),
  groups: v.array(
    v.object({
      group: v.string(),
      state: v.picklist(groupStates),
      waitsFor: v.picklist(waitReasons),
      /** Null: nothing that is due at a known time. */
      until: v.nullable(timeMs),
      made: timeMs,
      oldestArrival: timeMs,
      payloads: count,
      spans: count,
      attempts: count,
      inserts: count,
      refusals: count,
      failure: v.nullable(failureSchema),
      outcomeUnknown: v.boolean(),
      tenants: v.array(v.string()),
      /** The first of its payloads. */
      keys: v.array(v.string()),
    }),
  ),
});
export type InFlightAnswer = v.InferOutput<typeof inFlightSchema>;

/** `GET /api/status`: what the ledger says of itself, as far as a person needs it. */
export const statusSchema = v.object({
  remembered: count,
  databaseBytes: count,
  head: v.nullable(
    v.object({
      birth: timeMs,
      rescues: v.object({ event: count, reconcile: count }),
      lateBells: count,
      breaker: v.object({ isOpen: v.boolean(), inFlight: v.array(v.string()), concurrencyLimit: count }),
      table: v.object({ refusal: v.string() }),
    }),
  ),
  held: v.array(v.object({ key: v.string(), reason: v.string() })),
  /** All of them: the longest held are listed. Absent where a consumer of an earlier version answers. */
  heldCount: v.exactOptional(count),
  /** What keeps payloads from being stored, in one sentence; empty: nothing does. */
  trouble: v.optional(v.string(), ""),
  /** What the zone before the ingress turned away, or why that is not known. Empty: a Worker of an earlier version. */
  frontDoor: v.optional(
    v.array(v.object({ verdict: v.picklist(["good", "bad", "unwatched"]), text: v.string() })),
    [],
  ),
});
export type Status = v.InferOutput<typeof statusSchema>;

/** `GET /api/dead-letters` */
export const deadLettersSchema = v.array(
  v.object({
    key: v.string(),
    tenant: v.string(),
    reason: v.string(),
    /** What ClickHouse or the decoder said last, and how often it was refused. */
    message: v.optional(v.string(), ""),
    refusals: v.optional(count, 0),
    spans: count,
    /** The key of its record in R2. */
    record: v.string(),
    at: timeText,
    /** `record`: of R2, for ClickHouse did not answer. It may have been replayed since, longer ago than the ledger remembers. */
    from: v.optional(v.picklist(["table", "record"]), "table"),
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
    openedAt: timeText,
    at: timeText,
  }),
);
export type ListedFinding = v.InferOutput<typeof findingsSchema>[number];

/** Where the ledger has a payload (ledger/whereabouts.ts). */
const whereaboutsSchema = v.variant("at", [
  v.object({ at: v.literal("waiting"), key: v.string() }),
  v.object({
    at: v.literal("group"),
    key: v.nullable(v.string()),
    group: v.string(),
    state: v.picklist(groupStates),
    payloads: count,
    attempts: count,
    made: timeMs,
    due: timeMs,
    failure: v.optional(v.nullable(failureSchema), null),
  }),
  v.object({ at: v.literal("done"), outcome: v.string(), since: timeMs }),
  v.object({ at: v.literal("unknown") }),
]);

/** An object's metadata (messages.ts), as far as a person needs it. */
const objectMetadataSchema = v.object({
  spans: count,
  rejectedSpans: count,
  type: v.string(),
  encoding: v.string(),
  arrival: timeMs,
});

/** `GET /api/payload` */
export const payloadSchema = v.object({
  payload: v.string(),
  tenant: v.nullable(v.string()),
  /** Keys under which it arrived, as far as anybody knows of them. */
  keys: v.array(v.string()),
  /** What R2 has of it now. */
  objects: v.array(
    v.object({
      key: v.string(),
      /** Of the payload as it was received; null: what its segment says of it is damaged. */
      bytes: v.nullable(count),
      metadata: v.optional(v.nullable(objectMetadataSchema), null),
      /** How many payloads the object has: more than one in a segment, and maybe one. */
      payloads: v.optional(count, 1),
    }),
  ),
  ledger: whereaboutsSchema,
  receipts: v.array(
    v.object({
      key: v.string(),
      outcome: v.picklist(payloadOutcomes),
      group: v.string(),
      spans: count,
      rejectedSpans: count,
      reason: v.string(),
      at: timeText,
    }),
  ),
  deadLetters: v.array(v.object({ key: v.string(), reason: v.string(), message: v.string() })),
  /** What the table has of it: the evidence. */
  rows: v.array(v.object({ day: v.string(), rows: count })),
  /** Whether these are the rows that the receipts claim (reconcile/presence.ts); `unread`: neither is known now. */
  presence: v.optional(v.string(), ""),
  /** Why receipts and rows are not known; empty: they are what is said above. */
  unread: v.optional(v.string(), ""),
  /** What that means for a person, and what can be done; empty where there is nothing to say. */
  advice: v.optional(v.string(), ""),
  /** In the order of time. */
  steps: v.array(v.object({ at: timeText, key: v.string(), what: v.string() })),
});
export type PayloadAnswer = v.InferOutput<typeof payloadSchema>;

/** `GET /api/actions`: what people asked the console to change. */
export const actionsSchema = v.array(
  v.object({
    at: timeText,
    /** A verified identity of Cloudflare Access, or `the admin token`. */
    who: v.string(),
    /** Where the request came from. */
    address: v.string(),
    /** The route, `POST /api/erase`. */
    what: v.string(),
    /** The key's id, where the path names one. */
    id: v.optional(v.string(), ""),
    /** The request's body; of its payload keys the first 100. */
    asked: v.looseObject({}),
    /** How many payload keys it named. */
    keysCount: count,
  }),
);
export type Action = v.InferOutput<typeof actionsSchema>[number];

/** `GET /api/payload-spans` */
export const payloadSpansSchema = v.object({
  key: v.string(),
  arrival: timeText,
  type: v.picklist(["pb", "json"]),
  encoding: v.string(),
  bytes: count,
  /** Spans met, of the trace that was asked for; those that are refused included; only the first are listed. */
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

/** `GET /api/minute-payloads`: what arrived in one minute, and how each ended. */
export const minutePayloadsSchema = v.object({
  minute: v.string(),
  payloads: v.array(
    v.object({
      key: v.string(),
      tenant: v.string(),
      /** That of the receipt; without one `in flight`, or `unaccounted` where the ledger does not hold it either. */
      outcome: v.string(),
      /** Of the receipt; null: there is none. */
      spans: v.nullable(count),
      reason: v.string(),
    }),
  ),
  /** What is left out, in words; empty: nothing is. */
  notes: v.array(v.string()),
});

/** `GET /api/payloads`: a page of a tenant's keys. */
export const payloadsSchema = v.object({
  keys: v.array(v.string()),
  /** Spans of those with a receipt. */
  spans: count,
  /** Where the next page begins: hand it over as `after`. Null: this was the last one. */
  next: v.nullable(v.string()),
});

const limit = v.nullable(v.number());
const laterLimit = v.optional(limit, null);

/** `GET /api/keys/{id}`, and what changes of a key answer. A limit of null: there is none. */
export const keySchema = v.object({
  id: v.string(),
  tenant: v.string(),
  name: v.string(),
  status: v.picklist(["active", "disabled", "revoked"]),
  spansPerSecond: limit,
  burstSpans: limit,
  spansPerMonth: limit,
  bytesPerSecond: laterLimit,
  burstBytes: laterLimit,
  bytesPerMonth: laterLimit,
  origins: v.array(v.string()),
  sample: v.number(),
  spanAgeDays: v.exactOptional(v.number()),
  /** The id of the first key that it goes back to by rotation: they share one allowance. */
  account: v.string(),
  createdAt: v.exactOptional(timeText),
  expiresAt: v.nullable(timeText),
});
export type ListedKey = v.InferOutput<typeof keySchema>;

/** `POST /api/keys` and `/rotate`: the only answer that has the key itself. */
export const newKeySchema = v.object({ ...keySchema.entries, key: v.string() });

/** `GET /api/keys`: a page, and a cursor where there are more. */
export const keysSchema = v.object({ keys: v.array(keySchema), cursor: v.exactOptional(v.string()) });

/** `GET /api/usage` */
export const usageSchema = v.object({
  /** The first day, UTC. */
  since: v.string(),
  /** By tenant and day, the newest first: from the receipts, and so evidence. */
  days: v.array(
    v.object({
      tenant: v.string(),
      day: v.string(),
      payloads: count,
      spans: count,
      rejectedSpans: count,
      bytes: count,
      /** Spans left out by a key's sampling rate; requests, and their spans, over a rate or a quota. */
      bestEffort: v.object({ sampledSpans: count, limitedRequests: count, limitedSpans: count }),
    }),
  ),
  /** What the tenant's metered keys have used of their months; only where a tenant was asked about. */
  accounts: v.exactOptional(
    v.array(v.object({ account: v.string(), month: v.string(), usedSpans: count, usedBytes: count })),
  ),
});
export type UsageAnswer = v.InferOutput<typeof usageSchema>;

/** `GET /api/outcomes`: how requests ended, as the ingress counted them. */
export const outcomesSchema = v.object({
  /** Always true: what an isolate had not reported when it ended is missing. Receipts are the evidence. */
  bestEffort: v.literal(true),
  since: timeText,
  outcomes: v.array(
    v.object({
      /** Where the question was by minutes. */
      minute: v.exactOptional(timeText),
      /** Empty: of no tenant, as far as is known. */
      tenant: v.string(),
      /** The key's id. */
      key: v.string(),
      outcome: v.string(),
      reason: v.string(),
      requests: count,
      spans: count,
      rejectedSpans: count,
      bytes: count,
      keyLookUps: count,
      meterCalls: count,
    }),
  ),
  /** There are more rows than one answer holds: ask for fewer hours, or one tenant. */
  truncated: v.boolean(),
});
export type OutcomeSums = v.InferOutput<typeof outcomesSchema>;

/** `GET /api/doctor` */
export const examinationSchema = v.object({
  /** The console's clock, for clients to compare with theirs. */
  now: timeMs,
  checks: v.array(
    v.object({
      check: v.string(),
      verdict: v.picklist(["good", "warning", "bad"]),
      found: v.string(),
      mend: v.string(),
    }),
  ),
});

/** `GET /api/about` */
export const aboutSchema = v.object({
  /** Where exporters send to, without a path; empty where it is not set. */
  otlp: v.string(),
});

/** `POST /api/reconcile`. Null: another run is under way. */
export const reconciledSchema = v.nullable(
  v.object({
    /** Payloads that R2 listed, that the ledger holds, and that were notified about. */
    listed: count,
    held: count,
    notified: count,
    /** Minutes that were sealed, and those that changed after they had been and were sealed anew. */
    sealed: count,
    sealedAnew: v.optional(count, 0),
    deleted: count,
    openMinutes: count,
    watermark: timeText,
    /** Another run took over: this one ended early. */
    overtaken: v.boolean(),
  }),
);

/** `POST /api/replay`, `POST /api/erase` */
export const askedForSchema = v.object({
  taken: v.array(v.string()),
  /** Keys that are none of ours, or have no object any more: nothing was done about them. */
  missing: v.array(v.string()),
});
export type AskedFor = v.InferOutput<typeof askedForSchema>;

/** `POST /api/forget` */
export const forgottenSchema = v.object({
  taken: v.array(v.string()),
  /** Those of `taken` that the ledger will hold, for a person to resolve. */
  heldNext: v.array(v.string()),
  refused: v.array(v.object({ asked: v.string(), why: v.string() })),
  missing: v.array(v.string()),
});
export type Forgotten = v.InferOutput<typeof forgottenSchema>;

/** `POST /api/resolve`. False: it is not held, and nothing was done. */
export const resolvedSchema = v.object({ resolved: v.boolean() });

/** `POST /api/accept-table` */
export const acceptedSchema = v.object({ accepted: v.boolean() });

/** Every answer that is not of the 200s. */
export const refusalSchema = v.object({ error: v.string() });
