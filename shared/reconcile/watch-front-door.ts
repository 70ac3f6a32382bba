/**
 * The tick's look at the door before the ingress: at most two calls per minute of the clock, however often a tick runs. What
 * fails is kept as a reason, and never as a count.
 */
import { EffectFailed } from "../effect.ts";
import { readReached, readRefused, type ZoneAnswer } from "../front-door/answer.ts";
import {
  type Count,
  type FrontDoor,
  type FrontDoorSettings,
  gapOf,
  type Zone,
} from "../front-door/front-door.ts";
import { periodAt, reachedQuestion, refusedQuestion, type ZoneQuestion } from "../front-door/question.ts";
import { gapTolerance } from "../front-door/text.ts";
import { limits } from "../limits.ts";
import { ask, type CronWork } from "./effects.ts";

/** `before`: of the last look; null: there was none. `now`: ms since the epoch. */
export function* watchFrontDoor(
  settings: FrontDoorSettings,
  before: FrontDoor | null,
  now: number,
): CronWork<FrontDoor> {
  if (settings.kind !== "zone") {
    return settings;
  }
  const last = before?.kind === "zone" && before.host === settings.host ? before : null;
  if (last !== null && (minuteOf(last.askedAt) === minuteOf(now) || now < last.notBefore)) {
    return last;
  }
  const { zoneId, host } = settings;
  const period = periodAt(now);
  const first = yield* asked(refusedQuestion(settings, period));
  const refused = readRefused(first.answer, first.failure, zoneId, sinceOf(last?.refused, now));
  const second = yield* asked(reachedQuestion(settings, period));
  const reached = readReached(second.answer, second.failure, zoneId, sinceOf(last?.reached, now));
  const isLimited = [refused, reached].some((one) => one.kind === "unread" && one.cause === "rate");
  const zone: Zone = {
    kind: "zone",
    host,
    askedAt: now,
    notBefore: isLimited ? now + limits.zoneRateLimitedMs : 0,
    until: period.until,
    refused,
    reached,
  };
  // An idle ClickHouse may sleep: it is asked only where its count decides something.
  return reached.kind === "counted" && gapOf(zone, gapTolerance) === null
    ? { ...zone, reached: { ...reached, counted: yield* counted(period) } }
    : zone;
}

function* asked(
  question: ZoneQuestion,
): CronWork<{ readonly answer: ZoneAnswer | null; readonly failure: string }> {
  try {
    return { answer: yield* ask("askZone", question), failure: "" };
  } catch (error) {
    if (!(error instanceof EffectFailed)) {
      throw error;
    }
    return { answer: null, failure: error.message };
  }
}

/** Null: ClickHouse did not answer, which has findings of its own. */
function* counted(period: { readonly since: number; readonly until: number }): CronWork<number | null> {
  try {
    return yield* ask("countRequests", period);
  } catch (error) {
    if (!(error instanceof EffectFailed)) {
      throw error;
    }
    return null;
  }
}

function sinceOf(last: Count<unknown> | undefined, now: number): number {
  return last?.kind === "unread" ? last.since : now;
}

function minuteOf(time: number): number {
  return Math.floor(time / 60_000);
}
