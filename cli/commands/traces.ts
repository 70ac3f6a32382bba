/** `headrace traces`: the newest traces, or those that a filter finds. */
import { durationText } from "../../shared/console/duration-text.ts";
import { spanName } from "../../shared/console/span-name.ts";
import { parseCondition, parseDuration } from "../../shared/console/trace-filter.ts";
import type { ListedTrace } from "../../shared/console/traces.ts";
import { limits } from "../../shared/limits.ts";
import type { Call, Command, Flag } from "../command.ts";
import { wholeNumber } from "../command-line.ts";
import { shortText } from "../printable-text.ts";
import { textTable } from "../text-table.ts";

const duration = (help: string): Flag => ({
  value: "DURATION",
  help,
  check: (text) =>
    parseDuration(text) === undefined ? "is a number and a unit (250us, 100ms, 1.5s, 15m, 7d)" : undefined,
});

export const traces: Command = {
  name: "traces",
  summary: "the newest traces, or those that a filter finds",
  about:
    "A trace is found if one of its spans meets all conditions. Conditions on attributes, of the span or its\nresource: key=value, key!=value, key (has it), !key (has it not); span.key or resource.key looks at only one of them.\nA search ends after 8 s and says how far back it got: narrow the filter or the time, or continue with --cursor.",
  args: { text: "", min: 0, max: 0 },
  flags: {
    since: duration("how far back (default: 1h)"),
    from: { value: "TIME", help: "from when (2026-11-24T07:41:00Z), instead of --since" },
    to: { value: "TIME", help: "until when (default: now)" },
    service: { value: "NAME", help: "spans of this service" },
    name: { value: "NAME", help: "spans of this name" },
    error: { help: "spans with an error" },
    "min-duration": duration("spans at least as long"),
    "max-duration": duration("spans at most as long"),
    tenant: { value: "TENANT", help: "spans of this tenant" },
    where: {
      value: "CONDITION",
      help: "a condition on an attribute; several times: all of them",
      isRepeatable: true,
      check: (text) => {
        const condition = parseCondition(text);
        return condition.ok ? undefined : "is key=value, key!=value, key or !key";
      },
    },
    root: { help: "look only at spans without a parent (fast)" },
    longest: { help: "longest first, not newest first" },
    limit: {
      value: "N",
      help: `how many (default: 20, at most ${limits.tracesListedMax})`,
      check: wholeNumber(1, limits.tracesListedMax),
    },
    cursor: { value: "CURSOR", help: "where the previous answer ended" },
  },
  examples: [
    "headrace traces",
    "headrace traces --service checkout --error --since 24h",
    "headrace traces --where http.route=/cart --where !user.id --min-duration 500ms",
    "headrace traces --longest --since 15m --json",
  ],
  exitOne: "no trace was found",
  asksConsole: true,
  async run({ given, console, say, json }) {
    const answer = await console.ask("GET /api/traces", { query: queryOf(given) });
    json(answer);
    if (answer.traces.length === 0) {
      say(
        answer.searched.isWhole
          ? "no trace was found: `npm run send` sends some locally, `headrace status` says what is in flight"
          : "no trace was found as far as the search got",
      );
    } else {
      say(
        textTable(
          ["start (UTC)", "duration", "spans", "errors", "service", "name", "trace"],
          answer.traces.map(lineOf),
        ),
      );
    }
    for (const note of answer.notes) {
      say(note);
    }
    if (answer.cursor !== null) {
      say(`for more, add --cursor ${answer.cursor}`);
    }
    return answer.traces.length === 0 ? 1 : 0;
  },
};

function queryOf(given: Call["given"]) {
  const texts = {
    since: given.text("since"),
    from: given.text("from"),
    to: given.text("to"),
    service: given.text("service"),
    name: given.text("name"),
    minDuration: given.text("min-duration"),
    maxDuration: given.text("max-duration"),
    tenant: given.text("tenant"),
    status: given.has("error") ? "error" : undefined,
    match: given.has("root") ? "root" : undefined,
    sort: given.has("longest") ? "duration" : undefined,
    cursor: given.text("cursor"),
  };
  const named = Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== undefined));
  return { ...named, limit: given.text("limit") ?? "20", where: [...given.texts("where")] };
}

function lineOf({ start, durationNs, spans, errors, root, span, traceId }: ListedTrace): string[] {
  const shown = root ?? span;
  return [
    start.slice(0, 23).replace("T", " "),
    durationText(durationNs),
    spans === null ? "?" : String(spans),
    errors === null ? "?" : String(errors),
    shortText(shown?.service ?? "", 24),
    shortText(`${root === null ? "(no root) " : ""}${shown === null ? "" : spanName(shown.name)}`, 44),
    shortText(traceId, 32),
  ];
}
