/** What a file of end-to-end tests runs against: started before its first test, stopped after its last, nothing left behind. */
import { afterAll, beforeAll } from "vitest";
import {
  type ClickHouse,
  type ClickHouseOptions,
  startClickHouse,
} from "../../dev/clickhouse/start-clickhouse.ts";
import type { PipelineOptions } from "../../dev/pipeline.ts";
import type { DevSettings } from "../../dev/settings.ts";
import { devSettings, type LocalPipeline, startLocalPipeline, temporaryFolder } from "./local-pipeline.ts";

/** A start takes four seconds, and many times that on a busy machine. */
const startMs = 90_000;
const stopMs = 30_000;

export interface UsedPipeline extends LocalPipeline {
  /** The folder of its state, for what has to know it (the CLI) or harms it. */
  readonly folder: string;
  /** Starts it again where it was, after `stop`. */
  start(): Promise<void>;
}

/**
 * A pipeline for the tests of a file, from the first of them to the last: hooks that are registered behind it find it running. It
 * stops before what was registered ahead of it does, and its `settings` may name that.
 */
export function useLocalPipeline(
  options: Partial<PipelineOptions> = {},
  settings: () => Partial<DevSettings> = () => ({}),
): UsedPipeline {
  const folder = temporaryFolder();
  let local: LocalPipeline | undefined;
  const running = (): LocalPipeline => {
    if (local === undefined) {
      throw new Error("the pipeline runs from the first test to the last");
    }
    return local;
  };
  const start = async () => {
    local = await startLocalPipeline(devSettings(folder.path, settings()), options);
  };
  beforeAll(start, startMs);
  afterAll(async () => {
    await local?.stop();
    folder.remove();
  }, stopMs);
  return {
    folder: folder.path,
    get pipeline() {
      return running().pipeline;
    },
    get logs() {
      return running().logs;
    },
    query: (sql) => running().query(sql),
    eventually: (...asked) => running().eventually(...asked),
    start,
    stop: () => running().stop(),
  };
}

export interface UsedClickHouse {
  /** With the login; the same after a restart. */
  readonly url: string;
  readonly pid: number;
  /** SIGKILL. Resolves when the process is gone. */
  kill(): Promise<void>;
  /** Ends it cleanly, unless it is dead, and starts it again: where it was, with its data. */
  restart(changed?: Pick<ClickHouseOptions, "timezone">): Promise<void>;
}

/** A ClickHouse beside the pipeline, for the tests of a file that stop it, kill it or stand before it. */
export function useClickHouse(): UsedClickHouse {
  const folder = temporaryFolder();
  let server: ClickHouse | undefined;
  const running = (): ClickHouse => {
    if (server === undefined) {
      throw new Error("ClickHouse runs from the first test to the last");
    }
    return server;
  };
  beforeAll(async () => {
    server = await startClickHouse({ directory: folder.path });
  }, startMs);
  afterAll(async () => {
    await server?.stop();
    folder.remove();
  }, stopMs);
  return {
    get url() {
      return running().url;
    },
    get pid() {
      return running().pid;
    },
    async kill() {
      running().kill();
      await running().exited;
    },
    async restart(changed = {}) {
      const { port, password } = running();
      await running().stop();
      server = await startClickHouse({ directory: folder.path, port, password, ...changed });
    },
  };
}
