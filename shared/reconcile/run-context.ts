/** What the stages of one run of the reconciler share. */
import type { Budget } from "./budget.ts";
import type { ReconcileFinding } from "./effects.ts";
import type { ReconcileSettings } from "./settings.ts";

/** What a run has counted so far. */
export interface Counts {
  listed: number;
  held: number;
  notified: number;
  sealed: number;
  /** Of minutes that were sealed before, and changed. */
  sealedAnew: number;
}

/** A run, which its stages share. */
export interface Run {
  /** ms since the epoch; one for the whole run. */
  readonly now: number;
  readonly settings: ReconcileSettings;
  readonly counts: Counts;
  /** What is to be reported before the next checkpoint is saved. */
  readonly findings: ReconcileFinding[];
  /** The identity of the table that the ledger knows; null: none yet. */
  readonly table: string | null;
  /** Of the stage that is under way. */
  budget: Budget;
}
