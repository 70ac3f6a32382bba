/** Why the ingress did not accept a request: a closed list, which its answers, counts and the console's advice share. */
export const refusalReasons = [
  "unknown_path",
  "wrong_method",
  "wrong_content_type",
  "wrong_content_encoding",
  "missing_key",
  "unknown_key",
  "revoked_key",
  "expired_key",
  "unknown_keys_flood",
  "disabled_key",
  "forbidden_origin",
  "rate_exceeded",
  "byte_rate_exceeded",
  "fruitless_requests",
  "quota_exceeded",
  "byte_quota_exceeded",
  "too_large",
  "corrupt_body",
  "all_spans_rejected",
  "busy",
  "slow_body",
  "broken_body",
  "keys_unreachable",
  "store_unreachable",
  "internal",
] as const;
export type RefusalReason = (typeof refusalReasons)[number];

const ours =
  "a fault on our side: exporters retry, and nothing is lost while that is rare; `headrace doctor` checks each part";

/** What the sender, or the operator of Headrace, does about it. */
const advices: Readonly<Record<RefusalReason, string>> = {
  unknown_path:
    "Headrace takes traces, at /v1/traces. Metrics or logs: OTEL_METRICS_EXPORTER=none OTEL_LOGS_EXPORTER=none. Traces: check the path of the exporter's endpoint",
  wrong_method: "not an exporter: traces come by POST. For health checks use the console's /healthz",
  wrong_content_type: "gRPC, or not OTLP: OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
  wrong_content_encoding: "OTEL_EXPORTER_OTLP_COMPRESSION=gzip, or none",
  missing_key: "no key was sent: OTEL_EXPORTER_OTLP_HEADERS=x-api-key=hr_…",
  unknown_key: "a key that is mistyped, or of another installation: give the exporter a key of this one",
  revoked_key: "the key was revoked: give the exporter another one",
  expired_key: "the key was rotated and has expired: give the exporter the key that replaced it",
  unknown_keys_flood:
    "many keys that do not exist, from one address: a program with a wrong key, or somebody guessing",
  disabled_key: "the key is disabled: enable it among the tenant's keys, or give the exporter another one",
  forbidden_origin: "a page of an origin that the key does not allow: add it to the key's origins",
  rate_exceeded:
    "over the key's spans per second: exporters retry, and nothing is lost while it is rare; otherwise raise the rate, or sample",
  byte_rate_exceeded:
    "over the key's bytes per second: exporters retry, and nothing is lost while it is rare; otherwise raise the rate, or sample",
  fruitless_requests: "many requests with nothing to store: check what this sender sends",
  quota_exceeded: "the key's spans of this month are used up: raise its quota, or wait for the next month",
  byte_quota_exceeded:
    "the key's bytes of this month are used up: raise its quota, or wait for the next month",
  too_large:
    "over a size limit, which the answer names: lower the exporter's batch size (OTEL_BSP_MAX_EXPORT_BATCH_SIZE)",
  corrupt_body: "not OTLP: the answer says what the body looks like",
  all_spans_rejected:
    "none of its spans can be stored: the answer says why (an invalid id, a time that is far off)",
  busy: "more bodies at once than an isolate holds: exporters retry; if it lasts, send smaller ones",
  slow_body: "the body came too slowly: exporters retry; check the network in between",
  broken_body: "the connection ended within the body: exporters retry; check the network in between",
  keys_unreachable: ours,
  store_unreachable: ours,
  internal: ours,
};

/** `reason` as it was counted: an older ingress may have had others. Empty: it is not known. */
export function refusalAdvice(reason: string): string {
  const known = refusalReasons.find((one) => one === reason);
  return known === undefined ? "" : advices[known];
}
