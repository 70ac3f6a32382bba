/** `npm run dev` as a process of its own, for tests of how it starts, ends and goes on. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import type { TestContext } from "vitest";
import { type DevFile, devFileSchema } from "../../dev/state-folder.ts";
import { temporaryFolder } from "./local-pipeline.ts";

const root = join(import.meta.dirname, "..", "..");

export interface DevProcess {
  readonly child: ChildProcess;
  /** Everything printed so far. */
  output(): string;
  /** Resolves with the exit code, or the signal's name. */
  readonly ended: Promise<number | string>;
  /** To its process group, as a terminal's Ctrl-C; SIGKILL also to ClickHouse, which has a group of its own. */
  signalAll(signal: NodeJS.Signals): void;
  /** ClickHouse's process ids, as of the last signal and now. */
  servers(): readonly number[];
}

/** A test, which what is started for it ends with. (Of tests that run side by side each has an `expect` of its own.) */
export type Owner = Pick<TestContext, "onTestFinished" | "expect">;

/** A new folder for the state of a pipeline. */
export function stateFolder({ onTestFinished }: Owner): string {
  const folder = temporaryFolder();
  onTestFinished(folder.remove);
  return folder.path;
}

/**
 * Runs what `npm run dev` runs, another script, or a whole `command` in a shell, in a process group of its own, which ends
 * with the test. What it prints is read unless `isRead` is false: then it waits in a pipe, as before a pager that is
 * not scrolled.
 */
export function runDev(
  owner: Owner,
  environment: Record<string, string>,
  { isRead = true, script = "dev/main.ts", command = "" } = {},
): DevProcess {
  const [program, args] = command === "" ? [process.execPath, [script]] : ["sh", ["-c", command]];
  const child = spawn(program, args, {
    cwd: root,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...process.env,
      HEADRACE_PORT: "0",
      HEADRACE_CONSOLE_PORT: "0",
      HEADRACE_CLICKHOUSE_PORT: "0",
      HEADRACE_GRPC_PORT: "0",
      HEADRACE_LEDGER_TIMES_FASTER: "30",
      ...environment,
    },
  });
  let output = "";
  for (const stream of isRead ? [child.stdout, child.stderr] : []) {
    stream?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const servers = new Set<number>();
  const seeServers = () => {
    for (const pid of leadersUnder(child.pid ?? 0)) {
      servers.add(pid);
    }
    return [...servers];
  };
  const signalAll = (signal: NodeJS.Signals) => {
    const targets = [-(child.pid ?? 0), ...(signal === "SIGKILL" ? seeServers() : [])];
    seeServers();
    for (const target of targets) {
      try {
        process.kill(target, signal);
      } catch {
        // it has ended
      }
    }
  };
  owner.onTestFinished(() => signalAll("SIGKILL"));
  // What is read has been read to its end, its last words included.
  const ended = new Promise<number | string>((resolve) =>
    child.once(isRead ? "close" : "exit", (code, signal) => resolve(signal ?? code ?? -1)),
  );
  return { child, output: () => output, ended, signalAll, servers: seeServers };
}

/** The processes under a process, at whatever depth (npm and its shells stand between), that lead a group of their own. */
function leadersUnder(ancestor: number): number[] {
  const listing = execFileSync("ps", ["-A", "-o", "pid=,ppid=,pgid="], { encoding: "utf8" });
  const processes = listing.split("\n").map((line) => line.trim().split(/\s+/).map(Number));
  const under = (parent: number): number[] =>
    processes.flatMap(([pid = 0, ppid, group]) =>
      ppid === parent && pid !== parent ? [...(group === pid ? [pid] : []), ...under(pid)] : [],
    );
  return ancestor === 0 ? [] : under(ancestor);
}

export async function running({ expect }: Owner, dev: DevProcess, stateFolder: string): Promise<DevFile> {
  await Promise.race([
    expect.poll(dev.output, { timeout: 60_000, interval: 50 }).toContain("Headrace is running"),
    dev.ended.then((code) => {
      throw new Error(`it ended with ${code}:\n${dev.output()}`);
    }),
  ]);
  return readDevFile(stateFolder);
}

export function readDevFile(stateFolder: string): DevFile {
  return v.parse(devFileSchema, JSON.parse(readFileSync(join(stateFolder, "dev.json"), "utf8")));
}

/** Its group, and ClickHouse. */
export function isGroupGone(dev: DevProcess): boolean {
  return [-(dev.child.pid ?? 0), ...dev.servers()].every((target) => {
    try {
      process.kill(target, 0);
      return false;
    } catch {
      return true;
    }
  });
}
