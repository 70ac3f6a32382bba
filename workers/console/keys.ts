/**
 * API keys: made, listed, changed, rotated and revoked, each as one entry of KV. A key is told once, in the answer that
 * made it; only its hash is kept, so nobody can be told it again.
 *
 * KV has no compare-and-set and is read up to a minute late: of two changes of one key within a minute, asked for in two
 * places, the later one may undo the earlier (decision 0040).
 */
import * as v from "valibot";
import {
  type ApiKeyRecord,
  apiKeyId,
  apiKeyRecordSchema,
  formatApiKey,
  formatKeyEntry,
  keyIdPattern,
  keyNamePrefix,
  nameOfKeyId,
} from "../../shared/api-key.ts";
import { limits } from "../../shared/limits.ts";
import type { ConsoleBindings } from "./bindings.ts";
import { changeSchema, createSchema, limitsConflict, rotateSchema } from "./key-requests.ts";
import { answer, readJson } from "./read-json.ts";

const refusal = (status: number, error: string): Response => answer(status, { error });

/** `POST /api/keys` */
export async function createKey(request: Request, { KEYS }: ConsoleBindings): Promise<Response> {
  const asked = await readJson(request, createSchema);
  if (typeof asked === "string") {
    return refusal(400, asked);
  }
  const now = Date.now();
  return await writeNew(KEYS, {
    ...asked,
    status: "active",
    expiresAt: null,
    createdAt: now,
    account: null,
  });
}

/** `GET /api/keys`: a page of keys by id, and a cursor where there are more. No key's entry is read for it. */
export async function listKeys(request: Request, { KEYS }: ConsoleBindings): Promise<Response> {
  const { searchParams } = new URL(request.url);
  const cursor = searchParams.get("cursor");
  const tenant = searchParams.get("tenant");
  const page = await KEYS.list({ prefix: keyNamePrefix, limit: limits.keysListed, cursor });
  const keys: object[] = [];
  for (const { name, metadata } of page.keys) {
    const id = name.slice(keyNamePrefix.length);
    // An entry that an older version wrote has no metadata.
    const record = parseRecord(metadata) ?? (await readKey(KEYS, id));
    if (record !== undefined && (tenant === null || record.tenant === tenant)) {
      keys.push(shown(id, record));
    }
  }
  return answer(200, page.list_complete ? { keys } : { keys, cursor: page.cursor });
}

/** `GET /api/keys/{id}` */
export async function showKey(request: Request, { KEYS }: ConsoleBindings): Promise<Response> {
  const found = await findKey(request, KEYS);
  return found instanceof Response ? found : answer(200, shown(found.id, found.record));
}

/** `PATCH /api/keys/{id}` */
export async function changeKey(request: Request, { KEYS }: ConsoleBindings): Promise<Response> {
  const asked = await readJson(request, changeSchema);
  if (typeof asked === "string") {
    return refusal(400, asked);
  }
  const found = await findKey(request, KEYS);
  if (found instanceof Response) {
    return found;
  }
  if (found.record.status === "revoked") {
    return refusal(409, revokedForGood);
  }
  const record = { ...found.record, ...asked };
  const refused = await write(KEYS, found.id, record);
  return refused ?? answer(200, shown(found.id, record));
}

/**
 * `POST /api/keys/{id}/rotate`: a new key with everything of the old one, its allowance included; the old one works
 * until a given time. The new one is written first: when the second write fails, both work, and the rotation is asked
 * for again.
 */
export async function rotateKey(request: Request, { KEYS }: ConsoleBindings): Promise<Response> {
  const now = Date.now();
  const asked = await readJson(request, rotateSchema(now));
  if (typeof asked === "string") {
    return refusal(400, asked);
  }
  const found = await findKey(request, KEYS);
  if (found instanceof Response) {
    return found;
  }
  const { id, record } = found;
  if (record.status !== "active" || (record.expiresAt !== null && record.expiresAt <= now)) {
    return refusal(409, "The key does not work any more: make a new one.");
  }
  const until = asked.until ?? now + limits.keyGraceMs;
  const made = await writeNew(KEYS, {
    ...record,
    expiresAt: null,
    createdAt: now,
    account: record.account ?? id,
  });
  const refused = made.ok ? await write(KEYS, id, { ...record, expiresAt: until }) : undefined;
  return refused ?? made;
}

/** `POST /api/keys/{id}/revoke`: at once and for good. Asked again, it writes again. */
export async function revokeKey(request: Request, { KEYS }: ConsoleBindings): Promise<Response> {
  const found = await findKey(request, KEYS);
  if (found instanceof Response) {
    return found;
  }
  const record: ApiKeyRecord = {
    ...found.record,
    status: "revoked",
    expiresAt: Math.min(found.record.expiresAt ?? Number.POSITIVE_INFINITY, Date.now()),
  };
  const refused = await write(KEYS, found.id, record);
  return refused ?? answer(200, shown(found.id, record));
}

const revokedForGood = "The key was revoked, which is for good: make a new one.";

/** The key that the path names, or the answer that there is none. */
async function findKey(
  request: Request,
  keys: KVNamespace,
): Promise<{ readonly id: string; readonly record: ApiKeyRecord } | Response> {
  const id = new URL(request.url).pathname.split("/")[3] ?? "";
  if (!keyIdPattern.test(id)) {
    return refusal(
      404,
      "A key's id is 64 hex digits, the SHA-256 of the key. (GET /api/keys lists them; never put the key itself into a URL.)",
    );
  }
  const record = await readKey(keys, id);
  return record === undefined ? refusal(404, `There is no key with the id ${id}.`) : { id, record };
}

async function readKey(keys: KVNamespace, id: string): Promise<ApiKeyRecord | undefined> {
  return parseRecord(await keys.get(nameOfKeyId(id), "json"));
}

function parseRecord(stored: unknown): ApiKeyRecord | undefined {
  const parsed = v.safeParse(apiKeyRecordSchema, stored);
  return parsed.success ? parsed.output : undefined;
}

/** Writes a new key's record and answers with the key, which nobody is ever told again. */
async function writeNew(keys: KVNamespace, record: ApiKeyRecord): Promise<Response> {
  const key = formatApiKey(crypto.getRandomValues(new Uint8Array(52)));
  const id = await apiKeyId(key);
  return (await write(keys, id, record)) ?? answer(201, { key, ...shown(id, record) });
}

/** Writes a record. An answer instead of undefined says why it was not written. */
async function write(keys: KVNamespace, id: string, record: ApiKeyRecord): Promise<Response | undefined> {
  const conflict = limitsConflict(record);
  if (conflict !== undefined) {
    return refusal(400, conflict);
  }
  const entry = formatKeyEntry(record);
  if (entry === undefined) {
    return refusal(400, "origins are too many: name and origins together take about 700 bytes at most");
  }
  // KV removes what has been dead for long. (It takes seconds, and none that is less than a minute away.)
  const expiration =
    record.expiresAt === null
      ? {}
      : { expiration: Math.ceil((record.expiresAt + limits.keyTombstoneMs) / 1000) };
  await keys.put(nameOfKeyId(id), entry.value, { metadata: entry.metadata, ...expiration });
  return undefined;
}

/** A key as an operator sees it: times as text, and a word for whether it works now. */
function shown(id: string, { account, createdAt, expiresAt, ...record }: ApiKeyRecord): object {
  return {
    id,
    ...record,
    account: account ?? id,
    createdAt: new Date(createdAt).toISOString(),
    expiresAt: expiresAt === null ? null : new Date(expiresAt).toISOString(),
  };
}
