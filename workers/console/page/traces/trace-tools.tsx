/** What is above a waterfall: the search within the trace, the way from error to error, folding, and the critical path. */
import { useEffect, useRef } from "preact/hooks";
import { plural } from "../format.ts";
import { neighbour } from "./find-spans.ts";

interface TraceToolsProps {
  readonly sought: string;
  readonly onSought: (text: string) => void;
  /** What the search does not look through, and why; empty: nothing. */
  readonly searched: string;
  /** Nodes that the search found, in their order. */
  readonly found: readonly number[];
  readonly errors: readonly number[];
  /** The node that the keyboard is at: from there the next one is looked for. */
  readonly active: number;
  readonly onShow: (node: number) => void;
  readonly isFolded: boolean;
  readonly onFold: (isFolded: boolean) => void;
  readonly showsPath: boolean;
  readonly onShowsPath: (showsPath: boolean) => void;
}

export function TraceTools(props: TraceToolsProps) {
  const {
    sought,
    onSought,
    searched,
    found,
    errors,
    active,
    onShow,
    isFolded,
    onFold,
    showsPath,
    onShowsPath,
  } = props;
  const search = useSlash();
  const showNext = (nodes: readonly number[], direction: 1 | -1): void => {
    const next = neighbour(nodes, active, direction);
    if (next !== undefined) {
      onShow(next);
    }
  };
  return (
    <div class="actions">
      <input
        ref={search}
        type="search"
        placeholder="Search in this trace ( / )"
        aria-label="Search in this trace: names, services, ids, attributes, events"
        value={sought}
        onInput={(event) => onSought(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter") {
            showNext(found, event.shiftKey ? -1 : 1);
          }
        }}
      />
      {sought !== "" && (
        <span class="note" role="status">
          {found.length === 0
            ? "nothing found"
            : `${plural(found.length, "span")} found; Enter goes to the next`}
          {searched !== "" && ` (${searched})`}
        </span>
      )}
      <button type="button" disabled={errors.length === 0} onClick={() => showNext(errors, 1)}>
        Next error
      </button>
      <button type="button" onClick={() => onFold(!isFolded)}>
        {isFolded ? "Unfold all" : "Fold all"}
      </button>
      <label>
        <input type="checkbox" checked={showsPath} onChange={() => onShowsPath(!showsPath)} /> Critical path
      </label>
    </div>
  );
}

/** A field that `/` leads to, from wherever nobody types. */
function useSlash() {
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const pressed = (event: KeyboardEvent): void => {
      const isTyping =
        event.target instanceof HTMLInputElement || document.querySelector("dialog[open]") !== null;
      if (event.key === "/" && !isTyping) {
        event.preventDefault();
        field.current?.focus();
      }
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
  return field;
}
