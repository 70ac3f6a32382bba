/**
 * Text that somebody else wrote (a service's name, a span's, an exporter's body in a message), for a person's terminal: what
 * would move the cursor, change colours or turn the direction of writing is shown, not obeyed.
 */

/** Controls (C0, DEL, C1), line and paragraph separators, and the marks that change the direction of writing. */
const unprintable = /[\p{Cc}\u2028\u2029\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]/gu;

/** One line of at most `charsMax` characters. */
export function printable(text: string, charsMax: number): string {
  const characters = [...text.replace(unprintable, "\u{fffd}")];
  return characters.length <= charsMax
    ? characters.join("")
    : `${characters.slice(0, charsMax - 1).join("")}…`;
}
