/**
 * The child process that holds the engine. chdb is always in a process of its own: a crash of the native code takes
 * nothing else with it, and a SIGKILL is a fair test of a server's death.
 *
 * It tells its parent over IPC when it is ready or why it cannot be, ends cleanly on SIGTERM, and ends when the
 * parent is gone (SIGKILL included), which closes the IPC channel. SIGINT is the parent's affair: a terminal sends
 * it to both, and the parent may still need the engine to finish.
 */
import { createHash } from "node:crypto";
import { accessSync, constants, mkdirSync, realpathSync, rmSync, statfsSync } from "node:fs";
import type { Server } from "node:http";
import { join } from "node:path";
import * as v from "valibot";
import { openConnection } from "./chdb.ts";
import { type Connections, openConnections } from "./connections.ts";
import { createFace, type FaceOptions, prepareBodiesDirectory } from "./http-face.ts";
import { type ChildMessage, childOptionsSchema } from "./process-messages.ts";

/** How long a clean end may take after SIGTERM, and after the parent's death. Acknowledged rows survive either way. */
const stopMs = 8_000;
const orphanStopMs = 700;
/** A container's /dev/shm may have 64 MB; bodies go to the data directory then. */
const memoryFileSystemBytesMin = 1024 * 1024 * 1024;

const options = v.parse(childOptionsSchema, JSON.parse(process.argv[2] ?? "null"));

function tell(message: ChildMessage): void {
  process.send?.(message);
}

function log(line: string): void {
  process.stderr.write(`${line}\n`);
}

let stopping = false;
let opened: { readonly connections: Connections; readonly bodiesDirectory: string } | undefined;

function stop(server: Server, afterMs: number): void {
  if (stopping) {
    return;
  }
  stopping = true;
  setTimeout(() => process.kill(process.pid, "SIGKILL"), afterMs).unref();
  server.close();
  server.closeIdleConnections();
  const close = opened === undefined ? Promise.resolve() : opened.connections.close();
  close.then(
    () => {
      if (opened !== undefined) {
        rmSync(opened.bodiesDirectory, { recursive: true, force: true });
      }
      process.exit(0);
    },
    (error: unknown) => {
      log(`the engine did not close cleanly: ${String(error)}`);
      process.kill(process.pid, "SIGKILL");
    },
  );
}

function bodiesDirectoryFor(directory: string): string {
  const hash = createHash("sha256").update(realpathSync(directory)).digest("hex").slice(0, 16);
  try {
    accessSync("/dev/shm", constants.W_OK);
    const space = statfsSync("/dev/shm");
    if (space.bavail * space.bsize >= memoryFileSystemBytesMin) {
      return join("/dev/shm", `headrace-clickhouse-${hash}`);
    }
  } catch {
    // No such file system (macOS): the data directory does as well, only slower.
  }
  return join(directory, "headrace-bodies");
}

async function openEngine(): Promise<{ connections: Connections; options: FaceOptions }> {
  mkdirSync(options.directory, { recursive: true });
  const first = openConnection(options.directory);
  const connections = openConnections(options.directory, first);
  const bodiesDirectory = bodiesDirectoryFor(options.directory);
  prepareBodiesDirectory(bodiesDirectory); // the lock is ours now, so nobody else's bodies are in it
  opened = { connections, bodiesDirectory };
  const about = await first.query("SELECT version(), serverTimezone()", "TSVRaw");
  const [version = "", timezone = ""] = new TextDecoder().decode(about.bytes).trim().split("\t");
  return {
    connections,
    options: { bodiesDirectory, version, timezone, password: options.password, host: options.host, log },
  };
}

function failure(error: unknown): ChildMessage {
  const text = error instanceof Error ? error.message : String(error);
  if (error instanceof Error && "code" in error && error.code === "EADDRINUSE") {
    return { type: "failed", reason: "port_taken", text };
  }
  if (/Code: 76\b/.test(text) || /Cannot lock file/.test(text)) {
    return { type: "failed", reason: "directory_locked", text };
  }
  return { type: "failed", reason: "other", text };
}

function fail(error: unknown): void {
  tell(failure(error));
  process.exitCode = 1;
  // An open connection at exit is a SIGSEGV in chdb; there may be one if what failed came after the opening.
  setTimeout(() => process.kill(process.pid, "SIGKILL"), 200);
}

const listening = Promise.withResolvers<void>();
const engine = listening.promise.then(openEngine);
const server = createFace(engine);
server.once("error", (error) => {
  listening.reject(error);
});
server.listen(options.port, options.host, () => listening.resolve());
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => stop(server, stopMs));
process.on("disconnect", () => stop(server, orphanStopMs));
engine
  .then(({ options: { bodiesDirectory } }) => {
    const address = server.address();
    if (address === null || typeof address === "string") {
      throw new Error("the face does not listen on a TCP port");
    }
    tell({ type: "ready", port: address.port, bodiesDirectory });
  })
  .catch(fail);
