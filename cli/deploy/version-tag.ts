/**
 * The tag of a deployed Worker: the hash of everything that its deployment stands for. Two deployments of the same
 * commit with the same settings have the same tag on every machine.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Wanted, WantedWorker } from "./wanted.ts";

/** 64 bits: it tells versions of one Worker apart, and a tag is short (Cloudflare's limit was once 25 characters). */
const tagHexDigits = 16;

/** `root`: the repository. */
export function versionTag(root: string, worker: WantedWorker, wanted: Wanted, namespaceId: string): string {
  const hash = createHash("sha256");
  hash.update(JSON.stringify([worker.worker.config, wanted.queues, wanted.bucket, namespaceId]));
  // Sources, not what is built of them: the console's page is built by its deployment, from workers/console/page.
  for (const path of ["package-lock.json", "shared", `workers/${worker.worker.environment}`]) {
    for (const file of filesBelow(root, path)) {
      hash.update(`\0${file}\0`);
      hash.update(readFileSync(join(root, file)));
    }
  }
  return `hr-${hash.digest("hex").slice(0, tagHexDigits)}`;
}

/** Relative to the root, in one order everywhere. */
function filesBelow(root: string, path: string): readonly string[] {
  if (!statSync(join(root, path)).isDirectory()) {
    return [path];
  }
  return readdirSync(join(root, path), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .sort();
}
