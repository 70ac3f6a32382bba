/** The console's requests for traces: what a request asks, checked, and its answer or why there is none. */
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import type { AskedTrace } from "../../shared/console/one-trace-queries.ts";
import { parseFilter } from "../../shared/console/trace-filter.ts";
import type {
  Trace,
  TraceShape,
  TraceSpanDetail,
  Traces,
  TraceTimes,
  TraceValues,
} from "../../shared/console/traces.ts";
import { limits } from "../../shared/limits.ts";
import type { Result } from "../../shared/result.ts";
import { Refusal } from "./answer-request.ts";
import { completeValues, parseValuesQuestion } from "./complete-values.ts";
import { countTraces } from "./count-traces.ts";
import { listTraces, parseListQuestion } from "./list-traces.ts";
import { readTrace } from "./read-trace.ts";
import { readTraceShape } from "./read-trace-shape.ts";
import { readTraceSpan } from "./read-trace-span.ts";
import { factsOf, patientUntil, type Search, type SearchMemory, startSearch } from "./trace-search.ts";

/** A query as the contract's schemas let it through: each parameter is text, some may stand in it several times. */
type Query = Readonly<Record<string, string | readonly string[] | undefined>>;
type Answering<A> = (clickHouse: ClickHouseConnection, query: Query, nowMs: number) => Promise<A | Refusal>;

/** `memory`: one per Worker instance. */
export function traceHandlers(memory: SearchMemory): {
  readonly list: Answering<Traces>;
  readonly times: Answering<TraceTimes>;
  readonly values: Answering<TraceValues>;
  trace(clickHouse: ClickHouseConnection, asked: AskedTrace): Promise<Trace>;
  shape(clickHouse: ClickHouseConnection, asked: AskedTrace): Promise<TraceShape>;
  span(
    clickHouse: ClickHouseConnection,
    asked: AskedTrace & { readonly span: string },
  ): Promise<TraceSpanDetail>;
} {
  return {
    list: searching(memory, parseListQuestion, listTraces),
    times: searching(memory, parseFilter, countTraces),
    values: searching(memory, parseValuesQuestion, completeValues),
    trace: async (clickHouse, asked) => {
      const patient = patientForTrace(clickHouse);
      return await readTrace(patient, asked, await settingsOf(patient, memory));
    },
    shape: async (clickHouse, asked) => {
      const patient = patientForTrace(clickHouse);
      return await readTraceShape(patient, asked, await settingsOf(patient, memory));
    },
    span: async (clickHouse, asked) => {
      const patient = patientForTrace(clickHouse);
      return await readTraceSpan(patient, asked, await settingsOf(patient, memory));
    },
  };
}

/** 400 for a question that is malformed or too long, 409 where the login has no limits, else what `act` found. */
function searching<Q, A>(
  memory: SearchMemory,
  parse: (parameters: URLSearchParams, nowMs: number) => Result<Q, string>,
  act: (search: Search, question: Q) => Promise<A>,
): Answering<A> {
  return async (clickHouse, query, nowMs) => {
    const parameters = parametersOf(query);
    const { length } = parameters.toString();
    if (length > limits.traceQuestionCharsMax) {
      return new Refusal(
        400,
        `The query has ${length} characters, and at most ${limits.traceQuestionCharsMax} are accepted: shorten the filter.`,
      );
    }
    const question = parse(parameters, nowMs);
    if (!question.ok) {
      return new Refusal(400, question.refusal);
    }
    const search = await startSearch(clickHouse, memory, Date.now);
    return typeof search === "string" ? new Refusal(409, search) : await act(search, question.value);
  };
}

function parametersOf(query: Query): URLSearchParams {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of value === undefined ? [] : [value].flat()) {
      parameters.append(name, one);
    }
  }
  return parameters;
}

/** Somebody waits for it: a trace is read within this time, or the answer says that ClickHouse gave none. */
function patientForTrace(clickHouse: ClickHouseConnection): ClickHouseConnection {
  const { traceReadMs } = limits;
  return patientUntil(clickHouse, Date.now() + traceReadMs, traceReadMs, Date.now);
}

/** One trace by its id is answered also where the login has no limits: it is not a search. */
async function settingsOf(
  clickHouse: ClickHouseConnection,
  memory: SearchMemory,
): Promise<Readonly<Record<string, string>>> {
  const { login } = await factsOf(clickHouse, memory, Date.now());
  return login.kind === "limited" ? login.settings : {};
}
