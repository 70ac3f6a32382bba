"""Sends spans with logfire, set up by the OTEL_... variables and the line of docs/clients.md. Usage: send_logfire.py SPANS."""

import sys

import logfire

logfire.configure(send_to_logfire=False, console=False)
for index in range(int(sys.argv[1])):
    with logfire.span("span {index}", index=index, text="Grüße, 世界"):
        pass
sys.exit(0 if logfire.force_flush(60_000) and logfire.shutdown() else 1)
