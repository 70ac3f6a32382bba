/** How all systems of a comparison batch: rows per INSERT, or the oldest row's age. */

/** Headrace's own numbers, for whole systems. */
export const wholeBatching = { rows: 10_000, ms: 1_000 } as const;

/**
 * Where code is compared with code: rows that 100 and 512 both divide, so that no system is left with a rest to wait
 * for, and long, so that a busy machine makes no smaller INSERTs of one than of another.
 */
export const codeBatching = { rows: 12_800, ms: 5_000 } as const;

export interface Batching {
  readonly rows: number;
  readonly ms: number;
}
