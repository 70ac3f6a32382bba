/** What one span says: its times, attributes, events and links, and which payload brought it. */
import { useLayoutEffect, useRef } from "preact/hooks";
import { isCut } from "../../../../shared/console/cut-spans.ts";
import { spanName } from "../../../../shared/console/span-name.ts";
import type { Trace, TraceSpan } from "../../../../shared/console/traces.ts";
import { traceSpanSchema } from "../../../../shared/console/traces.ts";
import { limits } from "../../../../shared/limits.ts";
import { type Answer, useAnswer } from "../answer.ts";
import { AttributeList, TextValue } from "./attribute-list.tsx";
import { oddityText } from "./node-text.ts";
import { ofTenant } from "./of-tenant.ts";
import { isSameSpan } from "./same-span.ts";
import type { SeenTrace } from "./seen-trace.ts";
import { SpanEvents, SpanLinks } from "./span-events.tsx";
import { SpanFacts } from "./span-facts.tsx";
import { originOf, type SpanOrigin, SpanPayload } from "./span-payload.tsx";

interface SpanDetailProps {
  readonly seen: SeenTrace;
  /** What the trace's spans say is on its way. */
  readonly isComing: boolean;
  readonly node: number;
  readonly onClose: () => void;
  /** Goes to another node. */
  readonly onShow: (node: number) => void;
}

export function SpanDetail({ seen, isComing, node, onClose, onShow }: SpanDetailProps) {
  const { trace, tree } = seen;
  const treeNode = tree.nodes[node];
  const place = treeNode?.place ?? -1;
  const drawn = trace.spans[place];
  const { span, resource, origin, notes, asked } = useWholeSpan(seen, place, isComing);
  const aside = useFocusBack();
  if (drawn === undefined || treeNode === undefined) {
    return null;
  }
  const oddity = oddityText(treeNode);
  const message = span?.statusMessage ?? "";
  return (
    <aside class="panel detail" aria-labelledby="span-title" ref={aside}>
      <header>
        <h2 id="span-title">
          <bdi>{spanName((span ?? drawn).name)}</bdi>
        </h2>
        <button type="button" class="quiet" onClick={onClose}>
          Close
        </button>
      </header>
      {(drawn.status === "Error" || message !== "") && (
        <div class={drawn.status === "Error" ? "wrong" : ""}>
          {drawn.status}
          {message !== "" && (
            <>
              : <TextValue text={message} />
            </>
          )}
        </div>
      )}
      {oddity !== "" && <p class="stale">This span: {oddity}.</p>}
      <SpanFacts seen={seen} node={node} span={drawn} scope={span?.scope} onShow={onShow} />
      {notes.map((note) => (
        <p key={note} class="stale">
          {note}
        </p>
      ))}
      {span !== undefined && <SpanPayload origin={origin} />}
      {asked.failure !== "" && (
        <p class="stale">
          {(span?.attributes ?? null) === null ? "Its attributes" : "All that it says"} could not be read.{" "}
          {asked.failure}
        </p>
      )}
      {(asked.isAsking || (isComing && span === undefined)) && (
        <p class="note" role="status">
          Reading all that it says, and what brought it …
        </p>
      )}
      {span !== undefined && (
        <>
          {span.attributes !== null && (
            <>
              <SpanEvents span={span} />
              <SpanLinks span={span} />
              <AttributeList
                title="Attributes"
                scope="span"
                pairs={span.attributes}
                count={span.attributesCount}
              />
            </>
          )}
          <AttributeList
            title="Resource"
            scope="resource"
            pairs={resource?.attributes ?? []}
            count={resource?.attributesCount ?? 0}
          />
        </>
      )}
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
  /** Undefined: what it says is not there yet, or the node has no span. */
  readonly span: TraceSpan | undefined;
  readonly resource: Trace["resources"][number] | undefined;
  readonly origin: SpanOrigin;
  /** What is to be said of it: what is cut, and that several spans have its id. */
  readonly notes: readonly string[];
  readonly asked: Pick<Answer<unknown>, "failure" | "isAsking">;
}

/**
 * What was left out of the trace's answer, or cut, is asked for alone. So is a span of a trace whose details could not be read, or of one so
 * large that they take seconds.
 */
function useWholeSpan({ trace, details }: SeenTrace, place: number, isComing: boolean): WholeSpan {
  const drawn = trace.spans[place];
  const listed = details?.spans[place];
  const isSoonThere = isComing && trace.spansCount <= limits.traceSmallSpansMax;
  const isWhole =
    listed === undefined
      ? isSoonThere
      : listed.attributes !== null &&
        listed.payload !== -1 &&
        !isCut(listed, details?.resources[listed.resource]);
  const asked = useAnswer(
    isWhole || drawn === undefined
      ? ""
      : `/api/trace-span?trace=${trace.traceId}&span=${drawn.spanId}${ofTenant(trace.tenant)}`,
    traceSpanSchema,
  );
  const { start = null } = asked.value ?? {};
  const alone = asked.value?.spans.find(
    (span) => drawn !== undefined && isSameSpan({ start, span }, { start: trace.start, span: drawn }),
  );
  const span = alone ?? listed;
  const of = alone === undefined ? details : asked.value;
  return {
    span,
    resource: of?.resources[span?.resource ?? -1],
    origin: originOf(span?.payload ?? null, of?.payloads ?? []),
    notes: [
      ...(asked.value?.notes ?? []),
      ...(asked.value !== undefined && alone === undefined
        ? ["The table does not have it any more as it is drawn: load the page again."]
        : []),
    ],
    asked,
  };
}
