package headrace;

import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.autoconfigure.AutoConfiguredOpenTelemetrySdk;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;

/**
 * Sends spans with the OpenTelemetry SDK for Java, set up by the OTEL_… variables alone, and exits when they are sent.
 * Its argument is the number of spans. What the SDK reports goes to standard error; exit status 1 when it reports an
 * error or the flush does not succeed.
 */
public final class Send {
  public static void main(String[] arguments) {
    AtomicBoolean failed = new AtomicBoolean();
    Logger.getLogger("io.opentelemetry")
        .addHandler(
            new Handler() {
              @Override
              public void publish(LogRecord record) {
                if (record.getLevel().intValue() >= Level.WARNING.intValue()) {
                  failed.set(true);
                }
              }

              @Override
              public void flush() {}

              @Override
              public void close() {}
            });
    OpenTelemetrySdk sdk = AutoConfiguredOpenTelemetrySdk.initialize().getOpenTelemetrySdk();
    Tracer tracer = sdk.getTracer("client-test");
    int spans = Integer.parseInt(arguments[0]);
    for (int index = 0; index < spans; index++) {
      Span span = tracer.spanBuilder("span " + index).setSpanKind(SpanKind.SERVER).startSpan();
      span.setAttribute("test.index", index);
      span.setAttribute("test.text", "Grüße, 世界");
      span.end();
    }
    boolean flushed = sdk.getSdkTracerProvider().forceFlush().join(60, TimeUnit.SECONDS).isSuccess();
    sdk.getSdkTracerProvider().shutdown().join(10, TimeUnit.SECONDS);
    System.exit(flushed && !failed.get() ? 0 : 1);
  }
}
