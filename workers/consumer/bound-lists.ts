/**
 * Lists that a statement is given as JSON: bound parameters end at 100, and a bound text at 2 MB (Durable Objects, SQLite limits).
 * Local workerd takes a longer one.
 */

/** 35 characters each at most: an id in hex, with its quotes and a comma. */
const itemsMax = 50_000;

/** As many texts as it takes, in the order of the list. None for an empty one. */
export function* boundLists(items: readonly (number | string)[]): Iterable<string> {
  for (let at = 0; at < items.length; at += itemsMax) {
    yield JSON.stringify(items.slice(at, at + itemsMax));
  }
}
