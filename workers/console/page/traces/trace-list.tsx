/** Traces as a table, page by page: the first comes from above, again and again; further ones are asked for once. */
import { useContext, useState } from "preact/hooks";
import { durationText } from "../../../../shared/console/duration-text.ts";
import { tracePagePath, tracesPagePath } from "../../../../shared/console/page-routes.ts";
import { spanName } from "../../../../shared/console/span-name.ts";
import { type ListedTrace, type Traces, tracesSchema } from "../../../../shared/console/traces.ts";
import { AccessContext } from "../answer.ts";
import { ask, failureText } from "../ask.ts";
import { agoText, countText, plural, timeText } from "../format.ts";
import { useNow } from "../now.ts";
import { goTo } from "../route.ts";

interface TraceListProps {
  readonly first: Traces;
  readonly query: string;
  readonly search: URLSearchParams;
  readonly onPaged: () => void;
}

export function TraceList({ first, query, search, onPaged }: TraceListProps) {
  const { more, failure, isAsking, askOn } = useFurtherPages(query);
  const pages = [first, ...more];
  const { cursor, notes } = pages.at(-1) ?? first;
  // Between two pages a trace may get spans that match, and be on both.
  const byId = new Map(pages.flatMap((page) => page.traces).map((trace) => [trace.traceId, trace]));
  return (
    <>
      <SortChoice search={search} />
      <TraceTable traces={[...byId.values()]} />
      {[...new Set(pages.flatMap((page) => page.notes))].map((note) => (
        <p key={note} class="stale">
          {note}
        </p>
      ))}
      {failure !== "" && <p class="stale">{failure}</p>}
      {cursor !== null && (
        <button
          type="button"
          disabled={isAsking}
          onClick={() => {
            onPaged();
            askOn(cursor);
          }}
        >
          {isAsking ? "Searching …" : notes.length === 0 ? "Show more" : "Search further back"}
        </button>
      )}
    </>
  );
}

interface FurtherPages {
  readonly more: readonly Traces[];
  /** Why the last one could not be had; empty: it could. */
  readonly failure: string;
  readonly isAsking: boolean;
  readonly askOn: (cursor: string) => Promise<void>;
}

function useFurtherPages(query: string): FurtherPages {
  const { token } = useContext(AccessContext);
  const [more, setMore] = useState<readonly Traces[]>([]);
  const [failure, setFailure] = useState("");
  const [isAsking, setAsking] = useState(false);
  const askOn = async (cursor: string): Promise<void> => {
    setAsking(true);
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
  return { more, failure, isAsking, askOn };
}

function SortChoice({ search }: { readonly search: URLSearchParams }) {
  const sort = search.get("sort") === "duration" ? "duration" : "time";
  const sortBy = (by: string): void => {
    const sorted = new URLSearchParams(search);
    sorted.set("sort", by);
    goTo(tracesPagePath(sorted));
  };
  return (
    <fieldset class="choice">
      <legend class="hidden">Sorted by</legend>
      {["time", "duration"].map((by) => (
        <label key={by}>
          <input type="radio" name="sort" checked={sort === by} onChange={() => sortBy(by)} />
          <span>{by === "time" ? "Newest first" : "Longest first"}</span>
        </label>
      ))}
    </fieldset>
  );
}

function TraceTable({ traces }: { readonly traces: readonly ListedTrace[] }) {
  const now = useNow();
  const longestNs = Math.max(1, ...traces.map(({ durationNs }) => durationNs));
  const hasMatches = traces.some(({ matched }) => matched > 0);
  return (
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
            <TraceRow
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
  );
}

interface TraceRowProps {
  readonly trace: ListedTrace;
  readonly longestNs: number;
  readonly hasMatches: boolean;
  readonly now: number;
}

function TraceRow({ trace, longestNs, hasMatches, now }: TraceRowProps) {
  const { root, span, start, durationNs, spans, errors, matched } = trace;
  const named = root ?? span;
  return (
    <tr>
      <td data-name="Trace">
        <a href={`#${tracePagePath(trace.traceId, span?.spanId)}`}>
          {root === null && "(no root span) "}
          <bdi>{named === null ? "" : spanName(named.name)}</bdi>
        </a>
        <p class="note">
          <bdi>{named?.service ?? ""}</bdi> <span class="key">{trace.traceId.slice(0, 8)}</span>
          {trace.tenant !== "" && (
            <>
              {" "}
              · <bdi>{trace.tenant}</bdi>
            </>
          )}
        </p>
        {root !== null && span !== null && (
          <p class="note">
            matches: <bdi>{spanName(span.name)}</bdi> of <bdi>{span.service}</bdi>
          </p>
        )}
      </td>
      <td class="time" data-name="Began" title={start}>
        {timeText(start)}
        <p class="note">{agoText(start, now)}</p>
      </td>
      <td class="length" data-name="Duration" style={{ "--share": (durationNs / longestNs).toFixed(4) }}>
        {durationText(durationNs)}
      </td>
      <td class="number" data-name="Spans">
        {spans === null ? "?" : countText(spans)}
      </td>
      <td class={errors !== null && errors > 0 ? "number bad" : "number"} data-name="Errors">
        {errors === null ? "?" : countText(errors)}
      </td>
      {hasMatches && (
        <td class="number" data-name="Matches">
          {plural(matched, "span")}
        </td>
      )}
    </tr>
  );
}
