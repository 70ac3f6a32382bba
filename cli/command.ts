/**
 * What a command of the CLI is: its words, flags, help and exit codes as data, and what it does as a function. Parsing
 * and `--help` are made from the data (command-line.ts, help-text.ts), so neither can say what the other does not do.
 */
import type { ProgressSink } from "../dev/send/progress.ts";
import type { Console } from "./console.ts";
import type { wranglerAt } from "./deploy/wrangler.ts";
import type { Installation } from "./installation.ts";
import type { ExitCode } from "./user-error.ts";

export interface Flag {
  /** What stands for the value in help texts, for example `N`; undefined: a switch. */
  readonly value?: string;
  readonly help: string;
  /** What is wrong with a value; undefined: nothing. */
  readonly check?: (text: string) => string | undefined;
  /** It may be given several times: `Given.texts`. */
  readonly isRepeatable?: true;
}

export interface Command {
  /** The words that call it: `dead-letters list`. */
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** More, for its own help; may be empty. */
  readonly about: string;
  /** The arguments after the words: `<key|id>`, `[key …]`, or nothing. */
  readonly args: { readonly text: string; readonly min: number; readonly max: number };
  readonly flags: Readonly<Record<string, Flag>>;
  readonly examples: readonly string[];
  /** What exit code 1 means here; empty: it is not used. */
  readonly exitOne: string;
  /** Whether it speaks to a console: it then takes --url, --profile and --timeout. */
  readonly asksConsole: boolean;
  run(call: Call): Promise<ExitCode>;
}

/** A command line that was understood. */
export interface Given {
  readonly args: readonly string[];
  text(flag: string): string | undefined;
  /** Of a flag that may be given several times. */
  texts(flag: string): readonly string[];
  has(flag: string): boolean;
}

/** What a command may use of the process that it runs in; a test passes its own. */
export interface Context {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  /** That of package.json, and the commit where it is a checkout. */
  readonly version: () => string;
  /** The text of a file, undefined when it is not there. */
  readonly readText: (path: string) => string | undefined;
  /** A file's permission bits; undefined when it is not there, or the system has none. */
  readonly modeOf: (path: string) => number | undefined;
  readonly out: { write(text: string): unknown };
  /** The terminal's width, where it is one. */
  readonly columns?: number | undefined;
  /** For progress and errors. */
  readonly err: ProgressSink;
  /** Asks a person; undefined where none sits at a terminal. */
  readonly ask: ((question: string) => Promise<string>) | undefined;
  readonly interrupted: AbortSignal;
  /** How wrangler is run; tests pass a recording. */
  readonly wranglerAt: typeof wranglerAt;
}

/** One call of a command. */
export interface Call {
  readonly given: Given;
  readonly context: Context;
  /** Which installation it speaks to; undefined for commands that speak to none. */
  readonly installation: Installation | undefined;
  /** The installation's console. Throws `UserError` where the command has none. */
  readonly console: Console;
  /** A line for people; nothing with --json. */
  say(line: string): void;
  /** The answer as JSON, with --json only. */
  json(value: unknown): void;
}
