/** Asks again and again while somebody looks: a hidden tab asks nothing, and lets an idle ClickHouse sleep. */

import { createContext } from "preact";
import { useContext, useEffect, useRef, useState } from "preact/hooks";
import type { InferOutput } from "valibot";
import { type AnswerSchema, ask, failureText, Refused } from "./ask.ts";

export interface Access {
  readonly token: string;
  /** The token was refused. */
  readonly onRefused: () => void;
}
export const AccessContext = createContext<Access>({ token: "", onRefused: () => {} });

export interface Polled<T> {
  /** The last good answer, also while asking fails. */
  readonly value: T | undefined;
  /** Why the last asking failed; empty: it did not. */
  readonly failure: string;
  /** Asks at once, after something was done. */
  readonly again: () => void;
}

const backOffMaxMs = 30_000;

/** Asks `path` every `everyMs` while the tab is visible; less often while it fails. */
export function usePolled<P extends string>(
  path: P,
  schema: AnswerSchema<"GET", P>,
  everyMs: number,
): Polled<InferOutput<AnswerSchema<"GET", P>>> {
  const { token, onRefused } = useContext(AccessContext);
  const [state, setState] = useState<{
    readonly path: string;
    readonly value: InferOutput<AnswerSchema<"GET", P>> | undefined;
    readonly failure: string;
  }>({ path, value: undefined, failure: "" });
  const wake = useRef<() => void>(() => {});

  useEffect(() => {
    const stopped = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let failures = 0;
    let asking = false;

    async function round(): Promise<void> {
      clearTimeout(timer);
      if (document.hidden || asking || stopped.signal.aborted) {
        return;
      }
      asking = true;
      try {
        const value = await ask(token, path, schema, { signal: stopped.signal });
        failures = 0;
        setState({ path, value, failure: "" });
      } catch (error) {
        if (stopped.signal.aborted) {
          return;
        }
        if (error instanceof Refused && error.status === 401) {
          onRefused();
          return;
        }
        failures += 1;
        setState((before) => ({ ...before, failure: failureText(error) }));
      } finally {
        asking = false;
      }
      if (!stopped.signal.aborted) {
        timer = setTimeout(round, Math.min(everyMs * 2 ** failures, backOffMaxMs));
      }
    }

    wake.current = round;
    document.addEventListener("visibilitychange", round);
    round();
    return () => {
      stopped.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", round);
    };
  }, [path, token, everyMs]);

  // An answer to another question (the other range) is none.
  const isCurrent = state.path === path;
  return {
    value: isCurrent ? state.value : undefined,
    failure: isCurrent ? state.failure : "",
    again: () => wake.current(),
  };
}

/** The current time, updated each second while the tab is visible. */
export function useNow(): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) {
        setNow(Date.now());
      }
    }, 1000);
    return () => clearInterval(timer);
  }, []);
  return now;
}
