/**
 * How a decision asks for I/O without doing it. Work is a generator: it yields one effect at a time and goes on with its
 * answer, so that the same code runs in a Worker, which performs each effect, and in the model of test/faults, which may
 * fail or abandon the work at any of them.
 *
 * The effects of one kind of work are an interface: one member per effect, with what it `asks` and what it `answers`.
 */
import { assert, BrokenInvariant, isBrokenInvariant } from "./assert.ts";

interface Effect {
  readonly asks: unknown;
  readonly answers: unknown;
}

/** An interface of effects. */
export type Effects<E> = { readonly [Name in keyof E]: Effect };

/** One effect, as it is yielded. */
export type Asked<E extends Effects<E>, Name extends keyof E = keyof E> = {
  readonly [N in Name]: { readonly name: N; readonly asks: E[N]["asks"] };
}[Name];

/** What the work goes on with. */
export type Answered<E extends Effects<E>, Name extends keyof E = keyof E> = Done<E, Name> | Failure;

type Done<E extends Effects<E>, Name extends keyof E = keyof E> = {
  readonly [N in Name]: { readonly is: "done"; readonly to: N; readonly value: E[N]["answers"] };
}[Name];

export type Failure =
  /** It could not be done, or its answer was lost. */
  | { readonly is: "failed"; readonly reason: string }
  /** An invariant of ours broke while it was done. */
  | { readonly is: "broken"; readonly claim: string };

/** Work that yields effects and comes to a `T`: a generator, or one effect (`askEffect`). */
export type Work<E extends Effects<E>, T> = IterableIterator<Asked<E>, T, Answered<E>>;

/** Who performs effects: one function for each. It throws when the effect could not be done. */
export type Performer<E extends Effects<E>> = {
  readonly [Name in keyof E]: (asks: E[Name]["asks"]) => Promise<E[Name]["answers"]>;
};

/** An effect failed, or its answer was lost. Whether it was done is not known unless the effect's comment says so. */
export class EffectFailed extends Error {
  override readonly name = "EffectFailed";
}

/** Yields one effect of `E` and comes to its answer. */
export type Ask<E extends Effects<E>> = <Name extends keyof E>(
  name: Name,
  asks: E[Name]["asks"],
) => Work<E, E[Name]["answers"]>;

/** The same, where it comes to `NotDone` if the effect fails. */
export type Attempt<E extends Effects<E>> = <Name extends keyof E>(
  name: Name,
  asks: E[Name]["asks"],
) => Work<E, E[Name]["answers"] | NotDone>;

/** Yields one effect and comes to its answer. Throws `EffectFailed` or `BrokenInvariant`. */
export function askEffect<E extends Effects<E>, Name extends keyof E>(
  name: Name,
  asks: E[Name]["asks"],
): Work<E, E[Name]["answers"]> {
  return new OneEffect<E, Name, never>(name, asks, throwFailed);
}

/** An effect that was attempted failed, or its answer was lost. Compare `EffectFailed`, which is thrown. */
export class NotDone {
  readonly reason: string;

  constructor(reason: string) {
    this.reason = reason;
  }
}

/**
 * As `askEffect`, but that a failure is returned and not thrown: while ClickHouse is away a cron meets one at each of its questions.
 * Throws `BrokenInvariant`.
 */
export function attemptEffect<E extends Effects<E>, Name extends keyof E>(
  name: Name,
  asks: E[Name]["asks"],
): Work<E, E[Name]["answers"] | NotDone> {
  return new OneEffect<E, Name, NotDone>(name, asks, notDone);
}

function throwFailed(reason: string): never {
  throw new EffectFailed(reason);
}

function notDone(reason: string): NotDone {
  return new NotDone(reason);
}

/** What a generator of one `yield` would be, without its cost: the model asks for millions of effects. */
class OneEffect<E extends Effects<E>, Name extends keyof E, Otherwise>
  implements Work<E, E[Name]["answers"] | Otherwise>
{
  readonly #asked: { readonly name: Name; readonly asks: E[Name]["asks"] };
  readonly #whereFailed: (reason: string) => Otherwise;
  #isYielded = false;

  constructor(name: Name, asks: E[Name]["asks"], whereFailed: (reason: string) => Otherwise) {
    this.#asked = { name, asks };
    this.#whereFailed = whereFailed;
  }

  [Symbol.iterator](): this {
    return this;
  }

  next(answer?: Answered<E>): IteratorResult<Asked<E>, E[Name]["answers"] | Otherwise> {
    if (!this.#isYielded) {
      this.#isYielded = true;
      return { done: false, value: this.#asked };
    }
    assert(answer !== undefined, "an effect is answered before its work goes on");
    const isFailed = answer.is === "failed";
    const value = isFailed ? this.#whereFailed(answer.reason) : answered<E, Name>(answer, this.#asked.name);
    return { done: true, value };
  }
}

/** The value of an answer that did not fail. */
function answered<E extends Effects<E>, Name extends keyof E>(
  answer: Done<E> | Extract<Failure, { readonly is: "broken" }>,
  name: Name,
): E[Name]["answers"] {
  if (answer.is === "broken") {
    throw new BrokenInvariant(answer.claim);
  }
  assert(isAnswerTo<E, Name>(answer, name), "an effect is given its own answer");
  return answer.value;
}

/** The work; where it throws, what `caught` makes of the error, or throws in its place. */
export function orElse<E extends Effects<E>, T, U>(
  work: Work<E, T>,
  caught: (error: unknown) => U,
): Work<E, T | U> {
  return new GuardedWork(work, caught);
}

/** What the work comes to, or `otherwise` where an effect of it failed. */
export function orWhereFailed<E extends Effects<E>, T, const U>(
  work: Work<E, T>,
  otherwise: U,
): Work<E, T | U> {
  return orElse(work, (error): U => {
    if (error instanceof EffectFailed) {
      return otherwise;
    }
    throw error;
  });
}

/** What a generator of `try { return yield* work }` would be, without its cost per effect. */
class GuardedWork<E extends Effects<E>, T, U> implements Work<E, T | U> {
  readonly #work: Work<E, T>;
  readonly #caught: (error: unknown) => U;

  constructor(work: Work<E, T>, caught: (error: unknown) => U) {
    this.#work = work;
    this.#caught = caught;
  }

  [Symbol.iterator](): this {
    return this;
  }

  next(answer?: Answered<E>): IteratorResult<Asked<E>, T | U> {
    try {
      return answer === undefined ? this.#work.next() : this.#work.next(answer);
    } catch (error) {
      return { done: true, value: this.#caught(error) };
    }
  }
}

function isAnswerTo<E extends Effects<E>, Name extends keyof E>(
  answer: { readonly to: keyof E },
  name: Name,
): answer is Done<E, Name> {
  return answer.to === name;
}

/** Performs a piece of work to its end. Throws what the work throws. */
export async function perform<E extends Effects<E>, T>(
  work: Work<E, T>,
  performer: Performer<E>,
): Promise<T> {
  let step = work.next();
  while (step.done !== true) {
    step = work.next(await performOne(step.value, performer));
  }
  return step.value;
}

async function performOne<E extends Effects<E>, Name extends keyof E>(
  { name, asks }: Asked<E, Name>,
  performer: Performer<E>,
): Promise<Answered<E>> {
  try {
    return done<E, Name>(name, await performer[name](asks));
  } catch (error) {
    return failure(error);
  }
}

/** The answer of an effect that was done. */
export function done<E extends Effects<E>, Name extends keyof E>(
  to: Name,
  value: E[Name]["answers"],
): { readonly is: "done"; readonly to: Name; readonly value: E[Name]["answers"] } {
  return { is: "done", to, value };
}

/** What a failed effect answers. A broken invariant stays one, also where it was thrown in another isolate. */
export function failure(error: unknown): Failure {
  return isBrokenInvariant(error)
    ? { is: "broken", claim: error.message }
    : { is: "failed", reason: error instanceof Error ? `${error.name}: ${error.message}` : String(error) };
}
