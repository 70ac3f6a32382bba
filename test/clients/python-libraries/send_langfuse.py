"""Sends spans with langfuse, set up by the OTEL_... variables and the lines of docs/clients.md. Usage: send_langfuse.py SPANS."""

import sys

from langfuse import Langfuse
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

langfuse = Langfuse(public_key="unused", secret_key="unused", span_exporter=OTLPSpanExporter())
for index in range(int(sys.argv[1])):
    langfuse.start_observation(name=f"span {index}", input="Grüße, 世界").end()
langfuse.flush()
langfuse.shutdown()
