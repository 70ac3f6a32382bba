// Sends spans with the OpenTelemetry SDK for Go, set up by the OTEL_… variables alone, and exits when they are sent.
// Usage: main SPANS. What the SDK reports goes to standard error; exit status 1 when it reports an error.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func main() {
	spans, err := strconv.Atoi(os.Args[1])
	exitOn(err)
	failed := false
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		failed = true
		fmt.Fprintln(os.Stderr, err)
	}))
	ctx := context.Background()
	exporter, err := otlptracehttp.New(ctx)
	exitOn(err)
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
	tracer := provider.Tracer("client-test")
	for i := range spans {
		_, span := tracer.Start(ctx, "span "+strconv.Itoa(i), trace.WithSpanKind(trace.SpanKindServer))
		span.SetAttributes(attribute.Int("test.index", i), attribute.String("test.text", "Grüße, 世界"))
		span.End()
	}
	exitOn(provider.Shutdown(ctx))
	if failed {
		os.Exit(1)
	}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
