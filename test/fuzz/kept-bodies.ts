/** Bodies that once failed, in `kept/`: each is a file whose name says what went wrong. `npm test` runs them all. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const folder = join(import.meta.dirname, "kept");

export function readKeptBodies(): { readonly name: string; readonly body: Uint8Array }[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(".bin"))
    .sort()
    .map((name) => ({ name, body: Uint8Array.from(readFileSync(join(folder, name))) }));
}

/** Returns the file's path. `what` is a word or two in kebab-case. */
export function keepBody(what: string, body: Uint8Array): string {
  const hash = createHash("sha256").update(body).digest("hex").slice(0, 8);
  const path = join(folder, `${what}-${hash}.bin`);
  writeFileSync(path, body);
  return path;
}
