/** Requests that were never accepted, and what exporters were answered. Best effort, as the ingress counts them. */
import { type OutcomeSums, outcomesSchema } from "../../../shared/console/answers.ts";
import { isRefusal } from "../../../shared/outcome.ts";
import { refusalAdvice } from "../../../shared/refusal-reason.ts";
import { useAnswer } from "./answer.ts";
import { countText } from "./format.ts";
import { Panel } from "./panel.tsx";

/** Refused before the spans were counted, for the most part. */
const uncounted: ReadonlySet<string> = new Set(["over_quota", "rate_limited"]);

type Refused = OutcomeSums["outcomes"][number];
const rowsShown = 20;

/** Over the keys of a tenant, the most requests first. */
function sums(outcomes: readonly Refused[]): readonly Refused[] {
  const found = new Map<string, Refused>();
  for (const row of outcomes.filter(({ outcome }) => isRefusal(outcome))) {
    const name = [row.tenant, row.outcome, row.reason].join(" ");
    const before = found.get(name);
    found.set(name, {
      ...row,
      requests: row.requests + (before?.requests ?? 0),
      // Of a request that is refused for its spans, these were counted as rejected ones.
      spans: row.spans + row.rejectedSpans + (before?.spans ?? 0),
    });
  }
  return [...found.values()].sort((a, b) => b.requests - a.requests).slice(0, rowsShown);
}

export function TurnedAway({ everyMs }: { readonly everyMs: number }) {
  const { value, failure } = useAnswer("/api/outcomes?hours=1", outcomesSchema, everyMs);
  const refused = sums(value?.outcomes ?? []);
  if (refused.length === 0) {
    return null;
  }
  return (
    <Panel
      id="turned-away"
      title="Turned away, last hour"
      failure={failure}
      aside={<p class="note">best effort: what an isolate had not reported is missing</p>}
    >
      <table>
        <thead>
          <tr>
            <th scope="col">Tenant</th>
            <th scope="col">Outcome</th>
            <th scope="col">Reason</th>
            <th scope="col" class="number">
              Requests
            </th>
            <th scope="col" class="number">
              Spans
            </th>
            <th scope="col">What to do</th>
          </tr>
        </thead>
        <tbody>
          {refused.map(({ tenant, outcome, reason, requests, spans }) => (
            <tr key={`${tenant} ${outcome} ${reason}`}>
              <td data-name="Tenant">{tenant === "" ? "unknown" : tenant}</td>
              <td data-name="Outcome">{outcome.replaceAll("_", " ")}</td>
              <td data-name="Reason">{reason.replaceAll("_", " ")}</td>
              <td data-name="Requests" class="number">
                {countText(requests)}
              </td>
              <td data-name="Spans" class="number">
                {spansText(outcome, requests, spans)}
              </td>
              <td data-name="What to do" class="note">
                {refusalAdvice(reason)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  );
}

/** A request that is refused by its head, or over a limit, is not looked into: how many spans it had is not known. */
function spansText(outcome: string, requests: number, spans: number): string {
  if (spans === 0) {
    return "–";
  }
  return uncounted.has(outcome) && requests > 1 ? `at least ${countText(spans)}` : countText(spans);
}
