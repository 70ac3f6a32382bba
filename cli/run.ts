/** The story of one call: read the command line, choose the installation, run the command, turn user errors into exit codes. */
import type { Call, Context } from "./command.ts";
import { readCommandLine } from "./command-line.ts";
import { commands } from "./commands.ts";
import { type Console, consoleAt } from "./console.ts";
import { helpOfAll, helpOfCommand } from "./help-text.ts";
import { chooseInstallation, type Installation } from "./installation.ts";
import { profilesPath } from "./profiles-path.ts";
import { type ExitCode, UserError } from "./user-error.ts";

export async function run(context: Context): Promise<ExitCode> {
  const read = readCommandLine(context.argv, commands);
  if (!read.ok) {
    context.err.write(`headrace: ${read.refusal}\n`);
    return 2;
  }
  if (read.value.kind === "version") {
    context.out.write(`headrace ${context.version()}\n`);
    return 0;
  }
  if (read.value.kind === "help") {
    const { command, words, isUnfinished } = read.value;
    context.out.write(command === undefined ? helpOfAll(commands, words) : helpOfCommand(command));
    return isUnfinished ? 2 : 0;
  }
  const { command, given } = read.value;
  const isJson = given.has("json");
  try {
    const installation = command.asksConsole
      ? installationOf(context, given.text("url"), given.text("profile"))
      : undefined;
    const call: Call = {
      given,
      context,
      installation,
      get console(): Console {
        if (installation === undefined) {
          throw new UserError(`\`headrace ${command.name}\` does not use a console`);
        }
        return consoleAt(installation, context.interrupted);
      },
      say(line) {
        if (!isJson) {
          context.out.write(`${line}\n`);
        }
      },
      json(value) {
        if (isJson) {
          context.out.write(`${JSON.stringify(value, null, 2)}\n`);
        }
      },
    };
    return await command.run(call);
  } catch (error) {
    if (!(error instanceof UserError)) {
      throw error;
    }
    if (isJson) {
      context.out.write(`${JSON.stringify({ error: error.message }, null, 2)}\n`);
    }
    context.err.write(`headrace: ${error.message}\n`);
    return error.exitCode;
  }
}

/** Throws `UserError` that says which file or variable is missing. */
function installationOf(
  context: Context,
  url: string | undefined,
  profile: string | undefined,
): Installation {
  const devPath = `${context.env["HEADRACE_STATE"] ?? ".headrace"}/dev.json`;
  const path = profilesPath(context);
  const installation = chooseInstallation({
    url,
    profile,
    env: context.env,
    profiles: { path, text: context.readText(path) },
    dev: { path: devPath, text: context.readText(devPath) },
  });
  if (!installation.ok) {
    throw new UserError(installation.refusal);
  }
  return installation.value;
}
