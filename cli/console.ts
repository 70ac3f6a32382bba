/** Speaks to an installation's console. A failure is a `UserError` that says which address, which token, and what to do. */
import * as v from "valibot";
import { refusalSchema } from "../shared/console/answers.ts";
import { type AnswerOf, type AskedOf, type RouteName, routes } from "../shared/console/routes.ts";
import type { Installation } from "./installation.ts";
import { UserError } from "./user-error.ts";

export interface Console {
  /** Asks one route of the contract. */
  ask<N extends RouteName>(name: N, ...asked: Parts<N>): Promise<AnswerOf<N>>;
}

/** Nothing has to be given where a route takes nothing, or nothing that it needs. */
type Parts<N extends RouteName> =
  Record<never, never> extends AskedOf<N> ? [asked?: AskedOf<N>] : [asked: AskedOf<N>];

/** What any route may be given. */
interface AnyParts {
  readonly query?: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body?: unknown;
  readonly id?: string;
}

/** A long balance or reconciler run; the platform ends a request of ours before. */
const timeoutMs = 120_000;

export function consoleAt(installation: Installation, interrupted: AbortSignal): Console {
  return {
    async ask<N extends RouteName>(name: N, ...asked: Parts<N>): Promise<AnswerOf<N>> {
      // Whatever parts a route takes are among these.
      const [{ query = {}, body, id = "" } = {}] = asked as readonly AnyParts[];
      const [method = "", path = ""] = name.split(" ");
      const given = Object.entries(query).flatMap(([name, value]) =>
        (value === undefined ? [] : [value].flat()).map((one): [string, string] => [name, one]),
      );
      const search = given.length === 0 ? "" : `?${new URLSearchParams(given)}`;
      const url = `${installation.console.replace(/\/+$/, "")}${path.replace("/:id", `/${id}`)}${search}`;
      let status: number;
      let text: string;
      try {
        const response = await fetch(url, {
          method,
          headers: {
            authorization: `Bearer ${installation.adminToken}`,
            ...(installation.access === undefined
              ? {}
              : {
                  "cf-access-client-id": installation.access.id,
                  "cf-access-client-secret": installation.access.secret,
                }),
            ...(body === undefined ? {} : { "content-type": "application/json" }),
          },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
          redirect: "manual", // the token goes to this address and to no other
          signal: AbortSignal.any([interrupted, AbortSignal.timeout(timeoutMs)]),
        });
        status = response.status;
        text = await response.text();
      } catch (error) {
        throw notReached(installation, error, interrupted);
      }
      const json = parseJson(text);
      if (status < 200 || status > 299) {
        throw refused(installation, status, json, text);
      }
      const answer = v.safeParse(routes[name].answer, json);
      if (!answer.success) {
        throw new UserError(
          `${url} did not answer as a console of this version does (${v.getDotPath(answer.issues[0]) ?? "the body"}: ${answer.issues[0].message}): is it the console's address, and is it deployed from this commit?`,
          3,
        );
      }
      // It was parsed by the route's own schema, which the type of the list cannot say of one name.
      return answer.output as AnswerOf<N>;
    },
  };
}

function notReached(installation: Installation, error: unknown, interrupted: AbortSignal): UserError {
  if (interrupted.aborted) {
    return new UserError("interrupted", 130, { cause: error });
  }
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
  const host = new URL(installation.console).host;
  const hint = installation.isLocal ? ": is `npm run dev` running?" : ` (address from ${installation.from})`;
  const what =
    code === "ECONNREFUSED"
      ? `connection refused by ${host}`
      : code === "ENOTFOUND" || code === "EAI_AGAIN"
        ? `there is no host ${host}`
        : `no answer from ${host} (${code})`;
  return new UserError(`${what}${hint}`, 3, { cause: error });
}

function refused(installation: Installation, status: number, json: unknown, text: string): UserError {
  const parsed = v.safeParse(refusalSchema, json);
  const said = parsed.success ? parsed.output.error : (text.trim().split("\n")[0]?.slice(0, 200) ?? "");
  if (status === 401) {
    return new UserError(`${installation.console} refuses the admin token (${installation.from})`, 2);
  }
  if (status === 404 && parsed.success && said.startsWith("Nothing is here")) {
    return new UserError(
      `the console at ${installation.console} does not know this request: deploy it from this commit`,
      3,
    );
  }
  if (!parsed.success) {
    return new UserError(
      `${installation.console} answered ${status}, but not as a console does: is it the console's address? Its answer: ${said}`,
      3,
    );
  }
  return status >= 500
    ? new UserError(`the console answered ${status}: ${said}`, 3)
    : new UserError(said, status === 404 || status === 409 ? 1 : 2);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
