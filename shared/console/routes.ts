/**
 * The console's API, once: which route takes what and answers what. The Worker's router, the CLI's requests and the
 * OpenAPI document (dev/openapi.ts) are made of this list, the page's questions are checked against its types.
 */
import type * as v from "valibot";
import * as answers from "./answers.ts";
import * as questions from "./questions.ts";
import * as traces from "./traces.ts";

export interface Route {
  /** One line, for the OpenAPI document. */
  readonly summary: string;
  /** The values of a query are text. */
  readonly query?: v.GenericSchema;
  readonly body?: v.GenericSchema;
  readonly answer: v.GenericSchema;
  /** Of the answer; 200 where it is left out. */
  readonly status?: 201;
}

export const routes = {
  "GET /api/about": {
    summary: "Where exporters send to",
    answer: answers.aboutSchema,
  },
  "GET /api/actions": {
    summary: "Operators' actions, and who did them: erasures, replays, changes of keys; newest first",
    query: questions.actionsQuery,
    answer: answers.actionsSchema,
  },
  "GET /api/balance": {
    summary: "Whether everything accepted in the last hours has ended or is in flight",
    query: questions.balanceQuery,
    answer: answers.balanceSchema,
  },
  "GET /api/dead-letters": {
    summary: "Payloads that could not be stored, newest first",
    answer: answers.deadLettersSchema,
  },
  "GET /api/doctor": {
    summary: "Every part that the guarantees depend on, tested from inside the Workers",
    answer: answers.examinationSchema,
  },
  "GET /api/findings": {
    summary: "Conditions that need attention, open ones first",
    answer: answers.findingsSchema,
  },
  "GET /api/in-flight": {
    summary: "What the ledger holds, and what each group waits for",
    answer: answers.inFlightSchema,
  },
  "GET /api/keys": {
    summary: "API keys, a page at a time",
    query: questions.keysQuery,
    answer: answers.keysSchema,
  },
  "GET /api/keys/:id": {
    summary: "One API key",
    answer: answers.keySchema,
  },
  "GET /api/minute-payloads": {
    summary: "What arrived in one minute, and how each payload ended",
    query: questions.minutePayloadsQuery,
    answer: answers.minutePayloadsSchema,
  },
  "GET /api/minutes": {
    summary: "How payloads ended, by minute or hour and by tenant",
    query: questions.minutesQuery,
    answer: answers.minutesSchema,
  },
  "GET /api/outcomes": {
    summary: "How requests ended, as the ingress counted them: best effort",
    query: questions.outcomesQuery,
    answer: answers.outcomesSchema,
  },
  "GET /api/payload": {
    summary: "Everything that happened to one payload",
    query: questions.payloadQuery,
    answer: answers.payloadSchema,
  },
  "GET /api/payload-spans": {
    summary: "The first spans of a payload, decoded from R2; with `trace`, those of that trace",
    query: questions.payloadSpansQuery,
    answer: answers.payloadSpansSchema,
  },
  "GET /api/payloads": {
    summary: "The keys of a tenant's payloads, a page at a time",
    query: questions.payloadsQuery,
    answer: answers.payloadsSchema,
  },
  "GET /api/status": {
    summary: "The ledger's own status, and what keeps payloads from being stored",
    answer: answers.statusSchema,
  },
  "GET /api/trace": {
    summary: "A trace: its spans, and the payloads that they came in",
    query: questions.traceQuery,
    answer: traces.traceSchema,
  },
  "GET /api/trace-shape": {
    summary: "What the waterfall of a trace is drawn from: its spans without attributes, events and links",
    query: questions.traceQuery,
    answer: traces.traceShapeSchema,
  },
  "GET /api/trace-span": {
    summary: "One span of a trace, with longer texts",
    query: questions.traceSpanQuery,
    answer: traces.traceSpanSchema,
  },
  "GET /api/trace-times": {
    summary: "How many traces, or spans that match a filter, begin in each step of a period",
    query: questions.traceTimesQuery,
    answer: traces.traceTimesSchema,
  },
  "GET /api/trace-values": {
    summary: "Services, names, tenants, attribute keys and values that complete a filter",
    query: questions.traceValuesQuery,
    answer: traces.traceValuesSchema,
  },
  "GET /api/traces": {
    summary: "The newest or longest traces that a filter finds, a page at a time",
    query: questions.tracesQuery,
    answer: traces.tracesSchema,
  },
  "GET /api/usage": {
    summary: "What each tenant sent, by day",
    query: questions.usageQuery,
    answer: answers.usageSchema,
  },
  "GET /api/watermark": {
    summary: "The minute up to which everything accepted has ended, and the minutes still open",
    answer: answers.watermarkSchema,
  },
  "POST /api/accept-table": {
    summary: "Inserts into the table that answers now, although it is not the one of before",
    answer: answers.acceptedSchema,
  },
  "POST /api/erase": {
    summary: "Removes payloads from R2 and ClickHouse for good; their receipts stay",
    body: questions.eraseBody,
    answer: answers.askedForSchema,
  },
  "POST /api/forget": {
    summary: "Accepts payloads again whose rows were deleted",
    body: questions.forgetBody,
    answer: answers.forgottenSchema,
  },
  "POST /api/keys": {
    summary: "Creates an API key; only this answer shows it",
    body: questions.createKeyBody,
    answer: answers.newKeySchema,
    status: 201,
  },
  "POST /api/keys/:id/revoke": {
    summary: "Revokes an API key at once and for good",
    answer: answers.keySchema,
  },
  "POST /api/keys/:id/rotate": {
    summary: "Replaces an API key by a new one; the old one works for a given time",
    body: questions.rotateKeyBody,
    answer: answers.newKeySchema,
    status: 201,
  },
  "POST /api/reconcile": {
    summary: "Notifies now what R2 has and the ledger does not hold",
    answer: answers.reconciledSchema,
  },
  "POST /api/replay": {
    summary: "Stores payloads after all; what is stored already is not stored again",
    body: questions.replayBody,
    answer: answers.askedForSchema,
  },
  "POST /api/resolve": {
    summary: "Decides about a payload of which the table has some rows but not exactly all",
    body: questions.resolveBody,
    answer: answers.resolvedSchema,
  },
  "PATCH /api/keys/:id": {
    summary: "Changes an API key; what is not named stays as it is",
    body: questions.changeKeyBody,
    answer: answers.keySchema,
  },
} as const satisfies Readonly<Record<`${"GET" | "POST" | "PATCH"} /api/${string}`, Route>>;

export type Routes = typeof routes;
export type RouteName = keyof Routes;
export const routeNames = namesOf(routes);

function namesOf<N extends string>(list: Readonly<Record<N, unknown>>): readonly N[] {
  const isName = (name: string): name is N => Object.hasOwn(list, name);
  return Object.keys(list).filter(isName);
}

/** What is not JSON, and so has no schema: the page, and what other programs read. */
export const plainRoutes = {
  "GET /": { summary: "The page", type: "text/html", entrance: "open" },
  "GET /assets/*": { summary: "The page's scripts and styles", type: "*/*", entrance: "open" },
  "GET /healthz": {
    summary: "200 while payloads are stored, otherwise 503 with the reason",
    type: "text/plain",
    entrance: "open",
  },
  "GET /metrics": {
    summary: "The pipeline's state for Prometheus",
    type: "text/plain",
    entrance: "metrics token",
  },
  "GET /api/openapi.json": { summary: "This document", type: "application/json", entrance: "admin token" },
} as const;
export type PlainRouteName = keyof typeof plainRoutes;
export const plainRouteNames = namesOf(plainRoutes);

/** What a route answers, as it is parsed, and as it is built. */
export type AnswerOf<N extends RouteName> = v.InferOutput<Routes[N]["answer"]>;
export type BuiltAnswer<N extends RouteName> = answers.Fixed<AnswerOf<N>>;

type Part<N extends RouteName, K extends "query" | "body"> = Routes[N] extends {
  readonly [P in K]: infer S extends v.GenericSchema;
}
  ? S
  : undefined;
type InputOf<N extends RouteName, K extends "query" | "body"> =
  Part<N, K> extends v.GenericSchema ? v.InferInput<Part<N, K>> : undefined;
export type OutputOf<N extends RouteName, K extends "query" | "body"> =
  Part<N, K> extends v.GenericSchema ? v.InferOutput<Part<N, K>> : undefined;

/** What a caller gives: the parts that the route takes. */
export type AskedOf<N extends RouteName> = (InputOf<N, "query"> extends undefined
  ? unknown
  : Record<never, never> extends InputOf<N, "query">
    ? { readonly query?: InputOf<N, "query"> }
    : { readonly query: InputOf<N, "query"> }) &
  (InputOf<N, "body"> extends undefined ? unknown : { readonly body: answers.Fixed<InputOf<N, "body">> }) &
  (N extends `${string}/:id${string}` ? { readonly id: string } : unknown);
