/** The SDK's own OTLP/HTTP exporter, protobuf or JSON. Timeout and retries are its defaults. */
import process from "node:process";
import { OTLPTraceExporter as JsonExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as ProtobufExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import type { SpanExporter } from "@opentelemetry/sdk-trace";

export interface ExporterOptions {
  readonly tracesUrl: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly json: boolean;
  readonly compression: "gzip" | "none";
  /** Requests under way at once; the caller sees to it. */
  readonly requestsMax: number;
}

export function createExporter(options: ExporterOptions): SpanExporter {
  // As an option the compression is an enum of a package that we do not depend on; the variable takes plain words.
  process.env["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION"] = options.compression;
  const settings = {
    url: options.tracesUrl,
    headers: { ...options.headers },
    // The exporter fails what comes over this limit, and it counts a request for some ticks after its callback.
    concurrencyLimit: 2 * options.requestsMax,
  };
  return options.json ? new JsonExporter(settings) : new ProtobufExporter(settings);
}
