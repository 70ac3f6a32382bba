/** Bounded waiting: what does not come in time is given up, and the caller says what that means. */

/** Thrown by `within`. */
export class DeadlinePassed extends Error {
  override readonly name = "DeadlinePassed";
}

/** Resolves as `promise` does, or throws `DeadlinePassed` after `timeoutMs`. */
export async function within<T>(promise: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new DeadlinePassed(`no answer after ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
