/** The time that a list which found nothing may be asked for instead. Pure. */
import { parseDuration } from "../../../../shared/console/trace-filter.ts";

export const widerTexts = { "24h": "24 hours", "7d": "7 days", "30d": "30 days" } as const;
type Wider = keyof typeof widerTexts;

/** The next longer time to look at, up to now; undefined: there is none. */
export function widerOf(search: URLSearchParams, now: number): Wider | undefined {
  const from = search.get("from");
  const sinceNs =
    from === null ? (parseDuration(search.get("since") ?? "1h") ?? 0) : (now - Date.parse(from)) * 1e6;
  return (Object.keys(widerTexts) as Wider[]).find((since) => (parseDuration(since) ?? 0) > sinceNs);
}
