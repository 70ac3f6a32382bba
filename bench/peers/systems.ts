/** The systems that are compared, and how each is started before an engine. */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { claimPort } from "../../dev/free-port.ts";
import { devFileSchema } from "../../dev/state-folder.ts";
import { type Batching, codeBatching, wholeBatching } from "./batching.ts";
import { buildCollector, PeerUnavailable } from "./build-collector.ts";
import { installRotel } from "./install-rotel.ts";
import type { Target } from "./load.ts";
import { type PeerProcess, startPeer } from "./processes.ts";
import { startCollector } from "./run-collector.ts";
import { startOwnWorker } from "./run-own-worker.ts";
import { startRotel } from "./run-rotel.ts";

export interface RunningSystem {
  readonly target: Target;
  readonly process: PeerProcess;
}

export interface System {
  readonly name: string;
  /** False: it answers and stores nothing. */
  readonly stores: boolean;
  /** Starts it anew with what its folder holds from before. */
  start(clickhouseUrl: string): Promise<RunningSystem>;
}

const database = "default";
/** What Headrace sends, and an operator can make the exporter send: no skip indexes before the first merge. */
const tuned = { materialize_skip_indexes_on_insert: "0" };

function withPort(
  name: string,
  start: (port: number, clickhouseUrl: string) => Promise<PeerProcess>,
  stores = true,
): System {
  let port = 0;
  return {
    name,
    stores,
    async start(clickhouseUrl) {
      port = await claimPort(port, "");
      return { target: { url: `http://127.0.0.1:${port}` }, process: await start(port, clickhouseUrl) };
    },
  };
}

function collector(
  binary: string,
  folder: string,
  compress: "none" | "lz4",
  queue: "memory" | "disk",
  batching: Batching,
  settings: Readonly<Record<string, string>> = {},
): System {
  const tuned = Object.keys(settings).length > 0 ? ", tuned" : "";
  const name = `Collector, ${compress}${queue === "disk" ? ", queue on disk" : ""}${tuned}`;
  const own = join(folder, `collector-${compress}-${queue}-${batching.rows}${tuned === "" ? "" : "-tuned"}`);
  mkdirSync(own, { recursive: true });
  return withPort(name, (port, clickhouseUrl) =>
    startCollector({
      binary,
      folder: own,
      port,
      clickhouseUrl,
      database,
      table: "otel_traces",
      createSchema: false,
      compress,
      settings,
      batching,
      queue,
    }),
  );
}

function rotel(program: string, folder: string, compress: "none" | "lz4", batching: Batching): System {
  const own = join(folder, `rotel-${compress}-${batching.rows}`);
  mkdirSync(own, { recursive: true });
  return withPort(`Rotel, ${compress}`, (port, clickhouseUrl) =>
    startRotel({ program, folder: own, port, clickhouseUrl, database, compress, batching }),
  );
}

/** Our code without the platform, in both runtimes; and what of it is the runtimes' HTTP, with nothing behind it. */
function ownCode(folder: string): readonly System[] {
  const worker = (name: string, stores: boolean): System => {
    const own = join(folder, stores ? "own-code" : "http-alone");
    mkdirSync(own, { recursive: true });
    return withPort(name, (port, url) => startOwnWorker(own, port, stores ? url : ""), stores);
  };
  const program = join(import.meta.dirname, "own-server.ts");
  const server = (name: string, stores: boolean): System =>
    withPort(
      name,
      (port, url) =>
        startPeer(process.execPath, ["--no-warnings", program, String(port), ...(stores ? [url] : [])], port),
      stores,
    );
  return [
    worker("Headrace's code, workerd", true),
    server("Headrace's code, Node", true),
    worker("HTTP alone, workerd", false),
    server("HTTP alone, Node", false),
  ];
}

/** `npm run dev`, with the simulators of R2, queues, KV and Durable Objects. */
/** `checkout`: whose code it is. */
export function ownPipeline(folder: string, checkout = join(import.meta.dirname, "../..")): System {
  const state = join(folder, "headrace");
  return {
    name: "Headrace, npm run dev",
    stores: true,
    async start(clickhouseUrl) {
      const port = await claimPort(0, "");
      const env = {
        ...process.env,
        HEADRACE_STATE: state,
        HEADRACE_PORT: String(port),
        HEADRACE_CONSOLE_PORT: String(await claimPort(0, "")),
        CLICKHOUSE_URL: clickhouseUrl,
      };
      const main = join(checkout, "dev/main.ts");
      const running = await startPeer(
        process.execPath,
        ["--no-warnings", main],
        port,
        env,
        "Headrace is running",
      );
      const { otlp, key } = v.parse(devFileSchema, JSON.parse(readFileSync(join(state, "dev.json"), "utf8")));
      return { target: { url: otlp, key }, process: running };
    },
  };
}

/** What runs on this machine, and why the others do not. */
export interface Systems {
  readonly code: readonly System[];
  readonly whole: readonly System[];
  readonly skipped: readonly string[];
}

export function findSystems(folder: string): Systems {
  const skipped: string[] = [];
  const attempt = (name: string, make: () => readonly [code: System[], whole: System[]]) => {
    try {
      return make();
    } catch (error) {
      if (!(error instanceof PeerUnavailable)) {
        throw error;
      }
      skipped.push(`${name}: ${error.message}`);
      return [[], []] as const;
    }
  };
  const [collectorCode, collectorWhole] = attempt("Collector", () => {
    const binary = buildCollector();
    return [
      [
        collector(binary, folder, "lz4", "memory", codeBatching),
        collector(binary, folder, "none", "memory", codeBatching),
        collector(binary, folder, "lz4", "memory", codeBatching, tuned),
      ],
      [
        collector(binary, folder, "none", "memory", wholeBatching),
        collector(binary, folder, "none", "disk", wholeBatching),
      ],
    ];
  });
  const [rotelCode, rotelWhole] = attempt("Rotel", () => {
    const program = installRotel();
    return [
      [rotel(program, folder, "lz4", codeBatching), rotel(program, folder, "none", codeBatching)],
      [rotel(program, folder, "none", wholeBatching)],
    ];
  });
  return {
    code: [...ownCode(folder), ...collectorCode, ...rotelCode],
    whole: [ownPipeline(folder), ...collectorWhole, ...rotelWhole],
    skipped,
  };
}
