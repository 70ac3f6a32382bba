/**
 * How long an answer is waited for. The one timer in `shared/`: it ends a wait, and decides nothing. AbortSignal.timeout
 * would be shorter, but it cannot be taken back: a Durable Object stays in memory, and is charged for, until it fires.
 */
export async function within<T>(ms: number, act: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const { signal } = controller;
  const timer = setTimeout(
    () => controller.abort(new Error(`no answer within ${Math.round(ms / 100) / 10} s`)),
    ms,
  );
  const late = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  try {
    // Not everybody who is asked heeds the signal: a binding's call cannot be taken back.
    return await Promise.race([act(signal), late]);
  } finally {
    clearTimeout(timer);
  }
}
