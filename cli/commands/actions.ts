/** `headrace actions`: what people did. */
import type { Command } from "../command.ts";
import { wholeNumber } from "../command-line.ts";

export const actions: Command = {
  name: "actions",
  summary: "who erased, replayed or changed keys, the newest first",
  about:
    "Each request that changes something is kept in R2 before it is done, for 90 days. Who: the identity that Cloudflare Access\nverified, where it is declared, else the admin token.",
  operands: { text: "", min: 0, max: 0 },
  flags: {
    hours: {
      value: "N",
      help: "how far back (default 168, at most 2160)",
      check: wholeNumber(1, 2160),
    },
  },
  examples: ["headrace actions", "headrace actions --hours 2160 --json"],
  badNews: "",
  asksConsole: true,
  async run({ given, console, say, json }) {
    const listed = await console.ask("GET /api/actions", { query: { hours: given.text("hours") ?? "168" } });
    json(listed);
    if (listed.length === 0) {
      say("nothing was changed by anybody");
    }
    for (const { at, who, address, what, id, asked, keysCount } of listed) {
      const from = address === "" ? "" : ` from ${address}`;
      const keys = keysCount === 0 ? "" : `, ${keysCount} payloads`;
      const key = id === "" ? "" : `, key ${id.slice(0, 12)}…`;
      const reason = typeof asked["reason"] === "string" ? `: ${asked["reason"]}` : "";
      say(`${at}  ${who}${from}  ${what.replace(/^(POST|PATCH) \/api\//, "")}${keys}${key}${reason}`);
    }
    return 0;
  },
};
