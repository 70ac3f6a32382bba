/**
 * Checks a body before it is accepted: can it be inflated, is it OTLP, how many spans are good, and how large can
 * its rows become. What passes here can be stored later; nothing that was accepted is ever too large.
 *
 * It is one synchronous step, so that the inflated form (16 MiB at most) never lives across an await.
 */
import * as zlib from "node:zlib";
import { CorruptEncoding, InflatedTooLarge, inflate } from "../../shared/inflate.ts";
import { limits } from "../../shared/limits.ts";
import {
  type Inspection,
  inspectTraces,
  rejectionMessage,
  type SpanBounds,
} from "../../shared/otlp/inspect.ts";
import { jsonToProtobuf } from "../../shared/otlp/json.ts";
import { MalformedBody } from "../../shared/otlp/malformed.ts";
import { mistakeIn } from "../../shared/otlp/mistaken-body.ts";
import { addRepairs, noRepairs } from "../../shared/otlp/repairs.ts";
import { ok, type Result, refuse } from "../../shared/result.ts";
import type { Content } from "./content.ts";
import type { Refusal } from "./refusal.ts";

export interface CheckedPayload {
  readonly inspection: Inspection;
  /** Bytes of the body without its content encoding. */
  readonly inflatedBytes: number;
  /** Texts that the walk through the protobuf form had to repair. */
  readonly repairedTexts: number;
}

export function checkPayload(
  body: Uint8Array,
  content: Content,
  bounds: SpanBounds,
): Result<CheckedPayload, Refusal> {
  let inflated: Uint8Array | undefined;
  try {
    inflated = inflate(zlib, body, content.encoding, limits.inflatedBytesMax);
    const jsonRepairs = noRepairs();
    const protobuf = content.type === "json" ? jsonToProtobuf(inflated, jsonRepairs) : inflated;
    const inspection = inspectTraces(protobuf, bounds);
    const useless = nothingToStore(inflated, content, inspection);
    if (useless !== undefined) {
      return refuse(useless);
    }
    const reason = overBound(inspection);
    const repairs = addRepairs(jsonRepairs, inspection.repairs);
    return reason === undefined
      ? ok({
          inspection: { ...inspection, repairs },
          inflatedBytes: inflated.length,
          repairedTexts: inspection.repairs.texts,
        })
      : refuse({ reason: "too_large", message: reason });
  } catch (error) {
    if (error instanceof CorruptEncoding) {
      return refuse({ reason: "corrupt_body", message: `${capital(error.message)}.` });
    }
    if (error instanceof MalformedBody) {
      return refuse({
        reason: "corrupt_body",
        message: withMistake(
          inflated,
          content,
          `The body is no OTLP ${content.type === "json" ? "JSON" : "protobuf"}: ${error.message}`,
        ),
      });
    }
    if (error instanceof InflatedTooLarge) {
      return refuse({
        reason: "too_large",
        message: `${capital(error.message)}. Send fewer spans a request.`,
      });
    }
    throw error;
  }
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
function withMistake(inflated: Uint8Array | undefined, content: Content, message: string): string {
  const mistake = inflated === undefined ? undefined : mistakeIn(inflated, content.type);
  return mistake === undefined ? message : `${mistake}. (${message})`;
}

function overBound(inspection: Inspection): string | undefined {
  if (inspection.spans > limits.spansMax) {
    return `The body holds ${inspection.spans} spans, more than ${limits.spansMax}. Send fewer spans a request.`;
  }
  if (inspection.outputBytes > limits.outputBytesMax) {
    return `The body's rows could take ${inspection.outputBytes} bytes (each span repeats its resource's and scope's attributes), more than ${limits.outputBytesMax}. Send fewer spans a request.`;
  }
  if (inspection.attributes > limits.attributesMax) {
    return `The body holds ${inspection.attributes} attributes, more than ${limits.attributesMax}. Send fewer spans a request.`;
  }
  return undefined;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
