/** Where built and installed peers are kept: outside the repository, shared by all its checkouts. */
import { mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** The folder of that name, made when missing. */
export function cacheFolder(name: string): string {
  const folder = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "headrace", name);
  mkdirSync(folder, { recursive: true });
  return folder;
}
