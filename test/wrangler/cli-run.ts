/** Runs the CLI in this process, as a person would on a terminal without a keyboard. */
import { readFileSync, statSync } from "node:fs";
import { type Wrangler, wranglerAt } from "../../cli/deploy/wrangler.ts";
import { run } from "../../cli/run.ts";
import type { ExitCode } from "../../cli/user-error.ts";

export interface CliAnswer {
  readonly code: ExitCode;
  readonly out: string;
  readonly err: string;
}

export async function headrace(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  more: { readonly interrupted?: AbortSignal; readonly wrangler?: Wrangler } = {},
): Promise<CliAnswer> {
  let out = "";
  let err = "";
  const code = await run({
    argv,
    env,
    home: "/nowhere",
    version: () => "0.0.0",
    readText(path) {
      try {
        return readFileSync(path, "utf8");
      } catch {
        return undefined;
      }
    },
    modeOf: (path) => statSync(path, { throwIfNoEntry: false })?.mode,
    out: { write: (text) => (out += text) },
    err: { write: (text) => (err += text) },
    ask: undefined,
    interrupted: more.interrupted ?? new AbortController().signal,
    wranglerAt: (...where) => more.wrangler ?? wranglerAt(...where),
  });
  return { code, out, err };
}
