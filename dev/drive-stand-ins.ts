/**
 * Has the Worker of `stand-ins/` do its work in time: R2's events each second or some, the cron at each full minute. Only the
 * clock is here, and every call is an HTTP request: nothing in this process waits for workerd synchronously.
 */

/** Where the stand-ins answer, and the token that opens them. */
export interface StandIns {
  readonly url: string;
  readonly token: string;
}

const minuteMs = 60_000;
/** What is new is listed this often: a small part of the time by which an event is late, since listing is most of what it costs. */
const pollMsLeast = 1000;
const pollMsMost = 5000;
const pollsADelay = 60;

/** Resolves with the answer's text; rejects when it is none of success. */
export async function askStandIns(
  { url, token }: StandIns,
  path: "/events" | "/cron" | "/key" | "/recent" | "/payloads" | "/ring" | "/event",
  body: string,
  signal: AbortSignal | null = null,
): Promise<string> {
  const headers = { authorization: `Bearer ${token}` };
  const response = await fetch(`${url}${path}`, { method: "POST", headers, body, signal });
  const text = await response.text();
  if (!response.ok) {
    throw new Error(text || `${path} answered ${response.status}`);
  }
  return text;
}

export interface Schedule {
  readonly events: boolean;
  readonly crons: boolean;
  /** How late R2's events are. */
  readonly eventDelaySeconds: number;
  readonly onLog: (level: "warn", message: string) => void;
}

/** Goes on until `stop`, which gives up what is under way. A call that fails is reported, and the next one comes. */
export function driveStandIns(
  standIns: StandIns,
  { events, crons, eventDelaySeconds, onLog }: Schedule,
): { stop(): Promise<void> } {
  const stopped = new AbortController();
  const { signal } = stopped;

  async function repeat(path: "/events" | "/cron", pauseMs: () => number): Promise<void> {
    while (!signal.aborted) {
      await sleep(pauseMs(), signal);
      try {
        signal.throwIfAborted();
        await askStandIns(standIns, path, "", signal);
      } catch (error) {
        if (!signal.aborted) {
          onLog("warn", `The local stand-in ${path} failed, and goes on: ${String(error)}`);
        }
      }
    }
  }

  const polled = (eventDelaySeconds * 1000) / pollsADelay;
  const pollMs = Math.min(Math.max(polled, pollMsLeast), pollMsMost);
  const running = Promise.all([
    events ? repeat("/events", () => pollMs) : undefined,
    crons ? repeat("/cron", () => minuteMs - (Date.now() % minuteMs)) : undefined,
  ]);
  return {
    async stop() {
      stopped.abort();
      await running;
    },
  };
}

async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((wake) => {
    if (signal.aborted) {
      wake();
      return;
    }
    const timer = setTimeout(wake, ms);
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        wake();
      },
      { once: true },
    );
  });
}
