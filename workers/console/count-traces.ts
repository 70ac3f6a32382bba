/** `GET /api/trace-times`: how many traces, or spans that fulfil the filter, begin in each step of a time. */
import * as v from "valibot";
import { formatInstant, msToNs } from "../../shared/console/instant.ts";
import { asksOfSpans, type TraceFilter } from "../../shared/console/trace-filter.ts";
import { countStepsQuestion } from "../../shared/console/trace-queries.ts";
import type { TraceTimes } from "../../shared/console/traces.ts";
import { limits } from "../../shared/limits.ts";
import { type Search, timeUsedUp, walk } from "./trace-search.ts";

const rowsSchema = v.array(v.object({ step: v.number(), count: v.number(), errors: v.number() }));

/** Lengths of a step, in seconds: a person can read them off. */
const stepLengths = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400,
] as const;

/** At most `limits.traceStepsMax` steps. */
function stepSecondsOf({ fromMs, toMs }: Pick<TraceFilter, "fromMs" | "toMs">): number {
  const needed = (toMs - fromMs) / 1000 / (limits.traceStepsMax - 1);
  return stepLengths.find((seconds) => seconds >= needed) ?? 86_400;
}

export async function countTraces(search: Search, filter: TraceFilter): Promise<TraceTimes> {
  const seconds = stepSecondsOf(filter);
  const stepNs = BigInt(seconds) * 1_000_000_000n;
  const range = { from: msToNs(filter.fromMs), to: msToNs(filter.toMs) };
  const from = range.from - (range.from % stepNs);
  const stepsCount = Number((range.to - from + stepNs - 1n) / stepNs);
  const steps: TraceTimes["steps"][number][] = Array.from({ length: stepsCount }, () => null);
  const isQuick = search.hasProjection && !asksOfSpans(filter);
  const walked = await walk(
    search,
    range,
    { firstNs: isQuick ? range.to - range.from : 15n * 60_000_000_000n, stepNs },
    async (slice) => {
      const question = countStepsQuestion(
        search.clickHouse.settings,
        filter,
        slice,
        { from, seconds },
        search.hasProjection,
      );
      const rows = await search.ask(question, rowsSchema);
      const [first, last] = [slice.from, slice.to - 1n].map((at) => Number((at - from) / stepNs));
      for (let step = first ?? 0; step <= (last ?? -1); step++) {
        steps[step] = { count: 0, errors: 0 };
      }
      for (const { step, count, errors } of rows) {
        if (step < steps.length) {
          steps[step] = { count, errors };
        }
      }
      return false;
    },
  );
  return {
    from: formatInstant(from),
    to: formatInstant(range.to),
    stepSeconds: seconds,
    steps,
    of: asksOfSpans(filter) ? "spans" : "traces",
    searched: { from: formatInstant(walked.from), to: formatInstant(range.to), isWhole: walked.isWhole },
    notes: walked.endedBy === "time" ? [timeUsedUp(walked, search)] : [],
  };
}
