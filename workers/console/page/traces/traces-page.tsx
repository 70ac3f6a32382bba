/** The newest traces, or those that a filter wants. The filter is the link. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { aboutSchema } from "../../../../shared/console/answers.ts";
import { tracesPagePath } from "../../../../shared/console/page-routes.ts";
import { parseFilter } from "../../../../shared/console/trace-filter.ts";
import { type Traces, tracesSchema, traceTimesSchema } from "../../../../shared/console/traces.ts";
import { type Answer, useAnswer } from "../answer.ts";
import { FirstSteps } from "../first-steps.tsx";
import { goTo } from "../route.ts";
import { Top } from "../top.tsx";
import { Waiting } from "../waiting.tsx";
import { Histogram } from "./histogram.tsx";
import { NothingFound } from "./nothing-found.tsx";
import { TraceFilter } from "./trace-filter.tsx";
import { TraceList } from "./trace-list.tsx";

/** New traces show by themselves where the question is a cheap one. */
const lookAgainMs = 5000;
const spanConditions = ["name", "service", "status", "minDuration", "maxDuration", "where"];

interface TracesPageProps {
  readonly search: URLSearchParams;
  readonly apiKey: string;
}

export function TracesPage({ search, apiKey }: TracesPageProps) {
  const query = search.toString();
  const problem = useMemo(() => filterProblem(search), [query]);
  const hasConditions = spanConditions.some((name) => search.has(name));
  /** Further pages stand behind the first: it stays as it is, or traces would be missing in between. */
  const [isPaged, setPaged] = useState(false);
  useEffect(() => setPaged(false), [query]);
  useEffect(() => {
    document.title = "Traces · Headrace";
  }, []);
  const everyMs = hasConditions || search.has("from") || isPaged ? null : lookAgainMs;
  const listed = useAnswer(problem === "" ? `/api/traces?${query}` : "", tracesSchema, everyMs);
  const times = useAnswer(
    problem === "" ? `/api/trace-times?${unsorted(search)}` : "",
    traceTimesSchema,
    everyMs,
  );
  const shownTimes = useLast(times.value);
  const about = useAnswer("/api/about", aboutSchema);
  const isFiltered = hasConditions || search.has("tenant");
  const isEmpty = listed.value?.traces.length === 0;
  return (
    <>
      <Top page="traces" />
      <main class="traces">
        <section class="panel" aria-labelledby="traces-title">
          <h1 id="traces-title">Traces</h1>
          <TraceFilter search={search} problem={problem} />
          {times.failure !== "" && times.failure !== listed.failure && (
            <p class="stale">Not up to date. {times.failure}</p>
          )}
          {shownTimes !== undefined && problem === "" && (
            <Histogram
              times={shownTimes}
              isOld={times.value === undefined}
              onRange={(from, to) => goTo(tracesPagePath(within(search, from, to)))}
            />
          )}
        </section>
        {problem === "" && (
          <ListPanel listed={listed} search={search} isFiltered={isFiltered} onPaged={() => setPaged(true)} />
        )}
        {isEmpty && !isFiltered && <FirstSteps about={about} apiKey={apiKey} />}
      </main>
    </>
  );
}

interface ListPanelProps {
  readonly listed: Answer<Traces>;
  readonly search: URLSearchParams;
  readonly isFiltered: boolean;
  readonly onPaged: () => void;
}

function ListPanel({
  listed: { value, failure, isAsking, again },
  search,
  isFiltered,
  onPaged,
}: ListPanelProps) {
  const query = search.toString();
  return (
    <section class="panel" aria-label="List of traces">
      {failure !== "" && (
        <p class="stale" role="alert">
          {failure}{" "}
          <button type="button" disabled={isAsking} onClick={again}>
            Ask again
          </button>
        </p>
      )}
      {value === undefined && isAsking && <Waiting what="Searching" />}
      {value !== undefined && (
        <TraceList key={query} first={value} query={query} search={search} onPaged={onPaged} />
      )}
      {value?.traces.length === 0 && value.searched.isWhole && (
        <NothingFound search={search} isFiltered={isFiltered} />
      )}
    </section>
  );
}

/** What was last known: the histogram of the filter before stays until the next one is there, and keeps the focus. */
function useLast<T>(value: T | undefined): T | undefined {
  const last = useRef(value);
  if (value !== undefined) {
    last.current = value;
  }
  return last.current;
}

/** What is wrong with a link's filter, in words; empty: nothing is. */
function filterProblem(search: URLSearchParams): string {
  const filter = parseFilter(search, Date.now());
  return filter.ok ? "" : `${filter.refusal}.`;
}

function unsorted(search: URLSearchParams): URLSearchParams {
  const filter = new URLSearchParams(search);
  filter.delete("sort");
  return filter;
}

function within(search: URLSearchParams, from: string, to: string): URLSearchParams {
  const narrowed = new URLSearchParams(search);
  narrowed.delete("since");
  narrowed.set("from", from);
  narrowed.set("to", to);
  return narrowed;
}
