/** Asks the console's API. */
import * as v from "valibot";
import { refusalSchema } from "../../../shared/console/answers.ts";

/** The API answered, and not with 200. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** GET, or POST where there is a body. Throws `Refused`, or what `fetch` throws where nobody answers. */
export async function ask<S extends v.GenericSchema>(
  token: string,
  path: string,
  schema: S,
  { body, signal }: { readonly body?: object; readonly signal?: AbortSignal } = {},
): Promise<v.InferOutput<S>> {
  const response = await fetch(path, {
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    cache: "no-store",
    ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }),
    ...(signal === undefined ? {} : { signal }),
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
  return error instanceof TypeError
    ? "The console does not answer."
    : `The answer was not understood: ${String(error)}`;
}
