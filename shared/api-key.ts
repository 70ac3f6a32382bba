/**
 * API keys for sending spans: `hr_` + 32 base62 characters, of which the last six are a checksum of the 26 before
 * them. The checksum exposes a made-up key without a look-up. Only SHA-256 hashes of keys are ever stored.
 */
import * as v from "valibot";
import { assert } from "./assert.ts";
import { toHex } from "./hex.ts";
import { DAY_MS, limits } from "./limits.ts";
import { tenantPattern } from "./payload-key.ts";

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const randomChars = 26; // 154 bits
const checksumChars = 6; // 62^6 > 2^32
const pattern = /^hr_[0-9A-Za-z]{32}$/;

/** A key's id, by which it is listed, changed and counted: the SHA-256 of the key as 64 hex digits. */
export const keyIdPattern = /^[0-9a-f]{64}$/;

const countOrNone = v.nullable(v.pipe(v.number(), v.safeInteger(), v.minValue(1)));
const timeMs = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

/** What KV holds under `key:{sha256 of the key, hex}`. A limit of null: there is none. */
export const apiKeyRecordSchema = v.object({
  tenant: v.pipe(v.string(), v.regex(tenantPattern)),
  name: v.string(),
  /** A revoked key never works again; its record is kept for a while, so that a list still says so. */
  status: v.picklist(["active", "disabled", "revoked"]),
  spansPerSecond: countOrNone,
  burstSpans: countOrNone,
  spansPerMonth: countOrNone,
  /** Bytes of bodies without their content encoding. A record that was written before there were such limits has none. */
  bytesPerSecond: v.optional(countOrNone, null),
  burstBytes: v.optional(countOrNone, null),
  bytesPerMonth: v.optional(countOrNone, null),
  /** Browser origins that may send with this key; empty: none may. `*`: any. */
  origins: v.array(v.string()),
  /** Share of traces kept, by trace id, 0 to 1. */
  sample: v.pipe(v.number(), v.minValue(0), v.maxValue(1)),
  /** How many days ago a span may have ended when it arrives; the table's TTL may allow fewer (table-limits.ts). */
  spanAgeDays: v.optional(
    v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(limits.spanAgeCeilingMs / DAY_MS)),
    limits.spanAgeMaxMs / DAY_MS,
  ),
  /** The key stops working then, ms since the epoch; null: it does not. Set when another key has taken its place. */
  expiresAt: v.optional(v.nullable(timeMs), null),
  createdAt: v.optional(timeMs, 0),
  /** Whose allowance it uses: the id of the first key that this one goes back to by rotation; null: its own. */
  account: v.optional(v.nullable(v.pipe(v.string(), v.regex(keyIdPattern))), null),
});
export type ApiKeyRecord = v.InferOutput<typeof apiKeyRecordSchema>;

/** KV takes this much metadata with an entry, as JSON in UTF-8. */
const metadataBytesMax = 1024;

/**
 * The record as KV takes it: as the value, which the ingress reads, and as the entry's metadata, so that a list of keys
 * reads no values. Undefined when it is too long for that: its origins are too many.
 */
export function formatKeyEntry(
  record: ApiKeyRecord,
): { readonly value: string; readonly metadata: ApiKeyRecord } | undefined {
  const value = JSON.stringify(record);
  return new TextEncoder().encode(value).length > metadataBytesMax ? undefined : { value, metadata: record };
}

/** CRC-32 (IEEE 802.3), bit by bit: 26 characters need no table. */
function crc32(text: string): number {
  let crc = 0xffffffff;
  for (let i = 0; i < text.length; i++) {
    crc ^= text.charCodeAt(i);
    for (let bit = 0; bit < 8; bit++) {
      crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
  }
  return (crc ^ 0xffffffff) >>> 0;
}

function checksum(text: string): string {
  let rest = crc32(text);
  let out = "";
  for (let i = 0; i < checksumChars; i++) {
    out = base62.charAt(rest % 62) + out;
    rest = Math.floor(rest / 62);
  }
  return out;
}

/** A new key from at least 52 random bytes (two a character, so that the modulo's bias is below 2^-10). */
export function formatApiKey(random: Uint8Array): string {
  assert(random.length >= randomChars * 2, "a key needs 52 random bytes");
  let text = "";
  for (let i = 0; i < randomChars; i++) {
    text += base62.charAt((((random[2 * i] ?? 0) << 8) | (random[2 * i + 1] ?? 0)) % 62);
  }
  return `hr_${text}${checksum(text)}`;
}

/** Whether the text has the form and the checksum of a key. Says nothing about whether the key exists. */
export function isApiKey(text: string): boolean {
  return pattern.test(text) && checksum(text.slice(3, 3 + randomChars)) === text.slice(3 + randomChars);
}

/** The key's id. */
export async function apiKeyId(key: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key));
  return toHex(new Uint8Array(digest));
}

/** What the names of all keys in KV begin with. */
export const keyNamePrefix = "key:";

/** The name in KV of the record of the key with this id. */
export function nameOfKeyId(id: string): string {
  return `${keyNamePrefix}${id}`;
}

/** The name in KV of a key's record. */
export async function apiKeyName(key: string): Promise<string> {
  return nameOfKeyId(await apiKeyId(key));
}
