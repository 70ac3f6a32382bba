/** A field of the filter, completed with what the table has. */
import { useContext, useLayoutEffect, useRef, useState } from "preact/hooks";
import { formatCondition, parseCondition } from "../../../../shared/console/trace-filter.ts";
import { traceValuesSchema, type ValueKind } from "../../../../shared/console/traces.ts";
import { AccessContext } from "../answer.ts";
import { ask } from "../ask.ts";

interface FilterFieldProps {
  /** The link's parameters as text: the field is filled anew when they change. */
  readonly search: string;
  /** Those of them that say when and whose. */
  readonly context: string;
  readonly label: string;
  readonly name: string;
  readonly value: string;
  readonly placeholder?: string;
  /** What the table has to complete it with; absent: nothing. */
  readonly of?: ValueKind;
  readonly onValue: (value: string) => void;
}

export function FilterField({
  search,
  context,
  label,
  name,
  value,
  placeholder = "",
  of,
  onValue,
}: FilterFieldProps) {
  const { values, complete } = useCompletion(of, context);
  const input = useRef<HTMLInputElement>(null);
  // What the link says, also after Back. While somebody types it stays as typed; before the field is seen nobody has.
  useLayoutEffect(() => {
    if (input.current !== null) {
      input.current.value = value;
    }
  }, [value, search]);
  return (
    <label>
      {label}
      <input
        type="text"
        name={name}
        ref={input}
        placeholder={placeholder}
        list={of === undefined ? undefined : `values-${name}`}
        autocomplete="off"
        spellcheck={false}
        onFocus={(event) => complete(event.currentTarget.value)}
        onInput={(event) => complete(event.currentTarget.value)}
        onChange={(event) => onValue(event.currentTarget.value)}
      />
      {of !== undefined && (
        <datalist id={`values-${name}`}>
          {values.map((one) => (
            <option key={one} value={one} />
          ))}
        </datalist>
      )}
    </label>
  );
}

/** Asked after the last key, ms: nobody wants an answer for each letter. */
const pauseMs = 200;

interface Completion {
  readonly values: readonly string[];
  /** Asks what completes this text; `values` are that a moment later. */
  readonly complete: (text: string) => void;
}

function useCompletion(of: ValueKind | undefined, context: string): Completion {
  const { token } = useContext(AccessContext);
  const [values, setValues] = useState<readonly string[]>([]);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const asked = useRef<AbortController>(undefined);
  const complete = (text: string): void => {
    clearTimeout(timer.current);
    asked.current?.abort();
    if (of === undefined) {
      return;
    }
    timer.current = setTimeout(() => {
      const stopped = new AbortController();
      asked.current = stopped;
      const { query, wrap } = completion(of, text);
      ask(token, `/api/trace-values?${query}&${context}`, traceValuesSchema, { signal: stopped.signal })
        .then((answer) => setValues([...new Set(answer.values.map((one) => wrap(one.value)))]))
        .catch(() => setValues([])); // what cannot be completed can be typed
    }, pauseMs);
  };
  return { values, complete };
}

interface CompletionQuestion {
  readonly query: string;
  /** A value as the field's whole text. */
  readonly wrap: (value: string) => string;
}

/** A condition is completed key first; behind its `=` by the values of that key. */
function completion(of: ValueKind, text: string): CompletionQuestion {
  const question = (parameters: Readonly<Record<string, string>>, head = ""): CompletionQuestion => ({
    query: new URLSearchParams(parameters).toString(),
    wrap: (value) => head + value,
  });
  if (of !== "key") {
    return question({ of, prefix: text });
  }
  const at = text.indexOf("=");
  const condition = parseCondition(text);
  if (at >= 0 && condition.ok) {
    const { key, value } = condition.value;
    return question({ of: "value", key, prefix: value }, text.slice(0, at + 1));
  }
  // `!` and the scope stay before the key, and `=` comes behind it: a value follows.
  const [head = ""] = /^!?(?:span\.|resource\.)?/.exec(text) ?? [];
  const test = head.startsWith("!") ? "exists" : "equals";
  return {
    ...question({ of, prefix: text.slice(head.length) }),
    wrap: (key) => head + formatCondition({ scope: "any", key, test, value: "" }),
  };
}
