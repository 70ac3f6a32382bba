/** Something that is done once, or again and again, while somebody looks: in a hidden tab it rests, and lets an idle ClickHouse sleep. */

export interface Rounds {
  /** Does it at once, unless it is being done: a slow one would never come to its end. */
  readonly now: () => void;
  /** How long it rests from one to the next, ms; null: it is done until it succeeds, and then not again. */
  readonly every: (restMs: number | null) => void;
  readonly stop: () => void;
}

/** The longest rest after failures. */
const restMaxMs = 30_000;

/** Begins with the first round. `act` says whether it succeeded, and does not reject; after failures it rests longer. */
export function startRounds(act: (stopped: AbortSignal) => Promise<boolean>): Rounds {
  const stopped = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let restMs: number | null = null;
  let failures = 0;
  let isActing = false;
  let isDone = false;

  const rest = (): void => {
    clearTimeout(timer);
    if (restMs !== null && !stopped.signal.aborted) {
      timer = setTimeout(now, failures === 0 ? restMs : Math.min(restMs * 2 ** failures, restMaxMs));
    }
  };
  const now = async (): Promise<void> => {
    if (document.hidden || isActing || stopped.signal.aborted) {
      return;
    }
    clearTimeout(timer);
    isActing = true;
    isDone = await act(stopped.signal);
    isActing = false;
    failures = isDone ? 0 : failures + 1;
    rest();
  };
  const seen = (): void => {
    if (restMs !== null || !isDone) {
      now();
    }
  };

  document.addEventListener("visibilitychange", seen);
  now();
  return {
    now,
    every: (ms) => {
      restMs = ms;
      rest();
    },
    stop: () => {
      stopped.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    },
  };
}
