/** Pages of R2's listing, each fetched once and used until its last key: a page can span many small minutes. */
import { type Asking, ask, type Listed } from "./effects.ts";

export interface Page {
  /** In order of keys; empty only where nothing comes after. */
  readonly objects: readonly Listed[];
  /** There may be more behind the last of them. */
  readonly more: boolean;
}

/** A cursor over the listing with a budget of calls. */
export class Listing {
  readonly #pageKeys: number;
  #callsLeft: number;
  /** The page at hand holds everything between this text and its last key. */
  #after = "";
  #page: Page = { objects: [], more: true };

  constructor(calls: number, pageKeys: number) {
    this.#callsLeft = calls;
    this.#pageKeys = pageKeys;
  }

  /** What comes after this text. Undefined: the budget is used up. */
  *next(after: string): Asking<Page | undefined> {
    if (this.#after <= after) {
      const { objects, more } = this.#page;
      const next = objects.findIndex(({ key }) => key > after);
      if (next >= 0 || !more) {
        this.#after = after;
        this.#page = { objects: next < 0 ? [] : objects.slice(next), more };
        return this.#page;
      }
    }
    if (this.#callsLeft === 0) {
      return undefined;
    }
    this.#callsLeft -= 1;
    this.#page = yield* ask({ do: "list", after, atMost: this.#pageKeys });
    this.#after = after;
    return this.#page;
  }
}
