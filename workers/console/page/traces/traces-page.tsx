/** The newest traces, or those that a filter wants. The filter is the link. */
import { useContext, useEffect, useState } from "preact/hooks";
import { aboutSchema } from "../../../../shared/console/answers.ts";
import { tracePagePath, tracesPagePath } from "../../../../shared/console/page-routes.ts";
import {
  type ListedTrace,
  type Traces,
  tracesSchema,
  traceTimesSchema,
} from "../../../../shared/console/traces.ts";
import { ask, failureText } from "../ask.ts";
import { FirstSteps } from "../first-steps.tsx";
import { agoText, nanosText, plural, timeText } from "../format.ts";
import { AccessContext, useNow } from "../polling.ts";
import { goTo } from "../route.ts";
import { Top } from "../top.tsx";
import { useAnswer } from "./answer.ts";
import { Histogram } from "./histogram.tsx";
import { TraceFilter } from "./trace-filter.tsx";

/** New traces show by themselves where the question is a cheap one. */
const lookAgainMs = 5000;
const spanConditions = ["name", "service", "status", "minDuration", "maxDuration", "where"];

interface TracesPageProps {
  readonly search: URLSearchParams;
  readonly apiKey: string;
}

export function TracesPage({ search, apiKey }: TracesPageProps) {
  const now = useNow();
  const query = search.toString();
  const filter = new URLSearchParams(search);
  filter.delete("sort");
  const listed = useAnswer(`/api/traces?${query}`, tracesSchema);
  const times = useAnswer(`/api/trace-times?${filter}`, traceTimesSchema);
  const about = useAnswer("/api/about", aboutSchema);
  const isFiltered = [...spanConditions, "tenant"].some((name) => search.has(name));
  const isCheap = !spanConditions.some((name) => search.has(name)) && !search.has("from");
  /** Further pages stand behind the first: it stays as it is, or traces would be missing in between. */
  const [isPaged, setPaged] = useState(false);
  useEffect(() => setPaged(false), [query]);
  useEffect(() => {
    document.title = "Traces · Headrace";
    if (!isCheap) {
      return;
    }
    const timer = setInterval(() => {
      if (!document.hidden && !isPaged) {
        listed.again();
        times.again();
      }
    }, lookAgainMs);
    return () => clearInterval(timer);
  }, [query, isCheap, isPaged]);
  const range = (from: string, to: string): void => {
    const narrowed = new URLSearchParams(search);
    narrowed.delete("since");
    narrowed.set("from", from);
    narrowed.set("to", to);
    goTo(tracesPagePath(narrowed));
  };
  const wider = widerOf(search);
  const isEmpty = listed.value !== undefined && listed.value.traces.length === 0;
  return (
    <>
      <Top page="traces" />
      <main class="traces">
        <section class="panel" aria-labelledby="traces-title">
          <h1 id="traces-title">Traces</h1>
          <TraceFilter search={search} />
          {times.failure !== "" && <p class="stale">Not up to date. {times.failure}</p>}
          {times.value !== undefined && <Histogram times={times.value} onRange={range} />}
        </section>
        <section class="panel" aria-label="List of traces">
          {listed.failure !== "" && (
            <p class="stale" role="alert">
              {listed.failure}{" "}
              <button type="button" onClick={listed.again}>
                Ask again
              </button>
            </p>
          )}
          {listed.value === undefined && listed.failure === "" && <p class="empty">Searching …</p>}
          {listed.value !== undefined && (
            <List
              key={query}
              first={listed.value}
              query={query}
              search={search}
              now={now}
              onPaged={() => setPaged(true)}
            />
          )}
          {isEmpty && listed.value?.searched.isWhole === true && (
            <p class="empty">
              {isFiltered ? "No trace matches this filter in this time." : "No trace began in this time."}{" "}
              {wider !== undefined && (
                <a href={`#${tracesPagePath(widened(search, wider))}`}>
                  Look at {wider === "24h" ? "24 hours" : "7 days"}
                </a>
              )}
              {isFiltered && (
                <>
                  {wider === undefined ? "" : " or "}
                  <a href="#/traces">Look without the filter</a>
                </>
              )}
              .
            </p>
          )}
        </section>
        {isEmpty && !isFiltered && <FirstSteps otlp={about.value?.otlp ?? ""} apiKey={apiKey} />}
      </main>
    </>
  );
}

/** The next longer time to look at; undefined: there is none. */
function widerOf(search: URLSearchParams): "24h" | "7d" | undefined {
  const since = search.get("since") ?? "1h";
  if (search.has("from") || ["15m", "1h", "6h"].includes(since)) {
    return "24h";
  }
  return since === "7d" ? undefined : "7d";
}

function widened(search: URLSearchParams, since: string): URLSearchParams {
  const wide = new URLSearchParams(search);
  wide.delete("from");
  wide.delete("to");
  wide.set("since", since);
  return wide;
}

interface ListProps {
  readonly first: Traces;
  readonly query: string;
  readonly search: URLSearchParams;
  readonly now: number;
  readonly onPaged: () => void;
}

/** The first page comes from above, again and again; further ones are asked for once. */
function List({ first, query, search, now, onPaged }: ListProps) {
  const { token } = useContext(AccessContext);
  const [more, setMore] = useState<readonly Traces[]>([]);
  const [failure, setFailure] = useState("");
  const [isAsking, setAsking] = useState(false);
  const pages = [first, ...more];
  const last = pages.at(-1) ?? first;
  const traces = [
    ...new Map(pages.flatMap((page) => page.traces).map((trace) => [trace.traceId, trace])).values(),
  ];
  const longestNs = Math.max(1, ...traces.map(({ durationNs }) => durationNs));
  const hasMatches = traces.some(({ matched }) => matched > 0);
  const sort = search.get("sort") === "duration" ? "duration" : "time";

  const askOn = async (cursor: string): Promise<void> => {
    setAsking(true);
    onPaged();
    try {
      const next = await ask(
        token,
        `/api/traces?${query}&cursor=${encodeURIComponent(cursor)}`,
        tracesSchema,
      );
      setMore([...more, next]);
      setFailure("");
    } catch (error) {
      setFailure(failureText(error));
    }
    setAsking(false);
  };
  const sortBy = (by: string): void => {
    const sorted = new URLSearchParams(search);
    sorted.set("sort", by);
    goTo(tracesPagePath(sorted));
  };

  return (
    <>
      <fieldset class="choice">
        <legend class="hidden">Sorted by</legend>
        {["time", "duration"].map((by) => (
          <label key={by}>
            <input type="radio" name="sort" checked={sort === by} onChange={() => sortBy(by)} />
            <span>{by === "time" ? "Newest first" : "Longest first"}</span>
          </label>
        ))}
      </fieldset>
      <div class="scroll" hidden={traces.length === 0}>
        <table>
          <thead>
            <tr>
              <th scope="col">Trace</th>
              <th scope="col">Began</th>
              <th scope="col">Duration</th>
              <th scope="col" class="number">
                Spans
              </th>
              <th scope="col" class="number">
                Errors
              </th>
              {hasMatches && (
                <th scope="col" class="number">
                  Matches
                </th>
              )}
            </tr>
          </thead>
          <tbody>
            {traces.map((trace) => (
              <Row
                key={trace.traceId}
                trace={trace}
                longestNs={longestNs}
                hasMatches={hasMatches}
                now={now}
              />
            ))}
          </tbody>
        </table>
      </div>
      {[...new Set(pages.flatMap(({ notes }) => notes))].map((note) => (
        <p key={note} class="stale">
          {note}
        </p>
      ))}
      {failure !== "" && <p class="stale">{failure}</p>}
      {last.cursor !== null && (
        <button type="button" disabled={isAsking} onClick={() => askOn(last.cursor ?? "")}>
          {isAsking ? "Searching …" : last.notes.length === 0 ? "Show more" : "Search further back"}
        </button>
      )}
    </>
  );
}

interface RowProps {
  readonly trace: ListedTrace;
  readonly longestNs: number;
  readonly hasMatches: boolean;
  readonly now: number;
}

function Row({ trace, longestNs, hasMatches, now }: RowProps) {
  const { root, start, durationNs, spans, errors, matched } = trace;
  const name = root === null ? "(no root span yet)" : root.name === "" ? "(no name)" : root.name;
  return (
    <tr>
      <td data-name="Trace">
        <a href={`#${tracePagePath(trace.traceId)}`}>
          <bdi>{name}</bdi>
        </a>
        <p class="note">
          <bdi>{root?.service ?? ""}</bdi> <span class="key">{trace.traceId.slice(0, 8)}</span>
          {trace.tenant !== "" && (
            <>
              {" "}
              · <bdi>{trace.tenant}</bdi>
            </>
          )}
        </p>
      </td>
      <td class="time" data-name="Began" title={start}>
        {timeText(start)}
        <p class="note">{agoText(start, now)}</p>
      </td>
      <td class="length" data-name="Duration" style={{ "--share": (durationNs / longestNs).toFixed(4) }}>
        {nanosText(durationNs)}
      </td>
      <td class="number" data-name="Spans">
        {spans ?? "?"}
      </td>
      <td class={errors !== null && errors > 0 ? "number bad" : "number"} data-name="Errors">
        {errors ?? "?"}
      </td>
      {hasMatches && (
        <td class="number" data-name="Matches">
          {plural(matched, "span")}
        </td>
      )}
    </tr>
  );
}
