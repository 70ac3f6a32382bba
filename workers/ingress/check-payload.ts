/**
 * Checks a body before it is accepted: can it be inflated, is it OTLP, how many spans are good, and how large can
 * its rows become. What passes here can be stored later; nothing that was accepted is ever too large.
 *
 * It is one synchronous step, so that the inflated form (20 MiB at most) never lives across an await.
 */
import * as zlib from "node:zlib";
import { unreachable } from "../../shared/assert.ts";
import { decodeBody, type Undecodable } from "../../shared/decode-body.ts";
import { type Inspection, inspectAndRewrite, type SpanBounds } from "../../shared/otlp/inspect.ts";
import { MalformedBody, TooManyMembers } from "../../shared/otlp/malformed.ts";
import { mistakeIn } from "../../shared/otlp/mistaken-body.ts";
import { addRepairs } from "../../shared/otlp/repairs.ts";
import { ok, type Result, refuse } from "../../shared/result.ts";
import { tooLarge } from "./advise-size.ts";
import type { Content } from "./content.ts";
import { hardlyCompresses } from "./hardly-compresses.ts";
import { noRoom, type Refusal } from "./refusal.ts";
import { tooManyNames } from "./too-many-names.ts";

export interface CheckedPayload {
  readonly inspection: Inspection;
  /** Bytes of the body without its content encoding. */
  readonly inflatedBytes: number;
  /** Texts that the walk through the protobuf form had to repair. */
  readonly repairedTexts: number;
}

/** `roomBytes`: what the isolate has left for the inflated body, and for what is made of it. */
export function checkPayload(
  body: Uint8Array,
  content: Content,
  bounds: SpanBounds,
  roomBytes: number,
): Result<CheckedPayload, Refusal> {
  const decoded = decodeBody(zlib, body, content, roomBytes);
  if (!decoded.ok) {
    return refuse(undecodable(decoded.refusal, content));
  }
  const { inflated, protobuf, repairs } = decoded.value;
  const inflatedBytes = inflated.length;
  let inspected: ReturnType<typeof inspectAndRewrite>;
  try {
    inspected = inspectAndRewrite(protobuf, bounds);
  } catch (error) {
    if (error instanceof TooManyMembers) {
      const size = { what: "list", message: error.message } as const;
      return refuse({ reason: "too_large", size, inflatedBytes });
    }
    if (error instanceof MalformedBody) {
      return refuse(malformed(inflated, content, error.message));
    }
    throw error;
  }
  const { inspection, walked } = inspected;
  const useless = nothingToStore(inflated, content, inspection);
  if (useless !== undefined) {
    return refuse({ ...useless, inflatedBytes });
  }
  const size =
    tooLarge(inspection) ??
    tooManyNames(walked, bounds, inspection) ??
    hardlyCompresses(walked, bounds, inspection);
  return size === undefined
    ? ok({
        inspection: { ...inspection, repairs: addRepairs(repairs, inspection.repairs) },
        inflatedBytes,
        repairedTexts: inspection.repairs.texts,
      })
    : refuse({ reason: "too_large", size, inflatedBytes });
}

function undecodable(why: Undecodable, content: Content): Refusal {
  switch (why.kind) {
    case "corrupt_encoding":
      return { reason: "corrupt_body", type: undefined, fault: why.message, mistake: undefined };
    case "malformed":
      return malformed(why.inflated, content, why.message);
    case "inflates_too_large":
      return { reason: "too_large", size: { what: "inflated", message: why.message } };
    case "no_room":
      return noRoom;
    default:
      return unreachable(why);
  }
}

function malformed(inflated: Uint8Array, { type }: Content, fault: string): Refusal {
  const mistake = mistakeIn(inflated, type);
  return { reason: "corrupt_body", type, fault, mistake, inflatedBytes: inflated.length };
}

/**
 * Why a request is refused that is OTLP, and of which not one span can be used: OTLP's partial success is for parts, and
 * several SDKs do not show it. One that holds no span is a success, and so is one whose spans were all sampled out.
 */
function nothingToStore(
  inflated: Uint8Array,
  { type }: Content,
  inspection: Inspection,
): Refusal | undefined {
  const { spans, rejectedSpans, sampledSpans } = inspection;
  if (spans + sampledSpans > 0) {
    return undefined;
  }
  const mistake = mistakeIn(inflated, type);
  if (rejectedSpans > 0) {
    return { reason: "all_spans_rejected", inspection, mistake, rejectedSpans };
  }
  // Without a span it is a success, unless it seems to be something else.
  return mistake === undefined
    ? undefined
    : { reason: "corrupt_body", type: undefined, fault: mistake, mistake: undefined };
}
