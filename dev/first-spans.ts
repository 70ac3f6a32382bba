/**
 * Says at the terminal of `npm run dev` that spans have arrived: once a service, with a trace to look at. It reads the
 * Workers' log for groups that were stored, and asks ClickHouse which services they are of.
 */
import * as v from "valibot";
import { fetchClickHouse } from "./clickhouse/login.ts";
import { fieldsOf } from "./readable-log.ts";

/** The first spans of a service that this run of the pipeline has seen. */
export interface FirstSpans {
  readonly service: string;
  readonly spans: number;
  /** The name and the time of one of them: of a root span where there is one. */
  readonly span: string;
  readonly ms: number;
  readonly trace: string;
}

export interface Question {
  readonly groups: readonly string[];
  /** Services that were named already. */
  readonly named: readonly string[];
}

/** A group whose receipts are not written yet is not among `seen`. */
export interface FirstSpansAnswer {
  readonly seen: readonly string[];
  readonly services: readonly FirstSpans[];
}

export interface FirstSpansTimes {
  /** From a stored group to the question, so that a burst is one question. */
  readonly gatherMs: number;
  /** Between two questions at most, while they name nothing new. */
  readonly pauseMsMax: number;
  /** A question that took long is followed by a pause of so many times that: it reads more the larger the table is. */
  readonly pauseTimesTaken: number;
  /** Questions about a group whose receipts are not written, or while ClickHouse is away. */
  readonly looksMax: number;
}

const firstSpansTimes: FirstSpansTimes = {
  gatherMs: 700,
  pauseMsMax: 10_000,
  pauseTimesTaken: 50,
  looksMax: 8,
};

/** Groups that one question is about. Of a backlog the first ones are looked at, and the later ones when it is over. */
const groupsMax = 200;
/** Services that are named in a run; after these nothing is asked any more. */
const servicesMax = 100;

/** A question takes no longer. */
const secondsMax = 5;

const groupPattern = /^[0-9a-f]{32}$/;

/** The group that a line of a Worker's log says is stored; empty: none. */
function groupIn(line: string): string {
  if (!line.includes('"group"')) {
    return "";
  }
  const { outcome, group } = fieldsOf(line) ?? {};
  const isStored = outcome === "stored" || outcome === "counted" || outcome === "verified";
  return isStored && typeof group === "string" && groupPattern.test(group) ? group : "";
}

/** Reads lines until `stop`. `ask` may throw: it is asked again. */
export function watchFirstSpans(
  ask: (question: Question) => Promise<FirstSpansAnswer>,
  print: (spans: FirstSpans) => void,
  times: FirstSpansTimes = firstSpansTimes,
): { readLine(line: string): void; stop(): void } {
  /** Groups to ask about, with the questions so far. */
  const due = new Map<string, number>();
  const named = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  /** It doubles with each question that names nothing new: traffic that goes on is asked about seldom, what comes alone at once. */
  let pauseMs = times.gatherMs;
  /** ms since the epoch */
  let notBefore = 0;

  function plan(): void {
    if (!stopped && timer === undefined && due.size > 0) {
      const waitMs = Math.max(times.gatherMs, notBefore - Date.now());
      timer = setTimeout(() => void look(), waitMs).unref();
    }
  }

  async function look(): Promise<void> {
    const groups = [...due.keys()];
    const began = Date.now();
    const { seen, services } = await ask({ groups, named: [...named] }).catch(() => nothing);
    const ended = Date.now();
    if (services.length > 0) {
      pauseMs = times.gatherMs;
    } else if (seen.length > 0) {
      pauseMs = Math.min(2 * pauseMs, times.pauseMsMax);
    }
    notBefore = ended + Math.max(pauseMs, times.pauseTimesTaken * (ended - began));
    timer = undefined;
    if (stopped) {
      return;
    }
    for (const group of groups) {
      const looks = (due.get(group) ?? 0) + 1;
      if (seen.includes(group) || looks >= times.looksMax) {
        due.delete(group);
      } else {
        due.set(group, looks);
      }
    }
    const fresh = services.filter(({ service }) => !named.has(service));
    for (const spans of fresh.slice(0, servicesMax - named.size)) {
      named.add(spans.service);
      print(spans);
    }
    if (named.size >= servicesMax) {
      due.clear();
    }
    plan();
  }

  return {
    readLine(line) {
      const group = named.size < servicesMax ? groupIn(line) : "";
      if (group !== "" && due.size < groupsMax) {
        due.set(group, 0);
        plan();
      }
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

const nothing: FirstSpansAnswer = { seen: [], services: [] };

const answerSchema = v.object({
  data: v.array(
    v.object({
      seen: v.array(v.string()),
      services: v.array(
        v.object({
          service: v.string(),
          spans: v.number(),
          span: v.string(),
          ms: v.number(),
          trace: v.string(),
        }),
      ),
    }),
  ),
});

/**
 * Only the groups' days are read, which are the table's partitions; and its sorting key begins with the service: where all are
 * named already, nearly nothing is read. The table may be a large one of somebody's own.
 */
const query = `
WITH stored AS (SELECT group_id, payload, spans_by_day FROM headrace_receipts WHERE group_id IN {groups:Array(String)})
SELECT
  (SELECT groupUniqArray(group_id) FROM stored) AS seen,
  (
    SELECT groupArray(CAST((service, spans, first.1, first.2, first.3),
      'Tuple(service String, spans UInt32, span String, ms Float64, trace String)'))
    FROM (
      SELECT toString(ServiceName) AS service, count() AS spans,
        argMin((toString(SpanName), round(Duration / 1e6, 1), TraceId), (ParentSpanId != '', Timestamp)) AS first
      FROM otel_traces
      WHERE toDate(Timestamp) IN (SELECT arrayJoin(mapKeys(spans_by_day)) FROM stored)
        AND HeadracePayload IN (SELECT payload FROM stored) AND ServiceName NOT IN {named:Array(String)}
      GROUP BY service ORDER BY min(Timestamp) LIMIT ${servicesMax}
    )
  ) AS services
FORMAT JSON`;

/** Asks ClickHouse at its address with the login, as `dev.json` has it. */
export function askClickHouse(clickHouse: string): (question: Question) => Promise<FirstSpansAnswer> {
  return async ({ groups, named }) => {
    const url = new URL(clickHouse);
    url.searchParams.delete("cluster"); // ours, no setting of ClickHouse
    url.searchParams.set("param_groups", arrayText(groups));
    url.searchParams.set("param_named", arrayText(named));
    url.searchParams.set("output_format_json_named_tuples_as_objects", "1");
    url.searchParams.set("max_threads", "1");
    url.searchParams.set("max_execution_time", String(secondsMax));
    const response = await fetchClickHouse(url, { method: "POST", body: query });
    const text = await response.text();
    if (!response.ok) {
      throw new Error(text);
    }
    const [answer = nothing] = v.parse(answerSchema, JSON.parse(text)).data;
    return answer;
  };
}

const escapes: Readonly<Record<string, string>> = { "\n": "\\n", "\t": "\\t" };

/** An array as ClickHouse reads it in a parameter. */
function arrayText(texts: readonly string[]): string {
  const quoted = texts.map(
    (text) => `'${text.replace(/[\\'\n\t]/g, (mark) => escapes[mark] ?? `\\${mark}`)}'`,
  );
  return `[${quoted.join(",")}]`;
}
