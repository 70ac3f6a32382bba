/** Attributes of a span or of its resource: readable, copied by a button, and each with the traces that have the same. */
import { useState } from "preact/hooks";
import { tracesPagePath } from "../../../../shared/console/page-routes.ts";
import { formatCondition, parseCondition } from "../../../../shared/console/trace-filter.ts";
import type { Attributes } from "../../../../shared/console/traces.ts";
import { CopyButton } from "../copy-button.tsx";
import { plural } from "../format.ts";
import { readableValue } from "./value-text.ts";

/** Longer values have a box of their own, which scrolls. */
const lineCharsMax = 500;
/** More are shown when somebody asks. */
const pairsShown = 30;

interface AttributeListProps {
  readonly title: string;
  readonly scope: "span" | "resource";
  readonly pairs: Attributes;
  /** Of all, those that the answer left out included. */
  readonly count: number;
}

export function AttributeList({ title, scope, pairs, count }: AttributeListProps) {
  const [isAll, setAll] = useState(false);
  if (pairs.length === 0) {
    return null;
  }
  const shown = isAll ? pairs : pairs.slice(0, pairsShown);
  return (
    <section>
      <h3>
        {title} ({count})
      </h3>
      <dl class="pairs">
        {shown.map(([key, value], index) => (
          <div key={index}>
            <dt>
              <bdi>{key}</bdi>
            </dt>
            <dd>
              <Value name={key} value={value} />
              <span class="tools">
                <CopyButton text={value} label="Copy" />
                <FindLink scope={scope} name={key} value={value} />
              </span>
            </dd>
          </div>
        ))}
      </dl>
      {shown.length < pairs.length && (
        <button type="button" onClick={() => setAll(true)}>
          Show all {pairs.length}
        </button>
      )}
      {isAll && pairs.length < count && (
        <p class="note">{plural(count - pairs.length, "more")} in the table.</p>
      )}
    </section>
  );
}

function Value({ name, value }: { readonly name: string; readonly value: string }) {
  const text = readableValue(name, value);
  return text.includes("\n") || text.length > lineCharsMax ? (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what is scrolled must be reached by the keyboard
    <pre class="value" tabIndex={0}>
      {text}
    </pre>
  ) : (
    <bdi class="value">{text}</bdi>
  );
}

interface FindLinkProps {
  readonly scope: "span" | "resource";
  readonly name: string;
  readonly value: string;
}

/** To the traces that have the same; nothing where no condition says it (a text that is cut, too long, or has spaces around it). */
function FindLink({ scope, name, value }: FindLinkProps) {
  const where = formatCondition({ scope, key: name, test: "equals", value });
  const read = parseCondition(where);
  const isSame = read.ok && read.value.key === name && read.value.value === value;
  return isSame && !value.endsWith("…") ? (
    <a
      href={`#${tracesPagePath(new URLSearchParams({ since: "24h", where }))}`}
      title={`Traces with ${name} = ${value}`}
    >
      Find
    </a>
  ) : null;
}
