/** Asks the console's API. */
import * as v from "valibot";
import { refusalSchema } from "../../../shared/console/answers.ts";
import type { RouteName, Routes } from "../../../shared/console/routes.ts";

/** The API answered, and not with 200. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** A path of the API with its query, and the schema that the contract has for its answer. */
export type PathOf<P extends string> = P extends `${infer Q}?${string}` ? Q : P;
export type AnswerSchema<
  M extends "GET" | "POST",
  P extends string,
> = `${M} ${PathOf<P>}` extends infer N extends RouteName ? Routes[N]["answer"] : never;

/**
 * How long the answer of a GET is waited for: longer than the Worker itself waits for ClickHouse. What was asked to be done is not
 * given up: it may be done although its answer is late.
 */
export const patienceMs = 15_000;

/** GET, or POST where there is a body. Throws `Refused`, or what `fetch` throws where nobody answers. */
export async function ask<P extends string, B extends object | undefined = undefined>(
  token: string,
  path: P,
  schema: AnswerSchema<B extends object ? "POST" : "GET", P>,
  { body, signal }: { readonly body?: B; readonly signal?: AbortSignal } = {},
): Promise<v.InferOutput<AnswerSchema<B extends object ? "POST" : "GET", P>>> {
  return await request(token, body === undefined ? "GET" : "POST", path, schema, body, signal);
}

/** Asks a route that names one thing by its id. Throws as `ask`. */
export async function askOf<N extends RouteName & `${string}/:id${string}`>(
  token: string,
  name: N,
  schema: Routes[N]["answer"],
  { id, body }: { readonly id: string; readonly body: object },
): Promise<v.InferOutput<Routes[N]["answer"]>> {
  const [method = "", path = ""] = name.split(" ");
  return await request(token, method, path.replace(":id", encodeURIComponent(id)), schema, body);
}

async function request<S extends v.GenericSchema>(
  token: string,
  method: string,
  path: string,
  schema: S,
  body?: object,
  stopped?: AbortSignal,
): Promise<v.InferOutput<S>> {
  const signals = [
    ...(stopped === undefined ? [] : [stopped]),
    ...(method === "GET" ? [AbortSignal.timeout(patienceMs)] : []),
  ];
  const response = await fetch(path, {
    method,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    cache: "no-store",
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(signals.length === 0 ? {} : { signal: AbortSignal.any(signals) }),
  });
  if (!response.ok) {
    const refusal = v.safeParse(refusalSchema, await response.json().catch(() => null));
    throw new Refused(
      response.status,
      refusal.success ? refusal.output.error : `It answered ${response.status}.`,
    );
  }
  return v.parse(schema, await response.json());
}

/** For people. */
export function failureText(error: unknown): string {
  if (error instanceof Refused) {
    return error.message;
  }
  if (error instanceof DOMException && error.name === "TimeoutError") {
    return `The console has not answered within ${patienceMs / 1000} s.`;
  }
  return error instanceof TypeError
    ? "The console does not answer."
    : `The answer was not understood: ${String(error)}`;
}
