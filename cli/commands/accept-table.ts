/** `headrace accept-table`: a person says that the table which answers now is the one to insert into. */
import type { Command } from "../command.ts";

export const acceptTable: Command = {
  name: "accept-table",
  summary:
    "insert into the table that answers now, although it is another one than before (finding `table_check`)",
  about:
    "The ledger remembers which table it inserts into, and halts when another one answers under its name: the table was dropped and created anew, exchanged or attached elsewhere, or there are two servers behind one address.\nAccept it when you mean the new table. What was tried and not acknowledged at the old one is verified at the new one, and inserted where it is missing. What was stored at the old one is not: the deletion round, a week after a payload's arrival, misses it and brings it back.",
  operands: { text: "", min: 0, max: 0 },
  flags: {},
  examples: ["headrace accept-table"],
  badNews: "the console did not take it",
  asksConsole: true,
  async run({ console, say, json }) {
    const answer = await console.ask("POST /api/accept-table");
    json(answer);
    say(
      "accepted: the ledger looks which table it is before the next INSERT. `headrace findings` shows it resolved within minutes",
    );
    return answer.accepted ? 0 : 1;
  },
};
