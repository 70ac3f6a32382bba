/**
 * One run at a time. The lease and the checkpoint are kept together, so that a run which was taken for dead cannot
 * save its checkpoint over that of the one which followed it.
 */
import type { PayloadKey } from "../payload-key.ts";
import type { Checkpoint, Doubt } from "./checkpoint.ts";

/** What is kept between the runs. */
export interface Reconciler {
  readonly checkpoint: Checkpoint | null;
  /** The run that is under way; taken for dead at `until`, ms since the epoch. */
  readonly lease: { readonly run: string; readonly until: number } | null;
}

/** What an earlier version may have kept, with other names for the checkpoint and for what was reported. */
export type StoredReconciler = Pick<Reconciler, "lease"> & {
  readonly checkpoint?: Checkpoint | null;
  readonly book?: EarlierCheckpoint | null;
};

type EarlierCheckpoint = Omit<Checkpoint, "doubts" | "expiredReported"> & {
  readonly doubts: readonly EarlierDoubt[];
  readonly expiredTold?: readonly PayloadKey[];
};

type EarlierDoubt =
  | (Omit<Extract<Doubt, { kind: "keys" }>, "reportedAt"> & { readonly toldAt: number })
  | (Omit<Extract<Doubt, { kind: "page" }>, "reportedAt" | "notified"> & {
      readonly toldAt: number;
      readonly rung: PayloadKey | null;
    });

/** Reads the ledger's note, whichever version wrote it. */
export function reconcilerFromNote({ checkpoint, book, lease }: StoredReconciler): Reconciler {
  return { checkpoint: checkpoint ?? (book == null ? null : checkpointOf(book)), lease };
}

function checkpointOf({ expiredTold, doubts, ...book }: EarlierCheckpoint): Checkpoint {
  return {
    ...book,
    doubts: doubts.map(doubtOf),
    ...(expiredTold !== undefined && { expiredReported: expiredTold }),
  };
}

function doubtOf(earlier: EarlierDoubt): Doubt {
  const { toldAt: reportedAt, ...doubt } = earlier;
  if (doubt.kind === "keys") {
    return { ...doubt, reportedAt };
  }
  const { rung: notified, ...page } = doubt;
  return { ...page, reportedAt, notified };
}

export const newReconciler: Reconciler = { checkpoint: null, lease: null };

/** What begins a run: the cron waits for the one before it; a person, or the start of the local pipeline, takes over. */
export interface RunStart {
  readonly run: string;
  readonly now: number;
  readonly leaseMs: number;
  readonly takesOver: boolean;
}

/** The state in which the run has the lease; null while another has it. */
export function beginRun(state: Reconciler, { run, now, leaseMs, takesOver }: RunStart): Reconciler | null {
  const isFree = takesOver || state.lease === null || now >= state.lease.until;
  return isFree ? { ...state, lease: { run, until: now + leaseMs } } : null;
}

/** The state with this run's checkpoint and its lease renewed; null where it has lost the lease. */
export function saveCheckpoint(
  state: Reconciler,
  { run, now, leaseMs }: Omit<RunStart, "takesOver">,
  checkpoint: Checkpoint,
): Reconciler | null {
  return state.lease?.run === run ? { checkpoint, lease: { run, until: now + leaseMs } } : null;
}

/** The run is over, however it ended. */
export function endRun(state: Reconciler, run: string): Reconciler {
  return state.lease?.run === run ? { ...state, lease: null } : state;
}
