/**
 * One run at a time. The lease and the book are kept together, so that a run which was taken for dead cannot keep its
 * book over that of the one which followed it.
 */
import type { MinuteBook } from "./minute-book.ts";

/** What is kept between the runs. */
export interface Reconciler {
  readonly book: MinuteBook | null;
  /** The run that is under way; taken for dead at `until`, ms since the epoch. */
  readonly lease: { readonly run: string; readonly until: number } | null;
}

export const newReconciler: Reconciler = { book: null, lease: null };

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

/** The state with this run's book and its lease renewed; null where it has lost the lease. */
export function keepBook(
  state: Reconciler,
  { run, now, leaseMs }: Omit<RunStart, "takesOver">,
  book: MinuteBook,
): Reconciler | null {
  return state.lease?.run === run ? { book, lease: { run, until: now + leaseMs } } : null;
}

/** The run is over, however it ended. */
export function endRun(state: Reconciler, run: string): Reconciler {
  return state.lease?.run === run ? { ...state, lease: null } : state;
}
