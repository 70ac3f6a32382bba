/** Reads a command line: which command, its arguments and flags, or a sentence that says what is wrong. Pure. */
import { parseArgs } from "node:util";
import { addressRefusal } from "../shared/clickhouse/address.ts";
import { nearestWord } from "../shared/nearest-word.ts";
import { ok, type Result, refuse } from "../shared/result.ts";
import type { Command, Flag, Given } from "./command.ts";

const everywhere: Readonly<Record<string, Flag>> = {
  json: { help: "answer in JSON, for programs" },
  help: { help: "this text" },
};

export const ofConsoles: Readonly<Record<string, Flag>> = {
  url: {
    value: "URL",
    help: "the console's address, instead of HEADRACE_CONSOLE_URL or dev.json",
    check: (text) =>
      addressRefusal(text, true, { name: "", declare: "" }) === ""
        ? undefined
        : "is a URL that begins with http:// or https://",
  },
  profile: { value: "NAME", help: "an installation of the profile file (`headrace deploy` writes it)" },
};

export type Understood =
  | { readonly kind: "version" }
  | { readonly kind: "call"; readonly command: Command; readonly given: Given }
  /** Help of one command, or of those whose names begin with `words` (all, where that is empty). */
  | {
      readonly kind: "help";
      readonly command: Command | undefined;
      readonly words: string;
      /** A group was named and none of its commands: the list is an answer, and no success. */
      readonly isUnfinished: boolean;
    };

export function flagsOf(command: Command): Readonly<Record<string, Flag>> {
  return { ...command.flags, ...(command.asksConsole ? ofConsoles : {}), ...everywhere };
}

export function readCommandLine(
  argv: readonly string[],
  commands: readonly Command[],
): Result<Understood, string> {
  const [first = ""] = argv;
  if (first === "--version" || first === "-V" || (first === "version" && argv.length === 1)) {
    return ok({ kind: "version" });
  }
  const words: string[] = [];
  for (const word of argv) {
    if (word.startsWith("-")) {
      break;
    }
    words.push(word);
  }
  const command = findCommand(words, commands);
  if (command === undefined) {
    return withoutCommand(words, argv, commands);
  }
  return readFlags(command, argv.slice(command.name.split(" ").length));
}

/** The command whose words the line begins with; the longest name wins. */
function findCommand(words: readonly string[], commands: readonly Command[]): Command | undefined {
  return commands
    .filter(({ name }) => name.split(" ").every((word, index) => words[index] === word))
    .toSorted((a, b) => b.name.length - a.name.length)[0];
}

function withoutCommand(
  words: readonly string[],
  argv: readonly string[],
  commands: readonly Command[],
): Result<Understood, string> {
  const [first = "", second] = words;
  const isGroup = commands.some(({ name }) => name.startsWith(`${first} `));
  const asksHelp = argv.includes("--help") || argv.includes("-h");
  if (first === "" || first === "help" || (isGroup && (asksHelp || second === undefined))) {
    const [unknown] = argv.filter((word) => word.startsWith("-") && word !== "--help" && word !== "-h");
    return first === "" && unknown !== undefined
      ? refuse(`${unknown} comes before the command; \`headrace --help\` lists the commands`)
      : ok(
          helpFor(
            first === "help" ? words.slice(1).join(" ") : first,
            commands,
            isGroup && !asksHelp && first !== "help",
          ),
        );
  }
  const typed = isGroup ? `${first} ${second}` : first;
  const names = isGroup
    ? commands.map(({ name }) => name).filter((name) => name.startsWith(`${first} `))
    : commands.flatMap(({ name }) => [name, name.split(" ")[0] ?? ""]);
  const nearest = nearestWord(typed, names);
  const hint =
    nearest === undefined
      ? `; \`headrace ${isGroup ? `${first} ` : ""}--help\` lists them`
      : `; did you mean \`headrace ${nearest}\`?`;
  return refuse(`there is no command \`headrace ${typed}\`${hint}`);
}

function helpFor(words: string, commands: readonly Command[], isUnfinished: boolean): Understood {
  return { kind: "help", command: commands.find(({ name }) => name === words), words, isUnfinished };
}

function readFlags(command: Command, words: readonly string[]): Result<Understood, string> {
  const flags = flagsOf(command);
  const { tokens } = parseArgs({
    args: [...words],
    options: {
      ...Object.fromEntries(
        Object.entries(flags).map(([name, { value }]) => [
          name,
          { type: value === undefined ? "boolean" : "string" } as const,
        ]),
      ),
      help: { type: "boolean", short: "h" },
    },
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const args: string[] = [];
  const given = new Map<string, string[]>();
  for (const token of tokens) {
    if (token.kind === "positional") {
      args.push(token.value);
    }
    if (token.kind === "option") {
      const flag = Object.hasOwn(flags, token.name) ? flags[token.name] : undefined;
      if (flag === undefined) {
        const nearest = nearestWord(token.name, Object.keys(flags));
        const hint = nearest === undefined ? "" : `; did you mean --${nearest}?`;
        return refuse(
          `\`headrace ${command.name}\` has no flag ${token.rawName}${hint === "" ? `; \`headrace ${command.name} --help\` lists them` : hint}`,
        );
      }
      // `--reason --yes` would take "--yes" for the reason.
      const value = token.value?.startsWith("--") === true && !token.inlineValue ? undefined : token.value;
      if (flag.value !== undefined && (value === undefined || value === "")) {
        return refuse(`${token.rawName} needs a value: ${token.rawName} ${flag.value}`);
      }
      if (flag.value === undefined && value !== undefined) {
        return refuse(`${token.rawName} takes no value`);
      }
      const before = given.get(token.name);
      if (before !== undefined && flag.isRepeatable !== true) {
        return refuse(`${token.rawName} is given twice`);
      }
      const problem = flag.check?.(value ?? "");
      if (problem !== undefined) {
        return refuse(`${token.rawName} ${problem}, not "${value}"`);
      }
      given.set(token.name, [...(before ?? []), value ?? ""]);
    }
  }
  if (given.has("help")) {
    return ok({ kind: "help", command, words: command.name, isUnfinished: false });
  }
  const { text, min, max } = command.args;
  if (args.length < min) {
    return refuse(`\`headrace ${command.name}\` needs ${text}`);
  }
  if (args.length > max) {
    return refuse(
      `\`headrace ${command.name}\` takes ${max === 0 ? "no argument" : text}, and "${args[max]}" is one too many`,
    );
  }
  return ok({
    kind: "call",
    command,
    given: {
      args,
      text: (flag) => given.get(flag)?.[0],
      texts: (flag) => given.get(flag) ?? [],
      has: (flag) => given.has(flag),
    },
  });
}

/** A check for whole numbers from `min` to `max`. */
export function wholeNumber(min: number, max: number): (text: string) => string | undefined {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : -1;
    return value < min || value > max ? `is a whole number from ${min} to ${max}` : undefined;
  };
}
