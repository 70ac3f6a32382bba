/** The collector's settings, as variables of the ingress say them (docs/operating.md). */
import { limits } from "../limits.ts";

/** `COLLECT`: `off` and nothing else has each payload put alone. */
export const collectWords = ["on", "off"] as const;

/** `COLLECT_MS`: what a payload waits for others at most. Empty: as usual. Undefined: it is no such number. */
export function parseCollectMs(text: string): number | undefined {
  const ms = text === "" ? limits.collectMsUsual : /^\d{1,4}$/.test(text) ? Number(text) : Number.NaN;
  return ms <= limits.collectMsMax ? ms : undefined;
}

/** Where a collector may be placed (Durable Objects, "Data location"). */
export const collectorLocations = [
  "wnam",
  "enam",
  "sam",
  "weur",
  "eeur",
  "apac",
  "apac-ne",
  "apac-se",
  "oc",
  "afr",
  "me",
] as const;

export type CollectorLocation = (typeof collectorLocations)[number];

/** `COLLECTOR_LOCATION`: where the bucket is. Null where it says nothing: where the first request is. Undefined: it is no such place. */
export function parseCollectorLocation(text: string): CollectorLocation | null | undefined {
  return text === "" ? null : collectorLocations.find((one) => one === text);
}
