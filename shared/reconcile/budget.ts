/**
 * What a stage of a run may ask for. The platform gives an invocation so many subrequests (`limits.subrequestsMax`), and a
 * backlog of minutes, of rows that are missed or of payloads to be deleted must not use them up: a run that ended there
 * would begin at the same place again, for ever. A stage begins nothing more when its budget is used up, keeps its
 * place, and goes on in the next run; what it has begun may take a little more (`limits.reconcileUnit`).
 */
import type { Answered, Asked } from "../effect.ts";
import { limits } from "../limits.ts";
import { getsOf } from "../payload-key.ts";
import type { CronEffects, CronWork } from "./effects.ts";

export class Budget {
  #left: number;

  constructor(subrequests: number) {
    this.#left = subrequests;
  }

  get isUsedUp(): boolean {
    return this.#left <= 0;
  }

  spend(subrequests: number): void {
    this.#left -= subrequests;
  }
}

/**
 * The work, of which each effect is paid from the budget. If it asks for anything, what `beforeFirst` makes is done first, and is
 * paid by nobody.
 */
export function within<T>(
  budget: Budget,
  work: CronWork<T>,
  beforeFirst: (() => CronWork<void>) | null = null,
): CronWork<T> {
  return new PaidWork(budget, work, beforeFirst);
}

/** What a generator of one loop would be, without its cost per effect. */
class PaidWork<T> implements CronWork<T> {
  readonly #budget: Budget;
  readonly #work: CronWork<T>;
  /** Null: there is nothing to do before the work's effects, or it is done. */
  #beforeFirst: (() => CronWork<void>) | null;
  #before: CronWork<void> | null = null;
  /** The work's first effect, which waits until that is done. */
  #first: IteratorResult<Asked<CronEffects>, T> | null = null;

  constructor(budget: Budget, work: CronWork<T>, beforeFirst: (() => CronWork<void>) | null) {
    this.#budget = budget;
    this.#work = work;
    this.#beforeFirst = beforeFirst;
  }

  [Symbol.iterator](): this {
    return this;
  }

  next(answer?: Answered<CronEffects>): IteratorResult<Asked<CronEffects>, T> {
    return this.#beforeFirst === null ? this.#goOn(answer) : this.#begin(this.#beforeFirst, answer);
  }

  #goOn(answer: Answered<CronEffects> | undefined): IteratorResult<Asked<CronEffects>, T> {
    const step = answer === undefined ? this.#work.next() : this.#work.next(answer);
    if (step.done !== true) {
      this.#budget.spend(subrequestsOf(step.value));
    }
    return step;
  }

  #begin(
    beforeFirst: () => CronWork<void>,
    answer: Answered<CronEffects> | undefined,
  ): IteratorResult<Asked<CronEffects>, T> {
    this.#first ??= this.#goOn(undefined);
    if (this.#first.done === true) {
      return this.#first;
    }
    const begins = this.#before === null;
    this.#before ??= beforeFirst();
    const step = begins || answer === undefined ? this.#before.next() : this.#before.next(answer);
    if (step.done !== true) {
      return step;
    }
    this.#beforeFirst = null;
    return this.#first;
  }
}

/** At most so many. */
export function subrequestsOf(asked: Asked<CronEffects>): number {
  switch (asked.name) {
    case "warn":
      return 0;
    case "wake": // the ledger's own count against its own
      return 1;
    case "record":
    case "reportFindings":
    case "reportAlerts":
      return 2;
    case "find":
      return asked.asks.reduce((sum, key) => sum + getsOf(key), 0);
    case "deadLetters":
    case "deadCopies":
      return limits.recordListCallsMax;
    case "ring":
      return Math.ceil(asked.asks.length / limits.queueMessagesMax);
    case "delete":
      return Math.ceil(asked.asks.length / limits.r2DeleteKeysMax);
    default:
      return 1;
  }
}
