/**
 * Sends batches through the SDK's exporter with back-pressure: a batch is drawn from the source only when a request
 * may start, so at most `requestsMax` batches are in memory, sent and not yet answered. Retries are the exporter's.
 */
import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace";
import type { PartialSuccess } from "./sdk-diagnostics.ts";

/** Why sending ended: the source was empty, the caller stopped it, or going on makes no sense. */
export type SendingEnd = "complete" | "stopped" | "gave up";

export interface SendingState {
  /** Requests answered with success. */
  readonly requests: number;
  /** Spans in them, less those that the answers refused. */
  readonly acceptedSpans: number;
  /** Refused span by span, by partial successes. */
  readonly rejectedSpans: number;
  /** The reason of the last partial success; empty without one. */
  readonly rejectedReason: string;
  /** In requests that ended without a success. Where the answer was lost they may be stored nevertheless. */
  readonly failedSpans: number;
  readonly failedRequests: number;
  /** The last failure. */
  readonly failure: Error | undefined;
}

export interface SendingOptions {
  readonly exporter: SpanExporter;
  /** Called inside the exporter's callback: the partial success of that request. */
  readonly takePartialSuccess: () => PartialSuccess | undefined;
  /** Requests under way at once. */
  readonly requestsMax: number;
  /** No new request starts once it is aborted; those under way are waited for. */
  readonly stop: AbortSignal;
  readonly onChange: (state: SendingState) => void;
}

/** Answers that every further request would get too: key, path, method or protocol are wrong. */
const hopelessStatuses: readonly number[] = [401, 403, 404, 405, 415];
/** Failures in a row after which the server counts as gone; each has already been retried by the exporter. */
const failuresInARowMax = 4;

export async function exportBatches(
  batches: Iterator<ReadableSpan[], void>,
  options: SendingOptions,
): Promise<{ readonly end: SendingEnd; readonly state: SendingState }> {
  let state: SendingState = {
    requests: 0,
    acceptedSpans: 0,
    rejectedSpans: 0,
    rejectedReason: "",
    failedSpans: 0,
    failedRequests: 0,
    failure: undefined,
  };
  let failuresInARow = 0;
  let gaveUp = false;
  const change = (next: Partial<SendingState>): void => {
    state = { ...state, ...next };
    options.onChange(state);
  };

  const sender = async (): Promise<void> => {
    while (!options.stop.aborted && !gaveUp) {
      const next = batches.next();
      if (next.done === true) {
        return;
      }
      const spans = next.value.length;
      const answer = await exportOne(next.value, options);
      if (answer.ok) {
        failuresInARow = 0;
        const rejected = Math.min(answer.partial?.rejectedSpans ?? 0, spans);
        change({
          requests: state.requests + 1,
          acceptedSpans: state.acceptedSpans + spans - rejected,
          rejectedSpans: state.rejectedSpans + rejected,
          ...(answer.partial === undefined ? {} : { rejectedReason: answer.partial.message }),
        });
      } else {
        failuresInARow += 1;
        const status = statusOf(answer.failure);
        gaveUp ||= failuresInARow >= failuresInARowMax;
        gaveUp ||= status !== undefined && hopelessStatuses.includes(status);
        change({
          failedSpans: state.failedSpans + spans,
          failedRequests: state.failedRequests + 1,
          failure: answer.failure,
        });
      }
    }
  };
  await Promise.all(Array.from({ length: options.requestsMax }, sender));
  return { end: gaveUp ? "gave up" : options.stop.aborted ? "stopped" : "complete", state };
}

type Answer =
  | { readonly ok: true; readonly partial: PartialSuccess | undefined }
  | { readonly ok: false; readonly failure: Error };

function exportOne(spans: ReadableSpan[], options: SendingOptions): Promise<Answer> {
  return new Promise((resolve) => {
    options.exporter.export(spans, (result) => {
      const partial = options.takePartialSuccess();
      resolve(result.error === undefined ? { ok: true, partial } : { ok: false, failure: result.error });
    });
  });
}

/** The HTTP status of a failed export; undefined when there was no answer, or a retryable one until the end. */
export function statusOf(failure: Error): number | undefined {
  return "code" in failure && typeof failure.code === "number" ? failure.code : undefined;
}

/** What the server wrote into the body of a failure: the message of its google.rpc.Status. Empty when there is none. */
export function messageOf(failure: Error): string {
  return "data" in failure && typeof failure.data === "string" ? messageIn(failure.data) : "";
}

/** The message of a google.rpc.Status in JSON or protobuf. Empty when there is none. */
export function messageIn(data: string): string {
  const json = /"message"\s*:\s*"((?:[^"\\]|\\.)*)"/.exec(data);
  return json?.[1] ?? messageOfProtobuf(data);
}

/**
 * The message of a Status in protobuf: 08 code, 12 length, text. The SDK hands the body over as UTF-8, in which the
 * length's first bytes (128 and more) have become U+FFFD; its last one is a character below 128, perhaps a printable
 * one: `\x12BThe API key …` is a message of 66 bytes.
 */
function messageOfProtobuf(text: string): string {
  const code = text.charCodeAt(0) === 0x08 ? 2 : 0;
  if (text.charCodeAt(code) !== 0x12) {
    return "";
  }
  let at = code + 1;
  while (text.charCodeAt(at) === 0xfffd) {
    at += 1;
  }
  const message = text.slice(at + 1);
  const details = message.indexOf("\x1a"); // field 3 begins
  return details === -1 ? message : message.slice(0, details);
}
