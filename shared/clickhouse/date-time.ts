/** ms since the epoch as text of a DateTime64(3): a bare number would be read as seconds by newer servers. */
export function formatDateTime64(timeMs: number): string {
  return new Date(timeMs).toISOString().replace("T", " ").replace("Z", "");
}

/** ms since the epoch as text of a DateTime: whole seconds. */
export function formatDateTime(timeMs: number): string {
  return formatDateTime64(timeMs).slice(0, "2026-11-24 07:41:29".length);
}

/** SQL that tells a DateTime or DateTime64 of a column in UTC as ISO 8601: `2026-11-24T07:41:29.123Z`. */
export function isoOf(column: string): string {
  return `concat(replaceOne(toString(${column}), ' ', 'T'), 'Z')`;
}
