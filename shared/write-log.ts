/**
 * The one place where the Workers write their logs: a line is one JSON object.
 *
 * It promises that no line holds an API key, and none a stack trace: a thrown error is its class and message, and its
 * causes'. Nothing of a body is ever given to it. Logs are kept, shipped and read by more people than may send.
 */
import { limits } from "./limits.ts";

/** What has the beginning of a key and is longer than the few characters that messages show of one. */
const apiKeys = /hr_[0-9A-Za-z]{5,}/g;

export type LogFields = Readonly<Record<string, string | number | boolean | object>>;

/** Writes a line, and the chain of causes of `error` into its field of that name. */
export function writeLog(level: "log" | "warn" | "error", fields: LogFields, error?: unknown): void {
  const line = JSON.stringify(
    error === undefined ? fields : { ...fields, error: describeError(error) },
    (_, value: unknown) => (typeof value === "string" ? cut(value.replace(apiKeys, "hr_…")) : value),
  );
  console[level](line);
}

/** `TypeError: what it says, because of Error: what its cause says` */
function describeError(error: unknown): string {
  const said: string[] = [];
  for (let next = error; next !== undefined && said.length < causesMax; ) {
    said.push(next instanceof Error ? `${next.name}: ${next.message}` : String(next));
    next = next instanceof Error ? next.cause : undefined;
  }
  return said.join(", because of ");
}

/** A chain of causes can be a circle. */
const causesMax = 5;

function cut(text: string): string {
  return text.length > limits.logTextCharsMax ? `${text.slice(0, limits.logTextCharsMax)}…` : text;
}
