/** How all systems of a comparison batch: rows an INSERT, or the oldest row's age. */

/** Headrace's own number. */
export const batchRows = 10_000;
/** Headrace's own number too, for whole systems. */
export const wholeBatchMs = 1_000;
/** Where code is compared with code: long, so that a busy machine makes no smaller INSERTs of one than of another. */
export const codeBatchMs = 5_000;
