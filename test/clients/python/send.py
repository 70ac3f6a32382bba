"""Sends spans with the OpenTelemetry SDK for Python, set up by the OTEL_... variables alone, and exits when they are sent.

Usage: send.py SPANS. What the SDK reports goes to standard error; exit status 1 when it reports an error.
"""

import logging
import sys

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind


class Reports(logging.StreamHandler):
    errors = 0

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            Reports.errors += 1
        super().emit(record)


logging.basicConfig(level=logging.WARNING, handlers=[Reports(sys.stderr)])
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
tracer = provider.get_tracer("client-test")
for index in range(int(sys.argv[1])):
    with tracer.start_as_current_span(f"span {index}", kind=SpanKind.SERVER) as span:
        span.set_attribute("test.index", index)
        span.set_attribute("test.text", "Grüße, 世界")
provider.force_flush(60_000)
provider.shutdown()
sys.exit(1 if Reports.errors > 0 else 0)
