/** Where the profile file lies: people share one over repositories, so it is in their own folder. */
import type { Context } from "./command.ts";

export function profilesPath({ env, home }: Pick<Context, "env" | "home">): string {
  return env["HEADRACE_PROFILES"] ?? `${env["XDG_CONFIG_HOME"] ?? `${home}/.config`}/headrace/profiles.json`;
}
