/**
 * Sends spans with the OpenTelemetry SDK for JavaScript, set up by the OTEL_… variables alone, on Node or Bun.
 * Usage: send-by-sdk.ts SPANS. Exit status 1 when the SDK says that they were not taken.
 */
import process from "node:process";
import { SpanKind } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { detectResources, envDetector } from "@opentelemetry/resources";
import { BatchSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";

const provider = new TracerProvider({
  resource: detectResources({ detectors: [envDetector] }),
  spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter() })],
});
const tracer = provider.getTracer("client-test");
for (let index = 0; index < Number(process.argv[2]); index++) {
  const attributes = { "test.index": index, "test.text": "Grüße, 世界" };
  tracer.startSpan(`span ${index}`, { kind: SpanKind.SERVER, attributes }).end();
}
try {
  await provider.shutdown();
} catch (error) {
  console.error(error);
  process.exitCode = 1;
}
