/** `headrace reconcile`: rings now what nobody holds, instead of waiting for the cron. */
import type { Command } from "../command.ts";

export const reconcile: Command = {
  name: "reconcile",
  summary: "notify now whatever R2 has and the ledger does not hold, however recent",
  about: "The cron does this each minute for what is older than five minutes. Safe to repeat.",
  args: { text: "", min: 0, max: 0 },
  flags: {},
  examples: ["headrace reconcile", "headrace reconcile --json"],
  exitOne: "another run is under way",
  asksConsole: true,
  async run({ console, say, json }) {
    const report = await console.ask("POST /api/reconcile");
    json(report);
    say(
      report === null
        ? "another run is under way"
        : Object.entries(report)
            .filter(([, value]) => typeof value === "number")
            .map(([name, value]) => `${name} ${value}`)
            .join(", "),
    );
    return report === null ? 1 : 0;
  },
};
