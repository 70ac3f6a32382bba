/** The OpenTelemetry Collector: an otlp receiver and the otlp_http exporter, set up by the YAML of docs/clients.md. */
import { spawn } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { claimPort } from "../../dev/free-port.ts";
import { exportSpans, freshSpans } from "../e2e/local-pipeline.ts";
import { buildOnce, cacheFolder, pinned, toolVersion } from "./build-client.ts";
import type { ClientMaker, Sending } from "./client.ts";

const startTimeoutMs = 30_000;
const deliveryTimeoutMs = 60_000;
const stopTimeoutMs = 30_000;

/** As documented; the first retry comes after 1 s instead of 5, and what is queued is sent at once. */
function configuration({ endpoint, key, encoding, compression }: Sending, port: number): string {
  return `
receivers:
  otlp:
    protocols:
      http:
        endpoint: 127.0.0.1:${port}
exporters:
  otlp_http:
    endpoint: ${endpoint}
    encoding: ${encoding === "json" ? "json" : "proto"}
    compression: ${compression}
    headers:
      authorization: Bearer ${key}
    retry_on_failure:
      initial_interval: 1s
      max_elapsed_time: 24h
service:
  telemetry:
    metrics:
      level: none
  pipelines:
    traces:
      receivers: [otlp]
      exporters: [otlp_http]
`;
}

/**
 * Starts a Collector, hands it the spans, and stops it when they are delivered. (One that is stopped while it waits for
 * its next try drops what it holds, unless its queue is on disk.)
 */
async function sendThrough(binary: string, sending: Sending): Promise<void> {
  const port = await claimPort(0, "the Collector's port");
  const file = join(cacheFolder, "collector-run", `${sending.run}.yaml`);
  mkdirSync(join(cacheFolder, "collector-run"), { recursive: true });
  writeFileSync(file, configuration(sending, port));
  const child = spawn(binary, ["--config", file], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  const closed = new Promise<void>((resolve) => {
    child.on("close", () => resolve());
  });
  try {
    await until(() => said.includes("Everything is ready"), startTimeoutMs);
    const spans = freshSpans(sending.spans, 1, { "test.run": sending.run });
    await exportSpans({ otlp: `http://127.0.0.1:${port}`, key: sending.key }, spans);
    await until(sending.delivered, deliveryTimeoutMs);
  } catch (error) {
    throw new Error(`${String(error)}. The Collector said:\n${said}`, { cause: error });
  } finally {
    rmSync(file);
    child.kill("SIGINT");
    const timer = setTimeout(() => child.kill("SIGKILL"), stopTimeoutMs);
    await closed;
    clearTimeout(timer);
  }
  if (/Exporting failed\. (Dropping|Rejecting)|Dropping data/i.test(said)) {
    throw new Error(said);
  }
}

async function until(holds: () => boolean, timeoutMs: number): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!holds()) {
    if (Date.now() > end) {
      throw new Error(`waited ${timeoutMs} ms in vain`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export const collector: ClientMaker = {
  name: "Collector",
  prepare() {
    const tool = toolVersion("go", "version").split(" ").slice(2, 3).join("");
    const version = pinned("collector/builder.yaml", /otlphttpexporter v(.+)/);
    const builder = `go.opentelemetry.io/collector/cmd/builder@v${version}`;
    buildOnce("collector", [tool], [["go", "run", builder, "--config=builder.yaml"]]);
    const binary = join(cacheFolder, "collector", "otelcol-headrace");
    return {
      name: "Collector",
      version: `otlp_http ${version}`,
      variants: [
        { encoding: "protobuf", compression: "gzip" },
        { encoding: "protobuf", compression: "none" },
        { encoding: "protobuf", compression: "zstd" },
        { encoding: "protobuf", compression: "deflate" },
        { encoding: "json", compression: "gzip" },
        { encoding: "json", compression: "none" },
      ],
      send: (sending) => sendThrough(binary, sending),
    };
  },
};
