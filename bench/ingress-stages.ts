/** The stations of a good request, in the order in which it passes them. */
export const stageNames: readonly string[] = [
  "make the request",
  "headers",
  "authenticate",
  "read body",
  "inflate",
  "check",
  "hash",
  "put, ring",
  "answer",
  "outcome",
];

/** A stage's number; undefined: it is none, but the whole request. */
export function lastOf(name: string): number | undefined {
  const index = stageNames.indexOf(name);
  return index < 0 ? undefined : index;
}
