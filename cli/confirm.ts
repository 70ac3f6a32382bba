/** Nothing is deleted before it is named and confirmed: at the terminal, or by --yes. */
import type { Call, Flag } from "./command.ts";
import { UserError } from "./user-error.ts";

export const yesFlag: Flag = { help: "do it without asking" };

/** Throws `UserError` when it is not confirmed. `what` names what will be done, as a sentence without its full stop. */
export async function confirm({ given, context }: Call, what: string): Promise<void> {
  if (given.has("yes")) {
    return;
  }
  if (context.ask === undefined || given.has("json")) {
    throw new UserError(`${what}: pass --yes to confirm`);
  }
  const answer = await context.ask(`${what}. Continue? [y/N] `);
  if (!/^y(es)?$/i.test(answer.trim())) {
    throw new UserError("nothing was done");
  }
}
