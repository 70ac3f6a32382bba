/**
 * Starts a real ClickHouse engine (chdb) in a child process behind ClickHouse's HTTP interface. It promises that the
 * child ends with this process, however this process ends, and that what cannot start says why and what to do. The
 * schema is left to others.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import * as v from "valibot";
import { threadPoolSize } from "./connections.ts";
import { type ChildMessage, type ChildOptions, childMessageSchema } from "./process-messages.ts";

export interface ClickHouseOptions {
  /** The data directory; made when missing. One process at a time. */
  readonly directory: string;
  /** 0 or nothing: a free one. */
  readonly port?: number;
  readonly host?: string;
  /** The password of the user `default`; nothing: any is accepted. */
  readonly password?: string;
  /** UTC, unless a test wants a server that is elsewhere. */
  readonly timezone?: string;
  /** What the engine's process writes, by the line. */
  readonly onLog?: (line: string) => void;
}

export interface ClickHouseExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ClickHouse {
  /** `http://127.0.0.1:8123`, without a slash at the end. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Ends it cleanly (SIGTERM); resolves when the process is gone. */
  stop(): Promise<void>;
  /** SIGKILL: the death of a server, for tests. */
  kill(): void;
  /** Resolves when the process has ended, for whatever reason. */
  readonly exited: Promise<ClickHouseExit>;
}

/** Why the engine could not start. `message` says what to do. */
export class ClickHouseStartError extends Error {
  override readonly name = "ClickHouseStartError";
  readonly reason: "port_taken" | "directory_locked" | "other";

  constructor(reason: "port_taken" | "directory_locked" | "other", message: string) {
    super(message);
    this.reason = reason;
  }
}

/** A start takes about a second; on a busy machine ten. */
const startMs = 60_000;
const stopMs = 10_000;
/** Lines of the engine's process that are kept for the message of a start that failed. */
const lastLinesMax = 20;

/** Starts the engine and waits until it answers. Rejects with `ClickHouseStartError`. */
export async function startClickHouse(options: ClickHouseOptions): Promise<ClickHouse> {
  const childOptions: ChildOptions = {
    directory: options.directory,
    host: options.host ?? "127.0.0.1",
    port: options.port ?? 0,
    password: options.password ?? "",
  };
  const child = spawn(
    nodeWithTypes(),
    ["--no-warnings", join(import.meta.dirname, "engine-process.ts"), JSON.stringify(childOptions)],
    {
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      // Partitions are days of the server's time zone, and rows are counted by days in UTC.
      env: { ...process.env, UV_THREADPOOL_SIZE: String(threadPoolSize), TZ: options.timezone ?? "UTC" },
    },
  );
  const lastLines: string[] = [];
  const closings = [child.stdout, child.stderr].map(async (stream) => {
    if (stream !== null) {
      const lines = createInterface({ input: stream });
      lines.on("line", (line) => {
        lastLines.push(line);
        lastLines.splice(0, lastLines.length - lastLinesMax);
        options.onLog?.(line);
      });
      await once(lines, "close");
    }
  });
  const drained = Promise.all(closings);
  const exited = new Promise<ClickHouseExit>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
    child.once("error", () => resolve({ code: null, signal: null }));
  });
  const message = await firstMessage(child, exited, lastLines);
  if (message.type === "failed") {
    await exited;
    await drained;
    // chdb says why on its standard error only: what it throws is the same for a locked and for an unusable directory.
    const isLocked = lastLines.some((line) => line.includes("Cannot lock file"));
    throw startError(isLocked ? "directory_locked" : message.reason, message.text, childOptions);
  }
  exited.then(() => rmSync(message.bodiesDirectory, { recursive: true, force: true }));
  const { pid } = child;
  if (pid === undefined) {
    throw new ClickHouseStartError("other", "the engine's process has no id");
  }
  return {
    url: `http://${childOptions.host.includes(":") ? `[${childOptions.host}]` : childOptions.host}:${message.port}`,
    port: message.port,
    pid,
    async stop() {
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), stopMs);
      await exited;
      clearTimeout(late);
    },
    kill() {
      child.kill("SIGKILL");
    },
    exited,
  };
}

async function firstMessage(
  child: ChildProcess,
  exited: Promise<ClickHouseExit>,
  lastLines: readonly string[],
): Promise<ChildMessage> {
  let timer: NodeJS.Timeout | undefined;
  try {
    return await Promise.race([
      new Promise<ChildMessage>((resolve) => {
        child.once("message", (message) => resolve(v.parse(childMessageSchema, message)));
      }),
      exited.then(({ code, signal }): ChildMessage => {
        const text = `its process ended with ${signal ?? `code ${code}`}. ${lastLines.join(" ")}`;
        return { type: "failed", reason: "other", text };
      }),
      new Promise<ChildMessage>((resolve) => {
        timer = setTimeout(() => {
          child.kill("SIGKILL");
          resolve({ type: "failed", reason: "other", text: `it did not answer within ${startMs / 1000} s` });
        }, startMs);
      }),
    ]);
  } finally {
    clearTimeout(timer);
  }
}

function startError(
  reason: ClickHouseStartError["reason"],
  text: string,
  options: ChildOptions,
): ClickHouseStartError {
  switch (reason) {
    case "port_taken":
      return new ClickHouseStartError(
        reason,
        `Port ${options.port} on ${options.host}, where ClickHouse should answer, is taken. ` +
          "Stop what uses it, or set HEADRACE_CLICKHOUSE_PORT to another port.",
      );
    case "directory_locked":
      return new ClickHouseStartError(
        reason,
        `ClickHouse's data directory ${options.directory} is in use by another process. ` +
          "Stop that one (another `npm run dev` or `npm run clickhouse`?), or set HEADRACE_STATE to another folder.",
      );
    case "other":
      return new ClickHouseStartError(reason, `The embedded ClickHouse engine could not start: ${text}`);
  }
}

/** A Node that runs TypeScript as it stands: this one, or the one that package.json brings along. */
function nodeWithTypes(): string {
  if (process.features.typescript !== false) {
    return process.execPath;
  }
  return join(dirname(createRequire(import.meta.url).resolve("node/package.json")), "bin", "node");
}

const restartFirstMs = 100;
const restartLastMs = 5_000;

export interface SupervisedClickHouse {
  readonly url: string;
  readonly port: number;
  /** The process that runs now; it changes with each restart. */
  pid(): number;
  stop(): Promise<void>;
  /** SIGKILL to the process that runs now; it is started again. */
  kill(): void;
}

/**
 * Starts the engine and keeps it running: a process that dies is replaced at the same port with the same directory,
 * after 0.1 s, then twice as long each time up to 5 s. Rejects only when the first start fails; later failures are
 * told through `onLog` and tried again.
 */
export async function superviseClickHouse(options: ClickHouseOptions): Promise<SupervisedClickHouse> {
  const log = options.onLog ?? (() => undefined);
  let current = await startClickHouse(options);
  const { url, port } = current;
  let stopped = false;
  let wake: (() => void) | undefined;

  async function watch(): Promise<void> {
    let delayMs = restartFirstMs;
    let startedAt = performance.now();
    while (true) {
      const { code, signal } = await current.exited;
      if (stopped) {
        return;
      }
      if (performance.now() - startedAt > 2 * restartLastMs) {
        delayMs = restartFirstMs;
      }
      log(`ClickHouse's process ended (${signal ?? `code ${code}`}); starting it again`);
      while (true) {
        await new Promise<void>((resolve) => {
          wake = resolve;
          setTimeout(resolve, delayMs);
        });
        if (stopped) {
          return;
        }
        delayMs = Math.min(2 * delayMs, restartLastMs);
        try {
          startedAt = performance.now();
          current = await startClickHouse({ ...options, port });
          break;
        } catch (error) {
          log(error instanceof Error ? error.message : String(error));
        }
      }
      if (stopped) {
        await current.stop();
        return;
      }
    }
  }

  const watched = watch();
  return {
    url,
    port,
    pid: () => current.pid,
    async stop() {
      stopped = true;
      wake?.();
      await current.stop();
      await watched;
    },
    kill: () => current.kill(),
  };
}
