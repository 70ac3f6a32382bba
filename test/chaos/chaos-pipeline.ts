/** Starts and kills the pipeline's process group (pipeline-process.ts) for a chaos run. */
import { type ChildProcess, spawn } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import process from "node:process";
import type { DevSettings } from "../../dev/settings.ts";
import type { Fault } from "./faults.ts";

export interface Addresses {
  readonly otlp: string;
  readonly key: string;
  /** A key of another tenant, whose share of kept traces changes. */
  readonly sampledKey: string;
  readonly console: string;
  readonly adminToken: string;
}

export type PipelineMessage =
  | ({ readonly kind: "ready" } & Omit<Addresses, "sampledKey">)
  | { readonly kind: "fault"; readonly fault: Fault };

export interface ChaosPipeline {
  readonly addresses: Omit<Addresses, "sampledKey">;
  /** From now on no payload is notified twice. */
  calm(): void;
  /** SIGKILL to every process of it. */
  kill(): Promise<void>;
}

export interface ChaosPipelineOptions {
  readonly settings: DevSettings;
  readonly seed: number;
  readonly cronMs: number;
  readonly onFault: (fault: Fault) => void;
  readonly onLog: (line: string) => void;
}

/** Rejects when it does not start; then nothing is left running. */
export async function startChaosPipeline(options: ChaosPipelineOptions): Promise<ChaosPipeline> {
  const { settings, seed, cronMs, onFault, onLog } = options;
  const child = spawn(
    nodeWithTypes(),
    [
      "--no-warnings",
      join(import.meta.dirname, "pipeline-process.ts"),
      JSON.stringify({ settings, seed, cronMs }),
    ],
    { detached: true, stdio: ["ignore", "ignore", "pipe", "ipc"] },
  );
  child.stderr?.on("data", (chunk: Buffer) => {
    for (const line of chunk.toString().split("\n")) {
      if (line !== "") {
        onLog(line);
      }
    }
  });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  try {
    const addresses = await ready(child, ended, onFault);
    return {
      addresses,
      calm: () => {
        child.send("calm");
      },
      async kill() {
        killGroup(child);
        await ended;
      },
    };
  } catch (error) {
    killGroup(child);
    throw error;
  }
}

function ready(
  child: ChildProcess,
  ended: Promise<void>,
  onFault: (fault: Fault) => void,
): Promise<Omit<Addresses, "sampledKey">> {
  return new Promise((resolve, reject) => {
    child.on("message", (message: PipelineMessage) => {
      switch (message.kind) {
        case "ready":
          resolve(message);
          break;
        case "fault":
          onFault(message.fault);
          break;
      }
    });
    ended.then(() => reject(new Error("the pipeline ended before it was ready")));
  });
}

function killGroup(child: ChildProcess): void {
  try {
    process.kill(-(child.pid ?? 0), "SIGKILL");
  } catch {
    // the whole group has ended
  }
}

/** A Node that runs TypeScript without a build: this one, or the one that package.json depends on. */
function nodeWithTypes(): string {
  return process.features.typescript !== false
    ? process.execPath
    : join(dirname(createRequire(import.meta.url).resolve("node/package.json")), "bin", "node");
}
