/** An API key's record as KV holds it, without limits: what the ingress is measured with. */
export function benchKeyRecord(tenant = "bench") {
  return {
    tenant,
    name: "bench",
    status: "active",
    spansPerSecond: null,
    burstSpans: null,
    spansPerMonth: null,
    bytesPerSecond: null,
    burstBytes: null,
    bytesPerMonth: null,
    origins: [],
    sample: 1,
    spanAgeDays: 30,
  };
}
