/**
 * From a payload's bytes to the protobuf body that is walked: its content encoding undone, its JSON converted. The ingress
 * checks with it, the consumer transcodes with it and the console shows with it, so that what one accepted the others can
 * read. All of it is one synchronous step: what it makes never lives across an await, unless its caller keeps it.
 */
import { CorruptEncoding, InflatedTooLarge, inflate, type Zlib } from "./inflate.ts";
import { limits } from "./limits.ts";
import type { ContentEncoding } from "./messages.ts";
import { jsonToProtobuf } from "./otlp/json.ts";
import { MalformedBody } from "./otlp/malformed.ts";
import { noRepairs, type Repairs } from "./otlp/repairs.ts";
import type { BodyType } from "./payload-key.ts";
import { ok, type Result, refuse } from "./result.ts";

export interface BodyForm {
  readonly type: BodyType;
  readonly encoding: ContentEncoding;
}

export interface DecodedBody {
  /** Without its content encoding, JSON still as JSON. */
  readonly inflated: Uint8Array;
  /** The same bytes where they were protobuf. */
  readonly protobuf: Uint8Array;
  /** What the conversion changed. */
  readonly repairs: Repairs;
}

/** Why a body cannot be decoded. The messages are sentences without their first capital and their full stop. */
export type Undecodable =
  /** It is not what its content encoding says, or cut off. */
  | { readonly kind: "corrupt_encoding"; readonly message: string }
  /** It is JSON, and not of OTLP. `inflated`: to find out what it is instead. */
  | { readonly kind: "malformed"; readonly message: string; readonly inflated: Uint8Array }
  | { readonly kind: "inflates_too_large"; readonly message: string }
  /** Within the limits, and not within `roomBytes`. */
  | { readonly kind: "no_room"; readonly message: string };

/**
 * `roomBytes`: what may be taken beside the body. An encoded body takes its inflated form, and each body as much again: JSON
 * becomes protobuf, and protobuf that is odd is rewritten (otlp/canonical-form.ts).
 */
export function decodeBody(
  zlib: Zlib,
  body: Uint8Array,
  { type, encoding }: BodyForm,
  roomBytes = Number.POSITIVE_INFINITY,
): Result<DecodedBody, Undecodable> {
  const copies = encoding === "identity" ? 1 : 2;
  const inflatedBytesMax = Math.min(limits.inflatedBytesMax, Math.max(0, Math.floor(roomBytes / copies)));
  let inflated: Uint8Array | undefined;
  try {
    inflated = inflate(zlib, body, encoding, inflatedBytesMax);
    const repairs = noRepairs();
    const protobuf = type === "json" ? jsonToProtobuf(inflated, repairs) : inflated;
    return ok({ inflated, protobuf, repairs });
  } catch (error) {
    if (error instanceof CorruptEncoding) {
      return refuse({ kind: "corrupt_encoding", message: error.message });
    }
    if (error instanceof InflatedTooLarge) {
      const kind = inflatedBytesMax < limits.inflatedBytesMax ? "no_room" : "inflates_too_large";
      return refuse({ kind, message: error.message });
    }
    if (error instanceof MalformedBody && inflated !== undefined) {
      return refuse({ kind: "malformed", message: error.message, inflated });
    }
    throw error;
  }
}
