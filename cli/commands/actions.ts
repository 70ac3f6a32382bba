/** `headrace actions`: what people did. */

import { counted } from "../../shared/counted.ts";
import type { Command } from "../command.ts";
import { wholeNumber } from "../command-line.ts";

/** In words, by route. What was refused afterwards was asked for all the same. */
const deeds: Readonly<Record<string, string>> = {
  "POST /api/accept-table": "accept the table",
  "POST /api/erase": "erase",
  "POST /api/forget": "let in again",
  "POST /api/keys": "make a key",
  "POST /api/keys/:id/revoke": "revoke",
  "POST /api/keys/:id/rotate": "rotate",
  "POST /api/reconcile": "reconcile",
  "POST /api/replay": "replay",
  "POST /api/resolve": "decide about a held payload",
  "PATCH /api/keys/:id": "change",
};

export const actions: Command = {
  name: "actions",
  summary: "who erased, replayed or changed keys, newest first",
  about:
    'Each request that changes something is recorded in R2 before it is carried out, for 90 days. "Who" is the identity that\nCloudflare Access verified, where it is set up, otherwise the admin token.',
  args: { text: "", min: 0, max: 0 },
  flags: {
    hours: {
      value: "N",
      help: "how far back (default 168, at most 2160)",
      check: wholeNumber(1, 2160),
    },
  },
  examples: ["headrace actions", "headrace actions --hours 2160 --json"],
  exitOne: "",
  asksConsole: true,
  async run({ given, console, say, json }) {
    const listed = await console.ask("GET /api/actions", { query: { hours: given.text("hours") ?? "168" } });
    json(listed);
    if (listed.length === 0) {
      say("no changes were requested");
    }
    for (const { at, who, address, what, id, asked, keysCount } of listed) {
      const from = address === "" ? "" : ` from ${address}`;
      const keys = keysCount === 0 ? "" : `, ${counted(keysCount, "payload")}`;
      const key = id === "" ? "" : `, key ${id.slice(0, 12)}…`;
      const reason = typeof asked["reason"] === "string" ? `: ${asked["reason"]}` : "";
      const named = [asked["tenant"], asked["name"], asked["key"]].filter((one) => typeof one === "string");
      const whom = named.length === 0 ? "" : `, ${named.join(" / ")}`;
      say(`${at}  ${who}${from}  requested to ${deeds[what] ?? what}${keys}${key}${whom}${reason}`);
    }
    return 0;
  },
};
