/** `headrace watermark`: up to when everything is proven, and which minutes are open. */

import { counted } from "../../shared/counted.ts";
import type { Command } from "../command.ts";
import { wholeNumber } from "../command-line.ts";
import { textTable } from "../text-table.ts";

export const watermark: Command = {
  name: "watermark",
  summary: "the minute up to which everything accepted has ended, and the minutes still open",
  about:
    "It trails by about six minutes when all is well. Use it as `everything before is complete` in batch jobs.",
  args: { text: "", min: 0, max: 0 },
  flags: {
    since: {
      value: "TIME",
      help: "exit code 1 unless the watermark has reached this time (ISO 8601)",
      check: (text) =>
        Number.isNaN(Date.parse(text)) ? "is a time such as 2026-11-24T12:00:00Z" : undefined,
    },
    open: { value: "N", help: "open minutes to list (default 10)", check: wholeNumber(0, 100) },
  },
  examples: [
    "headrace watermark",
    "headrace watermark --since 2026-11-24T00:00:00Z && ./build-daily-report",
    "headrace watermark --json | jq -r .watermark",
  ],
  exitOne: "there is no watermark yet, or it has not reached --since",
  asksConsole: true,
  async run({ given, console, say, json }) {
    const answer = await console.ask("GET /api/watermark");
    json(answer);
    if (answer.watermark === null) {
      say("no watermark yet: the reconciler has not run");
      return 1;
    }
    say(`${answer.watermark}, ${Math.round((answer.behindSeconds ?? 0) / 60)} min behind`);
    const open = answer.openMinutes.slice(0, Number(given.text("open") ?? 10));
    if (open.length > 0) {
      say(`${counted(answer.openMinutesCount, "open minute")}, the oldest first:`);
      say(
        textTable(
          ["minute", "pending", "listed", "looked at again", "one of them"],
          open.map(({ minute, pending, listed, dueAt, example }) => [
            minute,
            String(pending),
            String(listed),
            dueAt,
            example ?? "",
          ]),
        ),
      );
    }
    const since = given.text("since");
    return since !== undefined && Date.parse(answer.watermark) < Date.parse(since) ? 1 : 0;
  },
};
