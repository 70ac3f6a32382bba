/** The answer to a question of the API: asked for when the question changes, and again and again where it says how often. */
import { createContext } from "preact";
import { useContext, useEffect, useRef, useState } from "preact/hooks";
import type { InferOutput } from "valibot";
import { type AnswerSchema, ask, failureText, Refused } from "./ask.ts";
import { type Rounds, startRounds } from "./rounds.ts";

export interface Access {
  readonly token: string;
  /** The token was refused. */
  readonly onRefused: () => void;
}
export const AccessContext = createContext<Access>({ token: "", onRefused: () => {} });

export interface Answer<T> {
  /** The last good answer to this very question, also while asking anew fails. */
  readonly value: T | undefined;
  /** Why the last asking failed, in words; empty: it did not. */
  readonly failure: string;
  /** The first answer is waited for, or the next after a failure. What is asked anew in passing draws nothing anew. */
  readonly isAsking: boolean;
  /** Asks at once, unless an answer is waited for: after something was done, or when somebody presses a button. */
  readonly again: () => void;
}

type Known<T> = Omit<Answer<T>, "again"> & { readonly path: string };

function isUpToDate<T>(known: Known<T>, path: string): boolean {
  return known.path === path && known.value !== undefined && known.failure === "";
}

/** `everyMs`: how often; null: until there is an answer. An empty `path` asks nothing. */
export function useAnswer<P extends string>(
  path: P | "",
  schema: AnswerSchema<"GET", P>,
  everyMs: number | null = null,
): Answer<InferOutput<AnswerSchema<"GET", P>>> {
  type Value = InferOutput<AnswerSchema<"GET", P>>;
  const { token, onRefused } = useContext(AccessContext);
  const nothing: Known<Value> = { path, value: undefined, failure: "", isAsking: path !== "" };
  const [known, setKnown] = useState(nothing);
  const rounds = useRef<Rounds>(undefined);

  useEffect(() => {
    if (path === "") {
      return;
    }
    /** An answer to another question (the other range) is none. */
    const learn = (change: Partial<Known<Value>>): void =>
      setKnown((before) => ({ ...(before.path === path ? before : nothing), ...change }));
    const asked = startRounds(async (stopped) => {
      setKnown((before) => (isUpToDate(before, path) ? before : { ...before, isAsking: true }));
      try {
        const value = await ask<P>(token, path, schema, { signal: stopped });
        learn({ value, failure: "", isAsking: false });
        return true;
      } catch (error) {
        if (!stopped.aborted) {
          learn({ failure: failureText(error), isAsking: false });
        }
        if (!stopped.aborted && error instanceof Refused && error.status === 401) {
          onRefused();
        }
        return false;
      }
    });
    rounds.current = asked;
    return asked.stop;
  }, [path, token]);
  useEffect(() => {
    rounds.current?.every(everyMs);
  }, [path, token, everyMs]);

  const { value, failure, isAsking } = known.path === path ? known : nothing;
  return { value, failure, isAsking, again: () => rounds.current?.now() };
}
