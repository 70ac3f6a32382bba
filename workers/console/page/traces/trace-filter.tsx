/** The filter's fields. Each change is a new link; the browser's Back undoes it. */
import { useContext, useEffect, useRef, useState } from "preact/hooks";
import { tracesPagePath } from "../../../../shared/console/page-routes.ts";
import { parseCondition } from "../../../../shared/console/trace-filter.ts";
import { traceValuesSchema, type ValueKind } from "../../../../shared/console/traces.ts";
import { ask } from "../ask.ts";
import { AccessContext } from "../polling.ts";
import { goTo } from "../route.ts";

const ranges = [
  ["15m", "Last 15 minutes"],
  ["1h", "Last hour"],
  ["6h", "Last 6 hours"],
  ["24h", "Last 24 hours"],
  ["7d", "Last 7 days"],
] as const;

export function TraceFilter({ search }: { readonly search: URLSearchParams }) {
  const [problem, setProblem] = useState("");
  const conditions = search.getAll("where");
  const from = search.get("from") ?? "";
  const to = search.get("to") ?? "";

  const apply = (change: (next: URLSearchParams) => void): void => {
    const next = new URLSearchParams(search);
    change(next);
    goTo(tracesPagePath(next));
  };
  const set = (name: string, value: string): void =>
    apply((next) => (value === "" ? next.delete(name) : next.set(name, value)));
  const setRange = (since: string): void =>
    apply((next) => {
      next.delete("from");
      next.delete("to");
      next.set("since", since);
    });
  const addCondition = (text: string): void => {
    if (text.trim() === "") {
      return;
    }
    const condition = parseCondition(text);
    if (!condition.ok) {
      setProblem(condition.refusal);
      return;
    }
    setProblem("");
    apply((next) => next.append("where", text.trim()));
  };
  const dropCondition = (at: number): void =>
    apply((next) => {
      next.delete("where");
      for (const text of conditions.filter((_, n) => n !== at)) {
        next.append("where", text);
      }
    });
  /** What completes a value depends on what else is asked for. */
  const context = new URLSearchParams(
    [...search].filter(([name]) => ["since", "from", "to", "tenant", "service"].includes(name)),
  ).toString();
  const field = (name: string) => ({
    search: search.toString(),
    name,
    value: search.get(name) ?? "",
    onValue: (value: string) => set(name, value),
  });

  return (
    <form class="filter" aria-label="Filter of traces" onSubmit={(event) => event.preventDefault()}>
      <label>
        Time
        <select
          value={from === "" ? (search.get("since") ?? "1h") : ""}
          onChange={(event) => setRange(event.currentTarget.value)}
        >
          {from !== "" && <option value="">{`${from.slice(0, 19)} to ${to.slice(0, 19)}`}</option>}
          {ranges.map(([value, label]) => (
            <option key={value} value={value}>
              {label}
            </option>
          ))}
        </select>
      </label>
      <Field label="Service" of="service" context={context} {...field("service")} />
      <Field label="Span name" of="name" context={context} {...field("name")} />
      <label>
        Status
        <select
          value={search.get("status") ?? ""}
          onChange={(event) => set("status", event.currentTarget.value)}
        >
          <option value="">any</option>
          <option value="error">error</option>
          <option value="ok">ok</option>
          <option value="unset">unset</option>
        </select>
      </label>
      <Field label="Longer than" placeholder="100ms" {...field("minDuration")} />
      <Field label="Shorter than" placeholder="2s" {...field("maxDuration")} />
      <Field label="Tenant" of="tenant" context={context} {...field("tenant")} />
      <Field
        label="Attribute"
        search={search.toString()}
        name="where"
        of="key"
        context={context}
        placeholder="http.route=/cart"
        value=""
        onValue={addCondition}
      />
      {problem !== "" && (
        <p class="wrong" role="alert">
          {problem}
        </p>
      )}
      {conditions.length > 0 && (
        <ul class="conditions" aria-label="Conditions on attributes">
          {conditions.map((text, at) => (
            <li key={at}>
              <bdi>{text}</bdi>{" "}
              <button
                type="button"
                class="quiet"
                aria-label={`Remove ${text}`}
                onClick={() => dropCondition(at)}
              >
                ×
              </button>
            </li>
          ))}
        </ul>
      )}
      {[...search.keys()].some((name) => name !== "since") && (
        <a class="clear" href="#/traces">
          Clear the filter
        </a>
      )}
    </form>
  );
}

interface FieldProps {
  /** The link's parameters as text: the field is filled anew when they change. */
  readonly search: string;
  readonly label: string;
  readonly name: string;
  readonly value: string;
  readonly placeholder?: string;
  /** What the table has to complete it with; absent: nothing. */
  readonly of?: ValueKind;
  readonly context?: string;
  readonly onValue: (value: string) => void;
}

/** Asked after the last key, ms: nobody wants an answer for each letter. */
const pauseMs = 200;

function Field({ search, label, name, value, placeholder = "", of, context = "", onValue }: FieldProps) {
  const { token } = useContext(AccessContext);
  const [values, setValues] = useState<readonly string[]>([]);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const asked = useRef<AbortController>(undefined);
  const input = useRef<HTMLInputElement>(null);
  // What the link says, also after Back. While somebody types it stays as typed.
  useEffect(() => {
    if (input.current !== null) {
      input.current.value = value;
    }
  }, [value, search]);

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
        .then((answer) => setValues(answer.values.map((one) => wrap(one.value))))
        .catch(() => setValues([])); // what cannot be completed can be typed
    }, pauseMs);
  };
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

/** A condition is completed key first; behind its `=` by the values of that key. */
function completion(
  of: ValueKind,
  text: string,
): { readonly query: string; readonly wrap: (value: string) => string } {
  const at = text.indexOf("=");
  if (of !== "key" || at < 0) {
    return { query: new URLSearchParams({ of, prefix: text }).toString(), wrap: (value) => value };
  }
  const condition = parseCondition(text);
  const head = text.slice(0, at + 1);
  return condition.ok
    ? {
        query: new URLSearchParams({
          of: "value",
          key: condition.value.key,
          prefix: condition.value.value,
          ...(condition.value.scope === "any" ? {} : { scope: condition.value.scope }),
        }).toString(),
        wrap: (value) => head + value,
      }
    : { query: new URLSearchParams({ of, prefix: text }).toString(), wrap: (value) => value };
}
