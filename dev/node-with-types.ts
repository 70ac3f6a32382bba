/** A Node that runs TypeScript as it stands: this one, or the one that package.json brings along. */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

export function nodeWithTypes(): string {
  if (process.features.typescript !== false) {
    return process.execPath;
  }
  return join(dirname(createRequire(import.meta.url).resolve("node/package.json")), "bin", "node");
}
