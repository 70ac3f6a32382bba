/** What happened within a span, exceptions with their stack, and what it is linked to. */
import { useState } from "preact/hooks";
import { durationText } from "../../../../shared/console/duration-text.ts";
import { tracePagePath } from "../../../../shared/console/page-routes.ts";
import type { Attributes, TraceSpan } from "../../../../shared/console/traces.ts";
import { Fact } from "./fact.tsx";

/** More are shown when somebody asks. */
const eventsShown = 20;

type SpanEvent = NonNullable<TraceSpan["events"]>[number];

export function SpanEvents({ span }: { readonly span: TraceSpan }) {
  const [isAll, setAll] = useState(false);
  const events = span.events ?? [];
  if (events.length === 0) {
    return null;
  }
  return (
    <section>
      <h3>Events ({span.eventsCount})</h3>
      <ol class="events">
        {events.slice(0, isAll ? events.length : eventsShown).map((event, index) => (
          <EventItem key={index} event={event} afterNs={event.startNs - span.startNs} />
        ))}
      </ol>
      {!isAll && events.length > eventsShown && (
        <button type="button" onClick={() => setAll(true)}>
          Show all {events.length}
        </button>
      )}
    </section>
  );
}

/** `afterNs`: the span's begin. */
function EventItem({ event, afterNs }: { readonly event: SpanEvent; readonly afterNs: number }) {
  const stack = attributeOf(event.attributes, "exception.stacktrace");
  const what = ["exception.type", "exception.message"]
    .map((key) => attributeOf(event.attributes, key))
    .filter((text) => text !== "")
    .join(": ");
  const isException = what + stack !== "";
  const others = event.attributes.filter(([key]) => !(isException && key.startsWith("exception.")));
  return (
    <li class={isException ? "exception" : ""}>
      <p>
        <b>
          <bdi>{what === "" ? event.name : what}</bdi>
        </b>{" "}
        <span class="note">
          {durationText(Math.abs(afterNs))}
          {afterNs < 0 ? " before the span" : " into the span"}
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
}

export function SpanLinks({ span }: { readonly span: TraceSpan }) {
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
