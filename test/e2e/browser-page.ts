/**
 * What runs in the page: OpenTelemetry's tracing SDK as docs/clients.md sets it up for browsers, and bare requests. Bundled
 * by browser.test.ts, which calls the functions that it leaves on `globalThis`.
 */
import { DiagLogLevel, diag } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";

export interface Export {
  readonly url: string;
  readonly key: string;
  readonly run: string;
  readonly spans: number;
  /** Characters of an attribute of each span. */
  readonly textChars: number;
}

/** Sends spans and gives what the SDK said of it, debug lines included. */
async function sendSpans({ url, key, run, spans, textChars }: Export): Promise<string[]> {
  const said: string[] = [];
  const say = (message: string) => void said.push(message);
  diag.setLogger(
    { error: say, warn: say, info: say, debug: say, verbose: () => undefined },
    { logLevel: DiagLogLevel.ALL, suppressOverrideMessage: true },
  );
  const exporter = new OTLPTraceExporter({ url, headers: { authorization: `Bearer ${key}` } });
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ "service.name": "shop-web", "test.run": run }),
    spanProcessors: [new BatchSpanProcessor({ exporter })],
  });
  const tracer = provider.getTracer("page");
  for (let index = 0; index < spans; index++) {
    const span = tracer.startSpan(`click ${index}`);
    span.setAttribute("text", "Grüße ".repeat(Math.ceil(textChars / 6)).slice(0, textChars));
    span.end();
  }
  await provider.forceFlush().catch(say);
  return said;
}

/** One request by hand; gives what a page can read of its answer, or the error that it gets instead. */
async function request(url: string, init: RequestInit): Promise<object> {
  try {
    const response = await fetch(url, init);
    return {
      status: response.status,
      body: await response.text(),
      payload: response.headers.get("x-headrace-payload"),
    };
  } catch (error) {
    return { error: String(error) };
  }
}

Object.assign(globalThis, { sendSpans, request, ready: true });
