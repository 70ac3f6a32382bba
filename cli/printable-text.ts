/**
 * Text that others sent, on a terminal: what would move the cursor, change colours or turn the direction of writing is shown
 * as a mark in its place. Pure.
 */
export function printableText(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, "\uFFFD");
}

/** The same, at most so many characters. */
export function shortText(text: string, charsMax: number): string {
  const characters = [...printableText(text)];
  return characters.length <= charsMax
    ? characters.join("")
    : `${characters.slice(0, Math.max(0, charsMax - 1)).join("")}…`;
}
