/** `headrace forget`: payloads whose rows a person deleted come in again. */

import { counted } from "../../shared/counted.ts";
import { limits } from "../../shared/limits.ts";
import { isPayloadId, isPayloadKey } from "../../shared/payload-key.ts";
import type { Command } from "../command.ts";
import { UserError } from "../user-error.ts";
import { sayMissing } from "./dead-letters.ts";

export const forget: Command = {
  name: "forget",
  summary: "accept payloads again whose rows were deleted from the table (TRUNCATE, DELETE, DROP PARTITION)",
  about:
    "A payload that was stored stays known even after its rows were deleted: the same bytes sent again are a duplicate.\nWith this command the ledger checks the table and stores what is missing, once, from the bytes that R2 keeps (7 days);\nnothing needs to be sent again, and what is sent again meanwhile changes nothing. It takes up to four minutes.\nA payload that is in flight, or whose rows are all there, is refused: `headrace erase` removes a payload for good.\nThe id is what the ingress answers as x-headrace-payload; `headrace payload show ID` shows whether its rows are gone.",
  args: { text: "<key|id …>", min: 1, max: limits.forgetKeysMax },
  flags: {},
  examples: [
    "headrace forget 0123456789abcdefghijklmnog",
    "headrace forget p/0/t/2026-11-24T0741/acme/0123456789abcdefghijklmnog",
  ],
  exitOne: "a payload was refused, or is not known",
  asksConsole: true,
  async run(call) {
    const { given, console, say, json } = call;
    const wrong = given.args.find((text) => !isPayloadKey(text) && !isPayloadId(text));
    if (wrong !== undefined) {
      throw new UserError(`"${wrong}" is neither a payload's key (p/0/t/…) nor its id (26 characters)`);
    }
    const answer = await console.ask("POST /api/forget", { body: { keys: given.args } });
    json(answer);
    const { taken, heldNext, refused, missing } = answer;
    if (taken.length > 0) {
      say(
        `${counted(taken.length, "payload")} handed to the ledger: what is missing is stored again, in up to four minutes. \`headrace payload show ${taken[0]}\` shows it`,
      );
    }
    for (const asked of heldNext) {
      say(
        `of ${asked} some rows are there and some are not: the ledger will hold it; then \`headrace resolve KEY rewrite\` stores it anew`,
      );
    }
    for (const { asked, why } of refused) {
      say(`nothing was done about ${asked}: ${why}`);
    }
    sayMissing(call, missing);
    return refused.length + missing.length === 0 ? 0 : 1;
  },
};
