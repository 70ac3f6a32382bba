/** How all systems of a comparison batch: rows an INSERT, or the oldest row's age. Headrace's own numbers. */
export const batchRows = 10_000;
export const batchMs = 1_000;
