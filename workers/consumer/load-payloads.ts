/**
 * Fetches a group's payloads from R2, in the group's order and a few ahead, so that the transcoder never waits for
 * all of them and never holds all of them. What R2 does not have, or what does not decode, is named: its group goes on
 * without it.
 */
import * as zlib from "node:zlib";
import * as v from "valibot";
import { assert } from "../../shared/assert.ts";
import { CorruptEncoding, InflatedTooLarge, inflate } from "../../shared/inflate.ts";
import type { GroupPayload } from "../../shared/ledger/group.ts";
import { limits } from "../../shared/limits.ts";
import { type PayloadMetadata, payloadMetadataSchema } from "../../shared/messages.ts";
import { jsonToProtobuf } from "../../shared/otlp/json.ts";
import { MalformedBody } from "../../shared/otlp/malformed.ts";
import type { PayloadKey } from "../../shared/payload-key.ts";
import { writeLog } from "../../shared/write-log.ts";

export interface ReadablePayload {
  readonly kind: "readable";
  readonly key: PayloadKey;
  readonly payload: GroupPayload;
  readonly metadata: PayloadMetadata;
  /** Size of the object in R2. */
  readonly bytes: number;
  /** The OTLP protobuf body, inflated, converted where it was JSON. */
  readonly protobuf: Uint8Array;
}

export type LoadedPayload =
  | ReadablePayload
  /** No object under the key, one whose metadata is not ours, or one that cannot be inflated or converted. */
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
    yield readable(first.payload, await first.fetched);
  }
}

/** What the rows of these payloads and of another one can take: a body that hardly compresses is about as large. */
function aheadBytes(ahead: readonly { readonly payload: GroupPayload }[], next: GroupPayload): number {
  return ahead.reduce((sum, { payload }) => sum + payload.outputBytes, next.outputBytes);
}

function readable(payload: GroupPayload, fetched: Fetched): LoadedPayload {
  const { key } = payload;
  if (fetched === null) {
    return { kind: "unreadable", key, reason: "missing_object" };
  }
  const { metadata, body } = fetched;
  if (metadata === null) {
    return { kind: "unreadable", key, reason: "unreadable" };
  }
  try {
    const inflated = inflate(zlib, body, metadata.encoding, limits.inflatedBytesMax);
    const protobuf = metadata.type === "json" ? jsonToProtobuf(inflated) : inflated;
    return { kind: "readable", key, payload, metadata, bytes: body.length, protobuf };
  } catch (error) {
    if (
      error instanceof CorruptEncoding ||
      error instanceof InflatedTooLarge ||
      error instanceof MalformedBody
    ) {
      return { kind: "unreadable", key, reason: `decode: ${error.message}` };
    }
    throw error;
  }
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
