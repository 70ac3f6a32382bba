/** Which of some words a mistyped one was meant to be: for messages about unknown flags and commands. */

/** The nearest of `words`; undefined when none is near enough to be meant. */
export function nearestWord(typed: string, words: readonly string[]): string | undefined {
  let nearest: string | undefined;
  let nearestDistance = Number.POSITIVE_INFINITY;
  for (const word of words) {
    const distance = editDistance(typed.toLowerCase(), word);
    if (distance < nearestDistance) {
      nearest = word;
      nearestDistance = distance;
    }
  }
  return nearest !== undefined && nearestDistance <= Math.max(2, nearest.length / 3) ? nearest : undefined;
}

/** Levenshtein distance: single insertions, deletions and replacements that make one text the other. */
function editDistance(from: string, to: string): number {
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 0; i < from.length; i++) {
    const current = [i + 1];
    for (let j = 0; j < to.length; j++) {
      const replace = (previous[j] ?? 0) + (from[i] === to[j] ? 0 : 1);
      current.push(Math.min(replace, (previous[j + 1] ?? 0) + 1, (current[j] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[to.length] ?? 0;
}
