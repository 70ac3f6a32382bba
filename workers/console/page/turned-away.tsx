/** Requests that were never accepted: what exporters were told. Best effort, as the ingress counts them. */
import { type OutcomeSums, outcomesSchema } from "../../../shared/console/answers.ts";
import { countText } from "./format.ts";
import { Panel } from "./panel.tsx";
import { usePolled } from "./polling.ts";

/** What a sender has to do about it, by outcome. */
const advice: Readonly<Record<string, string>> = {
  unauthenticated: "no key, or one that is unknown, revoked or expired: give the exporter a key that works",
  forbidden: "the key may not be used by pages of that origin: add it to the key's origins",
  over_quota: "the key's month is used up: raise its quota, or wait for the next month",
  rate_limited: "over the key's rate: exporters come again, so nothing is lost while that is rare",
  malformed: "no OTLP, or spans that cannot be stored: the answer's message names what is wrong",
  too_large: "over a size limit: lower the exporter's batch size",
  unsupported: "another protocol or content type: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
  unavailable: "a part of ours was not reached: exporters come again; if it lasts, look at the ingress's log",
};

type Refused = OutcomeSums["outcomes"][number];
const rowsShown = 20;

/** Over the keys of a tenant, the most requests first. */
function sums(outcomes: readonly Refused[]): readonly Refused[] {
  const found = new Map<string, Refused>();
  for (const row of outcomes.filter(({ outcome }) => outcome in advice)) {
    const name = [row.tenant, row.outcome, row.reason].join(" ");
    const before = found.get(name);
    found.set(name, {
      ...row,
      requests: row.requests + (before?.requests ?? 0),
      spans: row.spans + (before?.spans ?? 0),
    });
  }
  return [...found.values()].sort((a, b) => b.requests - a.requests).slice(0, rowsShown);
}

export function TurnedAway({ everyMs }: { readonly everyMs: number }) {
  const { value, failure } = usePolled("/api/outcomes?hours=1", outcomesSchema, everyMs);
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
                {countText(spans)}
              </td>
              <td data-name="What to do" class="note">
                {advice[outcome]}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  );
}
