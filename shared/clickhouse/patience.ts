/**
 * How long an answer is waited for. The one timer in `shared/`: it ends a wait, and decides nothing. AbortSignal.timeout
 * would be shorter, but it cannot be taken back: a Durable Object stays in memory, and is charged for, until it fires.
 */
export async function within<T>(ms: number, act: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(new Error(`no answer within ${ms / 1000} s`)), ms);
  try {
    return await act(controller.signal);
  } finally {
    clearTimeout(timer);
  }
}
