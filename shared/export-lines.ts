/**
 * The lines that point an exporter at Headrace: the README, the greeting of `npm run dev` and the console's empty page
 * show these and no others. Every SDK that is set up by OpenTelemetry's variables reads them; what a client needs
 * besides is in docs/clients.md. Compression is not among them: some clients do not start with it.
 */
export function exportLines(endpoint: string, key: string): readonly string[] {
  return [
    "export OTEL_SERVICE_NAME=my-service",
    "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
    `export OTEL_EXPORTER_OTLP_ENDPOINT=${endpoint}`,
    `export OTEL_EXPORTER_OTLP_HEADERS=x-api-key=${key}`,
    "export OTEL_METRICS_EXPORTER=none OTEL_LOGS_EXPORTER=none",
  ];
}
