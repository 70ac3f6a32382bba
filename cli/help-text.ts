/** Help texts, made from what the commands say of themselves. Pure. */
import type { Command, Flag } from "./command.ts";
import { flagsOf } from "./command-line.ts";

const indent = 26;

export function helpOfCommand(command: Command): string {
  const { name, summary, about, args, examples, exitOne } = command;
  const call = ["headrace", name, args.text, "[flags]"].filter((word) => word !== "").join(" ");
  return [
    summary,
    "",
    `Usage: ${call}`,
    ...(about === "" ? [] : ["", about]),
    "",
    ...Object.entries(flagsOf(command)).map(flagLine),
    "",
    "Examples:",
    ...examples.map((example) => `  ${example}`),
    "",
    `Exit code: 0 success, ${exitOne === "" ? "" : `1 ${exitOne}, `}2 the command line or the configuration is wrong, 3 the console, ClickHouse or Cloudflare could not be reached.`,
    "",
  ].join("\n");
}

export function helpOfAll(commands: readonly Command[], words: string): string {
  const named = commands.filter(({ name }) => words === "" || name.split(" ")[0] === words);
  const width = Math.max(...named.map(({ name }) => name.length)) + 2;
  return [
    "headrace: operates an installation of Headrace.",
    "",
    `Usage: headrace ${words === "" ? "" : `${words} `}<command> [arguments] [flags]`,
    "",
    ...named.map(({ name, summary }) => `  ${name.padEnd(width)}${summary}`),
    "",
    `\`headrace ${words === "" ? "" : `${words} `}<command> --help\` says more, with examples. Every command takes --json.`,
    "",
    "The installation is that of --profile NAME (or HEADRACE_PROFILE); otherwise that of HEADRACE_CONSOLE_URL and",
    "HEADRACE_ADMIN_TOKEN; otherwise the one that `npm run dev` wrote into .headrace/dev.json (in the folder HEADRACE_STATE, where that is set).",
    "",
    "Exit code: 0 success, 1 the command ran and something is wrong (not balanced, a check failed, keys were missing), 2 the",
    "command line or the configuration is wrong, 3 the console, ClickHouse or Cloudflare could not be reached, 130 interrupted.",
    "",
  ].join("\n");
}

function flagLine([name, { value, help }]: [string, Flag]): string {
  const flag = `  --${name}${value === undefined ? "" : ` ${value}`}`;
  return flag.length < indent - 1 ? `${flag.padEnd(indent)}${help}` : `${flag}\n${" ".repeat(indent)}${help}`;
}

/** docs/cli.md */
export function referenceText(commands: readonly Command[]): string {
  return [
    "# The command line",
    "",
    "What `npx headrace … --help` says, command by command. `npm run docs:cli` writes this file.",
    "",
    ...[helpOfAll(commands, ""), ...commands.map(helpOfCommand)].flatMap((text, index) => [
      ...(index === 0 ? [] : [`## headrace ${commands[index - 1]?.name}`, ""]),
      "```text",
      text.trimEnd(),
      "```",
      "",
    ]),
  ].join("\n");
}
