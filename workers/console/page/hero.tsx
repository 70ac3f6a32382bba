/** The watermark in large, and the four numbers beside it. */
import type { InFlightAnswer, Minutes, Status, Watermark } from "../../../shared/console/answers.ts";
import { elapsedText } from "../../../shared/console/duration-text.ts";
import type { Answer } from "./answer.ts";
import { clockText, countText, dateText, plural, rateText } from "./format.ts";
import { behindState, type State } from "./state.ts";

interface HeroProps {
  readonly now: number;
  /** The word at the top. */
  readonly state: State;
  readonly watermark: Answer<Watermark>;
  readonly status: Status | undefined;
  readonly inFlight: InFlightAnswer | undefined;
  readonly hour: Minutes | undefined;
  readonly dead: number | undefined;
}

export function Hero({ now, state, watermark, status, inFlight, hour, dead }: HeroProps) {
  return (
    <div class="hero">
      <WatermarkText now={now} state={state} watermark={watermark} />
      <dl class="tiles">
        <Throughput hour={hour} />
        <Tile
          name="In flight"
          value={inFlight === undefined ? undefined : countText(inFlight.payloads)}
          more={inFlight !== undefined && inFlight.groupsCount > inFlight.groups.length ? "at least" : ""}
          note={
            inFlight === undefined
              ? "not known"
              : inFlight.oldestArrival === null
                ? "nothing waits"
                : `the oldest for ${elapsedText(now - inFlight.oldestArrival)}`
          }
        />
        <Tile
          name="Dead letters"
          value={dead === undefined ? undefined : countText(dead)}
          isBad={(dead ?? 0) > 0}
          note={dead === undefined ? "not known" : dead > 0 ? "readable, replayable, below" : "none"}
        />
        <Rescues status={status} />
      </dl>
    </div>
  );
}

function WatermarkText({ now, state, watermark }: Pick<HeroProps, "now" | "state" | "watermark">) {
  const { value, failure } = watermark;
  if (value === undefined) {
    return (
      <div class="watermark">
        <h1>Watermark</h1>
        <p class="time faint">––:––</p>
        <p>{failure === "" ? "Asking the ledger …" : failure}</p>
      </div>
    );
  }
  if (value.watermark === null) {
    return (
      <div class="watermark">
        <h1>Watermark</h1>
        <p class="time faint">––:––</p>
        <p>The reconciler has not run yet. It comes with the consumer's cron, each minute.</p>
      </div>
    );
  }
  const behindMs = Math.max(0, now - Date.parse(value.watermark));
  const isHeld = value.openMinutesCount > 0;
  return (
    <div class="watermark">
      <h1>Watermark</h1>
      <p class="time">
        <time dateTime={value.watermark}>{clockText(value.watermark)}</time>
        <span class="zone">UTC, {dateText(value.watermark)}</span>
      </p>
      <p class={`behind ${behindState(behindMs / 1000, state)}`}>{elapsedText(behindMs)} behind</p>
      <p class="note">
        Everything accepted before is stored, dead, duplicate, erased or expired, and nothing of it is in
        flight.{" "}
        {isHeld
          ? `${plural(value.openMinutesCount, "later minute")} could not be sealed yet.`
          : "It usually trails by about six minutes."}
      </p>
      {failure !== "" && <p class="stale">Not up to date. {failure}</p>}
    </div>
  );
}

const rateMinutes = 5;

/** Of the last whole minutes: the one that runs would pull it down. */
function Throughput({ hour }: Pick<HeroProps, "hour">) {
  const whole = hour?.steps.slice(-1 - rateMinutes, -1);
  if (hour === undefined || whole === undefined || whole.length === 0) {
    return <Tile name="Spans per second" value={undefined} note="" />;
  }
  const seconds = whole.length * hour.stepSeconds;
  const sum = (of: "spans" | "accepted" | "bytes"): number =>
    whole.reduce((total, step) => total + step[of], 0);
  return (
    <Tile
      name="Spans per second"
      value={rateText(sum("spans") / seconds)}
      note={`${rateText(sum("accepted") / seconds)} payloads, over ${rateMinutes} min`}
    />
  );
}

function Rescues({ status }: Pick<HeroProps, "status">) {
  const head = status?.head ?? null;
  if (status !== undefined && head === null) {
    return <Tile name="Rescues" value="0" note="the ledger is not born yet" />;
  }
  const rescues = head?.rescues;
  const all = rescues === undefined ? undefined : rescues.event + rescues.reconcile;
  return (
    <Tile
      name="Rescues"
      value={all === undefined ? undefined : countText(all)}
      isBad={false}
      note={
        rescues === undefined
          ? ""
          : `${countText(rescues.event)} by event, ${countText(rescues.reconcile)} by reconciler`
      }
    />
  );
}

interface TileProps {
  readonly name: string;
  /** Undefined: not learnt yet. */
  readonly value: string | undefined;
  readonly more?: string;
  readonly note: string;
  readonly isBad?: boolean;
}

function Tile({ name, value, more = "", note, isBad = false }: TileProps) {
  return (
    <div class={isBad ? "tile bad" : "tile"}>
      <dt>{name}</dt>
      <dd>
        {more !== "" && <small>{more} </small>}
        {value ?? "–"}
      </dd>
      <dd class="note">{note}</dd>
    </div>
  );
}
