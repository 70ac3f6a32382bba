/**
 * One trace by its link: there, not there yet, or why it is not known. First its shape is asked for, which is drawn at once, and behind it
 * what its spans say.
 */
import { useEffect, useState } from "preact/hooks";
import { type TraceShape, traceSchema, traceShapeSchema } from "../../../../shared/console/traces.ts";
import { useAnswer } from "../answer.ts";
import { Top } from "../top.tsx";
import { Waiting } from "../waiting.tsx";
import { FoundTrace } from "./found-trace.tsx";

/** How often a trace that is not there is looked for again: its spans may be on their way. */
const lookAgainMs = 3000;

interface TracePageProps {
  readonly trace: string;
  /** The span that the link chooses; empty: none. */
  readonly span: string;
}

export function TracePage({ trace, span }: TracePageProps) {
  useEffect(() => {
    document.title = `Trace ${trace.slice(0, 8)} · Headrace`;
  }, [trace]);
  return (
    <>
      <Top page="traces" />
      <main class="trace">
        {/^[0-9a-f]{32}$/.test(trace) ? <AskedTrace id={trace} span={span} /> : <NoTraceId given={trace} />}
      </main>
    </>
  );
}

function NoTraceId({ given }: { readonly given: string }) {
  return (
    <section class="panel">
      <h1>No trace</h1>
      <p>
        What the link names must be a trace id: 32 hex digits, and it is <bdi class="key">{given}</bdi>.
      </p>
      <p>
        <a href="#/traces">The newest traces</a>
      </p>
    </section>
  );
}

function AskedTrace({ id, span }: { readonly id: string; readonly span: string }) {
  const [isAbsent, setAbsent] = useState(false);
  const { value, failure, isAsking, again } = useAnswer(
    `/api/trace-shape?id=${id}`,
    traceShapeSchema,
    isAbsent ? lookAgainMs : null,
  );
  useEffect(() => setAbsent(value?.spans.length === 0), [value]);
  const isThere = value !== undefined && value.spans.length > 0;
  const whole = useAnswer(isThere ? `/api/trace?id=${id}` : "", traceSchema);
  // Erased in between, it stays what it was.
  const details = whole.value?.spans.length === 0 ? undefined : whole.value;
  return (
    <>
      {failure !== "" && (
        <p class="stale" role="alert">
          {failure}{" "}
          <button type="button" disabled={isAsking} onClick={again}>
            Ask again
          </button>
        </p>
      )}
      {value === undefined && isAsking && <Waiting what="Reading the trace" />}
      {value?.spans.length === 0 && <AbsentTrace trace={value} />}
      {isThere && <FoundTrace shape={value} details={{ ...whole, value: details }} span={span} />}
    </>
  );
}

function AbsentTrace({ trace: { traceId, notes } }: { readonly trace: TraceShape }) {
  return (
    <section class="panel">
      <h1>Trace {traceId}</h1>
      {notes.map((note) => (
        <p key={note}>{note}</p>
      ))}
      <p class="note">
        The page looks again every few seconds. <a href="#/traces">The newest traces</a>
      </p>
    </section>
  );
}
