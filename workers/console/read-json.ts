/** The console's way to take and to give JSON: a body that is not as its schema says is a 400 that names the field. */
import * as v from "valibot";

export function answer(status: number, body: object): Response {
  return Response.json(body, { status });
}

/** The request's JSON by `schema`; a string says what is wrong with it. */
export async function readJson<S extends v.GenericSchema>(
  request: Request,
  schema: S,
): Promise<v.InferOutput<S> | string> {
  let body: unknown;
  try {
    body = await request.json();
  } catch {
    return "The body is no JSON.";
  }
  const parsed = v.safeParse(schema, body);
  if (parsed.success) {
    return parsed.output;
  }
  return issueText(parsed.issues[0]);
}

/** Which field is wrong, and how. */
export function issueText(issue: v.BaseIssue<unknown>): string {
  return `${v.getDotPath(issue) ?? "the body"} ${issue.message}`;
}
