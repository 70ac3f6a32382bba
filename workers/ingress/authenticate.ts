/**
 * Who sends: the API key of a request, looked up in KV by its hash.
 *
 * An isolate remembers hits, never misses: a key made a second ago must not be answered 401, since exporters drop
 * what 401 answers. When KV cannot be reached, a remembered key goes on working however old the memory, and an
 * unknown one is 503, never 401: nobody knows that it is wrong.
 */
import * as v from "valibot";
import { type ApiKeyRecord, apiKeyName, apiKeyRecordSchema, isApiKey } from "../../shared/api-key.ts";
import { limits } from "../../shared/limits.ts";
import { ok, type Result, refuse } from "../../shared/result.ts";
import type { Refusal } from "./refusal.ts";
import { writeLog } from "./write-log.ts";

interface Remembered {
  readonly record: ApiKeyRecord;
  /** ms since the epoch */
  readonly freshUntil: number;
}

/** The keys that this isolate has seen work. One a Worker instance. */
export type KeyMemory = Map<string, Remembered>;

const missing: Refusal = {
  reason: "missing_key",
  message:
    "No API key: send it as `Authorization: Bearer hr_…` or `x-api-key: hr_…` (OTEL_EXPORTER_OTLP_HEADERS=x-api-key=hr_…).",
};

/** The key in the request's headers, if any: `Authorization: Bearer …` (RFC 6750) first, then `x-api-key`. */
function keyOf(headers: Headers): string | undefined {
  const bearer = /^bearer +(\S+) *$/i.exec(headers.get("authorization") ?? "");
  return bearer?.[1] ?? headers.get("x-api-key")?.trim() ?? undefined;
}

/** Enough of a key to recognise it in a message, and too little to use it. What is none of ours may be another's secret. */
function shown(key: string): string {
  return key.startsWith("hr_") && key.length > 12 ? `${key.slice(0, 7)}…` : "…";
}

export async function authenticate(
  headers: Headers,
  keys: KVNamespace,
  memory: KeyMemory,
  now: number,
): Promise<Result<ApiKeyRecord, Refusal>> {
  const key = keyOf(headers);
  if (key === undefined || key === "") {
    return refuse(missing);
  }
  if (!isApiKey(key)) {
    return refuse({
      reason: "unknown_key",
      message: `The API key ${shown(key)} is mistyped: its form or checksum is wrong.`,
    });
  }
  const name = await apiKeyName(key);
  const found = await lookUp(name, keys, memory, now);
  if (found === "unreachable") {
    return refuse({
      reason: "keys_unreachable",
      message: "API keys cannot be looked up at this moment. Try again.",
    });
  }
  if (found === "unknown") {
    return refuse({ reason: "unknown_key", message: `The API key ${shown(key)} is unknown or was revoked.` });
  }
  if (found.status === "disabled") {
    return refuse({
      reason: "disabled_key",
      message: `The API key ${shown(key)} ("${found.name}") is disabled.`,
    });
  }
  return ok(found);
}

async function lookUp(
  name: string,
  keys: KVNamespace,
  memory: KeyMemory,
  now: number,
): Promise<ApiKeyRecord | "unknown" | "unreachable"> {
  const remembered = memory.get(name);
  if (remembered !== undefined && now < remembered.freshUntil) {
    return remembered.record;
  }
  let stored: unknown;
  try {
    stored = await keys.get(name, "json");
  } catch (error) {
    writeLog("error", { message: "KV cannot be reached", remembered: remembered !== undefined }, error);
    return remembered?.record ?? "unreachable";
  }
  if (stored === null) {
    memory.delete(name);
    return "unknown";
  }
  const parsed = v.safeParse(apiKeyRecordSchema, stored);
  if (!parsed.success) {
    writeLog("error", { message: "a key's record in KV is damaged", name, issues: v.flatten(parsed.issues) });
    return remembered?.record ?? "unreachable";
  }
  if (memory.size >= limits.keysRememberedMax) {
    memory.clear();
  }
  memory.set(name, { record: parsed.output, freshUntil: now + limits.keyMemoryMs });
  return parsed.output;
}
