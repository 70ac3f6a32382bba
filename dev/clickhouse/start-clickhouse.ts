/**
 * Starts ClickHouse's own HTTP server, out of the library that npm `chdb` installs, in a child process. It promises
 * that the child ends with this process, however this process ends, that it answers on loopback to one user with a
 * password, and that what cannot start says why and what to do. The schema is left to others.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { nodeWithTypes } from "../node-with-types.ts";
import { keepNoConnection } from "./login.ts";
import type { ServerUser } from "./more-users.ts";
import { writeServerConfig } from "./server-config.ts";

export interface ClickHouseOptions {
  /** The data directory; made when missing. One process at a time. */
  readonly directory: string;
  /** 0 or nothing: a free one. */
  readonly port?: number;
  /** The password of the user `headrace`; nothing: a new one. */
  readonly password?: string;
  /** UTC, unless a test wants a server that is elsewhere. */
  readonly timezone?: string;
  /** For tests of rights. */
  readonly moreUsers?: readonly ServerUser[];
  /** What the server's process writes, by the line. */
  readonly onLog?: (line: string) => void;
}

interface ClickHouseExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ClickHouse {
  /** With the login and without a slash at the end: `http://headrace:secret@127.0.0.1:8123`. */
  readonly url: string;
  readonly port: number;
  readonly password: string;
  readonly pid: number;
  /** Ends it cleanly; resolves when the process is gone. */
  stop(): Promise<void>;
  /** SIGKILL: the death of a server, for tests. */
  kill(): void;
  /** Resolves when the process has ended, for whatever reason. */
  readonly exited: Promise<ClickHouseExit>;
}

type StartFailure = "port_taken" | "directory_locked" | "directory_unreadable" | "library_missing" | "other";

/** Why the server could not start. `message` says what to do. */
export class ClickHouseStartError extends Error {
  override readonly name = "ClickHouseStartError";
  readonly reason: StartFailure;

  constructor(reason: StartFailure, message: string) {
    super(message);
    this.reason = reason;
  }
}

const localUser = "headrace";
const host = "127.0.0.1";
/** A start takes about a second; on a busy machine ten. */
const startMs = 60_000;
const stopMs = 10_000;
const pingEveryMs = 20;
/** Lines of the server's process that are kept for the message of a start that failed. */
const lastLinesMax = 20;
/** How much of ClickHouse's exception a message repeats. */
const causeCharsMax = 200;
/** A free port may be taken between its choice and its use. */
const freePortTries = 3;

/** Starts the server and waits until it answers. Rejects with `ClickHouseStartError`. */
export async function startClickHouse(options: ClickHouseOptions): Promise<ClickHouse> {
  for (let tries = 1; ; tries++) {
    try {
      return await startOnce(options, await claimPort(options.port ?? 0));
    } catch (error) {
      const isRace = error instanceof ClickHouseStartError && error.reason === "port_taken";
      if (!isRace || (options.port ?? 0) !== 0 || tries >= freePortTries) {
        throw error;
      }
    }
  }
}

async function startOnce(options: ClickHouseOptions, port: number): Promise<ClickHouse> {
  const directory = resolve(options.directory);
  const password = options.password ?? randomBytes(24).toString("base64url");
  const timezone = options.timezone ?? "UTC"; // partitions are days of the server's zone, and rows are counted in UTC
  const library = libraryPath();
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const config = writeServerConfig({
    directory,
    host,
    port,
    timezone,
    user: localUser,
    password,
    moreUsers: options.moreUsers ?? [],
  });
  const child = spawn(
    nodeWithTypes(),
    ["--no-warnings", join(import.meta.dirname, "server-process.ts"), library, config.path, directory],
    {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...serverEnvironment(), TZ: timezone },
      // A group of its own: a terminal's Ctrl-C would reach clickhouse-local, which ends at the second one, while this
      // process still needs it to finish. It is not left behind: the pipe of its standard input ends it.
      detached: true,
    },
  );
  const { lastLines, drained } = readLines(child, options.onLog);
  const exited = new Promise<ClickHouseExit>((settle) => {
    child.once("exit", (code, signal) => settle({ code, signal }));
    child.once("error", () => settle({ code: null, signal: null }));
  });
  try {
    const failure = await untilItAnswers(port, password, exited);
    if (failure !== undefined) {
      child.kill("SIGKILL");
      await exited;
      await drained;
      throw startError(failure, lastLines, directory, port);
    }
  } finally {
    config.remove();
  }
  const { pid } = child;
  if (pid === undefined) {
    throw new ClickHouseStartError("other", "the server's process has no id");
  }
  return {
    url: `http://${localUser}:${encodeURIComponent(password)}@${host}:${port}`,
    port,
    password,
    pid,
    async stop() {
      child.stdin.end();
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

/** How memory is held, and where libraries are: the rest, which may hold secrets, is not ClickHouse's. */
function serverEnvironment(): NodeJS.ProcessEnv {
  const passed = Object.entries(process.env).filter(([name]) => /^(PATH|LD_|DYLD_|MALLOC_)/.test(name));
  return Object.fromEntries(passed);
}

function readLines(child: ChildProcess, onLog: ClickHouseOptions["onLog"]) {
  const lastLines: string[] = [];
  child.stdin?.on("error", () => undefined); // EPIPE: it has ended, which `exited` says
  const closings = [child.stdout, child.stderr].map(async (stream) => {
    if (stream !== null) {
      const lines = createInterface({ input: stream });
      lines.on("line", (line) => {
        lastLines.push(line);
        lastLines.splice(0, lastLines.length - lastLinesMax);
        onLog?.(line);
      });
      await once(lines, "close");
    }
  });
  return { lastLines, drained: Promise.all(closings) };
}

/**
 * Resolves with nothing when the server answers, else with why it did not. It is asked with its password: another server, which has
 * taken the port since it was looked at, answers a /ping as well.
 */
async function untilItAnswers(
  port: number,
  password: string,
  exited: Promise<ClickHouseExit>,
): Promise<string | undefined> {
  let ended: string | undefined;
  exited.then(({ code, signal }) => {
    ended = `its process ended with ${signal ?? `code ${code}`}.`;
  });
  const deadline = performance.now() + startMs;
  while (performance.now() < deadline) {
    if (ended !== undefined) {
      return ended;
    }
    try {
      const response = await fetch(`http://${host}:${port}/?query=SELECT%201`, {
        headers: { ...keepNoConnection, "X-ClickHouse-User": localUser, "X-ClickHouse-Key": password },
        signal: AbortSignal.timeout(startMs),
      });
      if ((await response.text()) === "1\n" && ended === undefined) {
        return undefined;
      }
    } catch {
      // Nothing listens there yet.
    }
    await new Promise((wake) => setTimeout(wake, pingEveryMs));
  }
  return `it did not answer within ${startMs / 1000} s.`;
}

function startError(
  failure: string,
  lastLines: readonly string[],
  directory: string,
  port: number,
): ClickHouseStartError {
  const output = lastLines.join("\n");
  if (/Cannot lock file|Another server instance in same directory/.test(output)) {
    return new ClickHouseStartError(
      "directory_locked",
      `ClickHouse's data directory ${directory} is in use by another process. ` +
        "Stop that one (another `npm run dev` or `npm run clickhouse`?), or set HEADRACE_STATE to another folder.",
    );
  }
  if (/Address already in use/.test(output)) {
    return portTaken(port);
  }
  const unreadable = output.search(/Cannot (attach table|parse definition)/);
  if (unreadable >= 0) {
    const [cause = ""] = output.slice(0, unreadable).split("Exception: ").at(-1)?.split("\n") ?? [];
    return new ClickHouseStartError(
      "directory_unreadable",
      `ClickHouse's data directory ${directory} cannot be read: another version wrote it, or it is damaged ` +
        `(${cause.replace(/:? *$/, "").slice(0, causeCharsMax)}). ` +
        "Move it away, or set HEADRACE_STATE to another folder.",
    );
  }
  return new ClickHouseStartError(
    "other",
    `The local ClickHouse server could not start: ${failure} ${output}`,
  );
}

function portTaken(port: number): ClickHouseStartError {
  return new ClickHouseStartError(
    "port_taken",
    `Port ${port} on ${host}, where ClickHouse should answer, is taken. ` +
      "Stop what uses it, or set HEADRACE_CLICKHOUSE_PORT to another port.",
  );
}

/** Looks before ClickHouse does: another server's /ping would pass for ours. */
async function claimPort(port: number): Promise<number> {
  return await new Promise<number>((claim, reject) => {
    const server = createServer();
    server.once("error", () => reject(portTaken(port)));
    server.listen(port, host, () => {
      const address = server.address();
      const got = typeof address === "object" && address !== null ? address.port : port;
      server.close(() => claim(got));
    });
  });
}

const platformPackages: Readonly<Record<string, string>> = {
  "linux-x64": "@chdb/lib-linux-x64-gnu",
  "linux-arm64": "@chdb/lib-linux-arm64-gnu",
  "darwin-x64": "@chdb/lib-darwin-x64",
  "darwin-arm64": "@chdb/lib-darwin-arm64",
};

/** Where `npm install` put ClickHouse. Throws `ClickHouseStartError`. */
export function libraryPath(): string {
  const platform = `${process.platform}-${process.arch}`;
  const name = platformPackages[platform];
  if (name === undefined) {
    throw new ClickHouseStartError(
      "library_missing",
      `There is no ClickHouse library for ${platform}: only for ${Object.keys(platformPackages).join(", ")}. ` +
        "Set CLICKHOUSE_URL to a server of yours.",
    );
  }
  const require = createRequire(import.meta.url);
  try {
    // The library is a dependency of chdb, and only by chance beside it.
    const fromChdb = createRequire(require.resolve("chdb/package.json"));
    return join(dirname(fromChdb.resolve(`${name}/package.json`)), "libchdb.so");
  } catch {
    throw new ClickHouseStartError(
      "library_missing",
      `ClickHouse's library (npm package ${name}) is not installed: run \`npm install\`, ` +
        "and on Linux use one with glibc. Or set CLICKHOUSE_URL to a server of yours.",
    );
  }
}

const restartFirstMs = 100;
const restartLastMs = 5_000;

export interface SupervisedClickHouse {
  /** As of `ClickHouse`: with the login. */
  readonly url: string;
  readonly port: number;
  /** The process that runs now; it changes with each restart. */
  pid(): number;
  stop(): Promise<void>;
  /** SIGKILL to the process that runs now; it is started again. */
  kill(): void;
}

/**
 * Starts the server and keeps it running: a process that dies is replaced at the same port with the same directory,
 * after 0.1 s, then twice as long each time up to 5 s. Rejects only when the first start fails; later failures are
 * reported through `onLog` and retried.
 */
export async function superviseClickHouse(options: ClickHouseOptions): Promise<SupervisedClickHouse> {
  const log = options.onLog ?? (() => undefined);
  let current = await startClickHouse(options);
  const { url, port, password } = current;
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
          current = await startClickHouse({ ...options, port, password });
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
