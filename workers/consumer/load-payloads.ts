/**
 * Fetches a group's payloads from R2, in the group's order and a few ahead, so that the transcoder never waits for
 * all of them and never holds all of them. What R2 does not have is named: its group goes on without it.
 */
import * as zlib from "node:zlib";
import { assert } from "../../shared/assert.ts";
import { decodeBody } from "../../shared/decode-body.ts";
import type { GroupPayload } from "../../shared/ledger/group.ts";
import { limits } from "../../shared/limits.ts";
import type { PayloadMetadata } from "../../shared/messages.ts";
import { type ObjectKey, objectOf, type PayloadKey } from "../../shared/payload-key.ts";
import { ok, type Result, refuse } from "../../shared/result.ts";
import { type FetchedObject, fetchObject } from "../../shared/segment/payload-objects.ts";

export interface FetchedPayload {
  readonly kind: "fetched";
  readonly key: PayloadKey;
  readonly payload: GroupPayload;
  readonly metadata: PayloadMetadata;
  /** Size of the object in R2. */
  readonly bytes: number;
  /**
   * The OTLP protobuf body, inflated, converted where it was JSON; or why it cannot be decoded. Once: the body is let go, so
   * that it does not lie in memory beside what was made of it. Its caller lets go of that before its next await.
   */
  readonly takeProtobuf: () => Result<Uint8Array, string>;
}

export type LoadedPayload =
  | FetchedPayload
  /** No object under the key, or one whose metadata is not ours; or it is `setAside`. */
  | { readonly kind: "unreadable"; readonly key: PayloadKey; readonly reason: string };

/** Null: R2 has no bytes of it. `metadata` null: what is said of it is not ours, or its bytes are not those of its id. */
type Fetched = { readonly metadata: PayloadMetadata | null; readonly body: Uint8Array } | null;

interface Ahead {
  readonly payload: GroupPayload;
  readonly object: ObjectKey;
  /** Shared by those that follow one another in one object. */
  readonly fetching: Promise<FetchedObject>;
}

/** Why a payload was not read: a later attempt reads it, for its bytes may be there. */
export const setAside = "set aside: its group takes more gets than an attempt has";

/**
 * Yields the payloads in their order, at most `limits.r2GetsAtOnceMax` gets at once, and at most `getsMax` in all: what may take more is
 * `setAside`. Throws when R2 cannot be reached.
 */
export async function* loadPayloads(
  bucket: R2Bucket,
  payloads: readonly GroupPayload[],
  getsMax: number = limits.groupGetsMax,
): AsyncGenerator<LoadedPayload> {
  const ahead: Ahead[] = [];
  let count = 0;
  const counted = (key: string): ReturnType<typeof get> => {
    count++;
    return get(bucket, key);
  };
  let newest: Ahead | undefined;
  let next = 0;
  while (ahead.length > 0 || next < payloads.length) {
    while (next < payloads.length) {
      const payload = payloads[next];
      assert(payload !== undefined, "a group's payloads are dense");
      const object = objectOf(payload.key);
      const fetching = newest?.object === object ? newest.fetching : null;
      const gets = new Set(ahead.map((one) => one.object)).size;
      if (fetching === null && gets >= limits.r2GetsAtOnceMax) {
        break;
      }
      if (ahead.length > 0 && aheadBytes(ahead, payload) > limits.aheadOutputBytesMax) {
        break;
      }
      // Each that is under way may take one more, its copy.
      if (count + ahead.length + (fetching === null ? 2 : 1) > getsMax) {
        break;
      }
      next++;
      newest = { payload, object, fetching: fetching ?? fetchAhead(object, counted) };
      ahead.push(newest);
    }
    const first = ahead.shift();
    if (first === undefined) {
      const payload = payloads[next++];
      assert(payload !== undefined, "a group's payloads are dense");
      yield { kind: "unreadable", key: payload.key, reason: setAside };
      continue;
    }
    const object = await first.fetching;
    yield loadedPayload(first.payload, await object.payload(first.payload.key));
  }
}

/** What the rows of these payloads and of another one can take: a body that hardly compresses is about as large. */
function aheadBytes(ahead: readonly { readonly payload: GroupPayload }[], next: GroupPayload): number {
  return ahead.reduce((sum, { payload }) => sum + payload.outputBytes, next.outputBytes);
}

function loadedPayload(payload: GroupPayload, fetched: Fetched): LoadedPayload {
  const { key } = payload;
  if (fetched === null) {
    return { kind: "unreadable", key, reason: "missing_object" };
  }
  const { metadata, body } = fetched;
  if (metadata === null) {
    return { kind: "unreadable", key, reason: "unreadable" };
  }
  const bytes = body.length;
  return { kind: "fetched", key, payload, metadata, bytes, takeProtobuf: decodeOnce(body, metadata) };
}

function decodeOnce(body: Uint8Array, metadata: PayloadMetadata): FetchedPayload["takeProtobuf"] {
  let held: Uint8Array | undefined = body;
  return () => {
    assert(held !== undefined, "a payload is decoded once");
    const decoded = decodeBody(zlib, held, metadata);
    held = undefined;
    return decoded.ok ? ok(decoded.value.protobuf) : refuse(`decode: ${decoded.refusal.message}`);
  };
}

function fetchAhead(object: ObjectKey, get: Parameters<typeof fetchObject>[1]): Promise<FetchedObject> {
  const fetching = fetchObject(object, get);
  fetching.catch(() => undefined); // it is awaited later; until then an early failure must not count as unhandled
  return fetching;
}

async function get(bucket: R2Bucket, key: string) {
  const object = await inTime(bucket.get(key));
  return object === null ? null : { object, bytes: new Uint8Array(await inTime(object.arrayBuffer())) };
}

/** A get that hangs would hold what its group has in hand until the platform ends the invocation. */
async function inTime<T>(promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("R2 did not answer in time")), limits.r2GetTimeoutMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
