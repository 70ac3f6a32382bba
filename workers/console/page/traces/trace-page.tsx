/**
 * One trace by its link: there, not there yet, or why it is not known. First its shape is asked for, which is drawn at once, and behind it
 * what its spans say.
 */
import { useEffect, useRef, useState } from "preact/hooks";
import {
  type Trace,
  type TraceShape,
  traceSchema,
  traceShapeSchema,
} from "../../../../shared/console/traces.ts";
import { type Answer, useAnswer } from "../answer.ts";
import { Top } from "../top.tsx";
import { Waiting } from "../waiting.tsx";
import { arrivingMs, isSameShape, lookAgain, quietMs } from "./arriving.ts";
import { FoundTrace } from "./found-trace.tsx";
import { ofTenant } from "./of-tenant.ts";

interface TracePageProps {
  readonly trace: string;
  /** The span that the link chooses; empty: none. */
  readonly span: string;
  /** Whose spans alone are shown; empty: all. */
  readonly tenant: string;
}

export function TracePage({ trace, span, tenant }: TracePageProps) {
  useEffect(() => {
    document.title = `Trace ${trace.slice(0, 8)} · Headrace`;
  }, [trace]);
  return (
    <>
      <Top page="traces" />
      <main class="trace">
        {/^[0-9a-f]{32}$/.test(trace) ? (
          <AskedTrace asked={`id=${trace}${ofTenant(tenant)}`} span={span} />
        ) : (
          <NoTraceId given={trace} />
        )}
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

/** `asked`: as the API has it. */
function AskedTrace({ asked, span }: { readonly asked: string; readonly span: string }) {
  const [everyMs, setEveryMs] = useState<number | null>(null);
  const { value, failure, isAsking, again } = useAnswer(
    `/api/trace-shape?${asked}`,
    traceShapeSchema,
    everyMs,
  );
  const shape = useUnchanged(value);
  useEffect(() => {
    setEveryMs(shape === undefined ? null : lookAgain(shape, Date.now()));
    const quiet = setTimeout(() => setEveryMs((before) => (before === arrivingMs ? null : before)), quietMs);
    return () => clearTimeout(quiet);
  }, [shape]);
  const isThere = shape !== undefined && shape.spans.length > 0;
  const details = useDetails(asked, isThere ? shape : undefined);
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
      {shape === undefined && isAsking && <Waiting what="Reading the trace" />}
      {shape?.spans.length === 0 && <AbsentTrace trace={shape} />}
      {isThere && <FoundTrace shape={shape} details={details} span={span} />}
    </>
  );
}

/** The same object as long as the same is answered: nothing is drawn anew then. */
function useUnchanged(value: TraceShape | undefined): TraceShape | undefined {
  const last = useRef(value);
  if (value === undefined || last.current === undefined || !isSameShape(value, last.current)) {
    last.current = value;
  }
  return last.current;
}

/** What the spans say. What was asked for before further spans arrived is asked for again, and until then it is not there. */
function useDetails(asked: string, shape: TraceShape | undefined): Answer<Trace> {
  const whole = useAnswer(shape === undefined ? "" : `/api/trace?${asked}`, traceSchema);
  const [outdated, setOutdated] = useState<Trace>();
  /** The shape for which it was asked again: once, for spans may also have been erased. */
  const askedFor = useRef<TraceShape>(undefined);
  useEffect(() => {
    if (shape === undefined || whole.value === undefined || askedFor.current === shape) {
      return;
    }
    if (whole.value.spansCount <= shape.spansCount && !isSameShape(shape, whole.value)) {
      askedFor.current = shape;
      setOutdated(whole.value);
      whole.again();
    }
  }, [shape, whole.value]);
  const isOutdated = whole.value !== undefined && whole.value === outdated;
  // Erased in between, the trace stays what it was.
  const value = isOutdated || whole.value?.spans.length === 0 ? undefined : whole.value;
  return { ...whole, value, isAsking: whole.isAsking || (isOutdated && whole.failure === "") };
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
