/** Installs Rotel's program from its wheel on PyPI, once, into a folder of its own. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync } from "node:fs";
import { join } from "node:path";
import { PeerUnavailable } from "./build-collector.ts";
import { cacheFolder } from "./cache-folder.ts";
import { rotelVersion } from "./pinned.ts";

/** The program's path. Throws `PeerUnavailable`. */
export function installRotel(): string {
  const folder = cacheFolder(`rotel-${rotelVersion}`);
  const program = join(folder, "rotel", "rotel-agent");
  if (!existsSync(program)) {
    const installed = spawnSync(
      "python3",
      ["-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, `rotel==${rotelVersion}`],
      { encoding: "utf8" },
    );
    if (installed.status !== 0 || !existsSync(program)) {
      throw new PeerUnavailable(
        `Rotel could not be installed with pip: ${(installed.stderr ?? String(installed.error)).trim().slice(-500)}`,
      );
    }
    chmodSync(program, 0o755);
  }
  if (spawnSync(program, ["--version"]).status !== 0) {
    throw new PeerUnavailable("Rotel's program does not run on this machine");
  }
  return program;
}
