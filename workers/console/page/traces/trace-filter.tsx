/** The filter's fields. Each change is a new link; the browser's Back undoes it. */
import { useState } from "preact/hooks";
import { tracePagePath, tracesPagePath } from "../../../../shared/console/page-routes.ts";
import { parseCondition } from "../../../../shared/console/trace-filter.ts";
import { goTo } from "../route.ts";
import { FilterField } from "./filter-field.tsx";

const ranges = [
  ["15m", "Last 15 minutes"],
  ["1h", "Last hour"],
  ["6h", "Last 6 hours"],
  ["24h", "Last 24 hours"],
  ["7d", "Last 7 days"],
  ["30d", "Last 30 days"],
] as const;

const statuses = [
  ["", "any"],
  ["error", "error"],
  ["ok", "ok"],
  ["unset", "unset"],
] as const;

/** Parameters that say when and whose: what completes a value depends on them. */
const contextNames = ["since", "from", "to", "tenant", "service"];

interface TraceFilterProps {
  readonly search: URLSearchParams;
  /** What is wrong with the filter, in words; empty: nothing is. */
  readonly problem: string;
}

export function TraceFilter({ search, problem }: TraceFilterProps) {
  const { set, setRange, setConditions } = filterChanges(search);
  const [refusal, setRefusal] = useState("");
  /** An attribute that was completed, and has no value yet. */
  const [isHalf, setHalf] = useState(false);
  const conditions = search.getAll("where");
  const shared = {
    search: search.toString(),
    context: new URLSearchParams([...search].filter(([name]) => contextNames.includes(name))).toString(),
  };
  const field = (name: string) => ({
    ...shared,
    name,
    value: search.get(name) ?? "",
    onValue: (value: string) => set(name, value),
  });
  const addCondition = (text: string): void => {
    setHalf(text.trim().endsWith("="));
    if (text.trim().endsWith("=")) {
      return;
    }
    const condition = parseCondition(text);
    setRefusal(condition.ok || text.trim() === "" ? "" : condition.refusal);
    if (condition.ok) {
      setConditions([...conditions, text.trim()]);
    }
  };

  return (
    <form class="filter" aria-label="Filter of traces" onSubmit={(event) => event.preventDefault()}>
      <RangeChoice search={search} onRange={setRange} />
      <FilterField label="Service" of="service" {...field("service")} />
      <FilterField label="Span name" of="name" {...field("name")} />
      <StatusChoice status={search.get("status") ?? ""} onStatus={(status) => set("status", status)} />
      <FilterField label="Longer than" placeholder="100ms" {...field("minDuration")} />
      <FilterField label="Shorter than" placeholder="2s" {...field("maxDuration")} />
      <FilterField label="Tenant" of="tenant" {...field("tenant")} />
      <FilterField
        {...shared}
        label="Attribute"
        name="where"
        of="key"
        placeholder="http.route=/cart"
        value=""
        onValue={addCondition}
      />
      <FilterField
        {...shared}
        label="Trace id"
        name="trace"
        placeholder="opens it"
        value=""
        onValue={(text) => setRefusal(goToTrace(text))}
      />
      {isHalf && (
        <p class="note" role="status">
          Now the attribute's value, behind the =. Without the = it is asked whether the attribute is there.
        </p>
      )}
      {(refusal || problem) !== "" && (
        <p class="wrong" role="alert">
          {refusal || problem}
        </p>
      )}
      <Conditions
        conditions={conditions}
        onDrop={(at) => setConditions(conditions.filter((_, n) => n !== at))}
      />
      {[...search.keys()].some((name) => name !== "since") && (
        <a class="clear" href="#/traces">
          Clear the filter
        </a>
      )}
    </form>
  );
}

/** Why not; empty: it goes there, or there is nowhere to go to. */
function goToTrace(text: string): string {
  const id = text.trim().toLowerCase();
  if (/^[0-9a-f]{32}$/.test(id)) {
    goTo(tracePagePath(id));
    return "";
  }
  return id === "" ? "" : "A trace id is 32 hex digits.";
}

interface FilterChanges {
  readonly set: (name: string, value: string) => void;
  readonly setRange: (since: string) => void;
  readonly setConditions: (conditions: readonly string[]) => void;
}

/** What leads from one filter to the next. */
function filterChanges(search: URLSearchParams): FilterChanges {
  const apply = (change: (next: URLSearchParams) => void): void => {
    const next = new URLSearchParams(search);
    change(next);
    goTo(tracesPagePath(next));
  };
  return {
    set: (name, value) => apply((next) => (value === "" ? next.delete(name) : next.set(name, value))),
    setRange: (since) =>
      apply((next) => {
        next.delete("from");
        next.delete("to");
        next.set("since", since);
      }),
    setConditions: (conditions) =>
      apply((next) => {
        next.delete("where");
        for (const text of conditions) {
          next.append("where", text);
        }
      }),
  };
}

interface StatusChoiceProps {
  readonly status: string;
  readonly onStatus: (status: string) => void;
}

function StatusChoice({ status, onStatus }: StatusChoiceProps) {
  return (
    <label>
      Status
      <select value={status} onChange={(event) => onStatus(event.currentTarget.value)}>
        {statuses.map(([value, label]) => (
          <option key={value} value={value}>
            {label}
          </option>
        ))}
      </select>
    </label>
  );
}

interface RangeChoiceProps {
  readonly search: URLSearchParams;
  readonly onRange: (since: string) => void;
}

function RangeChoice({ search, onRange }: RangeChoiceProps) {
  const since = search.get("since") ?? "1h";
  const [from, to] = ["from", "to"].map((name) => search.get(name)?.slice(0, 19) ?? "");
  /** A link's own: a stretch of time, or a length that is not in the list. */
  const own = from !== "" || to !== "" ? `${from || since} to ${to || "now"}` : since;
  const isOwn = own !== since || ranges.every(([value]) => value !== since);
  return (
    <label>
      Time
      <select value={isOwn ? "" : since} onChange={(event) => onRange(event.currentTarget.value)}>
        {isOwn && <option value="">{own}</option>}
        {ranges.map(([value, label]) => (
          <option key={value} value={value}>
            {label}
          </option>
        ))}
      </select>
    </label>
  );
}

interface ConditionsProps {
  readonly conditions: readonly string[];
  readonly onDrop: (at: number) => void;
}

function Conditions({ conditions, onDrop }: ConditionsProps) {
  return conditions.length === 0 ? null : (
    <ul class="conditions" aria-label="Conditions on attributes">
      {conditions.map((text, at) => (
        <li key={at}>
          <bdi>{text}</bdi>{" "}
          <button type="button" class="quiet" aria-label={`Remove ${text}`} onClick={() => onDrop(at)}>
            ×
          </button>
        </li>
      ))}
    </ul>
  );
}
