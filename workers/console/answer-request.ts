/**
 * One request to the API: what it asks is checked by the contract's schemas (shared/console/routes.ts), what a handler
 * gives is of the contract's types. Why a request is not answered is a `Refusal`, which is worded as JSON here.
 */
import * as v from "valibot";
import {
  type BuiltAnswer,
  type OutputOf,
  type Route,
  type RouteName,
  routes,
} from "../../shared/console/routes.ts";
import { recordAction } from "./actions.ts";
import type { NamedBindings } from "./name-dependencies.ts";

/** The caller is wrong: the status and what is said. */
export class Refusal {
  readonly status: 400 | 404 | 409;
  readonly error: string;
  constructor(status: 400 | 404 | 409, error: string) {
    this.status = status;
    this.error = error;
  }
}

export interface Asked<N extends RouteName> {
  readonly query: OutputOf<N, "query">;
  readonly body: OutputOf<N, "body">;
  /** What the path names, where the route has `:id`; else empty. */
  readonly id: string;
  /** ms since the epoch */
  readonly now: number;
}

export type Handler<N extends RouteName> = (
  asked: Asked<N>,
  env: NamedBindings,
) => Promise<BuiltAnswer<N> | Refusal>;

export function answer(status: number, body: object | null): Response {
  return Response.json(body, { status });
}

/** Throws what the handler throws: a dependency did not answer. */
export async function answerRequest<N extends RouteName>(
  name: N,
  handler: Handler<N>,
  request: Request,
  env: NamedBindings,
): Promise<Response> {
  const route: Route = routes[name];
  const { pathname, searchParams } = new URL(request.url);
  const query = check(route.query, queryOf(searchParams), queryIssueText);
  const body =
    query instanceof Refusal || route.body === undefined ? undefined : await readBody(route.body, request);
  for (const part of [query, body]) {
    if (part instanceof Refusal) {
      return answer(part.status, { error: part.error });
    }
  }
  const id = name.includes("/:id") ? (pathname.split("/")[3] ?? "") : "";
  // Both are what the route's own schemas made; that they are of the same route no type can say.
  const asked = { query, body, id, now: Date.now() } as Asked<N>;
  if (!name.startsWith("GET ")) {
    const address = request.headers.get("cf-connecting-ip") ?? "";
    await recordAction(env.PAYLOADS, { who: env.who, address, what: name, id, body }, asked.now);
  }
  const given = await handler(asked, env);
  return given instanceof Refusal
    ? answer(given.status, { error: given.error })
    : answer(route.status ?? 200, given);
}

/** A parameter that the URL has several times is a list. */
function queryOf(parameters: URLSearchParams): Readonly<Record<string, string | readonly string[]>> {
  return Object.fromEntries(
    [...new Set(parameters.keys())].map((name) => {
      const values = parameters.getAll(name);
      return [name, values.length === 1 ? (values[0] ?? "") : values];
    }),
  );
}

async function readBody(schema: v.GenericSchema, request: Request): Promise<unknown> {
  let body: unknown;
  try {
    body = await request.json();
  } catch {
    return new Refusal(400, "The body is not JSON.");
  }
  return check(schema, body);
}

/** What the schema makes of it, or which field is wrong, and how. */
function check(
  schema: v.GenericSchema | undefined,
  given: unknown,
  wording: (issue: v.BaseIssue<unknown>) => string = issueText,
): unknown {
  if (schema === undefined) {
    return undefined;
  }
  const parsed = v.safeParse(schema, given);
  return parsed.success ? parsed.output : new Refusal(400, wording(parsed.issues[0]));
}

function issueText(issue: v.BaseIssue<unknown>): string {
  return `${v.getDotPath(issue) ?? "the body"} ${issue.message}`;
}

/** In a query a list is a parameter that is given several times, and is not one of those that may be. */
function queryIssueText(issue: v.BaseIssue<unknown>): string {
  const { input } = issue;
  return Array.isArray(input)
    ? `${v.getDotPath(issue)} is given ${input.length} times, and may be given once`
    : issueText(issue);
}
