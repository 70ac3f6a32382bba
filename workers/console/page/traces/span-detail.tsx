/** What one span says: its times, attributes, events and links, and which payload brought it. */
import { useState } from "preact/hooks";
import type { PathSegment } from "../../../../shared/console/critical-path.ts";
import { tracePagePath, tracesPagePath } from "../../../../shared/console/page-routes.ts";
import { formatCondition, parseCondition } from "../../../../shared/console/trace-filter.ts";
import { childrenOf, type TraceTree } from "../../../../shared/console/trace-tree.ts";
import {
  type Attributes,
  type Trace,
  type TraceSpan,
  traceSpanSchema,
} from "../../../../shared/console/traces.ts";
import { CopyButton } from "../copy-button.tsx";
import { nanosText, plural, timeText } from "../format.ts";
import { useAnswer } from "./answer.ts";
import { SpanPayload } from "./span-payload.tsx";
import { readableValue } from "./value-text.ts";
import { nodeName, oddityText } from "./waterfall.tsx";

/** More are shown when somebody asks. */
const pairsShown = 30;
const eventsShown = 20;

interface SpanDetailProps {
  readonly trace: Trace;
  readonly tree: TraceTree;
  readonly node: number;
  readonly path: readonly PathSegment[] | undefined;
  readonly onClose: () => void;
  /** Goes to another node. */
  readonly onShow: (node: number) => void;
}

export function SpanDetail({ trace, tree, node, path, onClose, onShow }: SpanDetailProps) {
  const place = tree.nodes[node]?.place ?? -1;
  const listed = trace.spans[place];
  // Its attributes were left out of the trace's answer, or cut: they are asked for alone.
  const isWhole = listed === undefined || (listed.attributes !== null && !isCut(listed));
  const asked = useAnswer(
    isWhole ? "" : `/api/trace-span?trace=${trace.traceId}&span=${listed.spanId}`,
    traceSpanSchema,
  );
  if (listed === undefined) {
    return null;
  }
  const same = asked.value?.spans.find(
    ({ name, startNs, durationNs }) =>
      name === listed.name && startNs === listed.startNs && durationNs === listed.durationNs,
  );
  const span = same ?? listed;
  const resource =
    (same === undefined ? trace.resources : asked.value?.resources)?.[span.resource]?.attributes ?? [];
  const treeNode = tree.nodes[node];
  const above = tree.nodes[treeNode?.parent ?? -1];
  const onPathNs = (path ?? []).reduce((sum, { fromNs, toNs }) => sum + toNs - fromNs, 0);
  const payload = span.payload === null ? undefined : trace.payloads[listed.payload ?? -1];

  return (
    <aside class="panel detail" aria-labelledby="span-title">
      <header>
        <h2 id="span-title">
          <bdi>{span.name === "" ? "(no name)" : span.name}</bdi>
        </h2>
        <button type="button" class="quiet" onClick={onClose}>
          Close
        </button>
      </header>
      {span.status === "Error" && (
        <p class="wrong">
          Error{span.statusMessage === "" ? "" : ": "}
          <bdi>{span.statusMessage}</bdi>
        </p>
      )}
      {treeNode !== undefined && oddityText(treeNode) !== "" && (
        <p class="stale">This span: {oddityText(treeNode)}.</p>
      )}
      <dl class="pairs">
        <Fact name="service" value={span.service} />
        <Fact name="kind" value={span.kind} />
        <Fact name="duration" value={nanosText(span.durationNs)} />
        <Fact
          name="begins"
          value={`${nanosText(span.startNs)} after the trace${clock(trace.start, span.startNs)}`}
        />
        <Fact
          name="its own time"
          value={`${nanosText(ownNs(trace, tree, node))}${onPathNs > 0 ? `; ${nanosText(onPathNs)} on the critical path` : ""}`}
        />
        <Fact name="status" value={span.status} />
        <Fact name="scope" value={span.scope} />
        <div>
          <dt>span id</dt>
          <dd>
            <span class="key whole">{span.spanId}</span> <CopyButton text={span.spanId} label="Copy" />
          </dd>
        </div>
        {span.parentSpanId !== "" && (
          <div>
            <dt>parent</dt>
            <dd>
              {above === undefined || above.place < 0 ? (
                <>
                  <span class="key">{span.parentSpanId}</span>, which is not here
                </>
              ) : (
                <button type="button" class="link" onClick={() => onShow(treeNode?.parent ?? 0)}>
                  <bdi>{nodeName(above, trace.spans[above.place])}</bdi>
                </button>
              )}
            </dd>
          </div>
        )}
      </dl>
      <SpanPayload payload={payload} />
      {asked.failure !== "" && <p class="stale">Its attributes could not be read. {asked.failure}</p>}
      {asked.isAsking && span.attributes === null && <p class="note">Reading its attributes …</p>}
      <Events span={span} />
      <Links span={span} />
      <Pairs title="Attributes" scope="span" pairs={span.attributes ?? []} count={span.attributesCount} />
      <Pairs title="Resource" scope="resource" pairs={resource} count={resource.length} />
    </aside>
  );
}

function Fact({ name, value }: { readonly name: string; readonly value: string }) {
  return value === "" ? null : (
    <div>
      <dt>{name}</dt>
      <dd>
        <bdi>{value}</bdi>
      </dd>
    </div>
  );
}

interface PairsProps {
  readonly title: string;
  readonly scope: "span" | "resource";
  readonly pairs: Attributes;
  /** Of all, those that the answer left out included. */
  readonly count: number;
}

function Pairs({ title, scope, pairs, count }: PairsProps) {
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
  return text.includes("\n") ? <pre class="value">{text}</pre> : <bdi class="value">{text}</bdi>;
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

function Events({ span }: { readonly span: TraceSpan }) {
  const [isAll, setAll] = useState(false);
  const events = span.events ?? [];
  if (events.length === 0) {
    return null;
  }
  return (
    <section>
      <h3>Events ({span.eventsCount})</h3>
      <ol class="events">
        {events.slice(0, isAll ? events.length : eventsShown).map((event, index) => {
          const stack = attributeOf(event.attributes, "exception.stacktrace");
          const what = ["exception.type", "exception.message"]
            .map((key) => attributeOf(event.attributes, key))
            .filter((text) => text !== "")
            .join(": ");
          const others = event.attributes.filter(
            ([key]) => !(what + stack !== "" && key.startsWith("exception.")),
          );
          return (
            <li key={index} class={what + stack === "" ? "" : "exception"}>
              <p>
                <b>
                  <bdi>{what === "" ? event.name : what}</bdi>
                </b>{" "}
                <span class="note">
                  {nanosText(Math.abs(event.startNs - span.startNs))}
                  {event.startNs < span.startNs ? " before the span" : " into the span"}
                </span>
              </p>
              {stack !== "" && <pre class="stack">{stack}</pre>}
              {others.length > 0 && (
                <dl class="pairs">
                  {others.map(([key, value], n) => (
                    <Fact key={n} name={key} value={value} />
                  ))}
                </dl>
              )}
            </li>
          );
        })}
      </ol>
      {!isAll && events.length > eventsShown && (
        <button type="button" onClick={() => setAll(true)}>
          Show all {events.length}
        </button>
      )}
    </section>
  );
}

function Links({ span }: { readonly span: TraceSpan }) {
  const links = span.links ?? [];
  return links.length === 0 ? null : (
    <section>
      <h3>Links ({span.linksCount})</h3>
      <ul class="links">
        {links.map((link, index) => (
          <li key={index}>
            <a class="key" href={`#${tracePagePath(link.traceId, link.spanId)}`}>
              trace {link.traceId.slice(0, 8)}, span {link.spanId}
            </a>
            <span class="note">
              {" "}
              <bdi>{link.attributes.map(([key, value]) => `${key}=${value}`).join(", ")}</bdi>
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function attributeOf(attributes: Attributes, wanted: string): string {
  return attributes.find(([key]) => key === wanted)?.[1] ?? "";
}

function isCut({ attributes, attributesCount, events, eventsCount, links, linksCount }: TraceSpan): boolean {
  const lists = [attributes, ...(events ?? []).map((event) => event.attributes)];
  return (
    (attributes?.length ?? 0) < attributesCount ||
    (events?.length ?? 0) < eventsCount ||
    (links?.length ?? 0) < linksCount ||
    lists.some((pairs) => pairs?.some(([, value]) => value.endsWith("…")))
  );
}

/** `, 20:55:12.123 UTC` */
function clock(start: string | null, afterNs: number): string {
  if (start === null) {
    return "";
  }
  const at = new Date(Date.parse(start) + afterNs / 1e6);
  return Number.isNaN(at.getTime()) ? "" : `, ${timeText(at.toISOString())} UTC`;
}

/** The time in which none of its children ran. */
function ownNs({ spans }: Trace, tree: TraceTree, node: number): number {
  const { nodes } = tree;
  const of = (n: number): { readonly from: number; readonly to: number } => {
    const { startNs = 0, durationNs = 0 } = spans[nodes[n]?.place ?? -1] ?? {};
    return { from: startNs, to: startNs + durationNs };
  };
  const { from, to } = of(node);
  const children = childrenOf(tree, node)
    .map(of)
    .sort((a, b) => a.from - b.from);
  let own = 0;
  let at = from;
  for (const child of children) {
    own += Math.max(0, Math.min(child.from, to) - at);
    at = Math.max(at, Math.min(child.to, to));
  }
  return own + Math.max(0, to - at);
}
