/**
 * `npm run test:versions`: the schema, the INSERT in its final form and every other statement on the versions of
 * ClickHouse that people run. The PyPI packages chdb and chdb-core carry an engine each; 26.7 is what all other tests
 * run on. An older one must be refused, in words. Skipped, with the reason, where there is no Python.
 *
 * Arguments: other packages, as `chdb-core==26.3.0`. Each takes about 0.7 GB in `node_modules/.cache/headrace-versions`.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { checkVersion, versionMin } from "../../shared/clickhouse/table-check.ts";
import { readStatements } from "./statements.ts";

/** 25.8 LTS, 26.3 LTS, 26.9. */
const packagesDefault = ["chdb==3.7.2", "chdb-core==26.3.0", "chdb-core==26.9.0"];
/** 25.5, which the table check refuses. */
const packageRefused = "chdb==3.5.0";

/** The older server answers what the table check asks, and the check's sentence names its version and the least one. */
function isRefused(script: string, statements: string): boolean {
  const { stdout } = spawnSync("python3", [script, "--state", statements, folder, packageRefused], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lastLine = stdout.trim().split("\n").at(-1) ?? "";
  const row: unknown = lastLine.startsWith("{") ? JSON.parse(lastLine) : {};
  const { version } = v.parse(v.object({ version: v.optional(v.string(), "") }), row);
  const refusal = version === "" ? "" : checkVersion(version);
  const isWell = refusal.includes(version) && refusal.includes(versionMin.join("."));
  console.log(
    `===== ${packageRefused}: ClickHouse ${version}\n  ${isWell ? "ok, refused" : "WRONG"}: ${refusal || lastLine}`,
  );
  return isWell && refusal !== "";
}

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
  if (given.length === 0 && !isRefused(script, statements)) {
    process.exitCode = 1;
  }
} else {
  console.log("Skipped: there is no python3 of 3.9 or later with venv and pip on this machine.");
}
