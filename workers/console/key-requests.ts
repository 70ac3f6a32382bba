/**
 * What an operator may ask of keys: the bodies of `POST /api/keys`, `PATCH /api/keys/{id}` and
 * `POST /api/keys/{id}/rotate`. A field that is unknown, missing or malformed is named in the message.
 */
import * as v from "valibot";
import { DAY_MS, limits } from "../../shared/limits.ts";
import type { LimitFields } from "../../shared/meter/key-limits.ts";
import { tenantPattern } from "../../shared/payload-key.ts";

const nameCharsMax = 64;
/** Far above what one tenant sends, and far below where a number stops being exact: spans, and bytes (a petabyte). */
const spansMax = 1_000_000_000_000;
const bytesMax = 1_000_000_000_000_000;

const tenantSchema = v.pipe(
  v.string("must be text"),
  v.regex(tenantPattern, "must be 1 to 64 of a-z, 0-9 and -"),
);

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
        "is no origin: give scheme, host and port as a browser sends them (https://shop.example), or *",
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

/** valibot's issues of an object: the body is none, a field is missing, or a field is not known. */
function objectMessage({ expected }: { readonly expected: string | null }): string {
  if (expected === "never") {
    return "is not a field here";
  }
  return expected === "Object" ? "must be a JSON object" : "is missing";
}

/** `POST /api/keys` */
export const createSchema = v.strictObject(
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
export const changeSchema = v.strictObject(
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

/** `POST /api/keys/{id}/rotate` at `now` (ms since the epoch): `until` is when the old key stops. */
export function rotateSchema(now: number) {
  return v.strictObject(
    {
      until: v.optional(
        v.pipe(
          v.string(untilMessage),
          v.isoTimestamp(untilMessage),
          v.transform(Date.parse),
          v.minValue(now, "must not have passed"),
          v.maxValue(
            now + limits.keyGraceMaxMs,
            `must be within ${limits.keyGraceMaxMs / 86_400_000} days from now`,
          ),
        ),
      ),
    },
    objectMessage,
  );
}

/** What no field alone can say: undefined, or what is wrong. */
export function limitsConflict(record: LimitFields): string | undefined {
  if (record.burstSpans !== null && record.spansPerSecond === null) {
    return "burstSpans needs spansPerSecond: a burst is of a rate";
  }
  return record.burstBytes !== null && record.bytesPerSecond === null
    ? "burstBytes needs bytesPerSecond: a burst is of a rate"
    : undefined;
}
