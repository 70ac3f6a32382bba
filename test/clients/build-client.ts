/**
 * Builds the clients of other languages, each once: into `.cache/clients`, which git ignores, and again only when its
 * sources or its toolchain change. A toolchain that is missing is a reason to skip, a build that fails is a failure.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

const here = import.meta.dirname;
export const cacheFolder = resolve(here, "../../.cache/clients");

/** The client cannot run here, and why. */
export class Skipped extends Error {
  override readonly name = "Skipped";
}

/** First line of what the tool says of its version. Throws `Skipped` when there is no such tool. */
export function toolVersion(tool: string, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(tool, args, { encoding: "utf8" });
  if (status !== 0) {
    throw new Skipped(`\`${tool}\` is not installed`);
  }
  return (stdout || stderr).trim().split("\n", 1).join("");
}

/** Runs the steps in `test/clients/{folder}` unless they were run for the same sources, tools and steps before. */
export function buildOnce(
  folder: string,
  tools: readonly string[],
  steps: readonly (readonly string[])[],
): void {
  const sources = join(here, folder);
  const hash = createHash("sha256").update(JSON.stringify([tools, steps]));
  for (const entry of readdirSync(sources, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) {
      hash.update(readFileSync(join(entry.parentPath, entry.name)));
    }
  }
  const stamp = join(cacheFolder, `${folder}.built`);
  const wanted = hash.digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) {
    return;
  }
  mkdirSync(cacheFolder, { recursive: true });
  console.log(`Building ${folder} (${tools.join(", ")}) …`);
  for (const [command = "", ...args] of steps) {
    const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: sources, encoding: "utf8" });
    if (status !== 0) {
      const said = `${stdout ?? ""}${stderr ?? ""}${error?.message ?? ""}`
        .trim()
        .split("\n")
        .slice(-15)
        .join("\n");
      throw new Error(`\`${command} ${args.join(" ")}\` failed:\n${said}`);
    }
  }
  writeFileSync(stamp, wanted);
}

/** What a pattern's first group finds in a file of `test/clients`: the pinned version. */
export function pinned(file: string, pattern: RegExp): string {
  const found = pattern.exec(readFileSync(join(here, file), "utf8"))?.[1];
  if (found === undefined) {
    throw new Error(`${file} has no ${pattern}`);
  }
  return found;
}

/** The path of a source file of a client. */
export function sourceFile(path: string): string {
  return join(here, path);
}
