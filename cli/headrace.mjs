#!/usr/bin/env node
/**
 * `npx headrace`: runs cli/main.ts. Node 24 runs TypeScript without a build; an older one (20 or 22) starts the Node 24
 * that `npm install` has put beside it, hands the terminal to it, and exits with its code.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const main = join(here, "main.ts");
const projectNode = join(here, "..", "node_modules", "node", "bin", "node");

if (Number(process.versions.node.split(".")[0]) >= 24) {
  await import(main);
} else if (existsSync(projectNode)) {
  const child = spawn(projectNode, [main, ...process.argv.slice(2)], { stdio: "inherit" });
  // A Ctrl-C reaches the child by itself (it is in the same process group): it decides, and this process waits for it.
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  child.on("error", (error) => {
    console.error(`headrace: ${projectNode} could not be started: ${error.message}`);
    process.exit(2);
  });
  child.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal ?? "SIGTERM"]));
} else {
  console.error(
    `headrace: Node 24 is needed and this is ${process.version}. Run \`npm install\` in ${dirname(here)}: it brings one.`,
  );
  process.exit(2);
}
