/** What to do where a list of traces is empty: look further back, or without the filter. */
import { tracesPagePath } from "../../../../shared/console/page-routes.ts";

interface NothingFoundProps {
  readonly search: URLSearchParams;
  readonly isFiltered: boolean;
}

export function NothingFound({ search, isFiltered }: NothingFoundProps) {
  const wider = widerOf(search);
  return (
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
      {(wider !== undefined || isFiltered) && "."}
    </p>
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
