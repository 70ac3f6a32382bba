/** Runs the Collector between OTLP/HTTP and a ClickHouse over HTTP. */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { splitLogin } from "../../dev/clickhouse/login.ts";
import type { Batching } from "./batching.ts";
import { type PeerProcess, startPeer } from "./processes.ts";

export interface CollectorOptions {
  readonly binary: string;
  /** Holds its configuration, and its queue where that is on disk. */
  readonly folder: string;
  readonly port: number;
  readonly clickhouseUrl: string;
  readonly database: string;
  readonly table: string;
  /** Whether the exporter makes the tables, in its own form. */
  readonly createSchema: boolean;
  readonly compress: "none" | "lz4" | "zstd";
  /** Settings of every statement, beside the exporter's own. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Where there is a queue. */
  readonly batching: Batching;
  /**
   * `none`: a request is answered when its rows are stored. `memory`: the exporter's defaults, and batches as
   * `batching` says. `disk`: the same with the queue in a file.
   */
  readonly queue: "none" | "memory" | "disk";
}

export async function startCollector(options: CollectorOptions): Promise<PeerProcess> {
  const { folder, port, queue } = options;
  const login = splitLogin(options.clickhouseUrl);
  const queueFolder = join(folder, "queue");
  mkdirSync(queueFolder, { recursive: true });
  // JSON is YAML.
  const configuration = {
    extensions: queue === "disk" ? { file_storage: { directory: queueFolder, fsync: true } } : {},
    receivers: {
      otlp: { protocols: { http: { endpoint: `127.0.0.1:${port}`, max_request_body_size: 67_108_864 } } },
    },
    exporters: {
      clickhouse: {
        endpoint: login.url,
        username: login.user,
        password: login.password,
        database: options.database,
        traces_table_name: options.table,
        create_schema: options.createSchema,
        async_insert: false,
        compress: options.compress,
        connection_params: options.settings ?? {},
        timeout: "60s",
        retry_on_failure: { enabled: queue !== "none" },
        sending_queue:
          queue === "none"
            ? { enabled: false }
            : {
                enabled: true,
                // Rather full than lossy: a sender waits, as Headrace's does.
                block_on_overflow: true,
                ...(queue === "disk" ? { storage: "file_storage" } : {}),
                sizer: "items",
                queue_size: 200_000,
                batch: {
                  flush_timeout: `${options.batching.ms}ms`,
                  min_size: options.batching.rows,
                  max_size: options.batching.rows,
                  sizer: "items",
                },
              },
      },
    },
    service: {
      extensions: queue === "disk" ? ["file_storage"] : [],
      telemetry: { metrics: { level: "none" }, logs: { level: "warn" } },
      pipelines: { traces: { receivers: ["otlp"], exporters: ["clickhouse"] } },
    },
  };
  const file = join(folder, "collector.json");
  writeFileSync(file, JSON.stringify(configuration));
  return await startPeer(options.binary, ["--config", `file:${file}`], port);
}
