/** The story of one call: read the command line, choose the place, run the command, turn complaints into exit codes. */
import type { Call, Surroundings } from "./command.ts";
import { readCommandLine } from "./command-line.ts";
import { commands } from "./commands.ts";
import { Complaint, type ExitCode } from "./complaint.ts";
import { type Console, consoleAt } from "./console.ts";
import { helpOfAll, helpOfCommand } from "./help-text.ts";
import { choosePlace, type Place } from "./place.ts";
import { profilesPath } from "./profiles-path.ts";

export async function run(world: Surroundings): Promise<ExitCode> {
  const read = readCommandLine(world.argv, commands);
  if (!read.ok) {
    world.err.write(`headrace: ${read.refusal}\n`);
    return 2;
  }
  if (read.value.kind === "version") {
    world.out.write(`headrace ${world.version()}\n`);
    return 0;
  }
  if (read.value.kind === "help") {
    const { command, words, isUnfinished } = read.value;
    world.out.write(command === undefined ? helpOfAll(commands, words) : helpOfCommand(command));
    return isUnfinished ? 2 : 0;
  }
  const { command, given } = read.value;
  const isJson = given.has("json");
  try {
    const place = command.asksConsole ? placeOf(world, given.text("url"), given.text("profile")) : undefined;
    const call: Call = {
      given,
      world,
      place,
      get console(): Console {
        if (place === undefined) {
          throw new Complaint(`\`headrace ${command.name}\` speaks to no console`);
        }
        return consoleAt(place, world.interrupted);
      },
      say(line) {
        if (!isJson) {
          world.out.write(`${line}\n`);
        }
      },
      json(value) {
        if (isJson) {
          world.out.write(`${JSON.stringify(value, null, 2)}\n`);
        }
      },
    };
    return await command.run(call);
  } catch (error) {
    if (!(error instanceof Complaint)) {
      throw error;
    }
    if (isJson) {
      world.out.write(`${JSON.stringify({ error: error.message }, null, 2)}\n`);
    }
    world.err.write(`headrace: ${error.message}\n`);
    return error.exitCode;
  }
}

/** Throws `Complaint` that says which file or variable is missing. */
function placeOf(world: Surroundings, url: string | undefined, profile: string | undefined): Place {
  const devPath = `${world.env["HEADRACE_STATE"] ?? ".headrace"}/dev.json`;
  const path = profilesPath(world);
  const place = choosePlace({
    url,
    profile,
    env: world.env,
    profiles: { path, text: world.readText(path) },
    dev: { path: devPath, text: world.readText(devPath) },
  });
  if (!place.ok) {
    throw new Complaint(place.refusal);
  }
  return place.value;
}
