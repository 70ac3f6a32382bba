/** Attributes of a span, its resource, an event or a link: readable, and some copied by a button, each with the traces that have the same. */
import { tracesPagePath } from "../../../../shared/console/page-routes.ts";
import { formatCondition, parseCondition } from "../../../../shared/console/trace-filter.ts";
import type { Attributes } from "../../../../shared/console/traces.ts";
import { CopyButton } from "../copy-button.tsx";
import { countText } from "../format.ts";
import { useShown } from "./use-shown.tsx";
import { readableValue } from "./value-text.ts";

/** Longer values have a box of their own, which scrolls. */
const lineCharsMax = 500;
const pairsShown = 30;

interface PairsProps {
  readonly pairs: Attributes;
  /** Of all, those that the answer left out included. */
  readonly count: number;
}

interface AttributeListProps extends PairsProps {
  readonly title: string;
  readonly scope: "span" | "resource";
}

export function AttributeList({ title, scope, pairs, count }: AttributeListProps) {
  return count === 0 ? null : (
    <section>
      <h3>
        {title} ({countText(count)})
      </h3>
      <AttributePairs pairs={pairs} count={count} scope={scope} />
    </section>
  );
}

/** `scope`: each can be copied and searched for. */
export function AttributePairs({
  pairs,
  count,
  scope,
}: PairsProps & { readonly scope?: "span" | "resource" }) {
  const { shown, more } = useShown(pairs, pairsShown);
  const left = count - pairs.length;
  return (
    <>
      {shown.length > 0 && (
        <dl class="pairs">
          {shown.map(([key, value], index) => (
            <div key={index}>
              <dt>
                <bdi>{key}</bdi>
              </dt>
              <dd>
                <TextValue text={readableValue(key, value)} />
                {scope !== undefined && (
                  <span class="tools">
                    <CopyButton text={value} label="Copy" />
                    <FindLink scope={scope} name={key} value={value} />
                  </span>
                )}
              </dd>
            </div>
          ))}
        </dl>
      )}
      {more !== null && (
        <p class="actions">
          {more}
          <CopyButton
            text={() => JSON.stringify(pairs, null, 1)}
            label={`Copy all ${countText(pairs.length)} as JSON`}
          />
        </p>
      )}
      {left > 0 && <p class="note">{countText(left)} more in the table.</p>}
    </>
  );
}

/** A line, or a box that scrolls where it is longer. */
export function TextValue({ text }: { readonly text: string }) {
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
