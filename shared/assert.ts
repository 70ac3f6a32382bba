/**
 * Assertions for programmer errors. They stay on in production: a broken invariant becomes a retried message and
 * in the end a visible dead letter, never a wrong row. A caller's mistake is a refusal and does not belong here.
 */

/** Thrown by `assert`: an invariant of ours is broken. */
export class BrokenInvariant extends Error {
  override readonly name = "BrokenInvariant";
}

/** Also one that was thrown in another isolate: what comes over is an `Error` of that name. */
export function isBrokenInvariant(error: unknown): error is Error {
  return error instanceof Error && error.name === "BrokenInvariant";
}

/** States one condition that must hold. Throws `BrokenInvariant` with `claim` when it does not. */
export function assert(condition: boolean, claim: string): asserts condition {
  if (!condition) {
    throw new BrokenInvariant(claim);
  }
}

/** Ends a `switch` over a closed union: a missing case stops the build. */
export function unreachable(value: never): never {
  throw new BrokenInvariant(`unreachable: ${JSON.stringify(value)}`);
}
