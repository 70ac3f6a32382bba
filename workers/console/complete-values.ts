/** `GET /api/trace-values`: services, names, tenants, attribute keys and values that the newest spans have, to complete a filter with. */
import * as v from "valibot";
import { msToNs, shortInstant } from "../../shared/console/instant.ts";
import { type ValuesQuestion, valuesQuestion } from "../../shared/console/one-trace-queries.ts";
import { parseFilter } from "../../shared/console/trace-filter.ts";
import { type TraceValues, valueKinds } from "../../shared/console/traces.ts";
import { limits } from "../../shared/limits.ts";
import { ok, type Result, refuse } from "../../shared/result.ts";
import { type Search, walk } from "./trace-search.ts";

const rowsSchema = v.array(
  v.object({ scope: v.picklist(["", "span", "resource"]), value: v.string(), spans: v.number() }),
);
type Value = TraceValues["values"][number];

export function parseValuesQuestion(
  parameters: URLSearchParams,
  nowMs: number,
): Result<ValuesQuestion, string> {
  const of = valueKinds.find((kind) => kind === parameters.get("of"));
  if (of === undefined) {
    return refuse(`of is one of ${valueKinds.join(", ")}`);
  }
  const [part, key] = [parameters.get("prefix") ?? "", parameters.get("key") ?? ""];
  if (of === "value" && key === "") {
    return refuse("key is missing: it names the attribute whose values to list");
  }
  if (Math.max(part.length, key.length) > limits.traceConditionCharsMax) {
    return refuse(`prefix and key have at most ${limits.traceConditionCharsMax} characters`);
  }
  const filter = parseFilter(parameters, nowMs);
  return filter.ok ? ok({ of, part, key, filter: filter.value }) : filter;
}

const firstNs = 15n * 60_000_000_000n;

/** Looks no further than until it has seen enough: who completes a filter has begun to type. */
export async function completeValues(search: Search, asked: ValuesQuestion): Promise<TraceValues> {
  const found = new Map<string, Value>();
  const range = { from: msToNs(asked.filter.fromMs), to: msToNs(asked.filter.toMs) };
  let spans = 0;
  const walked = await walk(search, range, { firstNs }, async (slice) => {
    const question = valuesQuestion(search.clickHouse.settings, asked, slice);
    for (const row of await search.ask(question, rowsSchema)) {
      const id = `${row.scope} ${row.value}`;
      found.set(id, { ...row, spans: row.spans + (found.get(id)?.spans ?? 0) });
      spans += row.spans;
    }
    return spans >= limits.traceValuesSpans || limits.traceSearchMs - search.left() > limits.traceValuesMs;
  });
  const sorted = [...found.values()].sort((a, b) => b.spans - a.spans || (a.value < b.value ? -1 : 1));
  const values = sorted.slice(0, limits.traceValuesListed);
  return {
    of: asked.of,
    values,
    notes: [
      ...(walked.isWhole
        ? []
        : [`What spans since ${shortInstant(walked.from)} have; older ones were not looked at.`]),
      ...(sorted.length >= limits.traceValuesListed
        ? [`The ${values.length} most frequent: type a part of it for others.`]
        : []),
    ],
  };
}
