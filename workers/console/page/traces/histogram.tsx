/** How many there are over time. A stretch is chosen with the pointer, or with Shift and the arrow keys. */
import { useRef, useState } from "preact/hooks";
import { elapsedText } from "../../../../shared/console/duration-text.ts";
import type { TraceTimes } from "../../../../shared/console/traces.ts";
import { clockText, plural } from "../format.ts";

interface HistogramProps {
  readonly times: TraceTimes;
  /** It is of the filter before: the next one is asked for. */
  readonly isOld: boolean;
  /** ISO 8601, UTC */
  readonly onRange: (from: string, to: string) => void;
}

/** What the bars say, by the number of the bar. */
interface BarTexts {
  readonly noun: string;
  readonly timeOf: (bar: number) => string;
  readonly textOf: (bar: number) => string;
}

export function Histogram({ times, isOld, onRange }: HistogramProps) {
  const [pointed, setPointed] = useState<number | null>(null);
  const texts = barTexts(times);
  const { stepSeconds, steps } = times;
  return (
    <figure class={isOld ? "histogram old" : "histogram"} aria-busy={isOld}>
      <Readout times={times} texts={texts} pointed={pointed} />
      <Bars
        steps={steps}
        texts={texts}
        onPoint={setPointed}
        onChoose={(first, last) => onRange(texts.timeOf(first), texts.timeOf(last + 1))}
      />
      <div class="ticks" aria-hidden="true">
        {[0, 0.25, 0.5, 0.75].map((share) => (
          <span key={share} style={{ left: `${share * 100}%` }}>
            {tickText(texts.timeOf(share * steps.length), stepSeconds * steps.length)}
          </span>
        ))}
      </div>
    </figure>
  );
}

function barTexts({ from, steps, stepSeconds, of }: TraceTimes): BarTexts {
  const noun = of === "traces" ? "trace" : "matching span";
  const timeOf = (bar: number): string => new Date(Date.parse(from) + bar * stepSeconds * 1000).toISOString();
  const textOf = (bar: number): string => {
    const step = steps[bar];
    const at = clockText(timeOf(bar));
    return step === null || step === undefined
      ? `${at}: not searched`
      : `${at}: ${plural(step.count, noun)}${step.errors > 0 ? `, ${plural(step.errors, "error")}` : ""}`;
  };
  return { noun, timeOf, textOf };
}

interface ReadoutProps {
  readonly times: TraceTimes;
  readonly texts: BarTexts;
  /** The bar under the pointer; null: none. */
  readonly pointed: number | null;
}

function Readout({ times: { steps, stepSeconds }, texts, pointed }: ReadoutProps) {
  const errors = steps.reduce((sum, step) => sum + (step?.errors ?? 0), 0);
  return (
    <figcaption class="readout">
      {pointed !== null ? (
        <strong>{texts.textOf(pointed)}</strong>
      ) : (
        <>
          <strong>{plural(countOf(steps), texts.noun)}</strong>
          {errors > 0 && <span class="bad">{plural(errors, "error")}</span>}
          <span class="note">{stepText(stepSeconds)} per bar; drag to narrow the time</span>
        </>
      )}
    </figcaption>
  );
}

function countOf(steps: TraceTimes["steps"]): number {
  return steps.reduce((sum, step) => sum + (step?.count ?? 0), 0);
}

interface BarsProps {
  readonly steps: TraceTimes["steps"];
  readonly texts: BarTexts;
  readonly onPoint: (bar: number | null) => void;
  readonly onChoose: (first: number, last: number) => void;
}

function Bars({ steps, texts, onPoint, onChoose }: BarsProps) {
  const plot = useRef<HTMLDivElement>(null);
  const last = steps.length - 1;
  const within = (bar: number): number => Math.min(last, Math.max(0, bar));
  /** The bar that the keyboard is at. */
  const [focus, setFocus] = useState(last);
  const brush = useBrush(onChoose);
  const most = Math.max(1, ...steps.map((step) => step?.count ?? 0));

  const barAt = (x: number): number => {
    const { left = 0, width = 1 } = plot.current?.getBoundingClientRect() ?? {};
    return within(Math.floor(((x - left) / width) * steps.length));
  };
  const pressed = (bar: number, event: KeyboardEvent): void => {
    const to = within(bar + (arrows[event.key] ?? 0));
    if (to !== bar) {
      plot.current?.querySelectorAll("button")[to]?.focus();
    }
    if (brush.press(event, bar, to)) {
      event.preventDefault();
    }
  };

  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for a form's fields
    <div
      class="plot"
      ref={plot}
      role="group"
      aria-label={`${plural(countOf(steps), texts.noun)} by time; arrow keys move between bars, with Shift they choose several, Enter narrows the time to those`}
      onPointerDown={(event) => {
        if (event.button === 0) {
          event.currentTarget.setPointerCapture(event.pointerId);
          brush.begin(barAt(event.clientX));
        }
      }}
      onPointerMove={(event) => {
        const at = barAt(event.clientX);
        onPoint(at);
        brush.extend(at);
      }}
      onPointerUp={brush.end}
      onPointerCancel={brush.cancel}
      onPointerLeave={() => onPoint(null)}
    >
      {steps.map((step, bar) => (
        <button
          type="button"
          key={bar}
          class={brush.has(bar) ? "bar pointed" : step === null ? "bar unsearched" : "bar"}
          tabIndex={bar === within(focus) ? 0 : -1}
          aria-label={texts.textOf(bar)}
          onFocus={() => setFocus(bar)}
          onKeyDown={(event) => pressed(bar, event)}
          style={{
            "--height": ((step?.count ?? 0) / most).toFixed(4),
            "--errors": ((step?.errors ?? 0) / most).toFixed(4),
          }}
        />
      ))}
    </div>
  );
}

const arrows: Readonly<Record<string, number>> = { ArrowLeft: -1, ArrowRight: 1 };

interface Brush {
  readonly has: (bar: number) => boolean;
  readonly begin: (bar: number) => void;
  /** Goes on to this bar, if a stretch was begun. */
  readonly extend: (bar: number) => void;
  /** Chooses the stretch, if one was begun. */
  readonly end: () => void;
  readonly cancel: () => void;
  /** A key at a bar, which leads `to` another one or none. True: the key did something. */
  readonly press: (event: KeyboardEvent, bar: number, to: number) => boolean;
}

/** A stretch of bars that is being chosen: from where it began to where it is now. */
function useBrush(onChoose: (first: number, last: number) => void): Brush {
  const [stretch, setStretch] = useState<{ readonly from: number; readonly to: number } | null>(null);
  const choose = (from: number, to: number): void => {
    setStretch(null);
    onChoose(Math.min(from, to), Math.max(from, to));
  };
  return {
    has: (bar) =>
      stretch !== null &&
      bar >= Math.min(stretch.from, stretch.to) &&
      bar <= Math.max(stretch.from, stretch.to),
    begin: (bar) => setStretch({ from: bar, to: bar }),
    extend: (bar) => setStretch((before) => (before === null ? null : { ...before, to: bar })),
    end: () => stretch !== null && choose(stretch.from, stretch.to),
    cancel: () => setStretch(null),
    press: ({ key, shiftKey }, bar, to) => {
      if (key in arrows) {
        setStretch(shiftKey ? { from: stretch?.from ?? bar, to } : null);
        return true;
      }
      if (key === "Enter") {
        choose(stretch?.from ?? bar, bar);
        return true;
      }
      if (key === "Escape" && stretch !== null) {
        setStretch(null);
        return true;
      }
      return false;
    },
  };
}

/** `30 s`, `15 min`, `6 h`: a step is a whole number of its unit. */
function stepText(seconds: number): string {
  return elapsedText(seconds * 1000).replace(/ 0 (?:s|min|h)$/, "");
}

function tickText(iso: string, rangeSeconds: number): string {
  const day = `${iso.slice(5, 10)} `;
  return `${rangeSeconds > 86_400 ? day : ""}${rangeSeconds < 600 ? iso.slice(11, 19) : clockText(iso)}`;
}
