/** Runs Rotel between OTLP/HTTP and a ClickHouse over HTTP. */

import { join } from "node:path";
import { splitLogin } from "../../dev/clickhouse/login.ts";
import { claimPort } from "../../dev/free-port.ts";
import type { Batching } from "./batching.ts";
import { type PeerProcess, startPeer } from "./processes.ts";

export interface RotelOptions {
  readonly program: string;
  readonly folder: string;
  readonly port: number;
  readonly clickhouseUrl: string;
  readonly database: string;
  readonly compress: "none" | "lz4";
  readonly batching: Batching;
}

/** It writes to `otel_traces`, in batches as `batching` says, from memory; its other settings are its defaults. */
export async function startRotel(options: RotelOptions): Promise<PeerProcess> {
  const grpc = await claimPort(0, "");
  const login = splitLogin(options.clickhouseUrl);
  const settings = {
    "otlp-http-endpoint": `127.0.0.1:${options.port}`,
    "otlp-grpc-endpoint": `127.0.0.1:${grpc}`,
    "pid-file": join(options.folder, "rotel.pid"),
    "log-file": join(options.folder, "rotel.log"),
    "batch-max-size": String(options.batching.rows),
    "batch-timeout": `${options.batching.ms}ms`,
    exporter: "clickhouse",
    "clickhouse-exporter-endpoint": login.url,
    "clickhouse-exporter-user": login.user,
    "clickhouse-exporter-password": login.password,
    "clickhouse-exporter-database": options.database,
    "clickhouse-exporter-table-prefix": "otel",
    "clickhouse-exporter-compression": options.compress,
    "clickhouse-exporter-async-insert": "false",
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  return await startPeer(options.program, ["start", ...flags], options.port);
}
