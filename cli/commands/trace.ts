/** `headrace trace`: one trace as a waterfall, and what brought its spans in. */

import { durationText } from "../../shared/console/duration-text.ts";
import { pageLink, tracePagePath } from "../../shared/console/page-routes.ts";
import { counted } from "../../shared/counted.ts";
import type { Call, Command } from "../command.ts";
import { printableText } from "../printable-text.ts";
import { spanLines } from "../span-text.ts";
import type { ExitCode } from "../user-error.ts";
import { payloadLines, waterfall } from "../waterfall.ts";

/** Without --all: what a person looks through. */
const linesShown = 200;
const payloadsShown = 10;
/** Where the answer goes into a file or another program. */
const columnsOfFiles = 120;

export const traceShow: Command = {
  name: "trace",
  summary: "a trace as a waterfall, and the payloads that it came in",
  about:
    "A line per span in the order of the tree, its bar where it lies in the trace's time. Missing parents, cycles of\nparents and clocks that disagree are marked and explained. Below: which payloads brought the spans, in which group, and how that\nended. --json has attributes, events and links too, cut where they are long; --span SPAN has all that one span says.",
  args: { text: "<trace id>", min: 1, max: 1 },
  flags: {
    all: { help: `every span, not only the first ${linesShown}` },
    span: {
      value: "SPAN_ID",
      help: "all that this span says, instead of the waterfall",
      check: (text) => (/^[0-9a-f]{16}$/i.test(text) ? undefined : "is a span id: 16 hex digits"),
    },
    tenant: { value: "NAME", help: "the spans of this tenant alone: one trace id may be several tenants'" },
  },
  examples: [
    "headrace trace 5b8efff798038103d269b633813fc60c",
    "headrace trace 5b8efff798038103d269b633813fc60c --json",
    "headrace trace 5b8efff798038103d269b633813fc60c --span 051581bf3cb55c13",
  ],
  exitOne: "the table has no span of it, not that span, or none of that tenant",
  asksConsole: true,
  run: showTrace,
};

async function showTrace({ given, console, installation, context, say, json }: Call): Promise<ExitCode> {
  const [id = ""] = given.args;
  const tenant = given.text("tenant");
  const of = tenant === undefined ? {} : { tenant };
  const spanId = given.text("span");
  if (spanId !== undefined) {
    const span = await console.ask("GET /api/trace-span", { query: { trace: id, span: spanId, ...of } });
    json(span);
    for (const line of [...spanLines(span), ...span.notes.map(printableText)]) {
      say(line);
    }
    return span.spans.length === 0 ? 1 : 0;
  }
  if (given.has("json")) {
    const whole = await console.ask("GET /api/trace", { query: { id, ...of } });
    json(whole);
    return whole.spans.length === 0 ? 1 : 0;
  }
  const trace = await console.ask("GET /api/trace-shape", { query: { id, ...of } });
  let { notes } = trace;
  if (trace.start !== null) {
    const errors = trace.errorsCount === 0 ? "no error" : counted(trace.errorsCount, "error");
    say(
      `trace ${trace.traceId}: ${trace.start}, ${durationText(trace.durationNs)}, ${counted(trace.spansCount, "span")}, ${errors}`,
    );
    say("");
    for (const line of waterfall(
      trace,
      context.columns ?? columnsOfFiles,
      given.has("all") ? Number.POSITIVE_INFINITY : linesShown,
    )) {
      say(line);
    }
    say("");
    const whole = await console.ask("GET /api/trace", { query: { id, ...of } });
    ({ notes } = whole);
    for (const line of payloadLines(whole, payloadsShown)) {
      say(line);
    }
  }
  for (const note of notes) {
    say(printableText(note));
  }
  if (tenant === undefined && trace.tenants.length > 1) {
    say("Spans of one tenant alone: --tenant NAME");
  }
  if (trace.start !== null && installation !== undefined) {
    say(pageLink(installation.console, tracePagePath(trace.traceId, "", tenant)));
  }
  return trace.spans.length === 0 ? 1 : 0;
}
