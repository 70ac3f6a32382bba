/** The fields of a key. Empty limits are none. What is not right is said by the API, which alone knows the rules. */
import { useState } from "preact/hooks";
import type { ListedKey } from "../../../../shared/console/answers.ts";

/** The body of `POST /api/keys`; without the tenant that of `PATCH /api/keys/{id}`. */
export interface KeyFields {
  readonly tenant: string;
  readonly name: string;
  readonly spansPerSecond: number | null;
  readonly burstSpans: number | null;
  readonly spansPerMonth: number | null;
  readonly bytesPerSecond: number | null;
  readonly burstBytes: number | null;
  readonly bytesPerMonth: number | null;
  readonly origins: readonly string[];
  readonly sample: number;
}

const limitLabels = {
  spansPerSecond: "Spans per second",
  burstSpans: "Burst, spans",
  spansPerMonth: "Spans per month",
  bytesPerSecond: "Bytes per second",
  burstBytes: "Burst, bytes",
  bytesPerMonth: "Bytes per month",
} as const;
type LimitName = keyof typeof limitLabels;
const limitNames = Object.keys(limitLabels) as LimitName[];

/** 0.29 is 29 %, and not 28.999999999999996. */
export function percentOf(sample: number): number {
  return Number((sample * 100).toPrecision(12));
}

interface KeyFormProps {
  /** Absent: a new key. */
  readonly known?: ListedKey;
  readonly tenant: string;
  readonly failure: string;
  readonly isBusy: boolean;
  readonly onSubmit: (fields: KeyFields) => void;
}

export function KeyForm({ known, tenant, failure, isBusy, onSubmit }: KeyFormProps) {
  const [percent, setPercent] = useState(String(percentOf(known?.sample ?? 1)));
  return (
    <form
      class="key-form"
      onSubmit={(event) => {
        event.preventDefault();
        const fields = fieldsOf(event.currentTarget, Number(percent) / 100);
        onSubmit(known === undefined ? fields : { ...fields, tenant });
      }}
    >
      {known === undefined && (
        <label>
          Tenant
          <input name="tenant" required defaultValue={tenant} autofocus placeholder="a-z, 0-9 and -" />
        </label>
      )}
      <label>
        Name
        <input
          name="name"
          required
          maxLength={64}
          defaultValue={known?.name ?? ""}
          placeholder="what it is for"
        />
      </label>
      <LimitFields known={known} />
      <label>
        Origins of browsers
        <input
          name="origins"
          defaultValue={known?.origins.join(" ") ?? ""}
          placeholder="https://shop.example; empty: none may use it"
        />
      </label>
      <label>
        Keeps this share of traces, %
        <input
          type="number"
          required
          min={0}
          max={100}
          step="any"
          value={percent}
          onInput={(event) => setPercent(event.currentTarget.value)}
        />
      </label>
      {failure !== "" && (
        <p class="wrong" role="alert">
          {failure}
        </p>
      )}
      <div class="actions">
        <button type="submit" class="main" disabled={isBusy}>
          {known === undefined ? "Make the key" : "Change the key"}
        </button>
      </div>
    </form>
  );
}

function LimitFields({ known }: { readonly known: ListedKey | undefined }) {
  return (
    <fieldset class="limits">
      <legend>Limits; empty: none</legend>
      {limitNames.map((name) => (
        <label key={name}>
          {limitLabels[name]}
          <input name={name} type="number" min={1} step={1} defaultValue={known?.[name] ?? ""} />
        </label>
      ))}
    </fieldset>
  );
}

/** The fields as they were typed. */
function fieldsOf(form: HTMLFormElement, sample: number): KeyFields {
  const data = new FormData(form);
  const text = (name: string): string => String(data.get(name) ?? "").trim();
  const limit = (name: LimitName): number | null => (text(name) === "" ? null : Number(text(name)));
  return {
    tenant: text("tenant"),
    name: text("name"),
    spansPerSecond: limit("spansPerSecond"),
    burstSpans: limit("burstSpans"),
    spansPerMonth: limit("spansPerMonth"),
    bytesPerSecond: limit("bytesPerSecond"),
    burstBytes: limit("burstBytes"),
    bytesPerMonth: limit("bytesPerMonth"),
    origins: text("origins")
      .split(/[\s,]+/)
      .filter((origin) => origin !== ""),
    sample,
  };
}
