/**
 * What a stage of a run may ask for. The platform gives an invocation so many subrequests (`limits.subrequestsMax`), and a
 * backlog of minutes, of rows that are missed or of payloads to be deleted must not use them up: a run that ended there
 * would begin at the same place again, for ever. A stage begins nothing more when its budget is used up, keeps its
 * place, and goes on in the next run; what it has begun may take a little more (`limits.reconcileUnit`).
 */
import type { Answered, Asked } from "../effect.ts";
import { limits } from "../limits.ts";
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

/** The work, of which each effect is paid from the budget. */
export function within<T>(budget: Budget, work: CronWork<T>): CronWork<T> {
  return new PaidWork(budget, work);
}

/** What a generator of one loop would be, without its cost per effect. */
class PaidWork<T> implements CronWork<T> {
  readonly #budget: Budget;
  readonly #work: CronWork<T>;

  constructor(budget: Budget, work: CronWork<T>) {
    this.#budget = budget;
    this.#work = work;
  }

  [Symbol.iterator](): this {
    return this;
  }

  next(answer?: Answered<CronEffects>): IteratorResult<Asked<CronEffects>, T> {
    const step = answer === undefined ? this.#work.next() : this.#work.next(answer);
    if (step.done !== true) {
      this.#budget.spend(subrequestsOf(step.value));
    }
    return step;
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
      return asked.asks.length;
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
