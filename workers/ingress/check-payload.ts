/**
 * Checks a body before it is accepted: can it be inflated, is it OTLP, how many spans are good, and how large can
 * its rows become. What passes here can be stored later; nothing that was accepted is ever too large.
 *
 * It is one synchronous step, so that the inflated form (20 MiB at most) never lives across an await.
 */
import * as zlib from "node:zlib";
import { unreachable } from "../../shared/assert.ts";
import { decodeBody, type Undecodable } from "../../shared/decode-body.ts";
import {
  type Inspection,
  inspectTraces,
  rejectionMessage,
  type SpanBounds,
} from "../../shared/otlp/inspect.ts";
import { MalformedBody, TooManyMembers } from "../../shared/otlp/malformed.ts";
import { mistakeIn } from "../../shared/otlp/mistaken-body.ts";
import { addRepairs } from "../../shared/otlp/repairs.ts";
import { ok, type Result, refuse } from "../../shared/result.ts";
import { inflatesTooLarge, tooLarge, tooManyMembers } from "./advise-size.ts";
import type { Content } from "./content.ts";
import { hardlyCompresses } from "./hardly-compresses.ts";
import { noRoom, type Refusal } from "./refusal.ts";

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
  let inspection: Inspection;
  try {
    inspection = inspectTraces(protobuf, bounds);
  } catch (error) {
    if (error instanceof TooManyMembers) {
      return refuse({ reason: "too_large", message: tooManyMembers(error.message), inflatedBytes });
    }
    if (error instanceof MalformedBody) {
      return refuse(malformed(inflated, content, error.message));
    }
    throw error;
  }
  const useless = nothingToStore(inflated, content, inspection);
  if (useless !== undefined) {
    return refuse({ ...useless, inflatedBytes });
  }
  const message = tooLarge(inspection) ?? hardlyCompresses(protobuf, bounds, inspection);
  return message === undefined
    ? ok({
        inspection: { ...inspection, repairs: addRepairs(repairs, inspection.repairs) },
        inflatedBytes,
        repairedTexts: inspection.repairs.texts,
      })
    : refuse({ reason: "too_large", message, inflatedBytes });
}

function undecodable(why: Undecodable, content: Content): Refusal {
  switch (why.kind) {
    case "corrupt_encoding":
      return { reason: "corrupt_body", message: `${capital(why.message)}.` };
    case "malformed":
      return malformed(why.inflated, content, why.message);
    case "inflates_too_large":
      return { reason: "too_large", message: inflatesTooLarge(why.message) };
    case "no_room":
      return noRoom;
    default:
      return unreachable(why);
  }
}

function malformed(inflated: Uint8Array, content: Content, reason: string): Refusal {
  const message = `The body is not OTLP ${content.type === "json" ? "JSON" : "protobuf"}: ${reason}`;
  const inflatedBytes = inflated.length;
  return { reason: "corrupt_body", message: withMistake(inflated, content, message), inflatedBytes };
}

/**
 * Why a request is refused that is OTLP, and of which not one span can be used: OTLP's partial success is for parts, and
 * several SDKs do not show it. One that holds no span is a success, and so is one whose spans were all sampled out.
 */
function nothingToStore(inflated: Uint8Array, content: Content, inspection: Inspection): Refusal | undefined {
  const { spans, rejectedSpans, sampledSpans } = inspection;
  if (spans + sampledSpans > 0) {
    return undefined;
  }
  if (rejectedSpans > 0) {
    const message = withMistake(inflated, content, rejectionMessage(inspection));
    return { reason: "all_spans_rejected", message, rejectedSpans };
  }
  const mistake = mistakeIn(inflated, content.type);
  return mistake === undefined ? undefined : { reason: "corrupt_body", message: `${mistake}.` };
}

/** The message, behind what the body seems to be. */
function withMistake(inflated: Uint8Array, content: Content, message: string): string {
  const mistake = mistakeIn(inflated, content.type);
  return mistake === undefined ? message : `${mistake}. (${message})`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
