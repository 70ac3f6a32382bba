/** The peers' versions: what a comparison's numbers belong to. */

/**
 * The Collector's modules have two version lines that are released together. 0.161.0 is the newest exporter that the
 * Go module proxy had on 2026-11-24, when later ones were named there but not served.
 */
export const collectorVersion = "0.161.0";
export const collectorStableVersion = "1.67.0";
/** The wheel on PyPI; its program says 0.0.1-alpha10 of itself. */
export const rotelVersion = "0.0.1a15";
