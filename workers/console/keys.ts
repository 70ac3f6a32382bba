/**
 * API keys: made, listed, changed, rotated and revoked, each as one entry of KV. A key is shown once, in the answer that
 * made it; only its hash is kept, so it cannot be shown again.
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
import type { BuiltAnswer } from "../../shared/console/routes.ts";
import { DAY_MS, limits } from "../../shared/limits.ts";
import type { LimitFields } from "../../shared/meter/key-limits.ts";
import { type Asked, Refusal } from "./answer-request.ts";

type Key = BuiltAnswer<"GET /api/keys/:id">;
type NewKey = BuiltAnswer<"POST /api/keys">;

/** `POST /api/keys` */
export async function createKey(
  { body, now }: Asked<"POST /api/keys">,
  keys: KVNamespace,
): Promise<NewKey | Refusal> {
  return await writeNew(keys, { ...body, status: "active", expiresAt: null, createdAt: now, account: null });
}

/** `GET /api/keys`: a page of keys by id, and a cursor where there are more. No key's entry is read for it. */
export async function listKeys(
  { query: { tenant, cursor } }: Asked<"GET /api/keys">,
  namespace: KVNamespace,
): Promise<BuiltAnswer<"GET /api/keys">> {
  const page = await namespace.list({
    prefix: keyNamePrefix,
    limit: limits.keysListed,
    cursor: cursor ?? null,
  });
  const keys: Key[] = [];
  for (const { name, metadata } of page.keys) {
    const id = name.slice(keyNamePrefix.length);
    // An entry that an older version wrote has no metadata.
    const record = parseRecord(metadata) ?? (await readKey(namespace, id));
    if (record !== undefined && (tenant === undefined || record.tenant === tenant)) {
      keys.push(shown(id, record));
    }
  }
  return page.list_complete ? { keys } : { keys, cursor: page.cursor };
}

/** `GET /api/keys/{id}` */
export async function showKey({ id }: Asked<"GET /api/keys/:id">, keys: KVNamespace): Promise<Key | Refusal> {
  const record = await findKey(id, keys);
  return record instanceof Refusal ? record : shown(id, record);
}

/** `PATCH /api/keys/{id}` */
export async function changeKey(
  { id, body }: Asked<"PATCH /api/keys/:id">,
  keys: KVNamespace,
): Promise<Key | Refusal> {
  const found = await findKey(id, keys);
  if (found instanceof Refusal) {
    return found;
  }
  if (found.status === "revoked") {
    return new Refusal(409, revokedForGood);
  }
  const record = { ...found, ...body };
  return (await write(keys, id, record)) ?? shown(id, record);
}

/**
 * `POST /api/keys/{id}/rotate`: a new key with everything of the old one, its allowance included; the old one works
 * until a given time. The new one is written first: when the second write fails, both work, and the rotation is asked
 * for again.
 */
export async function rotateKey(
  { id, body, now }: Asked<"POST /api/keys/:id/rotate">,
  keys: KVNamespace,
): Promise<NewKey | Refusal> {
  const until = body.until ?? now + limits.keyGraceMs;
  if (until < now) {
    return new Refusal(400, "until must not have passed");
  }
  if (until > now + limits.keyGraceMaxMs) {
    return new Refusal(400, `until must be within ${limits.keyGraceMaxMs / DAY_MS} days from now`);
  }
  const record = await findKey(id, keys);
  if (record instanceof Refusal) {
    return record;
  }
  if (record.status === "revoked") {
    return new Refusal(409, revokedForGood);
  }
  if (record.expiresAt !== null && record.expiresAt <= now) {
    return new Refusal(409, "This key was already replaced: rotate its replacement, or create a new key.");
  }
  if (record.status === "disabled") {
    return new Refusal(
      409,
      "The key is disabled: enable it (status active), then rotate it, or create a new key.",
    );
  }
  const made = await writeNew(keys, {
    ...record,
    expiresAt: null,
    createdAt: now,
    account: record.account ?? id,
  });
  const refused =
    made instanceof Refusal ? undefined : await write(keys, id, { ...record, expiresAt: until });
  return refused ?? made;
}

/** `POST /api/keys/{id}/revoke`: at once and for good. Asked again, it writes again. */
export async function revokeKey(
  { id, now }: Asked<"POST /api/keys/:id/revoke">,
  keys: KVNamespace,
): Promise<Key | Refusal> {
  const found = await findKey(id, keys);
  if (found instanceof Refusal) {
    return found;
  }
  const record: ApiKeyRecord = {
    ...found,
    status: "revoked",
    expiresAt: Math.min(found.expiresAt ?? Number.POSITIVE_INFINITY, now),
  };
  return (await write(keys, id, record)) ?? shown(id, record);
}

const revokedForGood = "The key was revoked for good: create a new one.";

/** The record of the key that the path names, or why there is none. */
async function findKey(id: string, keys: KVNamespace): Promise<ApiKeyRecord | Refusal> {
  if (!keyIdPattern.test(id)) {
    return new Refusal(
      404,
      "A key's id is 64 hex digits, the SHA-256 of the key. (GET /api/keys lists them; never put the key itself into a URL.)",
    );
  }
  return (await readKey(keys, id)) ?? new Refusal(404, `There is no key with the id ${id}.`);
}

async function readKey(keys: KVNamespace, id: string): Promise<ApiKeyRecord | undefined> {
  return parseRecord(await keys.get(nameOfKeyId(id), "json"));
}

function parseRecord(stored: unknown): ApiKeyRecord | undefined {
  const parsed = v.safeParse(apiKeyRecordSchema, stored);
  return parsed.success ? parsed.output : undefined;
}

/** Writes a new key's record and answers with the key, which is never shown again. */
async function writeNew(keys: KVNamespace, record: ApiKeyRecord): Promise<NewKey | Refusal> {
  const key = formatApiKey(crypto.getRandomValues(new Uint8Array(52)));
  const id = await apiKeyId(key);
  return (await write(keys, id, record)) ?? { key, ...shown(id, record) };
}

/** Writes a record. A refusal instead of undefined says why it was not written. */
async function write(keys: KVNamespace, id: string, record: ApiKeyRecord): Promise<Refusal | undefined> {
  const conflict = limitsConflict(record);
  if (conflict !== undefined) {
    return new Refusal(400, conflict);
  }
  const entry = formatKeyEntry(record);
  if (entry === undefined) {
    return new Refusal(400, "origins are too many: name and origins together take about 700 bytes at most");
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
function shown(id: string, { account, createdAt, expiresAt, ...record }: ApiKeyRecord): Key {
  return {
    id,
    ...record,
    account: account ?? id,
    createdAt: new Date(createdAt).toISOString(),
    expiresAt: expiresAt === null ? null : new Date(expiresAt).toISOString(),
  };
}

/** What no field alone can say: undefined, or what is wrong. */
function limitsConflict(record: LimitFields): string | undefined {
  if (record.burstSpans !== null && record.spansPerSecond === null) {
    return "burstSpans needs spansPerSecond: a burst is of a rate";
  }
  return record.burstBytes !== null && record.bytesPerSecond === null
    ? "burstBytes needs bytesPerSecond: a burst is of a rate"
    : undefined;
}
