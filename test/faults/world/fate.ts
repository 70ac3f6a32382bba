/** What may go wrong, and whether it does here: a profile's probabilities over one source of choices. */
import type { Choices } from "./choices.ts";
import type { Flaw } from "./object-store.ts";
import type { Incident } from "./profile.ts";

export type Fault =
  // --- R2
  | "put fails"
  | "put lands unseen"
  | "put lands late"
  | "client hangs up"
  | "send hangs"
  | "other sampling"
  | "KV remembers a miss"
  | "R2 fails"
  | "R2 hangs"
  | "page short"
  | "segment is damaged"
  | "collector dies"
  | "collector moves"
  | "collector is overloaded"
  // --- clients and bells
  | "answer lost"
  | "doorbell lost"
  | "event lost"
  | "group ring lost"
  | "message doubled"
  | "message late"
  // --- one INSERT of a group
  | "insert fails before"
  | "insert hangs"
  | "insert answer lost"
  | "insert runs on"
  | "insert breaks off"
  | "insert slow"
  | "insert slowest"
  | "insert overruns"
  | "view fails"
  | "proxy answers"
  | "busy"
  | "busy after commit"
  | "unlisted"
  | "halted"
  | "insert arrives late"
  | "insert arrives twice"
  | "quorum is unknown"
  // --- other statements
  | "query fails"
  | "statement fails after"
  | "statement runs on"
  | "kill fails"
  | "read is stale"
  | "replica catches up in a count"
  | "replica gives an older answer"
  | "replica speaks early"
  | "another table answers"
  | "days expire"
  | "processes are elsewhere"
  // --- our own parts
  | "consumer dies"
  | "consumer stalls"
  | "insert begins late"
  | "ledger dies before"
  | "ledger dies after"
  | "ledger answer lost"
  | "an older ledger answers"
  | "cron dies"
  | "cron doubled"
  | "cron skipped"
  | "webhook fails"
  // --- losses, just between two effects
  | "ledger lost"
  | "ledger restored"
  | "engine restarts"
  | "receipts lost";

/** A fault; or a flaw of a payload, or something that happens to the world. */
export type Strike = Fault | `payload: ${Flaw}` | Incident | DoorsChoice;

/** Which way the ingress has a payload take, where it is not the plain one. */
export type DoorsChoice = "alone by advice" | "collector is paused" | "another collector";

export class Fate {
  readonly choices: Choices;
  /** Nothing strikes any more. */
  isCalm = false;
  /** How often each struck. */
  readonly struck = new Map<Strike, number>();
  readonly #probabilities: ReadonlyMap<Fault, number>;
  #left: number;

  constructor(choices: Choices, faults: Readonly<Partial<Record<Fault, number>>>, strikesMax: number) {
    this.choices = choices;
    this.#probabilities = probabilitiesOf(faults);
    this.#left = strikesMax;
  }

  strikes(fault: Fault): boolean {
    if (this.isCalm || this.#left <= 0) {
      return false;
    }
    const probability = this.#probabilities.get(fault);
    if (probability === undefined || !this.choices.happens(probability)) {
      return false;
    }
    this.#left--;
    this.struck.set(fault, (this.struck.get(fault) ?? 0) + 1);
    return true;
  }

  /** Notes that something struck that was decided elsewhere. */
  count(fault: Strike): void {
    this.struck.set(fault, (this.struck.get(fault) ?? 0) + 1);
  }

  /** A whole number from `least` to `most`, both inclusive: how long something takes that nothing struck. */
  between(least: number, most: number): number {
    return least + this.choices.below(most - least + 1);
  }

  /** The same of something that struck: it matters how long, or which. */
  within(least: number, most: number): number {
    return least + this.choices.oneOf(most - least + 1);
  }

  /** Some time, of whatever order of magnitude up to `most`: seconds as often as hours. */
  sometime(most: number): number {
    const scale = Math.min(scalesMs[this.choices.oneOf(scalesMs.length)] ?? most, most);
    return scale - this.choices.below(scale + 1);
  }
}

/** Each profile's objects have a shape of their own; they are asked a few thousand times per schedule. */
function probabilitiesOf(faults: Readonly<Partial<Record<Fault, number>>>): ReadonlyMap<Fault, number> {
  let probabilities = probabilitiesByFaults.get(faults);
  if (probabilities === undefined) {
    probabilities = new Map(Object.entries(faults) as [Fault, number][]);
    probabilitiesByFaults.set(faults, probabilities);
  }
  return probabilities;
}

const probabilitiesByFaults = new WeakMap<object, ReadonlyMap<Fault, number>>();

const scalesMs = [3_000, 30_000, 300_000, 3_600_000, 86_400_000, 691_200_000] as const;
