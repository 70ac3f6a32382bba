/** The process around `run.ts`: it owns the terminal, the signals and the exit code, nothing else. */
import { spawnSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline/promises";
import * as v from "valibot";
import { wranglerAt } from "./deploy/wrangler.ts";
import { run } from "./run.ts";

const interrupt = new AbortController();
process.on("SIGINT", () => {
  // The first one lets the step under way end; a second one does not wait.
  if (interrupt.signal.aborted) {
    process.exit(130);
  }
  interrupt.abort();
});

// The reader has read enough (`| head`).
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") {
    process.exit(0);
  }
  throw error;
});

process.exitCode = await run({
  argv: process.argv.slice(2),
  env: process.env,
  home: homedir(),
  version: () => versionOf(join(import.meta.dirname, "..")),
  readText: readTextIfThere,
  modeOf,
  out: process.stdout,
  err: process.stderr,
  ask: process.stdin.isTTY === true && process.stderr.isTTY === true ? ask : undefined,
  columns: process.stdout.columns,
  interrupted: interrupt.signal,
  wranglerAt,
});

/** Which release, and which commit of it: a console is deployed from one. */
function versionOf(root: string): string {
  const { version } = v.parse(
    v.object({ version: v.string() }),
    JSON.parse(readFileSync(join(root, "package.json"), "utf8")),
  );
  const git = spawnSync("git", ["-C", root, "describe", "--always", "--dirty"], { encoding: "utf8" });
  return git.status === 0 ? `${version} (${git.stdout.trim()})` : version;
}

async function ask(question: string): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await lines.question(question, { signal: interrupt.signal });
  } catch {
    return ""; // Ctrl-C, or the terminal closed: no answer is no
  } finally {
    lines.close();
  }
}

/** Windows has access lists instead, and says the same of every file. */
function modeOf(path: string): number | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined || process.platform === "win32" ? undefined : found.mode & 0o777;
}

function readTextIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR")) {
      return undefined;
    }
    throw error;
  }
}
