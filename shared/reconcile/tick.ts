/**
 * The cron's tick: the ledger is woken, the table checked, the reconciler run, and findings are reported. Each part fails by
 * itself: a ledger that cannot be woken must not keep the alerts from being judged, for one of them may say why.
 */
import { type AlertState, hourToJudge } from "../alerts.ts";
import { isBrokenInvariant } from "../assert.ts";
import { bypassPeriod } from "../collect/bypass.ts";
import { NotDone, orElse } from "../effect.ts";
import type { FrontDoorSettings } from "../front-door/front-door.ts";
import { limits } from "../limits.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { ask, attempt, type CronEffects, type CronWork, type LearntFacts } from "./effects.ts";
import { type ReconcileAsked, type ReconcileReport, reconcileRun } from "./run.ts";
import type { ReconcileSettings } from "./settings.ts";
import { watchFrontDoor } from "./watch-front-door.ts";

/**
 * One tick. Null: another run of the reconciler is under way, or this one failed. Throws a broken invariant where there
 * was one, else what the first part failed with.
 */
export function* tick(
  asked: ReconcileAsked,
  settings: ReconcileSettings,
  frontDoor: FrontDoorSettings,
): CronWork<ReconcileReport | null> {
  const failures: unknown[] = [];
  // A ledger that is asked before the first payload arrives knows that nothing was there before it.
  yield* byItself(ask("wake", null), failures);
  yield* byItself(checkTable(), failures);
  const report = yield* byItself(reconcileRun(asked, settings), failures);
  yield* byItself(alert(asked.now, report, failures.map(messageOf).join("; "), frontDoor), failures);
  if (failures.length > 0) {
    throw failures.find(isBrokenInvariant) ?? failures[0];
  }
  return report;
}

function byItself<T>(part: CronWork<T>, failures: unknown[]): CronWork<T | null> {
  return orElse(part, (error) => {
    failures.push(error);
    return null;
  });
}

/**
 * Can the traces table keep the promise of one copy? While it cannot, nothing is inserted, payloads wait in the ledger,
 * and a finding and the console's /healthz say what fixes it. A ClickHouse that cannot be asked changes nothing: its
 * INSERTs fail by themselves.
 */
function* checkTable(): CronWork<void> {
  const facts = yield* askOrNull("readTable", null, "the traces table could not be checked");
  if (facts === null) {
    return;
  }
  const { refusal, measure } = facts;
  yield* ask("tableChecked", { refusal, measure });
  if (measure?.ttl !== undefined) {
    yield* askOrNull(
      "publishTableLimits",
      measure.ttl,
      "the ingress could not learn how long the table keeps rows",
    );
  }
}

/** Judges the alerts, and reports what each channel has not reported yet; a channel that fails is retried by the next tick. */
function* alert(
  now: number,
  report: ReconcileReport | null,
  runFailure: string,
  door: FrontDoorSettings,
): CronWork<void> {
  const { alertState, checkpoint } = yield* ask("alertState", null);
  // An idle ClickHouse may sleep: it is asked only when something arrived, or a finding is open.
  const isBusy = (report?.listed ?? 0) > 0 || alertState.open.length > 0;
  const recent = isBusy
    ? yield* askOrNull("readRecent", now - limits.alertDeadMs, "how payloads ended could not be read")
    : null;
  const volumes = checkpoint === null ? null : yield* readVolumes(alertState, checkpoint, now);
  const frontDoor = yield* watchFrontDoor(door, alertState.frontDoor, now);
  const bypassed = isBusy
    ? yield* askOrNull("readBypassed", bypassPeriod(now), "what bypassed the collector could not be read")
    : null;
  const unreported = yield* ask("judgeAlerts", { runFailure, recent, volumes, frontDoor, bypassed });
  if (unreported.length === 0) {
    return;
  }
  const reached = yield* ask("reportAlerts", unreported);
  if (reached.length > 0) {
    yield* ask("alertsReported", { unreported, reached });
  }
}

/** The median is taken over so many days. */
const volumeDays = 7;

function* readVolumes(
  alertState: AlertState,
  checkpoint: Checkpoint,
  now: number,
): CronWork<LearntFacts["volumes"]> {
  const hour = hourToJudge(alertState, checkpoint, now);
  if (hour === null) {
    return null;
  }
  const tenants = yield* askOrNull("readVolumes", { hour, days: volumeDays }, "volumes could not be read");
  return tenants === null ? null : { hour, tenants };
}

/** Null: it failed, which is logged and changes nothing. */
function* askOrNull<Name extends keyof CronEffects>(
  name: Name,
  asks: CronEffects[Name]["asks"],
  message: string,
): CronWork<CronEffects[Name]["answers"] | null> {
  const answer = yield* attempt(name, asks);
  if (answer instanceof NotDone) {
    yield* ask("warn", { message, reason: answer.reason });
    return null;
  }
  return answer;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
