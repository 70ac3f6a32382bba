/** How many there are over time. A stretch is chosen with the pointer, or bar by bar with the keyboard. */
import { useRef, useState } from "preact/hooks";
import type { TraceTimes } from "../../../../shared/console/traces.ts";
import { clockText, countText, plural } from "../format.ts";

interface HistogramProps {
  readonly times: TraceTimes;
  /** ISO 8601, UTC */
  readonly onRange: (from: string, to: string) => void;
}

export function Histogram({ times, onRange }: HistogramProps) {
  const { steps, stepSeconds, of } = times;
  const plot = useRef<HTMLDivElement>(null);
  const [focus, setFocus] = useState(steps.length - 1);
  const [drag, setDrag] = useState<{ readonly from: number; readonly to: number } | null>(null);
  const [pointed, setPointed] = useState<number | null>(null);
  const most = Math.max(1, ...steps.map((step) => step?.count ?? 0));
  const noun = of === "traces" ? "trace" : "matching span";
  const timeOf = (step: number): string =>
    new Date(Math.min(Date.parse(times.from) + step * stepSeconds * 1000, endOfTime)).toISOString();
  const total = steps.reduce((sum, step) => sum + (step?.count ?? 0), 0);
  const errors = steps.reduce((sum, step) => sum + (step?.errors ?? 0), 0);
  const isChosen = (index: number): boolean =>
    drag !== null && index >= Math.min(drag.from, drag.to) && index <= Math.max(drag.from, drag.to);
  const choose = (a: number, b: number): void => {
    setDrag(null);
    onRange(timeOf(Math.min(a, b)), timeOf(Math.max(a, b) + 1));
  };
  const stepAt = (x: number): number => {
    const { left = 0, width = 1 } = plot.current?.getBoundingClientRect() ?? {};
    return Math.min(steps.length - 1, Math.max(0, Math.floor(((x - left) / width) * steps.length)));
  };
  const sayStep = (index: number): string => {
    const step = steps[index];
    const at = clockText(timeOf(index));
    return step === null || step === undefined
      ? `${at}: not searched`
      : `${at}: ${plural(step.count, noun)}${step.errors > 0 ? `, ${plural(step.errors, "error")}` : ""}`;
  };
  const move = (to: number): void => {
    const at = Math.min(steps.length - 1, Math.max(0, to));
    setFocus(at);
    plot.current?.querySelectorAll("button")[at]?.focus();
  };

  return (
    <figure class="histogram">
      <figcaption class="readout">
        {pointed !== null ? (
          <strong>{sayStep(pointed)}</strong>
        ) : (
          <>
            <strong>{plural(total, noun)}</strong>
            {errors > 0 && <span class="bad">{plural(errors, "error")}</span>}
            <span class="note">{countText(stepSeconds)} s per bar; drag to narrow the time</span>
          </>
        )}
      </figcaption>
      {/* biome-ignore lint/a11y/useSemanticElements: a fieldset is for a form's fields */}
      <div
        class="plot"
        ref={plot}
        role="group"
        aria-label={`${plural(total, noun)} by time; arrow keys move between bars, Enter narrows the time to one`}
        onPointerDown={(event) => {
          if (event.button === 0) {
            event.currentTarget.setPointerCapture(event.pointerId);
            const at = stepAt(event.clientX);
            setDrag({ from: at, to: at });
          }
        }}
        onPointerMove={(event) => {
          const at = stepAt(event.clientX);
          setPointed(at);
          setDrag((before) => (before === null ? null : { ...before, to: at }));
        }}
        onPointerUp={() => drag !== null && choose(drag.from, drag.to)}
        onPointerCancel={() => setDrag(null)}
        onPointerLeave={() => setPointed(null)}
      >
        {steps.map((step, index) => (
          <button
            type="button"
            key={index}
            class={isChosen(index) ? "bar pointed" : step === null ? "bar unsearched" : "bar"}
            tabIndex={index === Math.min(focus, steps.length - 1) ? 0 : -1}
            aria-label={sayStep(index)}
            onFocus={() => setFocus(index)}
            onKeyDown={(event) => {
              if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
                event.preventDefault();
                move(index + (event.key === "ArrowLeft" ? -1 : 1));
              } else if (event.key === "Enter") {
                event.preventDefault();
                choose(index, index);
              }
            }}
            style={{
              "--height": ((step?.count ?? 0) / most).toFixed(4),
              "--errors": ((step?.errors ?? 0) / most).toFixed(4),
            }}
          />
        ))}
      </div>
      <div class="ticks" aria-hidden="true">
        {[0, 0.25, 0.5, 0.75].map((share) => (
          <span key={share} style={{ left: `${share * 100}%` }}>
            {tickText(timeOf(share * steps.length), stepSeconds * steps.length)}
          </span>
        ))}
      </div>
    </figure>
  );
}

/** What a Date holds. */
const endOfTime = 8.64e15;

function tickText(iso: string, rangeSeconds: number): string {
  const day = `${iso.slice(5, 10)} `;
  return `${rangeSeconds > 86_400 ? day : ""}${rangeSeconds < 600 ? iso.slice(11, 19) : clockText(iso)}`;
}
