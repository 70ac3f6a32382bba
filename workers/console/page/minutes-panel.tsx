/** How payloads ended, by minute of the last hour or by hour of the last day. */
import { useState } from "preact/hooks";
import { type Minutes, minutesSchema } from "../../../shared/console/answers.ts";
import { type Answer, useAnswer } from "./answer.ts";
import { Chart } from "./chart.tsx";
import { MinutePayloadsDialog } from "./minute-payloads.tsx";
import { Panel } from "./panel.tsx";

interface MinutesPanelProps {
  readonly hour: Answer<Minutes>;
  readonly watermark: string | null;
  readonly everyMs: number;
}

export function MinutesPanel({ hour, watermark, everyMs }: MinutesPanelProps) {
  const [isDay, setDay] = useState(false);
  const [opened, setOpened] = useState("");
  const choice = (
    <fieldset class="choice">
      <legend class="hidden">Range</legend>
      {[false, true].map((day) => (
        <label key={String(day)}>
          <input type="radio" name="range" checked={isDay === day} onChange={() => setDay(day)} />
          <span>{day ? "Last day" : "Last hour"}</span>
        </label>
      ))}
    </fieldset>
  );
  return (
    <Panel
      id="minutes"
      title={isDay ? "Payloads by hour" : "Payloads by minute"}
      failure={isDay ? "" : hour.failure}
      aside={choice}
    >
      {isDay ? (
        <Day watermark={watermark} everyMs={everyMs} />
      ) : (
        <Shown minutes={hour.value} watermark={watermark} onOpen={setOpened} />
      )}
      {opened !== "" && <MinutePayloadsDialog at={opened} onClose={() => setOpened("")} />}
    </Panel>
  );
}

/** Asked only while it is looked at. */
function Day({ watermark, everyMs }: Omit<MinutesPanelProps, "hour">) {
  const day = useAnswer("/api/minutes?hours=24", minutesSchema, everyMs);
  return (
    <>
      {day.failure !== "" && <p class="stale">Not up to date. {day.failure}</p>}
      <Shown minutes={day.value} watermark={watermark} />
    </>
  );
}

interface ShownProps {
  readonly minutes: Minutes | undefined;
  readonly watermark: string | null;
  readonly onOpen?: (at: string) => void;
}

function Shown({ minutes, watermark, onOpen }: ShownProps) {
  return minutes === undefined ? (
    <p class="note chart-room">Reading …</p>
  ) : (
    <Chart minutes={minutes} watermark={watermark} {...(onOpen === undefined ? {} : { onOpen })} />
  );
}
