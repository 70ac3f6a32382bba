/** Texts that others wrote, cut to what a row of the ledger has room for (shared/limits.ts). */

const encoder = new TextEncoder();

/**
 * At most so many bytes of it, as JSON writes them; "…" stands for the rest. Example: 300 letters and 200 bytes: 197
 * letters and "…".
 */
export function shortText(text: string, bytesMax: number): string {
  if (text.length * widestBytes <= bytesMax) {
    return text;
  }
  const fits = isPlain(text) ? text.length <= bytesMax : jsonBytes(text) <= bytesMax;
  if (fits) {
    return text;
  }
  let bytes = jsonBytes("…");
  let short = "";
  for (const character of text) {
    bytes += jsonBytes(character);
    if (bytes > bytesMax) {
      break;
    }
    short += character;
  }
  return `${short}…`;
}

/** A control character, or half of a pair, is written as six: \u0007. */
const widestBytes = 6;

/** Each of its characters is one byte, and is written as it is. */
function isPlain(text: string): boolean {
  return /^[ !#-[\]-~]*$/.test(text);
}

/** Without the quotes around it. */
function jsonBytes(text: string): number {
  return encoder.encode(JSON.stringify(text)).length - 2;
}
