/**
 * Asks ClickHouse until the spans of a run are there. It counts rows and distinct spans, so a span stored twice shows.
 */
import type { ClickHouseClient } from "@clickhouse/client-web";
import * as v from "valibot";

/** Resource attribute that marks all spans of one run of the sender. */
export const runAttribute = "headrace.demo.run";

export interface Arrival {
  /** Distinct spans of the run. */
  readonly spans: number;
  /** Rows of the run beyond one a span. */
  readonly doubled: number;
  /** Why ClickHouse could not be asked the last time; undefined when it could. */
  readonly trouble: string | undefined;
}

export interface AwaitArrivalOptions {
  readonly client: ClickHouseClient;
  readonly table: string;
  readonly run: string;
  /** Start times of the run's spans are not before this, ms since the epoch: it bounds what ClickHouse reads. */
  readonly sinceMs: number;
  /** Spans to wait for. */
  readonly spans: number;
  readonly deadlineMs: number;
  /** Ends the wait early. */
  readonly stop: AbortSignal;
  readonly onChange: (arrival: Arrival) => void;
}

const pollMs = 250;
/** After all have arrived, once more: a doubled row comes with a later INSERT. */
const confirmMs = 1_000;

// uniqExact, because uniq estimates beyond 65,536 values. count() is a string in JSON for ClickHouse before 25.8.
const countSchema = v.pipe(v.union([v.number(), v.string()]), v.transform(Number), v.safeInteger());
const answerSchema = v.tuple([v.object({ rows: countSchema, spans: countSchema })]);

/** Resolves when the spans have arrived, at the deadline, or when stopped. `waitedMs` is when the last one was seen. */
export async function awaitArrival(
  options: AwaitArrivalOptions,
): Promise<{ readonly arrival: Arrival; readonly waitedMs: number }> {
  const begun = Date.now();
  let arrival: Arrival = { spans: 0, doubled: 0, trouble: undefined };
  let waitedMs = 0;
  const look = async (): Promise<void> => {
    const next = await countArrived(options, arrival);
    if (next.spans !== arrival.spans) {
      waitedMs = Date.now() - begun;
    }
    arrival = next;
    options.onChange(arrival);
  };
  for (;;) {
    await look();
    if (arrival.trouble === undefined && arrival.spans >= options.spans) {
      await sleep(confirmMs, options.stop);
      await look();
      return { arrival, waitedMs };
    }
    if (options.stop.aborted || Date.now() - begun >= options.deadlineMs) {
      return { arrival, waitedMs };
    }
    await sleep(pollMs, options.stop);
  }
}

async function countArrived(options: AwaitArrivalOptions, last: Arrival): Promise<Arrival> {
  try {
    const answer = await options.client.query({
      query: `
        SELECT count() AS rows, uniqExact(TraceId, SpanId) AS spans
        FROM {table:Identifier}
        WHERE ResourceAttributes[{attribute:String}] = {run:String}
          AND Timestamp >= fromUnixTimestamp64Milli({since:Int64})`,
      query_params: {
        table: options.table,
        attribute: runAttribute,
        run: options.run,
        since: Math.floor(options.sinceMs),
      },
      format: "JSONEachRow",
    });
    const [{ rows, spans }] = v.parse(answerSchema, await answer.json());
    return { spans, doubled: rows - spans, trouble: undefined };
  } catch (error) {
    // A server that restarts, or a table that is being made: the deadline ends this, and the reason is shown then.
    return { ...last, trouble: reasonOf(error) };
  }
}

/** An error in one line. `fetch` keeps its reason in the cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) {
    return String(error);
  }
  const cause = error.cause instanceof Error ? error.cause : error;
  const text = cause.message === "" && "code" in cause ? String(cause.code) : cause.message;
  return text.split("\n")[0] ?? "";
}

function sleep(ms: number, stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      stop.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, stop.aborted ? 0 : ms);
    stop.addEventListener("abort", done);
  });
}
