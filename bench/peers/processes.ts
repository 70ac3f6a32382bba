/** Starts a peer's process, waits until it listens, and ends it by its id. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";

const startMs = 120_000;
const pollMs = 50;
const logLinesMax = 400;

export interface PeerProcess {
  readonly pid: number;
  /** The last lines that it wrote. */
  log(): string;
  /** SIGTERM, and SIGKILL when it does not end within 20 s. */
  stop(): Promise<void>;
  kill(): Promise<void>;
}

/**
 * Runs a program that will listen on `port` of 127.0.0.1, and write `ready` where that is given. Throws with its output
 * when it ends before.
 */
export async function startPeer(
  command: string,
  args: readonly string[],
  port: number,
  env: NodeJS.ProcessEnv = process.env,
  ready = "",
): Promise<PeerProcess> {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env });
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      lines.push(...text.split("\n").filter((line) => line !== ""));
      lines.splice(0, Math.max(0, lines.length - logLinesMax));
    });
  }
  const exited = once(child, "exit");
  // A comparison that is cut off leaves nothing running.
  const cutOff = (): void => void child.kill("SIGKILL");
  process.once("exit", cutOff);
  child.once("exit", () => process.off("exit", cutOff));
  const log = (): string => lines.join("\n");
  const deadline = performance.now() + startMs;
  while (!(log().includes(ready) && (await listens(port)))) {
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`${command} ended while starting:\n${log()}`);
    }
    if (performance.now() > deadline) {
      child.kill("SIGKILL");
      throw new Error(`${command} did not listen on ${port} within ${startMs / 1000} s:\n${log()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  return {
    pid: child.pid ?? 0,
    log,
    stop: () => end(child, exited, "SIGTERM"),
    kill: () => end(child, exited, "SIGKILL"),
  };
}

async function end(child: ChildProcess, exited: Promise<unknown>, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) {
    return;
  }
  child.kill(signal);
  const late = setTimeout(() => child.kill("SIGKILL"), 20_000);
  await exited;
  clearTimeout(late);
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
