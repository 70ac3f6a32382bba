/** `GET /api/traces`: the newest or the longest traces that a filter finds, as far as the budget of time reaches. */
import * as v from "valibot";
import { formatInstant, isWithinReach, msToNs } from "../../shared/console/instant.ts";
import { asksOfSpans, parseFilter, type TraceFilter } from "../../shared/console/trace-filter.ts";
import {
  countTracesQuestion,
  endedBeforeQuestion,
  type LaterPage,
  type ListOptions,
  listedBeforeQuestion,
  listRootsQuestion,
  listSpansQuestion,
  type PageCursor,
  type Question,
  type Slice,
  type Sort,
  traceTimesQuestion,
} from "../../shared/console/trace-queries.ts";
import type { ListedTrace, Traces } from "../../shared/console/traces.ts";
import { limits } from "../../shared/limits.ts";
import { ok, type Result, refuse } from "../../shared/result.ts";
import { isOutOfTime, isTooMuch, type Search, timeUsedUp, type Walked, walk } from "./trace-search.ts";

const spanFields = {
  traceId: v.string(),
  /** Of the span, ns since the epoch. */
  at: v.pipe(
    v.string(),
    v.transform((text) => BigInt(text)),
  ),
  service: v.string(),
  name: v.string(),
  kind: v.string(),
  status: v.string(),
  durationNs: v.number(),
  tenant: v.string(),
  spanId: v.string(),
};
const foundSchema = v.array(v.object({ ...spanFields, matched: v.number() }));
type Found = v.InferOutput<typeof foundSchema>[number];
const countedSchema = v.array(
  v.object({ ...spanFields, spans: v.number(), errors: v.number(), hasRoot: v.number() }),
);
type Counted = v.InferOutput<typeof countedSchema>[number];
const timesSchema = v.array(v.object({ begin: v.number(), end: v.number() }));
const idsSchema = v.array(v.object({ traceId: v.string() }));

export interface ListQuestion {
  readonly filter: TraceFilter;
  readonly options: ListOptions;
  /** When the first page was asked for, ms since the epoch: where no end is named, all of its pages end there. */
  readonly askedMs: number;
}

/** The filter, and `sort`, `limit` and `cursor` beside it. A refusal says which is wrong. */
export function parseListQuestion(parameters: URLSearchParams, nowMs: number): Result<ListQuestion, string> {
  const sort = parameters.get("sort") ?? "time";
  if (sort !== "time" && sort !== "duration") {
    return refuse("sort is time (newest first) or duration (longest first)");
  }
  const limit = Number(parameters.get("limit") ?? limits.tracesListed);
  if (!(Number.isInteger(limit) && limit >= 1 && limit <= limits.tracesListedMax)) {
    return refuse(`limit is a whole number from 1 to ${limits.tracesListedMax}`);
  }
  const cursor = parameters.get("cursor") ?? "";
  const page = cursor === "" ? { askedMs: nowMs, after: null } : parseCursor(cursor);
  if (page === undefined) {
    return refuse("cursor is what an earlier answer of this version returned, or left out");
  }
  const filter = parseFilter(parameters, page.askedMs);
  return filter.ok
    ? ok({ filter: filter.value, options: { sort, limit, after: page.after }, askedMs: page.askedMs })
    : filter;
}

interface Page {
  readonly askedMs: number;
  readonly after: PageCursor;
}

function parseCursor(text: string): Page | undefined {
  const [, asked, at, duration, traceId] = /^(\d{1,13})\.(\d{1,19})\.(\d{1,20})\.(.{0,64})$/.exec(text) ?? [];
  if (asked === undefined || at === undefined || duration === undefined || traceId === undefined) {
    return undefined;
  }
  const page = {
    askedMs: Number(asked),
    after: { at: BigInt(at), durationNs: Number(duration), traceId },
  };
  return isWithinReach(page.askedMs) && isWithinReach(Number(page.after.at) / 1e6) ? page : undefined;
}

function formatCursor({ askedMs, after: { at, durationNs, traceId } }: Page): string {
  return `${askedMs}.${at}.${BigInt(Math.round(durationNs))}.${traceId}`;
}

const minuteNs = 60_000_000_000n;

export async function listTraces(search: Search, question: ListQuestion): Promise<Traces> {
  const { filter, options } = question;
  const byRoots = search.hasProjection && !asksOfSpans(filter);
  const whole = { from: msToNs(filter.fromMs), to: msToNs(filter.toMs) };
  const range = options.sort === "time" ? upTo(whole, options.after) : whole;
  const found = new Map<string, Found>();
  const walked = await walk(
    search,
    range,
    { firstNs: byRoots ? minuteNs : 15n * minuteNs },
    async (slice) => {
      take(found, await rowsOf(search, question, slice, byRoots), options.sort);
      return options.sort === "time" && found.size > options.limit;
    },
  );
  const sorted = [...found.values()].sort(orderOf(options.sort));
  const page = sorted.slice(0, options.limit);
  const counted = await countFound(search, page, byRoots);
  const notes = notesOf(search, options.sort, walked);
  return {
    traces: page.map((one) => listed(one, counted?.get(one.traceId), asksOfSpans(filter))),
    searched: {
      from: formatInstant(walked.from),
      to: formatInstant(range.to),
      isWhole: walked.isWhole,
    },
    notes: counted === null ? [...notes, uncounted] : notes,
    cursor: cursorOf(question, page, sorted.length, walked),
  };
}

/** One row more than a page has says that there is another one. */
async function rowsOf(
  search: Search,
  { filter, options }: ListQuestion,
  slice: Slice,
  byRoots: boolean,
): Promise<readonly Found[]> {
  const { settings } = search.clickHouse;
  const limit = options.limit + 1;
  const ask = byRoots ? listRootsQuestion : listSpansQuestion;
  const { sort } = options;
  if (options.after === null) {
    return await search.ask(ask(settings, filter, slice, { ...options, limit }), foundSchema);
  }
  const page: LaterPage = { sort, after: options.after };
  const rows: Found[] = [];
  for (let { after } = page; ; ) {
    const more = await search.ask(ask(settings, filter, slice, { sort, limit, after }), foundSchema);
    const earlier = await listedBefore(search, filter, page, more, byRoots);
    rows.push(...more.filter(({ traceId }) => !earlier.has(traceId)));
    const last = more.at(-1);
    if (last === undefined || more.length < limit || rows.length >= limit) {
      return rows;
    }
    after = last;
  }
}

/** Those that an earlier page has: they match again further down. */
async function listedBefore(
  search: Search,
  filter: TraceFilter,
  page: LaterPage,
  rows: readonly Found[],
  byRoots: boolean,
): Promise<ReadonlySet<string>> {
  const { settings } = search.clickHouse;
  const ids = async (question: Question): Promise<ReadonlySet<string>> =>
    new Set((await search.ask(question, idsSchema, limits.traceCountMs)).map(({ traceId }) => traceId));
  const all = rows.map(({ traceId }) => traceId);
  const { at } = page.after;
  const whole = { from: msToNs(filter.fromMs), to: msToNs(filter.toMs) };
  if (page.sort === "duration") {
    return all.length === 0
      ? new Set()
      : await ids(listedBeforeQuestion(settings, filter, whole, page, all, byRoots));
  }
  // Most traces are over before the cursor: the view of trace ids knows it, and no span is read.
  const ended = all.length === 0 ? new Set() : await ids(endedBeforeQuestion(settings, all, at));
  const open = all.filter((traceId) => !ended.has(traceId));
  return open.length === 0 || at >= whole.to
    ? new Set()
    : await ids(listedBeforeQuestion(settings, filter, { from: at, to: whole.to }, page, open, byRoots));
}

const uncounted = "Spans and errors per trace were not counted: the time limit was reached.";

function upTo(range: Slice, after: PageCursor | null): Slice {
  return after === null || after.at >= range.to ? range : { from: range.from, to: after.at + 1n };
}

/** A trace that several slices have is listed once, where its newest span, or its longest, is. */
function take(found: Map<string, Found>, rows: readonly Found[], sort: Sort): void {
  for (const row of rows) {
    const before = found.get(row.traceId);
    if (before === undefined) {
      found.set(row.traceId, row);
    } else {
      const first = orderOf(sort)(before, row) <= 0 ? before : row;
      found.set(row.traceId, { ...first, matched: before.matched + row.matched });
    }
  }
}

function orderOf(sort: Sort): (a: Found, b: Found) => number {
  const byTime = (a: Found, b: Found): number =>
    a.at < b.at ? 1 : a.at > b.at ? -1 : byText(b.traceId, a.traceId);
  return sort === "time" ? byTime : (a, b) => b.durationNs - a.durationNs || byTime(a, b);
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** What a trace's spans are looked for in beyond its root's own time: those that nobody waited for. */
const lateNs = 5n * minuteNs;
/** A longer root is counted no further than this: its minutes would be read for all. */
const rootNsMax = 15n * minuteNs;

/** Spans, errors and roots of the traces on a page; null: the time was used up. */
async function countFound(
  search: Search,
  page: readonly Found[],
  byRoots: boolean,
): Promise<ReadonlyMap<string, Counted> | null> {
  const [first] = page;
  if (first === undefined) {
    return new Map();
  }
  const { settings } = search.clickHouse;
  const ids = page.map(({ traceId }) => traceId);
  try {
    const slice = byRoots ? timeOfRoots(page) : await timeOf(search, ids, first);
    const rows = await search.ask(
      countTracesQuestion(settings, ids, slice),
      countedSchema,
      limits.traceCountMs,
    );
    return new Map(rows.map((row) => [row.traceId, row]));
  } catch (error) {
    if (isTooMuch(error) || isOutOfTime(error, search)) {
      return null;
    }
    throw error;
  }
}

function timeOfRoots(page: readonly Found[]): Slice {
  let from = page[0]?.at ?? 0n;
  let to = from;
  for (const { at, durationNs } of page) {
    const duration = BigInt(Math.round(durationNs));
    const end = at + (duration > rootNsMax ? rootNsMax : duration);
    from = at < from ? at : from;
    to = end > to ? end : to;
  }
  return { from: from - minuteNs, to: to + lateNs };
}

/** By the view of trace ids; where it knows none of them, about where they were found. */
async function timeOf(search: Search, ids: readonly string[], found: Found): Promise<Slice> {
  const question = traceTimesQuestion(search.clickHouse.settings, ids);
  const [times] = await search.ask(question, timesSchema, limits.traceCountMs);
  return times === undefined
    ? { from: found.at - 60n * minuteNs, to: found.at + 60n * minuteNs }
    : { from: msToNs(times.begin * 1000), to: msToNs((times.end + 1) * 1000) };
}

function listed(found: Found, counted: Counted | undefined, asksSpans: boolean): ListedTrace {
  const root = counted?.hasRoot === 1 ? counted : asksSpans ? null : found;
  const { spanId, service, name, kind, status } = root ?? found;
  const span = {
    spanId: found.spanId,
    service: found.service,
    name: found.name,
    kind: found.kind,
    status: found.status,
  };
  return {
    traceId: found.traceId,
    tenant: (root ?? found).tenant,
    start: formatInstant((root ?? found).at),
    durationNs: (root ?? found).durationNs,
    root: root === null ? null : { spanId, service, name, kind, status },
    spans: counted?.spans ?? null,
    errors: counted?.errors ?? null,
    matched: asksSpans ? found.matched : 0,
    span: asksSpans ? { ...span, start: formatInstant(found.at), durationNs: found.durationNs } : null,
  };
}

function notesOf(search: Search, sort: Sort, walked: Walked): string[] {
  const notes: string[] = [];
  if (walked.endedBy === "time") {
    notes.push(timeUsedUp(walked, search));
    if (sort === "duration") {
      notes.push("These are the longest of what was searched.");
    }
  }
  return notes;
}

function cursorOf(
  { options: { sort, limit }, askedMs }: ListQuestion,
  page: readonly Found[],
  foundCount: number,
  walked: Walked,
): string | null {
  const last = page.at(-1);
  if (foundCount > limit && last !== undefined) {
    // By duration what follows is known only where all was searched.
    return sort === "time" || walked.isWhole ? formatCursor({ askedMs, after: last }) : null;
  }
  return walked.isWhole || sort === "duration"
    ? null
    : formatCursor({ askedMs, after: { at: walked.from, durationNs: 0, traceId: "" } });
}
