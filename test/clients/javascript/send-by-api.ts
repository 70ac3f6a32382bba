/**
 * Sends spans by the tracer that the runtime itself registers (Deno, with `OTEL_DENO=true`), set up by the OTEL_… variables
 * alone. It flushes when the program ends. Usage: send-by-api.ts SPANS.
 */
import process from "node:process";
import { SpanKind, trace } from "@opentelemetry/api";

const tracer = trace.getTracer("client-test");
for (let index = 0; index < Number(process.argv[2]); index++) {
  const attributes = { "test.index": index, "test.text": "Grüße, 世界" };
  tracer.startSpan(`span ${index}`, { kind: SpanKind.SERVER, attributes }).end();
}
