/**
 * What the SDK's exporter tells nobody but its diagnostic log: a partial success and each retry. The exporter hands
 * its caller "success" for both, so the counts of refused spans are read from there.
 *
 * The log is process-wide (`diag` of @opentelemetry/api). The exporter logs a partial success right before it calls
 * back, in one synchronous step, so `takePartialSuccess` inside the callback gets the one of that request.
 */
import { DiagLogLevel, diag } from "@opentelemetry/api";
import * as v from "valibot";

export interface PartialSuccess {
  readonly rejectedSpans: number;
  readonly message: string;
}

export interface SdkDiagnostics {
  takePartialSuccess(): PartialSuccess | undefined;
  /** Retries that the exporter has begun so far. */
  retries(): number;
  /** Gives the log back. */
  close(): void;
}

const partialSuccessPrefix = "Received Partial Success response:";
const retryPrefix = "Scheduling export retry";

// int64 is a string in OTLP/JSON, a number in the protobuf reader's result.
const partialSuccessSchema = v.object({
  rejectedSpans: v.optional(v.pipe(v.union([v.number(), v.string()]), v.transform(Number)), 0),
  errorMessage: v.optional(v.string(), ""),
});

/** `warn` gets the SDK's other warnings and errors, one line each. */
export function listenToSdk(warn: (line: string) => void): SdkDiagnostics {
  let partial: PartialSuccess | undefined;
  let retries = 0;
  const relay = (message: string, ...rest: unknown[]): void => {
    const detail = rest[0];
    if (message === partialSuccessPrefix && typeof detail === "string") {
      const { rejectedSpans, errorMessage } = v.parse(partialSuccessSchema, JSON.parse(detail));
      partial = { rejectedSpans, message: errorMessage };
      return;
    }
    warn(`OpenTelemetry SDK: ${[message, ...rest].map(String).join(" ")}`);
  };
  diag.setLogger(
    {
      error: relay,
      warn: relay,
      info() {},
      debug() {},
      verbose(message: string) {
        retries += message.startsWith(retryPrefix) ? 1 : 0;
      },
    },
    { logLevel: DiagLogLevel.VERBOSE, suppressOverrideMessage: true },
  );
  return {
    takePartialSuccess: () => {
      const taken = partial;
      partial = undefined;
      return taken;
    },
    retries: () => retries,
    close: () => diag.disable(),
  };
}
