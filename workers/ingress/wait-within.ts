/** Bounded waiting: what does not come in time is given up, and the caller says what that means. */

/** Thrown by `within`. */
export class DeadlinePassed extends Error {
  override readonly name = "DeadlinePassed";
}

/** Resolves as `promise` does, or throws `DeadlinePassed` after `timeoutMs`. */
export async function within<T>(promise: Promise<T>, timeoutMs: number): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new DeadlinePassed(`no answer after ${timeoutMs} ms`)), timeoutMs);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
