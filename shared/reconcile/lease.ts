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

/** The state in which `run` has the lease; null while another has it. */
export function beginRun(state: Reconciler, run: string, now: number, leaseMs: number): Reconciler | null {
  return state.lease !== null && now < state.lease.until
    ? null
    : { ...state, lease: { run, until: now + leaseMs } };
}

/** The state with this run's book; null where it has lost the lease. */
export function keepBook(state: Reconciler, run: string, book: MinuteBook): Reconciler | null {
  return state.lease?.run === run ? { ...state, book } : null;
}

/** The run is over, however it ended. */
export function endRun(state: Reconciler, run: string): Reconciler {
  return state.lease?.run === run ? { ...state, lease: null } : state;
}
