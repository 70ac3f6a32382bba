/**
 * One run of the reconciler: the third ring, the seal, the second listing, the audit and the deletion, in this order
 * and each with its own budget, so that none starves the others. What a stage has come to is saved before a later one asks
 * for anything, for a run can only end there: it loses at most the stage that it was in, and every stage may be repeated.
 * Mostly few stages ask, and each save is rows of the ledger that are billed.
 *
 * Where ClickHouse or R2 cannot be asked, the run throws: nothing is notified, sealed or deleted on a guess. Where only
 * the rows of the traces cannot be established, the audit and the deletion wait, and nothing else does.
 */

import type { MinuteRow } from "../clickhouse/minutes.ts";
import { orElse } from "../effect.ts";
import { shortText } from "../ledger/short-text.ts";
import { limits } from "../limits.ts";
import { minuteOfKey, minuteToMs, payloadPrefix } from "../payload-key.ts";
import { audit } from "./audit.ts";
import { Budget, within } from "./budget.ts";
import { type ChangedMinute, sealedOf } from "./changed-minutes.ts";
import { type Checkpoint, newCheckpoint, startOfMinute, watermarkOf } from "./checkpoint.ts";
import { deletePayloads } from "./delete-payloads.ts";
import { resolveDoubts } from "./doubts.ts";
import { ask, attempt, type CronWork } from "./effects.ts";
import { Listing } from "./listing.ts";
import { RowsUnknown } from "./read-rows.ts";
import type { Counts, Run } from "./run-context.ts";
import type { ReconcileSettings } from "./settings.ts";
import { ringYoung, type Walked, walkAgain, walkFresh, walkOpen } from "./walk-minutes.ts";

export interface ReconcileAsked {
  /** ms since the epoch */
  readonly now: number;
  /** Rings young payloads too, and walks every open minute: a person asked, or the local pipeline starts. */
  readonly everything: boolean;
}

/** What the ledger gave the run. */
interface Lease {
  readonly run: string;
  /** What the last run kept; null: there was none, or it was lost. */
  readonly checkpoint: Checkpoint | null;
  /** The identity of the table that the ledger knows; null: none yet. */
  readonly table: string | null;
  readonly changed: readonly ChangedMinute[];
}

export interface ReconcileReport extends Readonly<Counts> {
  readonly deleted: number;
  /** Minutes that were walked and are not sealed. */
  readonly openMinutes: number;
  /** ms since the epoch: everything that arrived before is balanced. */
  readonly watermark: number;
  /** Another run took over: this one ended early. */
  readonly overtaken: boolean;
}

/**
 * Takes the lease, runs, and gives the lease back. Null: another run is under way; one that a person asked for takes over.
 * Throws what an effect failed with: what was done by then stays done, and the next run does the rest.
 */
export function* reconcileRun(
  asked: ReconcileAsked,
  settings: ReconcileSettings,
): CronWork<ReconcileReport | null> {
  const lease = yield* ask("beginRun", { takesOver: asked.everything });
  if (lease === null) {
    return null;
  }
  const counts: Counts = { listed: 0, held: 0, notified: 0, sealed: 0, sealedAnew: 0 };
  const budget = new Budget(0);
  const run: Run = { now: asked.now, settings, counts, findings: [], table: lease.table, budget };
  try {
    return yield* runStages(lease, asked.everything, run);
  } finally {
    if (run.findings.length > 0) {
      yield* ask("reportFindings", run.findings.splice(0));
    }
    yield* attempt("endRun", lease.run); // where that fails, the lease ends by itself
  }
}

type Stage = keyof ReconcileSettings["subrequests"];

/** What the stages have come to so far. */
interface Progress {
  checkpoint: Checkpoint;
  /** Rows of its minutes, to be written before it is saved. */
  rows: readonly MinuteRow[];
  /** Nothing was asked for since it was saved. */
  isSaved: boolean;
}

/** Another run has the lease: this one does nothing more. */
class Overtaken extends Error {}

/** A stage, within its budgets. If it asks for anything, `saving` is done first. */
function stage<T>(
  name: Stage,
  run: Run,
  work: (listing: Listing) => CronWork<T>,
  saving: (() => CronWork<void>) | null = null,
): CronWork<T> {
  const { subrequests, pageKeys } = run.settings;
  const budget = new Budget(subrequests[name]);
  run.budget = budget;
  return within(budget, work(new Listing(listCallsOf(name, run.settings), pageKeys, budget)), saving);
}

function listCallsOf(name: Stage, { listCalls }: ReconcileSettings): number {
  switch (name) {
    case "audit":
      return 0;
    case "young":
      return listCalls.fresh;
    default:
      return listCalls[name];
  }
}

function* runStages(lease: Lease, everything: boolean, run: Run): CronWork<ReconcileReport> {
  const { now, settings, counts } = run;
  const kept = lease.checkpoint;
  const checkpoint =
    kept === null
      ? yield* stage("fresh", run, (listing) => firstCheckpoint(now, listing, settings))
      : withDoubts(kept);
  const progress: Progress = { checkpoint, rows: [], isSaved: kept !== null };
  let deleted = 0;
  const report = (overtaken: boolean): ReconcileReport => ({
    ...counts,
    deleted,
    openMinutes: progress.checkpoint.open.length,
    watermark: watermarkOf(progress.checkpoint),
    overtaken,
  });
  const saving = (): CronWork<void> => saveBefore(lease, run, progress);
  const next = <T>(name: Stage, work: (listing: Listing) => CronWork<T>): CronWork<T> =>
    stage(name, run, work, saving);
  const take = ({ checkpoint, rows }: Walked): void => {
    progress.checkpoint = checkpoint;
    if (rows.length > 0) {
      progress.rows = [...progress.rows, ...rows];
    }
  };

  try {
    take(yield* next("fresh", (listing) => walkFresh(progress.checkpoint, listing, run)));
    take(yield* next("open", (listing) => walkOpen(progress.checkpoint, listing, run, everything)));
    const changed = sealedOf(lease.changed, progress.checkpoint);
    if (changed.length > 0) {
      yield* saving();
      yield* sealAnew(changed, progress.checkpoint, counts);
    }
    if (everything) {
      yield* next("young", (listing) => ringYoung(progress.checkpoint.from, listing, run));
    }
    take(yield* next("again", (listing) => walkAgain(progress.checkpoint, listing, run)));
    const audited = yield* orUnknown(next("audit", () => auditAfterDoubts(progress.checkpoint, run)));
    if (!(audited instanceof RowsUnknown)) {
      progress.checkpoint = audited;
    }
    const gone =
      audited instanceof RowsUnknown
        ? audited
        : yield* orUnknown(next("delete", (listing) => deletePayloads(progress.checkpoint, listing, run)));
    let noEvidence: Checkpoint["noEvidence"] = null;
    if (gone instanceof RowsUnknown) {
      const since = progress.checkpoint.noEvidence?.since ?? now;
      noEvidence = { since, reason: shortText(gone.message, limits.reasonBytesMax) };
    } else {
      ({ deleted } = gone);
      take(gone);
    }
    progress.checkpoint = { ...progress.checkpoint, noEvidence, ranAt: now };
    yield* save(lease, run, progress);
    return report(false);
  } catch (error) {
    if (error instanceof Overtaken) {
      return report(true);
    }
    throw error;
  }
}

/** A checkpoint of before there were doubts has none. */
function withDoubts(kept: Checkpoint): Checkpoint {
  const { doubts }: Partial<Checkpoint> = kept;
  return doubts === undefined ? { ...kept, doubts: [] } : kept;
}

/** Sealed minutes whose receipts changed get rows that say so, and the ledger forgets its notes of them. */
function* sealAnew(sealed: readonly ChangedMinute[], checkpoint: Checkpoint, counts: Counts): CronWork<void> {
  const tallies = yield* ask(
    "tally",
    sealed.map(({ minute }) => minute),
  );
  const watermark = { watermark: watermarkOf(checkpoint), openMinutes: checkpoint.open.length };
  yield* ask("record", { minutes: tallies.map((tally) => ({ ...tally, sealed: true })), watermark });
  yield* ask("sealedAnew", sealed);
  counts.sealedAnew += sealed.length;
}

function* auditAfterDoubts(checkpoint: Checkpoint, run: Run): CronWork<Checkpoint> {
  return yield* audit(yield* resolveDoubts(checkpoint, run), run);
}

/** A stage that needs the table's rows. Where they could not be established, returns why: the next run does the stage. */
function orUnknown<T>(work: CronWork<T>): CronWork<T | RowsUnknown> {
  return orElse(work, (error) => {
    if (error instanceof RowsUnknown) {
      return error;
    }
    throw error;
  });
}

/** Begins with the first payload that R2 holds, or with now where it holds none. */
function* firstCheckpoint(now: number, listing: Listing, settings: ReconcileSettings): CronWork<Checkpoint> {
  const page = yield* listing.next(payloadPrefix);
  const first = page?.objects[0];
  const latest = startOfMinute(now - settings.ageMs);
  if (first !== undefined) {
    return newCheckpoint(Math.min(minuteToMs(minuteOfKey(first.key)), latest));
  }
  // The budget ended before any payload was seen: the walk begins before all of them.
  return newCheckpoint(page?.more === false ? latest : 0);
}

/** Saves what has been asked for since the last time; what iterates this asks for more. */
function* saveBefore(lease: Lease, run: Run, progress: Progress): CronWork<void> {
  if (!progress.isSaved) {
    yield* save(lease, run, progress);
  }
  progress.isSaved = false;
}

/**
 * Writes the rows, tells what was found, and then saves the checkpoint: a run that dies in between writes and tells the same
 * again.
 */
function* save(lease: Lease, run: Run, progress: Progress): CronWork<void> {
  const { checkpoint, rows } = progress;
  if (rows.length > 0) {
    const watermark = { watermark: watermarkOf(checkpoint), openMinutes: checkpoint.open.length };
    yield* ask("record", { minutes: rows, watermark });
  }
  if (run.findings.length > 0) {
    yield* ask("reportFindings", run.findings.splice(0));
  }
  if (!(yield* ask("save", { run: lease.run, checkpoint }))) {
    throw new Overtaken("another run has the lease");
  }
  progress.rows = [];
  progress.isSaved = true;
}
