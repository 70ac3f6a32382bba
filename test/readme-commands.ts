/** The commands that README tells a newcomer to type, read from README itself: tests run these and no others. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** The blocks of shell in a text of markdown. */
export function shellBlocks(markdown: string): readonly string[] {
  return [...markdown.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block = ""]) => block.trim());
}

export interface ReadmeCommands {
  /** Starts the pipeline; without the `npm install &&` before it, which has run where tests run. */
  readonly start: string;
  /** Sends spans to it. */
  readonly send: string;
  /** Runs the tests. */
  readonly test: string;
}

export function readmeCommands(): ReadmeCommands {
  const blocks = shellBlocks(readFileSync(join(import.meta.dirname, "..", "README.md"), "utf8"));
  const [first = "", send = ""] = blocks;
  return { start: first.replace(/^npm install && /, ""), send, test: blocks.at(-1) ?? "" };
}
