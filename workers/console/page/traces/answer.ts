/** One question of the API, asked when it changes; an answer to an earlier one is none. */
import { useContext, useEffect, useRef, useState } from "preact/hooks";
import type { InferOutput } from "valibot";
import { type AnswerSchema, ask, failureText, Refused } from "../ask.ts";
import { AccessContext } from "../polling.ts";

export interface Answer<T> {
  readonly value: T | undefined;
  /** Why there is no answer, in words; empty: there is one, or it is still asked for. */
  readonly failure: string;
  readonly isAsking: boolean;
  /** Asks anew, unless an answer is waited for: a slow one would never come. */
  readonly again: () => void;
}

/** An empty `path` asks nothing. */
export function useAnswer<P extends string>(
  path: P | "",
  schema: AnswerSchema<"GET", P>,
): Answer<InferOutput<AnswerSchema<"GET", P>>> {
  const { token, onRefused } = useContext(AccessContext);
  const [round, setRound] = useState(0);
  const [state, setState] = useState<{
    readonly path: string;
    readonly value: InferOutput<AnswerSchema<"GET", P>> | undefined;
    readonly failure: string;
    readonly isAsking: boolean;
  }>({ path: "", value: undefined, failure: "", isAsking: false });

  const isOut = useRef(false);
  useEffect(() => {
    if (path === "") {
      return;
    }
    const stopped = new AbortController();
    isOut.current = true;
    setState((before) => ({ ...before, isAsking: true }));
    ask<P>(token, path, schema, { signal: stopped.signal })
      .then((value) => {
        isOut.current = false;
        setState({ path, value, failure: "", isAsking: false });
      })
      .catch((error: unknown) => {
        if (stopped.signal.aborted) {
          return;
        }
        isOut.current = false;
        if (error instanceof Refused && error.status === 401) {
          onRefused();
          return;
        }
        setState((before) => ({
          path,
          value: before.path === path ? before.value : undefined,
          failure: failureText(error),
          isAsking: false,
        }));
      });
    return () => {
      isOut.current = false;
      stopped.abort();
    };
  }, [path, token, round]);

  const isCurrent = state.path === path;
  return {
    value: isCurrent ? state.value : undefined,
    failure: isCurrent ? state.failure : "",
    isAsking: state.isAsking || (path !== "" && !isCurrent),
    again: () => isOut.current || setRound((before) => before + 1),
  };
}
