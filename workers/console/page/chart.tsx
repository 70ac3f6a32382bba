/**
 * Stacked bars, one a step, with the watermark as a line: what is left of it is settled. Plain elements and CSS: they
 * follow the colour scheme and the width by themselves, each bar can be reached by the keyboard, and a reader hears it.
 */
import { useRef, useState } from "preact/hooks";
import type { MinuteStep, Minutes } from "../../../shared/console/answers.ts";
import { clockText, countText, plural } from "./format.ts";

/** From the bottom up. */
const parts = [
  { name: "stored", label: "stored" },
  { name: "duplicate", label: "duplicate" },
  { name: "erased", label: "erased" },
  { name: "expired", label: "expired" },
  { name: "dead", label: "dead" },
  { name: "inFlight", label: "in flight" },
] as const;

interface ChartProps {
  readonly minutes: Minutes;
  readonly watermark: string | null;
  /** A bar was pressed: it leads to its minute's payloads. Absent: bars are hours. */
  readonly onOpen?: (at: string) => void;
}

export function Chart({ minutes, watermark, onOpen }: ChartProps) {
  const { steps, stepSeconds } = minutes;
  const [pointed, setPointed] = useState<number | null>(null);
  const [focus, setFocus] = useState(steps.length - 1);
  const plot = useRef<HTMLDivElement>(null);
  const top = niceTop(Math.max(1, ...steps.map(({ accepted }) => accepted)));
  const shown = pointed === null ? undefined : steps[pointed];
  const settled = settledShare(steps, stepSeconds, watermark);

  const moveTo = (index: number): void => {
    const at = Math.min(steps.length - 1, Math.max(0, index));
    setFocus(at);
    plot.current?.querySelectorAll("button")[at]?.focus();
  };

  return (
    <figure class="chart">
      <Readout step={shown} minutes={minutes} />
      <div class="frame">
        <div class="scale" aria-hidden="true">
          <span>{countText(top)}</span>
          <span>{top >= 2 ? countText(top / 2) : ""}</span>
          <span>0</span>
        </div>
        {/* biome-ignore lint/a11y/useSemanticElements: a fieldset is for a form's fields */}
        <div
          class="plot"
          ref={plot}
          role="group"
          aria-label={`Payloads by time; arrow keys move between bars${onOpen === undefined ? "" : ", Enter lists a minute's payloads"}`}
          onMouseLeave={() => setPointed(null)}
        >
          {settled !== null && <Mark share={settled} />}
          {steps.map((step, index) => (
            <button
              type="button"
              key={step.at}
              class={index === pointed ? "bar pointed" : "bar"}
              tabIndex={index === Math.min(focus, steps.length - 1) ? 0 : -1}
              aria-label={stepText(step)}
              onMouseEnter={() => setPointed(index)}
              onFocus={() => {
                setPointed(index);
                setFocus(index);
              }}
              onBlur={() => setPointed(null)}
              onClick={() => step.accepted > 0 && onOpen?.(step.at)}
              onKeyDown={(event) => {
                const to = arrow(event.key, index, steps.length);
                if (to !== undefined) {
                  event.preventDefault();
                  moveTo(to);
                }
              }}
            >
              {parts.map(({ name }) =>
                step[name] > 0 ? (
                  <i key={name} class={name} style={{ height: `${(step[name] / top) * 100}%` }} />
                ) : null,
              )}
            </button>
          ))}
        </div>
        <div class="ticks" aria-hidden="true">
          {ticks(steps, stepSeconds).map(({ at, share, isMinor }) => (
            <span key={at} class={isMinor ? "minor" : ""} style={{ left: `${share * 100}%` }}>
              {clockText(at)}
            </span>
          ))}
        </div>
      </div>
    </figure>
  );
}

/** The watermark, and what lies right of it. `share`: where it lies, 0 to 1. */
function Mark({ share }: { readonly share: number }) {
  return (
    <>
      <div class="unsettled" style={{ left: `${share * 100}%` }} />
      <div class={share > 0.85 ? "mark near-end" : "mark"} style={{ left: `${share * 100}%` }}>
        <span>watermark</span>
      </div>
    </>
  );
}

/** What is pointed at, or the whole range; it doubles as the legend. */
function Readout({ step, minutes }: { readonly step: MinuteStep | undefined; readonly minutes: Minutes }) {
  const sum = (name: (typeof parts)[number]["name"] | "accepted"): number =>
    step?.[name] ?? minutes.steps.reduce((total, one) => total + one[name], 0);
  const hours = (minutes.steps.length * minutes.stepSeconds) / 3600;
  return (
    <figcaption class="readout">
      <strong>
        {step === undefined ? `${hours === 1 ? "60 minutes" : `${hours} hours`}` : clockText(step.at)}
      </strong>
      <span>{plural(sum("accepted"), "payload")} accepted</span>
      {parts.map(({ name, label }) => (
        <span key={name} class={sum(name) === 0 ? "part none" : "part"}>
          <i class={name} />
          {countText(sum(name))} {label}
        </span>
      ))}
      {step !== undefined && <span class="note">{step.sealed ? "sealed" : "not sealed yet"}</span>}
    </figcaption>
  );
}

function stepText(step: MinuteStep): string {
  const said = parts
    .filter(({ name }) => step[name] > 0)
    .map(({ name, label }) => `${countText(step[name])} ${label}`)
    .join(", ");
  return `${clockText(step.at)}: ${plural(step.accepted, "payload")}${said === "" ? "" : `: ${said}`}`;
}

/** Where the watermark lies within the range, 0 to 1; null where it lies outside. */
function settledShare(
  steps: readonly MinuteStep[],
  stepSeconds: number,
  watermark: string | null,
): number | null {
  const first = steps[0];
  if (first === undefined || watermark === null) {
    return null;
  }
  const share = (Date.parse(watermark) - Date.parse(first.at)) / (steps.length * stepSeconds * 1000);
  return share <= 0 || share >= 1 ? (share <= 0 ? 0 : null) : share;
}

/** 1, 2, 4, 5, 10, 20, 40, 50 …: the half of it is a whole number from 2 on. */
function niceTop(most: number): number {
  const power = 10 ** Math.floor(Math.log10(most));
  return (
    [1, 2, 4, 5, 6, 8, 10]
      .map((step) => step * power)
      .find((top) => top >= most && (top < 2 || top % 2 === 0 || power > 1)) ?? most
  );
}

/** Every ten minutes or four hours; every second of them may be left out where there is no room. */
function ticks(
  steps: readonly MinuteStep[],
  stepSeconds: number,
): readonly { readonly at: string; readonly share: number; readonly isMinor: boolean }[] {
  const everySeconds = stepSeconds < 3600 ? 600 : 4 * 3600;
  return steps.flatMap(({ at }, index) => {
    const seconds = Date.parse(at) / 1000;
    const share = index / steps.length;
    // A label in the corner would stand over the edge.
    return seconds % everySeconds === 0 && share < 0.96
      ? [{ at, share, isMinor: seconds % (2 * everySeconds) !== 0 }]
      : [];
  });
}

function arrow(key: string, index: number, count: number): number | undefined {
  switch (key) {
    case "ArrowLeft":
      return index - 1;
    case "ArrowRight":
      return index + 1;
    case "Home":
      return 0;
    case "End":
      return count - 1;
    default:
      return undefined;
  }
}
