/**
 * A trace of few spans and few bytes: read by one query, and cut here as `traceSpansQuestion` cuts a larger one in ClickHouse. Both give
 * the same rows (test/engine/traces.test.ts).
 */
import * as v from "valibot";
import type { ClickHouseSettings } from "../../shared/clickhouse/connection.ts";
import { type AskedTrace, type Cut, smallTraceQuestion } from "../../shared/console/one-trace-queries.ts";
import type { Attributes } from "../../shared/console/traces.ts";
import { limits } from "../../shared/limits.ts";
import type { Ask, SpanRow } from "./read-trace.ts";
import { isTooMuch } from "./trace-search.ts";

export const pairs = v.array(v.tuple([v.string(), v.string()]));
const texts = v.array(v.string());
/** What a waterfall draws of a span. */
export const shapeEntries = {
  spanId: v.string(),
  parentSpanId: v.string(),
  name: v.string(),
  service: v.string(),
  kind: v.string(),
  at: v.string(),
  durationNs: v.number(),
  status: v.string(),
  tenant: v.string(),
};
/** What a span's row says of itself, cut or whole. */
export const spanEntries = {
  ...shapeEntries,
  statusMessage: v.string(),
  scope: v.string(),
  payload: v.string(),
};
const smallSchema = v.array(
  v.object({
    ...spanEntries,
    resource: pairs,
    attributes: pairs,
    eventTimes: texts,
    eventNames: texts,
    eventAttributes: v.array(pairs),
    linkTraces: texts,
    linkSpans: texts,
    linkAttributes: v.array(pairs),
  }),
);
type SmallRow = v.InferOutput<typeof smallSchema>[number];

/** Its spans by their begin; null: it is larger, or not there. */
export async function readSmallTrace(
  settings: ClickHouseSettings,
  ask: Ask,
  asked: AskedTrace,
  cut: Cut,
): Promise<readonly SpanRow[] | null> {
  let rows: readonly SmallRow[];
  try {
    rows = await ask(smallTraceQuestion(settings, asked), smallSchema);
  } catch (error) {
    if (!isTooMuch(error)) {
      throw error;
    }
    return null;
  }
  if (rows.length === 0 || rows.length > limits.traceSmallSpansMax) {
    return null;
  }
  const resources = new Set<string>();
  return rows.toSorted(byBegin).map((row) => spanRowOf(row, resources, cut));
}

function byBegin(a: SmallRow, b: SmallRow): number {
  const [left, right] = [BigInt(a.at), BigInt(b.at)];
  return left === right ? (a.spanId < b.spanId ? -1 : 1) : left < right ? -1 : 1;
}

/** `resources`: those of the spans before it. */
function spanRowOf(row: SmallRow, resources: Set<string>, cut: Cut): SpanRow {
  const { eventTimes, eventNames, eventAttributes, linkTraces, linkSpans, linkAttributes, ...span } = row;
  const resource = JSON.stringify([row.service, row.resource]);
  const isFirst = !resources.has(resource);
  resources.add(resource);
  const shown = (list: readonly string[]): readonly string[] => list.slice(0, cut.members);
  return {
    ...span,
    name: cutText(row.name, cut),
    statusMessage: cutText(row.statusMessage, cut),
    scope: cutText(row.scope, cut),
    resource,
    isFirst: Number(isFirst),
    resourceAttributes: isFirst ? cutPairs(row.resource, cut) : [],
    resourceCount: row.resource.length,
    attributesCount: row.attributes.length,
    eventsCount: eventTimes.length,
    linksCount: linkTraces.length,
    hasDetail: 1,
    attributes: cutPairs(row.attributes, cut),
    events: shown(eventTimes).map((at, n) => [
      at,
      cutText(eventNames[n] ?? "", cut),
      cutPairs(eventAttributes[n] ?? [], cut),
      eventAttributes[n]?.length ?? 0,
    ]),
    links: shown(linkTraces).map((trace, n) => [
      trace,
      linkSpans[n] ?? "",
      cutPairs(linkAttributes[n] ?? [], cut),
      linkAttributes[n]?.length ?? 0,
    ]),
  };
}

function cutPairs(list: Attributes, cut: Cut): [string, string][] {
  return list.slice(0, cut.members).map(([key, value]) => [cutText(key, cut), cutText(value, cut)]);
}

/** At most so many characters as ClickHouse counts them, which are code points, with … where something was cut off. */
function cutText(text: string, { textChars }: Cut): string {
  if (text.length <= textChars) {
    return text;
  }
  const points = [...text];
  return points.length > textChars ? `${points.slice(0, textChars).join("")}…` : text;
}
