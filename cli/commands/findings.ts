/** `headrace findings`: what a person should know. */
import { findingKinds } from "../../shared/finding.ts";
import type { Command } from "../command.ts";
import { findingLine } from "./status.ts";

export const findings: Command = {
  name: "findings",
  summary: "conditions that need attention, open ones first",
  about: `What each kind means and what to do: docs/operating.md. Kinds: ${findingKinds.join(", ")}.`,
  args: { text: "", min: 0, max: 0 },
  flags: {
    all: { help: "the resolved ones too" },
    kind: {
      value: "KIND",
      help: "only this kind",
      check: (text) =>
        findingKinds.some((kind) => kind === text) ? undefined : `is one of ${findingKinds.join(", ")}`,
    },
  },
  examples: ["headrace findings", "headrace findings --all --kind rescued", "headrace findings --json"],
  exitOne: "one is open",
  asksConsole: true,
  async run({ given, console, say, json }) {
    const kind = given.text("kind");
    const listed = (await console.ask("GET /api/findings")).filter(
      (finding) =>
        (given.has("all") || finding.state === "open") && (kind === undefined || finding.kind === kind),
    );
    json(listed);
    const { trouble } = await console.ask("GET /api/status");
    if (listed.length === 0) {
      say(trouble !== "" ? "no finding is known" : given.has("all") ? "no finding" : "no finding is open");
    }
    if (trouble !== "") {
      say(`while this lasts, the list may be incomplete: ${trouble}`);
    }
    for (const finding of listed) {
      say(`${finding.state.padEnd(8)}  since ${finding.openedAt}  ${findingLine(finding)}`);
    }
    return listed.some(({ state }) => state === "open") ? 1 : 0;
  },
};
