/** Payloads in R2 as the ingress puts them. */
import { formatPayloadMetadata } from "../../../shared/messages.ts";
import { everyTrace } from "../../../shared/otlp/sample-threshold.ts";
import type { PayloadKey } from "../../../shared/payload-key.ts";

/** `arrival`: ms since the epoch. */
export async function putPayloads(
  bucket: R2Bucket,
  keys: readonly PayloadKey[],
  arrival: number,
): Promise<void> {
  const customMetadata = formatPayloadMetadata({
    version: "1",
    type: "pb",
    encoding: "gzip",
    spans: 100,
    rejectedSpans: 0,
    inflatedBytes: 52_500,
    outputBytes: 68_000,
    arrival,
    startMinMs: 0,
    startMaxMs: arrival,
    sampleThreshold: everyTrace,
  });
  await Promise.all(keys.map((key) => bucket.put(key, "spans", { customMetadata })));
}
