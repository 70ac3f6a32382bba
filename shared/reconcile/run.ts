/**
 * One run of the reconciler: the third ring, the seal, the second listing, the audit and the deletion, in this order
 * and each with its own budget, so that none starves the others. What a stage has come to is kept before the next
 * begins; a run that ends anywhere loses at most the stage that it was in, and every stage may be repeated.
 *
 * Where ClickHouse or R2 cannot be asked, the run throws: nothing is notified, sealed or deleted on a guess. Where only
 * the rows of the traces cannot be established, the audit and the deletion wait, and nothing else does.
 */

import type { MinuteRow } from "../clickhouse/minutes.ts";
import { EffectFailed, orElse } from "../effect.ts";
import { shortText } from "../ledger/short-text.ts";
import { limits } from "../limits.ts";
import { minuteOfKey, minuteToMs, payloadPrefix } from "../payload-key.ts";
import { audit } from "./audit.ts";
import { Budget, within } from "./budget.ts";
import { type ChangedMinute, sealedOf } from "./changed-minutes.ts";
import { type Checkpoint, newCheckpoint, startOfMinute, watermarkOf } from "./checkpoint.ts";
import { deletePayloads } from "./delete-payloads.ts";
import { resolveDoubts } from "./doubts.ts";
import { ask, type CronWork } from "./effects.ts";
import { Listing } from "./listing.ts";
import { RowsUnknown } from "./read-rows.ts";
import type { ReconcileSettings } from "./settings.ts";
import {
  type Counts,
  type Run,
  ringYoung,
  type Shared,
  walkAgain,
  walkFresh,
  walkOpen,
} from "./walk-minutes.ts";

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
  const run: Shared = { now: asked.now, settings, counts, findings: [], table: lease.table };
  try {
    return yield* runStages(lease, asked.everything, run);
  } finally {
    if (run.findings.length > 0) {
      yield* ask("reportFindings", run.findings.splice(0));
    }
    yield* giveBack(lease);
  }
}

function* giveBack({ run }: Lease): CronWork<void> {
  try {
    yield* ask("endRun", run);
  } catch (error) {
    if (!(error instanceof EffectFailed)) {
      throw error;
    }
    // The lease ends by itself.
  }
}

type Stage = keyof ReconcileSettings["subrequests"];

/** A stage, within its budgets. */
function stage<T>(
  name: Stage,
  shared: Shared,
  work: (listing: Listing, run: Run) => CronWork<T>,
): CronWork<T> {
  const { subrequests, pageKeys } = shared.settings;
  const budget = new Budget(subrequests[name]);
  const listing = new Listing(listCallsOf(name, shared.settings), pageKeys, budget);
  return within(budget, work(listing, { ...shared, budget }));
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

function* runStages(lease: Lease, everything: boolean, shared: Shared): CronWork<ReconcileReport> {
  const { now, settings, counts } = shared;
  const kept = lease.checkpoint;
  // A checkpoint of before there were doubts has none.
  let checkpoint =
    kept === null
      ? yield* stage("fresh", shared, (listing) => firstCheckpoint(now, listing, settings))
      : { ...kept, doubts: kept.doubts ?? [] };
  let deleted = 0;
  const report = (overtaken: boolean): ReconcileReport => ({
    ...counts,
    deleted,
    openMinutes: checkpoint.open.length,
    watermark: watermarkOf(checkpoint),
    overtaken,
  });

  const fresh = yield* stage("fresh", shared, (listing, run) => walkFresh(checkpoint, listing, run));
  checkpoint = fresh.checkpoint;
  if (!(yield* keep(lease, shared, checkpoint, fresh.rows))) {
    return report(true);
  }
  const open = yield* stage("open", shared, (listing, run) => walkOpen(checkpoint, listing, run, everything));
  checkpoint = open.checkpoint;
  if (!(yield* keep(lease, shared, checkpoint, open.rows))) {
    return report(true);
  }
  yield* sealAnew(lease, checkpoint, shared);
  if (everything) {
    yield* stage("young", shared, (listing, run) => ringYoung(checkpoint.from, listing, run));
  }
  const again = yield* stage("again", shared, (listing, run) => walkAgain(checkpoint, listing, run));
  checkpoint = again.checkpoint;
  if (!(yield* keep(lease, shared, checkpoint, again.rows))) {
    return report(true);
  }
  const audited = yield* orUnknown(stage("audit", shared, (_, run) => auditAfterDoubts(checkpoint, run)));
  if (!(audited instanceof RowsUnknown)) {
    checkpoint = audited;
  }
  if (!(yield* keep(lease, shared, checkpoint, []))) {
    return report(true);
  }
  const gone =
    audited instanceof RowsUnknown
      ? audited
      : yield* orUnknown(stage("delete", shared, (listing, run) => deletePayloads(checkpoint, listing, run)));
  let rows: readonly MinuteRow[] = [];
  let noEvidence: Checkpoint["noEvidence"] = null;
  if (gone instanceof RowsUnknown) {
    const since = checkpoint.noEvidence?.since ?? now;
    noEvidence = { since, reason: shortText(gone.message, limits.reasonBytesMax) };
  } else {
    ({ deleted, checkpoint, rows } = gone);
  }
  checkpoint = { ...checkpoint, noEvidence, ranAt: now };
  return report(!(yield* keep(lease, shared, checkpoint, rows)));
}

/** Sealed minutes whose receipts changed get rows that say so, and the ledger forgets its notes of them. */
function* sealAnew({ changed }: Lease, checkpoint: Checkpoint, { counts }: Shared): CronWork<void> {
  const sealed = sealedOf(changed, checkpoint);
  if (sealed.length === 0) {
    return;
  }
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

/**
 * Writes the rows, tells what was found, and then keeps the checkpoint: a run that dies in between writes and tells the same
 * again. False: it was overtaken.
 */
function* keep(
  lease: Lease,
  run: Shared,
  checkpoint: Checkpoint,
  minutes: readonly MinuteRow[],
): CronWork<boolean> {
  if (minutes.length > 0) {
    const watermark = { watermark: watermarkOf(checkpoint), openMinutes: checkpoint.open.length };
    yield* ask("record", { minutes, watermark });
  }
  if (run.findings.length > 0) {
    yield* ask("reportFindings", run.findings.splice(0));
  }
  return yield* ask("save", { run: lease.run, checkpoint });
}
