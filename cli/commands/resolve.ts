/** `headrace resolve`: a person decides about a payload whose rows are neither none nor all. */
import { isPayloadKey } from "../../shared/payload-key.ts";
import type { Command } from "../command.ts";
import { Complaint } from "../complaint.ts";

export const resolve: Command = {
  name: "resolve",
  summary: "decide about a payload whose rows in the table are neither none nor all (finding `inexact`)",
  about:
    "`accept` takes what the table has as this payload's rows, writes its receipt, and lets the watermark go on.\n`rewrite` has what the table has of it deleted, and stores it anew from R2.\n`headrace payload show KEY` shows rows and receipt before you decide.",
  operands: { text: "<key> accept|rewrite", min: 2, max: 2 },
  flags: {},
  examples: [
    "headrace resolve p/0/t/2026-11-24T0741/acme/0123456789abcdefghijklmnog accept",
    "headrace resolve p/0/t/2026-11-24T0741/acme/0123456789abcdefghijklmnog rewrite",
  ],
  badNews: "the payload is not held, so there is nothing to decide",
  asksConsole: true,
  async run({ given, console, say, json }) {
    const [key = "", how = ""] = given.operands;
    if (!isPayloadKey(key)) {
      throw new Complaint(`"${key}" is not a payload's key: p/0/t/{minute}/{tenant}/{id}`);
    }
    if (how !== "accept" && how !== "rewrite") {
      throw new Complaint(`"${how}" is no decision: say accept or rewrite`);
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
