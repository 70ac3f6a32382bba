/** What happened within a span, exceptions with their stack, and what it is linked to. */
import { durationText } from "../../../../shared/console/duration-text.ts";
import { tracePagePath } from "../../../../shared/console/page-routes.ts";
import type { Attributes, TraceSpan } from "../../../../shared/console/traces.ts";
import { countText } from "../format.ts";
import { AttributePairs } from "./attribute-list.tsx";
import { useShown } from "./use-shown.tsx";

const eventsShown = 20;

type SpanEvent = NonNullable<TraceSpan["events"]>[number];

export function SpanEvents({ span }: { readonly span: TraceSpan }) {
  const { shown, more } = useShown(span.events ?? [], eventsShown);
  return span.eventsCount === 0 ? null : (
    <section>
      <h3>Events ({countText(span.eventsCount)})</h3>
      <ol class="events">
        {shown.map((event, index) => (
          <EventItem key={index} event={event} afterNs={event.startNs - span.startNs} />
        ))}
      </ol>
      {more}
      <InTable count={span.eventsCount - (span.events?.length ?? 0)} />
    </section>
  );
}

/** What the answer left out. */
function InTable({ count }: { readonly count: number }) {
  return count <= 0 ? null : <p class="note">{countText(count)} more in the table.</p>;
}

/** Of an exception these are its heading and its stack. */
const exceptionKeys = ["exception.type", "exception.message", "exception.stacktrace"];

/** `afterNs`: the span's begin. */
function EventItem({ event, afterNs }: { readonly event: SpanEvent; readonly afterNs: number }) {
  const stack = attributeOf(event.attributes, "exception.stacktrace");
  const what = ["exception.type", "exception.message"]
    .map((key) => attributeOf(event.attributes, key))
    .filter((text) => text !== "")
    .join(": ");
  const isException = what + stack !== "";
  const title =
    isException && event.name === "exception"
      ? what
      : [event.name, what].filter((text) => text !== "").join(": ");
  const others = event.attributes.filter(([key]) => !exceptionKeys.includes(key));
  const inHeading = event.attributes.length - others.length;
  return (
    <li class={isException ? "exception" : ""}>
      <p>
        <b>
          <bdi>{title}</bdi>
        </b>{" "}
        <span class="note">
          {durationText(Math.abs(afterNs))}
          {afterNs < 0 ? " before the span" : " into the span"}
        </span>
      </p>
      {stack !== "" && <pre class="stack">{stack}</pre>}
      <AttributePairs pairs={others} count={event.attributesCount - inHeading} />
    </li>
  );
}

export function SpanLinks({ span }: { readonly span: TraceSpan }) {
  const { shown, more } = useShown(span.links ?? [], eventsShown);
  return span.linksCount === 0 ? null : (
    <section>
      <h3>Links ({countText(span.linksCount)})</h3>
      <ul class="links">
        {shown.map((link, index) => (
          <li key={index}>
            <a class="key" href={`#${tracePagePath(link.traceId, link.spanId)}`}>
              trace {link.traceId.slice(0, 8)}, span {link.spanId}
            </a>
            <AttributePairs pairs={link.attributes} count={link.attributesCount} />
          </li>
        ))}
      </ul>
      {more}
      <InTable count={span.linksCount - (span.links?.length ?? 0)} />
    </section>
  );
}

function attributeOf(attributes: Attributes, wanted: string): string {
  return attributes.find(([key]) => key === wanted)?.[1] ?? "";
}
