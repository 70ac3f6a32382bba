/** `headrace resolve`: a person decides about a payload whose rows are neither none nor all. */
import { isPayloadKey } from "../../shared/payload-key.ts";
import type { Command } from "../command.ts";
import { UserError } from "../user-error.ts";

export const resolve: Command = {
  name: "resolve",
  summary:
    "decide about a payload of which the table has some rows but not all, or too many (finding `inexact`)",
  about:
    "`accept` takes what the table has as this payload's rows, writes its receipt, and lets the watermark go on.\n`rewrite` deletes its rows from the table, and stores it anew from R2.\n`headrace payload show KEY` shows rows and receipt before you decide.",
  args: { text: "<key> accept|rewrite", min: 2, max: 2 },
  flags: {},
  examples: [
    "headrace resolve p/0/t/2026-11-24T0741/acme/0123456789abcdefghijklmnog accept",
    "headrace resolve p/0/t/2026-11-24T0741/acme/0123456789abcdefghijklmnog rewrite",
  ],
  exitOne: "the payload is not held, so there is nothing to decide",
  asksConsole: true,
  async run({ given, console, say, json }) {
    const [key = "", how = ""] = given.args;
    if (!isPayloadKey(key)) {
      throw new UserError(`"${key}" is not a payload's key: p/0/t/{minute}/…/{tenant}/{id}`);
    }
    if (how !== "accept" && how !== "rewrite") {
      throw new UserError(`"${how}" is not a decision: pass accept or rewrite`);
    }
    const answer = await console.ask("POST /api/resolve", { body: { key, how } });
    json(answer);
    say(
      answer.resolved
        ? `handed to the ledger: ${how}. \`headrace findings\` shows it resolved within minutes`
        : `${key} is not held: nothing was done. \`headrace payload show ${key}\` says where it is`,
    );
    return answer.resolved ? 0 : 1;
  },
};
