/**
 * API keys for sending spans: `hr_` + 32 base62 characters, of which the last six are a checksum of the 26 before
 * them. A made-up key is told from a real one without a look-up. Only SHA-256 hashes of keys are ever stored.
 */
import * as v from "valibot";
import { assert } from "./assert.ts";
import { toHex } from "./hex.ts";
import { tenantPattern } from "./payload-key.ts";

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const randomChars = 26; // 154 bits
const checksumChars = 6; // 62^6 > 2^32
const pattern = /^hr_[0-9A-Za-z]{32}$/;

/** What KV holds under `key:{sha256 of the key, hex}`. */
export const apiKeyRecordSchema = v.object({
  tenant: v.pipe(v.string(), v.regex(tenantPattern)),
  name: v.string(),
  status: v.picklist(["active", "disabled"]),
  spansPerSecond: v.nullable(v.number()),
  burstSpans: v.nullable(v.number()),
  spansPerMonth: v.nullable(v.number()),
  /** Browser origins that may send with this key; empty: none may. `*`: any. */
  origins: v.array(v.string()),
  /** Share of traces kept, by trace id, 0 to 1. */
  sample: v.pipe(v.number(), v.minValue(0), v.maxValue(1)),
});
export type ApiKeyRecord = v.InferOutput<typeof apiKeyRecordSchema>;

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

/** The name in KV under which a key's record stands. */
export async function apiKeyName(key: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key));
  return `key:${toHex(new Uint8Array(digest))}`;
}
