/** The peers' versions: what a comparison's numbers belong to. */

/**
 * The Collector's modules have two version lines that are released together, and those of contrib are patched on their own:
 * 0.165.1 is the newest exporter that the Go module proxy serves (2026-11-27), and goes with 0.165.0 of the core.
 */
export const collectorVersion = "0.165.1";
export const collectorCoreVersion = "0.165.0";
export const collectorStableVersion = "1.71.0";
/** The wheel on PyPI; its program says 0.0.1-alpha10 of itself. */
export const rotelVersion = "0.0.1a15";
