/** Which test files of `core` import a file, themselves or through others: those that import it themselves come first. */
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

const root = join(import.meta.dirname, "../..");
const importPattern = /(?:^|\n)\s*(?:import|export)\s(?:[^;]*?\sfrom\s+)?"(\.[^"]+)"/g;

/** Relative to the root, with `/`. */
export function relatedTests(file: string): readonly string[] {
  const distances = globSync("test/core/**/*.test.ts", { cwd: root })
    .map((test) => ({ test, distance: distanceTo(file, test) }))
    .filter(({ distance }) => distance < Number.POSITIVE_INFINITY);
  return distances
    .sort((a, b) => a.distance - b.distance || a.test.localeCompare(b.test))
    .map(({ test }) => test);
}

function distanceTo(file: string, test: string): number {
  const seen = new Set([test]);
  let ring: readonly string[] = [test];
  for (let distance = 0; ring.length > 0; distance++) {
    if (ring.includes(file)) {
      return distance;
    }
    ring = ring.flatMap(importsOf).filter((path) => !seen.has(path) && seen.add(path));
  }
  return Number.POSITIVE_INFINITY;
}

const known = new Map<string, readonly string[]>();

function importsOf(path: string): readonly string[] {
  const before = known.get(path);
  if (before !== undefined) {
    return before;
  }
  const text = existsSync(join(root, path)) ? readFileSync(join(root, path), "utf8") : "";
  const imports = [...text.matchAll(importPattern)].flatMap(([, to]) =>
    to === undefined ? [] : [normalize(join(dirname(path), to))],
  );
  known.set(path, imports);
  return imports;
}
