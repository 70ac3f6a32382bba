/**
 * Who sends: the API key of a request, looked up in KV by its hash.
 *
 * An isolate remembers hits, never misses: a key made a second ago must not be answered 401, since exporters drop
 * what 401 answers. It remembers them by the key's own text: hashing it again would cost more than all else here. When
 * KV cannot be reached, a remembered key goes on working however old the memory, and an unknown one is 503, never 401:
 * nobody knows that it is wrong.
 */
import * as v from "valibot";
import {
  type ApiKeyRecord,
  apiKeyId,
  apiKeyRecordSchema,
  isApiKey,
  nameOfKeyId,
} from "../../shared/api-key.ts";
import { dependencies } from "../../shared/dependency.ts";
import { limits } from "../../shared/limits.ts";
import { ok, type Result, refuse } from "../../shared/result.ts";
import { writeLog } from "../../shared/write-log.ts";
import type { IngressBindings } from "./bindings.ts";
import { KeyList } from "./key-list.ts";
import { addressOf, LookUpBudget } from "./look-up-budget.ts";
import type { KeyHeader, Refusal, UnreadKey } from "./refusal.ts";
import type { Tally } from "./tally.ts";

/** A key that may send. */
export interface Sender {
  /** The SHA-256 of the key, 64 hex digits. */
  readonly id: string;
  readonly record: ApiKeyRecord;
}

/** Whose limits a key counts in: its line of keys, rotated ones included. */
export function accountOf({ id, record }: Sender): string {
  return record.account ?? id;
}

interface Remembered extends Sender {
  /** ms since the epoch */
  readonly freshUntil: number;
}

/**
 * What one Worker instance knows of keys: those that it has seen work, by their texts, and how many unknown ones it may
 * ask for. The texts never leave it: nothing of it is logged, counted or sent.
 */
export class KeyMemory {
  readonly known = new Map<string, Remembered>();
  readonly budget = new LookUpBudget();
  readonly list = new KeyList();
}

interface SentKey {
  readonly text: string;
  /** The header that it came in. */
  readonly header: KeyHeader;
}

/**
 * The key in the request's headers, if any: `Authorization: Bearer …` (RFC 6750) first, then `x-api-key`. A bearer token
 * that is none of ours may be meant for a gateway on the way: then an `x-api-key` beside it is the key.
 */
function keyOf(headers: Headers): SentKey | undefined {
  const bearer = /^bearer +(\S+) *$/i.exec(headers.get("authorization") ?? "")?.[1];
  if (bearer?.startsWith("hr_")) {
    return { text: bearer, header: "Authorization" };
  }
  const own = headers.get("x-api-key")?.trim() ?? "";
  if (own !== "") {
    return { text: own, header: "x-api-key" };
  }
  return bearer === undefined ? undefined : { text: bearer, header: "Authorization" };
}

function unreadKey(headers: Headers): UnreadKey {
  const authorization = headers.get("authorization")?.trim() ?? "";
  if (/^bearer%20/i.test(authorization)) {
    return "escaped_space";
  }
  if (authorization.startsWith("hr_")) {
    return "key_without_scheme";
  }
  if (/^\S+ +hr_/.test(authorization)) {
    return "key_behind_another_scheme";
  }
  return authorization === "" ? "nothing" : "no_key";
}

/** Enough of a key to recognise it in a message, and too little to use it. What is none of ours may be another's secret. */
function shown(key: string): string {
  return key.startsWith("hr_") && key.length > 12 ? `${key.slice(0, 7)}…` : "…";
}

export type KeyBindings = Pick<IngressBindings, "KEYS" | "UNKNOWN_KEYS">;

/** `now` in ms since the epoch. What is learnt of the sender, and the look-up, is noted in `tally`. */
export async function authenticate(
  headers: Headers,
  env: KeyBindings,
  memory: KeyMemory,
  now: number,
  tally: Tally,
): Promise<Result<Sender, Refusal>> {
  const sent = keyOf(headers);
  if (sent === undefined) {
    return refuse({ reason: "missing_key", sent: unreadKey(headers) });
  }
  const { text: key, header } = sent;
  const remembered = memory.known.get(key);
  if (remembered !== undefined && now < remembered.freshUntil) {
    return usable(remembered, key, now, tally);
  }
  if (!isApiKey(key)) {
    const fault = key.startsWith("hr_") ? "mistyped" : "not_ours";
    return refuse({ reason: "unknown_key", key: shown(key), header, fault });
  }
  const found = await lookUp(key, addressOf(headers), env, memory, now, tally);
  switch (found) {
    case "unreachable":
      return refuse({ reason: "keys_unreachable" });
    case "not_now":
      return refuse({
        reason: "unknown_keys_flood",
        key: shown(key),
        retryAfterSeconds: Math.ceil(limits.unknownKeyRetryMs / 1000),
      });
    case "unknown":
      return refuse({ reason: "unknown_key", key: shown(key), header, fault: "not_found" });
    default:
      return usable(found, key, now, tally);
  }
}

function usable(sender: Sender, key: string, now: number, tally: Tally): Result<Sender, Refusal> {
  const { tenant, name, status, expiresAt } = sender.record;
  tally.sender(sender.id, tenant);
  switch (status) {
    case "revoked":
      return refuse({ reason: "revoked_key", key: shown(key), name });
    case "disabled":
      return refuse({ reason: "disabled_key", key: shown(key), name });
    case "active":
      return expiresAt !== null && expiresAt <= now
        ? refuse({ reason: "expired_key", key: shown(key), name, expiredAt: expiresAt })
        : ok(sender);
  }
}

/** Asks KV for a key that is not remembered, or has not been asked for lately. */
async function lookUp(
  key: string,
  address: string,
  env: KeyBindings,
  { known, budget, list }: KeyMemory,
  now: number,
  tally: Tally,
): Promise<Sender | "unknown" | "unreachable" | "not_now"> {
  const id = await apiKeyId(key);
  const listed = list.find(id, now);
  if (listed !== undefined) {
    return remember(known, key, { id, ...listed });
  }
  const remembered = known.get(key);
  const asked = remembered === undefined ? budget.ask(id, address, now) : "first";
  if (asked === "not_now") {
    return "not_now";
  }
  const paid = remembered === undefined ? asked : "not_now"; // a key that is known costs nothing of the budget
  let stored: unknown;
  tally.keyLookUps++;
  try {
    stored = await env.KEYS.get(nameOfKeyId(id), "json");
  } catch (error) {
    budget.giveBack(paid);
    writeLog(
      "error",
      { message: `${dependencies.kv} does not answer`, remembered: remembered !== undefined },
      error,
    );
    return remembered ?? "unreachable";
  }
  if (stored === null) {
    known.delete(key);
    await reportUnknown(address, env.UNKNOWN_KEYS, budget, now);
    return "unknown";
  }
  budget.giveBack(paid);
  const parsed = v.safeParse(apiKeyRecordSchema, stored);
  if (!parsed.success) {
    writeLog("error", { message: "a key's record in KV is damaged", id, issues: v.flatten(parsed.issues) });
    return remembered ?? "unreachable";
  }
  list.count(now);
  return remember(known, key, { id, record: parsed.output, freshUntil: now + limits.keyMemoryMs });
}

function remember(known: Map<string, Remembered>, key: string, found: Remembered): Remembered {
  if (known.size >= limits.keysRememberedMax) {
    known.clear();
  }
  known.set(key, found);
  return found;
}

/** The platform counts unknown keys by address over all isolates of a location. It is only a shield: it may fail. */
async function reportUnknown(
  address: string,
  unknownKeys: RateLimit,
  budget: LookUpBudget,
  now: number,
): Promise<void> {
  try {
    const { success } = await unknownKeys.limit({ key: address });
    if (!success) {
      budget.block(address, now);
    }
  } catch (error) {
    writeLog("warn", { message: "unknown keys could not be counted" }, error);
  }
}
