/** Open findings with what to do; what was resolved lately, folded away. */
import type { ListedFinding } from "../../../shared/console/answers.ts";
import { findingAdvice, subjectText } from "../../../shared/console/finding-advice.ts";
import type { Answer } from "./answer.ts";
import { agoText, isoOf, plural } from "./format.ts";
import { Panel } from "./panel.tsx";

interface FindingsProps {
  readonly findings: Answer<readonly ListedFinding[]>;
  readonly now: number;
  /** ClickHouse, whose table has them all, could not be read: more may be open. */
  readonly isPartial: boolean;
}

const resolvedShown = 20;

export function Findings({ findings, now, isPartial }: FindingsProps) {
  const open = findings.value?.filter(({ state }) => state === "open") ?? [];
  const resolved = findings.value?.filter(({ state }) => state !== "open").slice(0, resolvedShown) ?? [];
  if (findings.value === undefined && findings.failure === "") {
    return null;
  }
  return (
    <Panel
      id="findings"
      title="Findings"
      failure={findings.failure}
      aside={
        <p class="note">
          {findings.value === undefined
            ? "not known"
            : open.length === 0
              ? isPartial
                ? "none known"
                : "none open"
              : `${open.length} open`}
        </p>
      }
    >
      {isPartial && <p class="stale">Findings that only ClickHouse's table has are not known.</p>}
      {open.length > 0 && (
        <ul class="findings">
          {open.map((finding) => (
            <Finding key={finding.kind + finding.subject + finding.openedAt} finding={finding} now={now} />
          ))}
        </ul>
      )}
      {resolved.length > 0 && (
        <details>
          <summary>{plural(resolved.length, "resolved one")}</summary>
          <ul class="findings">
            {resolved.map((finding) => (
              <Finding key={finding.kind + finding.subject + finding.openedAt} finding={finding} now={now} />
            ))}
          </ul>
        </details>
      )}
    </Panel>
  );
}

function Finding({ finding, now }: { readonly finding: ListedFinding; readonly now: number }) {
  const { kind, subject, severity, state, message, openedAt, at } = finding;
  const advice = findingAdvice(finding, "page");
  return (
    <li class={state === "open" ? severity : "resolved"}>
      <p>
        <strong>{kind.replaceAll("_", " ")}</strong> <span class="key">{subjectText(subject)}</span>
        <span class="note">
          {state === "open"
            ? `${severity}, opened ${agoText(isoOf(openedAt), now)}`
            : `resolved ${agoText(isoOf(at), now)}`}
        </span>
      </p>
      <p>{message}</p>
      {state === "open" && advice !== "" && <p class="note">{advice}</p>}
    </li>
  );
}
