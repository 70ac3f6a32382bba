/**
 * An isolate's budget of bytes in hand. An isolate has 128 MB for all its invocations at once, and dies beyond. Nothing of
 * it can be lost with an invocation: a request whose client hangs up, or a batch that the platform cancels, may never run
 * the code that gives back. So each taking expires by itself, and nobody waits for somebody else to give: workerd cancels
 * an invocation that waits for another one's promise.
 */
import { assert } from "./assert.ts";
import { limits } from "./limits.ts";

export class ByteBudget {
  readonly #bytesMax: number;
  readonly #holderBytesMax: number;
  readonly #momentBytes: number;
  readonly #takings = new Set<Taking>();
  /** Who waits, in order of arrival, and until when each is taken to be there although it does not ask again. */
  readonly #turns = new Map<Turn, number>();

  /**
   * `holderBytesMax`: what one holder (a key of an ingress) may have of it at once. `momentBytes`: what is never taken, so
   * that whatever is in hand can also be worked on (`roomAt`).
   */
  constructor(bytesMax: number, holderBytesMax = bytesMax, momentBytes = 0) {
    this.#bytesMax = bytesMax;
    this.#holderBytesMax = holderBytesMax;
    this.#momentBytes = momentBytes;
  }

  /** Bytes for what is made and dropped again within one synchronous step: it needs no taking. */
  roomAt(now: number): number {
    return this.#bytesMax + this.#momentBytes - this.bytesAt(now);
  }

  /** Takes `bytes` until they are given back, or until `expiresAt` (ms since the epoch). Null: they are not free. */
  take(holder: string, bytes: number, now: number, expiresAt: number): Taking | null {
    if (!this.#isFree(holder, bytes, now)) {
      return null;
    }
    const taking = new Taking(this, holder, bytes, expiresAt);
    this.#takings.add(taking);
    return taking;
  }

  /**
   * Takes them when earlier requests have had their turn, so that a large group is not overtaken by small ones for ever. Null:
   * ask again before `turnUntil`, or the turn is lost. One that died in its wait holds nobody up for longer than that.
   */
  takeInTurn(
    turn: Turn,
    holder: string,
    bytes: number,
    now: number,
    { expiresAt, turnUntil }: { readonly expiresAt: number; readonly turnUntil: number },
  ): Taking | null {
    for (const [other, until] of this.#turns) {
      if (until <= now && other !== turn) {
        this.#turns.delete(other);
      }
    }
    this.#turns.set(turn, turnUntil); // a key that is there keeps its place
    const [first] = this.#turns.keys();
    const taking = first === turn ? this.take(holder, bytes, now, expiresAt) : null;
    if (taking !== null) {
      this.#turns.delete(turn);
    }
    return taking;
  }

  /** Waits no longer. */
  leave(turn: Turn): void {
    this.#turns.delete(turn);
  }

  /** More bytes for a taking, and more time. False: they are not free, or the taking has expired meanwhile. */
  grow(taking: Taking, bytes: number, now: number, expiresAt: number): boolean {
    if (!this.#takings.has(taking) || !this.#isFree(taking.holder, bytes, now)) {
      return false;
    }
    taking.bytes += bytes;
    taking.expiresAt = expiresAt;
    return true;
  }

  /** Gives a taking back. One that has expired was given back by that. */
  give(taking: Taking): void {
    this.#takings.delete(taking);
  }

  /** Bytes in hand, those that have expired left out. */
  bytesAt(now: number): number {
    this.#expire(now);
    let sum = 0;
    for (const { bytes } of this.#takings) {
      sum += bytes;
    }
    return sum;
  }

  #isFree(holder: string, bytes: number, now: number): boolean {
    assert(bytes >= 0, "nobody takes less than nothing");
    this.#expire(now);
    let all = bytes;
    let own = bytes;
    for (const taking of this.#takings) {
      all += taking.bytes;
      own += taking.holder === holder ? taking.bytes : 0;
    }
    return all <= this.#bytesMax && own <= this.#holderBytesMax;
  }

  #expire(now: number): void {
    for (const taking of this.#takings) {
      if (taking.expiresAt <= now) {
        this.#takings.delete(taking);
      }
    }
  }
}

/**
 * Waits for bytes, by looking again and again by a timer of one's own: workerd cancels an invocation that waits for another
 * one's promise. Yields how many ms to wait. Null: half of the time until `deadline` is over, and there are none.
 */
export function* waitForBytes(
  budget: ByteBudget,
  holder: string,
  bytes: number,
  deadline: number,
  now: () => number,
): Generator<number, Taking | null, void> {
  const lastTry = now() + (deadline - now()) / 2;
  const turn: Turn = {};
  for (;;) {
    const at = now();
    const times = { expiresAt: deadline, turnUntil: at + limits.bytesTurnMs };
    const taking = budget.takeInTurn(turn, holder, bytes, at, times);
    if (taking !== null) {
      return taking;
    }
    if (at >= lastTry) {
      budget.leave(turn);
      return null;
    }
    yield limits.bytesPollMs;
  }
}

/**
 * What a group's making takes of a consumer's budget: its rows, and while one payload is decoded its inflated body and what is
 * converted of it. So a payload of 14 MiB or more is worked on alone.
 */
export function bytesToBuild(payloads: readonly { readonly outputBytes: number }[]): number {
  let sum = 0;
  let largest = 0;
  for (const { outputBytes } of payloads) {
    sum += outputBytes;
    largest = Math.max(largest, outputBytes);
  }
  return sum + 2 * largest;
}

/** A place among those who wait: an object of its own for each. */
export type Turn = Readonly<Record<never, never>>;

/** Bytes that somebody has in hand. */
export class Taking {
  readonly #budget: ByteBudget;
  readonly holder: string;
  bytes: number;
  /** ms since the epoch */
  expiresAt: number;

  constructor(budget: ByteBudget, holder: string, bytes: number, expiresAt: number) {
    this.#budget = budget;
    this.holder = holder;
    this.bytes = bytes;
    this.expiresAt = expiresAt;
  }

  give(): void {
    this.#budget.give(this);
  }
}
