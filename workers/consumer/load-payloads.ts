/**
 * Fetches a group's payloads from R2, in the group's order and a few ahead, so that the transcoder never waits for
 * all of them and never holds all of them. What R2 does not have is named: its group goes on without it.
 */
import * as zlib from "node:zlib";
import * as v from "valibot";
import { assert } from "../../shared/assert.ts";
import { decodeBody } from "../../shared/decode-body.ts";
import type { GroupPayload } from "../../shared/ledger/group.ts";
import { limits } from "../../shared/limits.ts";
import { type PayloadMetadata, payloadMetadataSchema } from "../../shared/messages.ts";
import type { PayloadKey } from "../../shared/payload-key.ts";
import { ok, type Result, refuse } from "../../shared/result.ts";
import { writeLog } from "../../shared/write-log.ts";

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
  /** No object under the key, or one whose metadata is not ours. */
  | { readonly kind: "unreadable"; readonly key: PayloadKey; readonly reason: string };

/** Null: there is no object. `metadata` null: what R2 says of it is not ours. */
type Fetched = { readonly metadata: PayloadMetadata | null; readonly body: Uint8Array } | null;

/** Yields the payloads in their order, at most `limits.r2GetsAtOnceMax` gets at once. Throws when R2 cannot be reached. */
export async function* loadPayloads(
  bucket: R2Bucket,
  payloads: readonly GroupPayload[],
): AsyncGenerator<LoadedPayload> {
  const ahead: { readonly payload: GroupPayload; readonly fetched: Promise<Fetched> }[] = [];
  let next = 0;
  while (next < payloads.length || ahead.length > 0) {
    while (ahead.length < limits.r2GetsAtOnceMax && next < payloads.length) {
      const payload = payloads[next];
      assert(payload !== undefined, "a group's payloads are dense");
      if (ahead.length > 0 && aheadBytes(ahead, payload) > limits.aheadOutputBytesMax) {
        break;
      }
      next++;
      const fetched = fetchPayload(bucket, payload.key);
      fetched.catch(() => undefined); // it is awaited below; until then an early failure must not count as unhandled
      ahead.push({ payload, fetched });
    }
    const first = ahead.shift();
    assert(first !== undefined, "at least one get is under way");
    yield loadedPayload(first.payload, await first.fetched);
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

async function fetchPayload(bucket: R2Bucket, key: PayloadKey): Promise<Fetched> {
  const object = await inTime(bucket.get(key));
  if (object === null) {
    return null;
  }
  const body = new Uint8Array(await inTime(object.arrayBuffer()));
  const metadata = v.safeParse(payloadMetadataSchema, object.customMetadata);
  if (!metadata.success) {
    writeLog("error", {
      message: "a payload's metadata is not ours",
      payload: key,
      issues: v.flatten(metadata.issues),
    });
  }
  return { metadata: metadata.success ? metadata.output : null, body };
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
