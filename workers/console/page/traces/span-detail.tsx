/** What one span says: its times, attributes, events and links, and which payload brought it. */
import { useLayoutEffect, useRef } from "preact/hooks";
import { spanName } from "../../../../shared/console/span-name.ts";
import type { Attributes, TraceSpan } from "../../../../shared/console/traces.ts";
import { traceSpanSchema } from "../../../../shared/console/traces.ts";
import { type Answer, useAnswer } from "../answer.ts";
import { AttributeList } from "./attribute-list.tsx";
import { oddityText } from "./node-text.ts";
import type { SeenTrace } from "./seen-trace.ts";
import { SpanEvents, SpanLinks } from "./span-events.tsx";
import { SpanFacts } from "./span-facts.tsx";
import { SpanPayload } from "./span-payload.tsx";

interface SpanDetailProps {
  readonly seen: SeenTrace;
  readonly node: number;
  readonly onClose: () => void;
  /** Goes to another node. */
  readonly onShow: (node: number) => void;
}

export function SpanDetail({ seen, node, onClose, onShow }: SpanDetailProps) {
  const { trace, tree } = seen;
  const treeNode = tree.nodes[node];
  const listed = trace.spans[treeNode?.place ?? -1];
  const { span, resource, asked } = useWholeSpan(seen, listed);
  const aside = useFocusBack();
  if (listed === undefined || span === undefined || treeNode === undefined) {
    return null;
  }
  const oddity = oddityText(treeNode);
  return (
    <aside class="panel detail" aria-labelledby="span-title" ref={aside}>
      <header>
        <h2 id="span-title">
          <bdi>{spanName(span.name)}</bdi>
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
      {oddity !== "" && <p class="stale">This span: {oddity}.</p>}
      <SpanFacts seen={seen} node={node} span={span} onShow={onShow} />
      <SpanPayload payload={listed.payload === null ? undefined : trace.payloads[listed.payload]} />
      {asked.failure !== "" && <p class="stale">Its attributes could not be read. {asked.failure}</p>}
      {asked.isAsking && span.attributes === null && <p class="note">Reading its attributes …</p>}
      <SpanEvents span={span} />
      <SpanLinks span={span} />
      <AttributeList
        title="Attributes"
        scope="span"
        pairs={span.attributes ?? []}
        count={span.attributesCount}
      />
      <AttributeList title="Resource" scope="resource" pairs={resource} count={resource.length} />
    </aside>
  );
}

/** The tree takes the focus back from what goes away with it in it: else the keyboard would begin at the top of the page. */
function useFocusBack() {
  const gone = useRef<HTMLElement>(null);
  useLayoutEffect(() => {
    const { current } = gone;
    return () => {
      if (current?.contains(document.activeElement)) {
        document.querySelector<HTMLElement>('[role="tree"]')?.focus({ preventScroll: true });
      }
    };
  }, []);
  return gone;
}

interface WholeSpan {
  /** Undefined: the node has none. */
  readonly span: TraceSpan | undefined;
  readonly resource: Attributes;
  readonly asked: Pick<Answer<unknown>, "failure" | "isAsking">;
}

/** What was left out of the trace's answer, or cut, is asked for alone. */
function useWholeSpan({ trace }: SeenTrace, listed: TraceSpan | undefined): WholeSpan {
  const isWhole = listed === undefined || (listed.attributes !== null && !isCut(listed));
  const asked = useAnswer(
    isWhole ? "" : `/api/trace-span?trace=${trace.traceId}&span=${listed.spanId}`,
    traceSpanSchema,
  );
  const alone = asked.value?.spans.find(
    ({ name, startNs, durationNs }) =>
      name === listed?.name && startNs === listed.startNs && durationNs === listed.durationNs,
  );
  const span = alone ?? listed;
  const resources = (alone === undefined ? trace.resources : asked.value?.resources) ?? [];
  return { span, resource: resources[span?.resource ?? -1]?.attributes ?? [], asked };
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
