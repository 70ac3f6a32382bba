/**
 * Builds the OpenTelemetry Collector with its OTLP receiver and the contrib ClickHouse exporter, from the Go module
 * proxy with the Collector's own builder, once: the binary is kept under the hash of its manifest.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder } from "./cache-folder.ts";
import { collectorCoreVersion, collectorStableVersion, collectorVersion } from "./pinned.ts";

const contrib = "github.com/open-telemetry/opentelemetry-collector-contrib";

const manifest = `dist:
  name: otelcol
  description: OTLP receiver and ClickHouse exporter
  version: ${collectorVersion}
  output_path: .
receivers:
  - gomod: go.opentelemetry.io/collector/receiver/otlpreceiver v${collectorCoreVersion}
processors:
  - gomod: go.opentelemetry.io/collector/processor/batchprocessor v${collectorCoreVersion}
exporters:
  - gomod: ${contrib}/exporter/clickhouseexporter v${collectorVersion}
extensions:
  - gomod: ${contrib}/extension/storage/filestorage v${collectorVersion}
providers:
  - gomod: go.opentelemetry.io/collector/confmap/provider/envprovider v${collectorStableVersion}
  - gomod: go.opentelemetry.io/collector/confmap/provider/fileprovider v${collectorStableVersion}
`;

/** Why a peer cannot be run on this machine. */
export class PeerUnavailable extends Error {
  override readonly name = "PeerUnavailable";
}

/** The binary's path. Takes some minutes the first time. Throws `PeerUnavailable`. */
export function buildCollector(): string {
  const hash = createHash("sha256").update(manifest).digest("hex").slice(0, 12);
  const folder = cacheFolder(`otelcol-${collectorVersion}-${hash}`);
  const binary = join(folder, "otelcol");
  if (existsSync(binary)) {
    return binary;
  }
  if (spawnSync("go", ["version"]).status !== 0) {
    throw new PeerUnavailable("the Collector needs Go 1.25 or newer to be built, and there is no `go`");
  }
  console.error(
    `Building the OpenTelemetry Collector ${collectorVersion} into ${folder}; this takes some minutes.`,
  );
  writeFileSync(join(folder, "manifest.yaml"), manifest);
  const built = spawnSync(
    "go",
    [
      "run",
      `go.opentelemetry.io/collector/cmd/builder@v${collectorCoreVersion}`,
      "--config",
      "manifest.yaml",
    ],
    { cwd: folder, encoding: "utf8" },
  );
  if (built.status !== 0 || !existsSync(binary)) {
    const lines = `${built.stdout}${built.stderr}`.trim().split("\n").slice(-5).join("\n");
    throw new PeerUnavailable(`the Collector could not be built: ${lines}`);
  }
  return binary;
}
