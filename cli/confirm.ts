/** Nothing is deleted before it was named, and somebody agreed: at the terminal, or by --yes. */
import type { Call, Flag } from "./command.ts";
import { Complaint } from "./complaint.ts";

export const yesFlag: Flag = { help: "do it without asking" };

/** Throws `Complaint` when nobody agreed. `what` names what will be done, as a sentence without its full stop. */
export async function confirm({ given, context }: Call, what: string): Promise<void> {
  if (given.has("yes")) {
    return;
  }
  if (context.ask === undefined || given.has("json")) {
    throw new Complaint(`${what}: say --yes to do it`);
  }
  const answer = await context.ask(`${what}. Do it? [y/N] `);
  if (!/^y(es)?$/i.test(answer.trim())) {
    throw new Complaint("nothing was done");
  }
}
