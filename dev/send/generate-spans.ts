/**
 * Makes spans on the real OpenTelemetry SDK: plays planned traces through one tracer provider a service and yields
 * what ended in batches. Exactly `spans` spans are made; a trace that the budget cuts keeps its first spans, so every
 * parent is there. Nothing is held but one batch and one trace, however many spans are asked for.
 *
 * With one seed the shapes (names, attributes, times relative to the start) are the same; ids come from `ids`.
 */
import {
  type Attributes,
  type Context,
  createTraceState,
  type HrTime,
  type Link,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  type TraceState,
  trace,
} from "@opentelemetry/api";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  type IdGenerator,
  type ReadableSpan,
  type Sampler,
  SamplingDecision,
  type SpanProcessor,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import { makeFleet, type Service } from "./fleet.ts";
import { type PlannedSpan, planTrace, type ScopeName, scopes } from "./plan-trace.ts";
import { seededRandom } from "./seeded-random.ts";

export interface GenerateOptions {
  /** Spans to make, over all batches. */
  readonly spans: number;
  /** Services that the traces run through, at least one. */
  readonly services: number;
  /** Decides the shapes. */
  readonly seed: number;
  /** Spans in a batch; the last one may be smaller. */
  readonly batchSpans: number;
  /** Start of the first trace, ms since the epoch. */
  readonly startMs: number;
  /** The traces' starts are spread evenly over this time. */
  readonly windowMs: number;
  /** Added to every service's resource. */
  readonly resource: Attributes;
  /** Trace and span ids: `new RandomIdGenerator()` for runs that must not collide, a counter for tests. */
  readonly ids: IdGenerator;
}

/** Producer spans that later traces may link to. */
const producersKept = 8;

/** Yields arrays that the caller may keep; their spans have ended. */
export function* generateSpans(options: GenerateOptions): Generator<ReadableSpan[], void> {
  const random = seededRandom(options.seed);
  const fleet = makeFleet(options.services, random);
  const stage = createStage(fleet, options);
  let made = 0;
  while (made < options.spans) {
    const plan = planTrace(fleet, random);
    const startMs = options.startMs + (options.windowMs * made) / options.spans;
    made += stage.play(plan.root, plan.tracestate, startMs, options.spans - made);
    while (stage.ended.length >= options.batchSpans) {
      yield stage.ended.splice(0, options.batchSpans);
    }
  }
  if (stage.ended.length > 0) {
    yield stage.ended.splice(0);
  }
}

interface Stage {
  /** Spans that have ended and are in no batch yet, in the order of their ends. */
  readonly ended: ReadableSpan[];
  /** Plays a trace, at most `spansMax` spans of it, and returns how many it made. */
  play(root: PlannedSpan, tracestate: string, startMs: number, spansMax: number): number;
}

function createStage(fleet: readonly Service[], options: GenerateOptions): Stage {
  const ended: ReadableSpan[] = [];
  const producers: SpanContext[] = [];
  let tracestate: TraceState | undefined;

  const tracerOf = tracersOf(
    fleet,
    options,
    (span) => ended.push(span),
    () => tracestate,
  );
  const linksOf = (plan: PlannedSpan): Link[] =>
    plan.links.flatMap((link) => {
      const context = producers[producers.length - 1 - link.producersBack];
      return context === undefined ? [] : [{ context, attributes: link.attributes }];
    });

  const playSpan = (plan: PlannedSpan, parent: Context, startMs: number, spansMax: number): number => {
    const span = tracerOf(plan.service, plan.scope).startSpan(
      plan.name,
      {
        kind: plan.kind,
        attributes: plan.attributes,
        links: linksOf(plan),
        startTime: timeAt(startMs, plan.startNs),
      },
      parent,
    );
    if (plan.kind === SpanKind.PRODUCER) {
      producers.push(span.spanContext());
      producers.splice(0, producers.length - producersKept);
    }
    let made = 1;
    for (const child of plan.children) {
      if (made < spansMax) {
        const context =
          child.service === plan.service
            ? trace.setSpan(parent, span)
            : trace.setSpanContext(ROOT_CONTEXT, { ...span.spanContext(), isRemote: true });
        made += playSpan(child, context, startMs, spansMax - made);
      }
    }
    endSpan(span, plan, startMs);
    return made;
  };

  return {
    ended,
    play: (root, tracestateText, startMs, spansMax) => {
      tracestate = tracestateText === "" ? undefined : createTraceState(tracestateText);
      return playSpan(root, ROOT_CONTEXT, startMs, spansMax);
    },
  };
}

/** A tracer for each service and scope; `onEnd` gets each span that ended. */
function tracersOf(
  fleet: readonly Service[],
  { ids, resource }: GenerateOptions,
  onEnd: (span: ReadableSpan) => void,
  tracestate: () => TraceState | undefined,
): (service: Service, scope: ScopeName) => Tracer {
  const collector: SpanProcessor = {
    onStart() {},
    onEnd,
    forceFlush: () => Promise.resolve(),
    shutdown: () => Promise.resolve(),
  };
  // Everything is sampled. A root gets the trace's tracestate as a sampling vendor would set it; children inherit it.
  const sampler: Sampler = {
    shouldSample: (context) => {
      const traceState = tracestate();
      return {
        decision: SamplingDecision.RECORD_AND_SAMPLED,
        ...(traceState !== undefined && trace.getSpanContext(context) === undefined ? { traceState } : {}),
      };
    },
    toString: () => "DemoSampler",
  };
  const providers = new Map(
    fleet.map((service) => [
      service,
      new TracerProvider({
        resource: resourceFromAttributes({ ...service.resource, ...resource }),
        idGenerator: ids,
        spanProcessors: [collector],
        sampler,
      }),
    ]),
  );
  return (service, scope) => {
    const { name, version } = scopes[scope];
    return providers.get(service)?.getTracer(name, version) ?? trace.getTracer(name);
  };
}

/** Gives a span what the plan has beside its children, and ends it. */
function endSpan(span: Span, plan: PlannedSpan, startMs: number): void {
  for (const event of plan.events) {
    span.addEvent(event.name, event.attributes, timeAt(startMs, event.atNs));
  }
  for (const { failure, atNs } of plan.exceptions) {
    const { type, message, stack } = failure;
    span.recordException({ name: type, message, stack }, timeAt(startMs, atNs));
  }
  switch (plan.status.code) {
    case "unset":
      break;
    case "ok":
      span.setStatus({ code: SpanStatusCode.OK });
      break;
    case "error":
      span.setStatus({ code: SpanStatusCode.ERROR, message: plan.status.message });
      break;
  }
  span.end(timeAt(startMs, plan.endNs));
}

/** A time as the SDK's `[seconds, nanoseconds]`. `startMs` may have a fraction; `offsetNs` is an integer below 2^53. */
function timeAt(startMs: number, offsetNs: number): HrTime {
  const startSeconds = Math.floor(startMs / 1000);
  const ns = Math.round((startMs - startSeconds * 1000) * 1e6) + offsetNs;
  const carry = Math.floor(ns / 1e9);
  return [startSeconds + carry, ns - carry * 1e9];
}
