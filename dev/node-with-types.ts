/** A Node that runs TypeScript without a build: this one, or the one that package.json depends on. */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

export function nodeWithTypes(): string {
  if (process.features.typescript !== false) {
    return process.execPath;
  }
  return join(dirname(createRequire(import.meta.url).resolve("node/package.json")), "bin", "node");
}
