/** `headrace accept-table`: a person says that the table which answers now is the one to insert into. */
import type { Command } from "../command.ts";

export const acceptTable: Command = {
  name: "accept-table",
  summary:
    "insert into the table that answers now, although it is not the one of before (finding `table_check`)",
  about:
    "The ledger remembers which table it inserts into, and stops when another one answers under its name: the table was dropped and recreated, exchanged or attached elsewhere, or there are two servers behind one address.\nAccept it if the new table is the right one. What was tried and not acknowledged at the old one is verified at the new one, and inserted where it is missing. What was stored at the old one is not: the deletion round, a week after a payload's arrival, finds it missing and inserts it again.",
  args: { text: "", min: 0, max: 0 },
  flags: {},
  examples: ["headrace accept-table"],
  exitOne: "the console refused it",
  asksConsole: true,
  async run({ console, say, json }) {
    const answer = await console.ask("POST /api/accept-table");
    json(answer);
    say(
      "accepted: the ledger identifies the table before the next INSERT. `headrace findings` shows the finding resolved within minutes",
    );
    return answer.accepted ? 0 : 1;
  },
};
