/** Pages of R2's listing, each fetched once and used until its last key: a page can span many small minutes. */
import type { Budget } from "./budget.ts";
import { ask, type CronWork, type Listed, type ListedPage } from "./effects.ts";

export interface Page {
  /** In order of keys. */
  readonly objects: readonly Listed[];
  /** Everything up to this text was listed: the last object's key, or a later key that is not a payload's. */
  readonly through: string;
  /** There may be more behind `through`. An empty page with more: the budget ended among keys that are not ours. */
  readonly more: boolean;
}

/**
 * A cursor over the listing with a budget of calls, and its stage's of subrequests. R2 may answer fewer objects than
 * asked for, or none, while more
 * come after; only `cursor: null` is the end.
 */
export class Listing {
  readonly #pageKeys: number;
  readonly #budget: Budget;
  #callsLeft: number;
  /** The page at hand holds everything between this text and its `through`. */
  #after = "";
  #page: Page = { objects: [], through: "", more: true };

  constructor(calls: number, pageKeys: number, budget: Budget) {
    this.#budget = budget;
    this.#callsLeft = calls;
    this.#pageKeys = pageKeys;
  }

  /** What comes after this text. Undefined: the budget is used up, and nothing new was seen. */
  *next(after: string): CronWork<Page | undefined> {
    if (this.#budget.isUsedUp) {
      return undefined;
    }
    let through = after;
    if (this.#after <= after) {
      const { objects, more } = this.#page;
      const next = objects.findIndex(({ key }) => key > after);
      if (next >= 0 || !more) {
        this.#after = after;
        this.#page = { ...this.#page, objects: next < 0 ? [] : objects.slice(next) };
        return this.#page;
      }
      // The rest of the page at hand was not ours: the next one begins behind it.
      through = this.#page.through > after ? this.#page.through : after;
    }
    let cursor: string | null = null;
    while (this.#callsLeft > 0 && !this.#budget.isUsedUp) {
      this.#callsLeft -= 1;
      const page: ListedPage = yield* ask("list", { after: through, cursor, atMost: this.#pageKeys });
      if (page.through > through) {
        ({ through } = page);
      }
      cursor = page.cursor;
      if (page.objects.length > 0 || cursor === null) {
        this.#after = after;
        this.#page = { objects: page.objects, through, more: cursor !== null };
        return this.#page;
      }
    }
    return through > after ? { objects: [], through, more: true } : undefined;
  }
}
