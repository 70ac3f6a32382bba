/**
 * `npm run test:versions`: the schema, the INSERT in its final form and every other statement on the versions of
 * ClickHouse that people run. The PyPI packages chdb and chdb-core carry an engine each; 26.7 is what all other tests
 * run on. Skipped, with the reason, where there is no Python.
 *
 * Arguments: other packages, as `chdb-core==26.3.0`. Each takes about 0.7 GB in `node_modules/.cache/headrace-versions`.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readStatements } from "./statements.ts";

/** 25.8 LTS, 26.3 LTS, 26.9. */
const packagesDefault = ["chdb==3.7.2", "chdb-core==26.3.0", "chdb-core==26.9.0"];

const folder = join(import.meta.dirname, "../../node_modules/.cache/headrace-versions");
const found = spawnSync("python3", [
  "-c",
  "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))",
]);
if (found.status === 0) {
  mkdirSync(folder, { recursive: true });
  const statements = join(folder, "statements.json");
  writeFileSync(statements, JSON.stringify(await readStatements()));
  const given = process.argv.slice(2);
  const script = join(import.meta.dirname, "run-statements.py");
  const packages = given.length === 0 ? packagesDefault : given;
  const { status } = spawnSync("python3", [script, statements, folder, ...packages], { stdio: "inherit" });
  process.exitCode = status ?? 1;
} else {
  console.log("Skipped: there is no python3 of 3.9 or later with venv and pip on this machine.");
}
