/**
 * What the console's API is asked with: queries, whose values are text, and bodies. The Worker checks each by these
 * schemas, and a field that is unknown, missing or malformed is named in its message.
 */
import * as v from "valibot";
import { DAY_MS, limits } from "../limits.ts";
import { isPayloadId, isPayloadKey, tenantPattern } from "../payload-key.ts";

/** valibot's issues of an object: the body is none, a field is missing, or a field is not known. */
function objectMessage({ expected }: { readonly expected: string | null }): string {
  if (expected === "never") {
    return "is not a field here";
  }
  return expected === "Object" ? "must be a JSON object" : "is missing";
}

const tenantSchema = v.pipe(
  v.string("must be text"),
  v.regex(tenantPattern, "must be 1 to 64 of a-z, 0-9 and -"),
);

/** A number as text, above 0 and at most `max`. */
function hoursSchema(max: number, otherwise: string) {
  const message = `must be a number above 0 and at most ${max}`;
  return v.optional(
    v.pipe(
      v.string(),
      v.regex(/^\d{1,3}(\.\d{1,3})?$/, message),
      v.transform(Number),
      v.check((hours) => hours > 0 && hours <= max, message),
    ),
    otherwise,
  );
}

/** `GET /api/actions` */
export const actionsQuery = v.object({ hours: hoursSchema(limits.actionsHoursMax, "168") });

/** `GET /api/balance` */
export const balanceQuery = v.object({ hours: hoursSchema(limits.hoursMax, "24") });

/** `GET /api/minutes` */
export const minutesQuery = v.object({
  hours: hoursSchema(limits.minutesMaxHours, "1"),
  tenant: v.exactOptional(v.string()),
});

/** `GET /api/outcomes` */
export const outcomesQuery = v.object({
  hours: hoursSchema(limits.hoursMax, "1"),
  tenant: v.exactOptional(v.string()),
  by: v.exactOptional(v.picklist(["minute"], "must be minute, or left out for one sum of the whole time")),
});

const daysMessage = `must be a whole number from 1 to ${limits.usageDaysMax}`;

/** `GET /api/usage` */
export const usageQuery = v.object({
  days: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^\d{1,3}$/, daysMessage),
      v.transform(Number),
      v.check((days) => days >= 1 && days <= limits.usageDaysMax, daysMessage),
    ),
    "31",
  ),
  tenant: v.exactOptional(v.string()),
});

const payloadMessage = "must be a payload's key (p/0/t/…) or its id (26 of 0-9 and a-v)";

/** `GET /api/payload` */
export const payloadQuery = v.object(
  {
    id: v.pipe(
      v.string(payloadMessage),
      v.check((text) => isPayloadId(text) || isPayloadKey(text), payloadMessage),
    ),
  },
  objectMessage,
);

/** `GET /api/payload-spans` */
export const payloadSpansQuery = v.object(
  { key: v.string(), trace: v.exactOptional(hexId(32, "trace")) },
  objectMessage,
);

const minuteMessage = "must be a minute in UTC, such as 2026-11-27T20:55";

/** `GET /api/minute-payloads` */
export const minutePayloadsQuery = v.object(
  {
    minute: v.pipe(
      v.string(minuteMessage),
      v.regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}$/, minuteMessage),
      v.check((text) => !Number.isNaN(Date.parse(`${text}Z`)), minuteMessage),
    ),
  },
  objectMessage,
);

/** `GET /api/payloads` */
export const payloadsQuery = v.object(
  {
    tenant: tenantSchema,
    /** The `next` of the page before. */
    after: v.optional(v.string(), ""),
  },
  objectMessage,
);

function hexId(digits: number, what: string) {
  const message = `must be a ${what} id: ${digits} hex digits`;
  return v.pipe(
    v.string(message),
    v.regex(new RegExp(`^[0-9a-fA-F]{${digits}}$`), message),
    v.transform((text) => text.toLowerCase()),
  );
}

/** `GET /api/trace` and `GET /api/trace-shape`. `tenant`: the spans of this one alone. */
export const traceQuery = v.object(
  { id: hexId(32, "trace"), tenant: v.exactOptional(tenantSchema) },
  objectMessage,
);

/** `GET /api/trace-span` */
export const traceSpanQuery = v.object(
  { trace: hexId(32, "trace"), span: hexId(16, "span"), tenant: v.exactOptional(tenantSchema) },
  objectMessage,
);

/** What is asked of traces, as trace-filter.ts reads it and says what is wrong with it. */
const filterEntries = {
  since: v.exactOptional(v.string()),
  from: v.exactOptional(v.string()),
  to: v.exactOptional(v.string()),
  service: v.exactOptional(v.string()),
  name: v.exactOptional(v.string()),
  status: v.exactOptional(v.string()),
  minDuration: v.exactOptional(v.string()),
  maxDuration: v.exactOptional(v.string()),
  tenant: v.exactOptional(v.string()),
  match: v.exactOptional(v.string()),
  /** Conditions on attributes: it may stand in a query several times. */
  where: v.exactOptional(v.union([v.string(), v.array(v.string())])),
};

/** `GET /api/trace-times` */
export const traceTimesQuery = v.object(filterEntries);

/** `GET /api/traces` */
export const tracesQuery = v.object({
  ...filterEntries,
  sort: v.exactOptional(v.string()),
  limit: v.exactOptional(v.string()),
  /** Of the page before. */
  cursor: v.exactOptional(v.string()),
});

/** `GET /api/trace-values` */
export const traceValuesQuery = v.object({
  ...filterEntries,
  of: v.exactOptional(v.string()),
  prefix: v.exactOptional(v.string()),
  key: v.exactOptional(v.string()),
});

/** `GET /api/keys` */
export const keysQuery = v.object({
  tenant: v.exactOptional(v.string()),
  /** Of the page before. */
  cursor: v.exactOptional(v.string()),
});

function payloadKeys(max: number) {
  return v.pipe(
    v.array(v.string()),
    v.minLength(1, "names no key"),
    v.maxLength(max, `names over ${max} keys`),
  );
}

/** `POST /api/replay` */
export const replayBody = v.object({ keys: payloadKeys(limits.keysAskedMax) });

/** `POST /api/forget`: keys or ids of payloads whose rows a person deleted. */
export const forgetBody = v.object({ keys: payloadKeys(limits.forgetKeysMax) });

/** `POST /api/erase`: an erasure stays in the balance, so it says why. */
export const eraseBody = v.object({
  keys: payloadKeys(limits.keysAskedMax),
  reason: v.pipe(
    v.string(),
    v.minLength(1, "is empty"),
    v.maxLength(limits.reasonBytesMax, `is over ${limits.reasonBytesMax} characters`),
  ),
});

/** `POST /api/resolve`: a payload whose rows are neither none nor all. */
export const resolveBody = v.object({ key: v.string(), how: v.picklist(["accept", "rewrite"]) });

const nameCharsMax = 64;
/** Far above what one tenant sends, and far below where a number stops being exact: spans, and bytes (a petabyte). */
const spansMax = 1_000_000_000_000;
const bytesMax = 1_000_000_000_000_000;

const nameSchema = v.pipe(
  v.string("must be text"),
  v.regex(/^[^\p{Cc}]*\S[^\p{Cc}]*$/u, "must not be blank, and hold no control characters"),
  v.maxLength(nameCharsMax, `must be at most ${nameCharsMax} characters`),
);

function limitSchema(max: number) {
  const message = `must be a whole number from 1 to ${max}, or null for none`;
  return v.nullable(
    v.pipe(v.number(message), v.safeInteger(message), v.minValue(1, message), v.maxValue(max, message)),
  );
}
const countSchema = limitSchema(spansMax);
const bytesSchema = limitSchema(bytesMax);

/**
 * As a browser sends it (RFC 6454): scheme, host and a port that is not the scheme's own, nothing behind them. Pages of
 * apps have schemes of their own (`capacitor://localhost`, `chrome-extension://…`), which URL gives no origin.
 */
function isOrigin(text: string): boolean {
  if (text === "*") {
    return true;
  }
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@\p{Cc}]+$/u.test(text) || !URL.canParse(text)) {
    return false;
  }
  return /^https?:/.test(text) ? new URL(text).origin === text : true;
}

const originsMessage = "must be a list of origins";
const originsSchema = v.pipe(
  v.array(
    v.pipe(
      v.string("must be text"),
      v.check(
        isOrigin,
        "is not an origin: give scheme, host and port as a browser sends them (https://shop.example), or *",
      ),
    ),
    originsMessage,
  ),
  v.transform((origins) => [...new Set(origins)]),
);

const sampleMessage = "must be a number from 0 (no trace) to 1 (every trace)";
const sampleSchema = v.pipe(
  v.number(sampleMessage),
  v.minValue(0, sampleMessage),
  v.maxValue(1, sampleMessage),
);

const spanAgeDaysMax = limits.spanAgeCeilingMs / DAY_MS;
const spanAgeMessage = `must be a whole number of days from 1 to ${spanAgeDaysMax}`;
const spanAgeSchema = v.pipe(
  v.number(spanAgeMessage),
  v.integer(spanAgeMessage),
  v.minValue(1, spanAgeMessage),
  v.maxValue(spanAgeDaysMax, spanAgeMessage),
);

/** `POST /api/keys` */
export const createKeyBody = v.strictObject(
  {
    tenant: tenantSchema,
    name: nameSchema,
    spansPerSecond: v.optional(countSchema, null),
    burstSpans: v.optional(countSchema, null),
    spansPerMonth: v.optional(countSchema, null),
    bytesPerSecond: v.optional(bytesSchema, null),
    burstBytes: v.optional(bytesSchema, null),
    bytesPerMonth: v.optional(bytesSchema, null),
    origins: v.optional(originsSchema, []),
    sample: v.optional(sampleSchema, 1),
    spanAgeDays: v.optional(spanAgeSchema, limits.spanAgeMaxMs / DAY_MS),
  },
  objectMessage,
);

/** `PATCH /api/keys/{id}`: what is not named stays. A tenant stays for ever: it is in the ids of its payloads. */
export const changeKeyBody = v.strictObject(
  {
    name: v.exactOptional(nameSchema),
    status: v.exactOptional(v.picklist(["active", "disabled"], 'must be "active" or "disabled"')),
    spansPerSecond: v.exactOptional(countSchema),
    burstSpans: v.exactOptional(countSchema),
    spansPerMonth: v.exactOptional(countSchema),
    bytesPerSecond: v.exactOptional(bytesSchema),
    burstBytes: v.exactOptional(bytesSchema),
    bytesPerMonth: v.exactOptional(bytesSchema),
    origins: v.exactOptional(originsSchema),
    sample: v.exactOptional(sampleSchema),
    spanAgeDays: v.exactOptional(spanAgeSchema),
  },
  objectMessage,
);

const untilMessage = "must be a time in UTC such as 2026-11-25T12:00:00Z";

/** `POST /api/keys/{id}/rotate`: `until` is when the old key stops, within `limits.keyGraceMaxMs` from now. */
export const rotateKeyBody = v.strictObject(
  {
    until: v.exactOptional(
      v.pipe(v.string(untilMessage), v.isoTimestamp(untilMessage), v.transform(Date.parse)),
    ),
  },
  objectMessage,
);
