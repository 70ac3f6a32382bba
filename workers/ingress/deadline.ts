/** Bounded waiting: what does not come in time is given up, and the caller says what that means. */

/** Thrown by `within`. */
export class DeadlinePassed extends Error {
  override readonly name = "DeadlinePassed";
}

/**
 * One timer for one wait after another, since nearly none ever fires: a request of one span takes 79 µs of CPU with one timer, 83
 * with one for each of its waits, 71 with none (bench/README.md, "ingress"). A wait that ends in time leaves it running; should it fire in a later wait, it is set again for what is left.
 *
 * A body's 30 s and a put's 60 s: the timer is set for second 30. It fires when the put has waited for 29 s, and is set
 * for the 31 s that are left.
 */
export class Deadline {
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When the timer fires, and when the present wait is over: ms since the epoch. */
  #firesAt = 0;
  #due = 0;
  /** Gives the present wait up. Undefined: nothing is waited for. */
  #giveUp: (() => void) | undefined;

  /** Resolves as `promise` does, or throws `DeadlinePassed` after `timeoutMs`. One wait at a time. */
  async within<T>(promise: Promise<T>, timeoutMs: number): Promise<T> {
    this.#due = Date.now() + timeoutMs;
    if (this.#timer === undefined || this.#due < this.#firesAt) {
      this.#set(timeoutMs);
    }
    try {
      return await new Promise<T>((resolve, reject) => {
        this.#giveUp = () => reject(new DeadlinePassed(`no answer after ${timeoutMs} ms`));
        promise.then(resolve, reject);
      });
    } finally {
      this.#giveUp = undefined;
    }
  }

  /** Nothing is waited for any more. */
  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #set(delayMs: number): void {
    clearTimeout(this.#timer);
    this.#firesAt = this.#due;
    this.#timer = setTimeout(() => this.#fire(), delayMs);
  }

  #fire(): void {
    this.#timer = undefined;
    if (this.#giveUp === undefined) {
      return;
    }
    const left = this.#due - this.#firesAt;
    if (left > 0) {
      this.#set(left);
    } else {
      this.#giveUp();
    }
  }
}

/** A single wait. Resolves as `promise` does, or throws `DeadlinePassed` after `timeoutMs`. */
export async function within<T>(promise: Promise<T>, timeoutMs: number): Promise<T> {
  const deadline = new Deadline();
  try {
    return await deadline.within(promise, timeoutMs);
  } finally {
    deadline.end();
  }
}
