/** So many of a list, and more when somebody asks: a span may have 100,000 of something. */
import { useState } from "preact/hooks";
import { countText } from "../format.ts";

/** How many one click shows. */
const moreShown = 300;

interface Shown<T> {
  readonly shown: readonly T[];
  /** Null: all are shown. */
  readonly more: preact.JSX.Element | null;
}

export function useShown<T>(list: readonly T[], first: number): Shown<T> {
  const [count, setCount] = useState(first);
  const left = list.length - count;
  return {
    shown: list.slice(0, count),
    more:
      left <= 0 ? null : (
        <button type="button" onClick={() => setCount(count + moreShown)}>
          Show {countText(Math.min(moreShown, left))} more of {countText(left)}
        </button>
      ),
  };
}
