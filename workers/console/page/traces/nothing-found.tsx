/** What to do where a list of traces is empty: look further back, or without the filter. */
import { tracesPagePath } from "../../../../shared/console/page-routes.ts";
import { widerOf, widerTexts } from "./wider-time.ts";

interface NothingFoundProps {
  readonly search: URLSearchParams;
  readonly isFiltered: boolean;
}

export function NothingFound({ search, isFiltered }: NothingFoundProps) {
  const wider = widerOf(search, Date.now());
  return (
    <p class="empty">
      {isFiltered ? "No trace matches this filter in this time." : "No trace began in this time."}{" "}
      {wider !== undefined && (
        <a href={`#${tracesPagePath(widened(search, wider))}`}>Look at {widerTexts[wider]}</a>
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

function widened(search: URLSearchParams, since: string): URLSearchParams {
  const wide = new URLSearchParams(search);
  wide.delete("from");
  wide.delete("to");
  wide.set("since", since);
  return wide;
}
