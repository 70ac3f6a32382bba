/**
 * What an answer of Cloudflare's GraphQL Analytics API says. A 200 may hold an error, and an error may come with half of the
 * data (developers.cloudflare.com/analytics/graphql-api/errors): whatever is not wholly as the schema says is not a count.
 */
import * as v from "valibot";
import { shortText } from "../ledger/short-text.ts";
import { limits } from "../limits.ts";
import type { Count, Reached, Refused, Unread, UnreadCause } from "./front-door.ts";

/** As HTTP brought it. */
export interface ZoneAnswer {
  readonly status: number;
  readonly text: string;
}

const envelopeSchema = v.object({
  data: v.nullish(v.unknown()),
  errors: v.nullish(v.array(v.looseObject({ message: v.string() }))),
});

const countSchema = v.pipe(v.number(), v.finite(), v.minValue(0));

function groupsSchema<S extends v.GenericSchema>(dimensions: S) {
  return v.object({
    viewer: v.object({
      zones: v.array(
        v.object({
          groups: v.array(
            v.object({
              count: countSchema,
              avg: v.object({ sampleInterval: v.pipe(v.number(), v.finite(), v.minValue(0)) }),
              dimensions,
            }),
          ),
        }),
      ),
    }),
  });
}

const refusedSchema = groupsSchema(
  v.object({ action: v.string(), source: v.string(), ruleId: v.nullish(v.string(), "") }),
);
const reachedSchema = groupsSchema(
  v.object({ clientRequestPath: v.string(), edgeResponseStatus: v.number() }),
);

/**
 * Actions after which a request goes on (developers.cloudflare.com/logs/reference/security-fields), in lower case and without
 * `_`, which the API and the logs write differently. A word that is not here counts as turned away, and is named: a client
 * that is not a browser passes no challenge.
 */
const passing = new Set([
  "allow",
  "bypass",
  "challengebypassed",
  "challengesolved",
  "jschallengebypassed",
  "jschallengesolved",
  "linkmazeinjected",
  "log",
  "managedchallengebypassed",
  "managedchallengeinteractivesolved",
  "managedchallengenoninteractivesolved",
  "managedchallengeskipped",
  "rewrite",
  "simulate",
  "skip",
  "unknown",
]);

/** Rules, and paths with a status, that are named. */
const namedMax = 5;
const wordBytesMax = 80;

/** Null: Cloudflare did not answer, because of `failure`. `since`: of the first look in a row that failed. */
export function readRefused(
  answer: ZoneAnswer | null,
  failure: string,
  zoneId: string,
  since: number,
): Count<Refused> {
  const groups = read(answer, failure, zoneId, refusedSchema);
  if (!Array.isArray(groups)) {
    return { ...groups, since };
  }
  const turnedAway = groups.filter(
    ({ dimensions }) => !passing.has(dimensions.action.toLowerCase().replaceAll("_", "")),
  );
  const rules = turnedAway.map(({ count, dimensions: { action, source, ruleId } }) => ({
    rule: shortText(ruleId, wordBytesMax),
    action: shortText(action, wordBytesMax),
    source: shortText(source, wordBytesMax),
    requests: count,
  }));
  return {
    kind: "counted",
    ...sampled(turnedAway, groups.length),
    rules: rules.toSorted((a, b) => b.requests - a.requests).slice(0, namedMax),
  };
}

export function readReached(
  answer: ZoneAnswer | null,
  failure: string,
  zoneId: string,
  since: number,
): Count<Reached> {
  const groups = read(answer, failure, zoneId, reachedSchema);
  if (!Array.isArray(groups)) {
    return { ...groups, since };
  }
  const answers = groups.map(({ count, dimensions: { clientRequestPath, edgeResponseStatus } }) => ({
    path: shortText(clientRequestPath, wordBytesMax),
    status: edgeResponseStatus,
    requests: count,
  }));
  return {
    kind: "counted",
    ...sampled(groups, groups.length),
    answers: answers.toSorted((a, b) => b.requests - a.requests).slice(0, namedMax),
    counted: null,
  };
}

interface Group {
  readonly count: number;
  readonly avg: { readonly sampleInterval: number };
}

function sampled(groups: readonly Group[], inAnswer: number) {
  return {
    requests: Math.round(groups.reduce((sum, { count }) => sum + count, 0)),
    sampleInterval: groups.reduce((widest, { avg }) => Math.max(widest, avg.sampleInterval), 1),
    isAll: inAnswer < limits.zoneGroupsMax,
  };
}

type WhyUnread = Omit<Unread, "since">;

/** The groups of the one zone, or why there are none. */
function read<S extends ReturnType<typeof groupsSchema>>(
  answer: ZoneAnswer | null,
  failure: string,
  zoneId: string,
  schema: S,
): v.InferOutput<S>["viewer"]["zones"][number]["groups"] | WhyUnread {
  if (answer === null) {
    return unread("unreachable", `Cloudflare's API did not answer: ${failure}`);
  }
  const envelope = v.safeParse(envelopeSchema, parsedJson(answer.text));
  if (!envelope.success) {
    return answer.status >= 500 || answer.status < 400
      ? unread("unreachable", `Cloudflare's API answered ${answer.status} with something else than its JSON`)
      : unread(causeOf(answer.status, ""), `Cloudflare's API answered ${answer.status}`);
  }
  const { data, errors } = envelope.output;
  const [error] = errors ?? [];
  if (error !== undefined) {
    return data == null
      ? unread(causeOf(answer.status, error.message), said(answer.status, error.message))
      : unread("partial", `Cloudflare answered in part only: ${error.message}`);
  }
  if (answer.status !== 200) {
    return unread(causeOf(answer.status, ""), `Cloudflare's API answered ${answer.status}`);
  }
  const parsed = v.safeParse(schema, data);
  if (!parsed.success) {
    const [issue] = parsed.issues;
    return unread(
      "unclear",
      `Cloudflare's answer is not as its schema says, at ${v.getDotPath(issue) ?? "its root"}`,
    );
  }
  const [zone, ...others] = parsed.output.viewer.zones;
  return zone === undefined || others.length > 0
    ? unread("token", `the token sees no zone ${zoneId} (ZONE_ID)`)
    : zone.groups;
}

function unread(cause: UnreadCause, reason: string): WhyUnread {
  return { kind: "unread", cause, reason: shortText(reason, limits.reasonBytesMax) };
}

function said(status: number, message: string): string {
  return `Cloudflare answered ${status}: ${message}`;
}

/** The words are those of developers.cloudflare.com/analytics/graphql-api/errors; an error may come with any status. */
function causeOf(status: number, message: string): UnreadCause {
  if (
    /does not have access to the (path|field)|query time range is too large|data older than/.test(message)
  ) {
    return "plan";
  }
  if (status === 429 || /rate limiter|too many nodes|excessive resources/.test(message)) {
    return "rate";
  }
  if (status === 401 || status === 403 || /unauthorized|not authorized|authentication/i.test(message)) {
    return "token";
  }
  return status >= 500 || /try again later|internal server error/i.test(message) ? "unreachable" : "unclear";
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
