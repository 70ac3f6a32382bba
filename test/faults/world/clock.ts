/**
 * Virtual time: what is to happen, in order. A process is a generator that yields how many milliseconds it waits
 * before it goes on; whatever happens between two yields happens at once, and each yield is a point where the process
 * may die.
 */

export type Process<T = void> = Generator<number, T, void>;

interface Entry {
  readonly at: number;
  /** Ties in time go in the order in which they were set. */
  readonly order: number;
  readonly run: () => void;
}

export class Clock {
  now: number;
  readonly #heap: Entry[] = [];
  #order = 0;

  constructor(now: number) {
    this.now = now;
  }

  get size(): number {
    return this.#heap.length;
  }

  after(ms: number, run: () => void): void {
    this.at(this.now + ms, run);
  }

  at(at: number, run: () => void): void {
    // Of whole milliseconds, as the platform's clocks are.
    const entry: Entry = { at: Math.max(Math.ceil(at), this.now), order: this.#order++, run };
    const heap = this.#heap;
    let i = heap.length;
    heap.push(entry);
    while (i > 0) {
      const up = (i - 1) >> 1;
      const parent = heap[up];
      if (parent === undefined || !isBefore(entry, parent)) {
        break;
      }
      heap[i] = parent;
      i = up;
    }
    heap[i] = entry;
  }

  /** Does what is next. False: there is nothing. */
  next(): boolean {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined) {
      return false;
    }
    if (first !== last) {
      let i = 0;
      for (;;) {
        const left = 2 * i + 1;
        const right = heap[left + 1];
        let child = heap[left];
        let at = left;
        if (child === undefined) {
          break;
        }
        if (right !== undefined && isBefore(right, child)) {
          child = right;
          at = left + 1;
        }
        if (!isBefore(child, last)) {
          break;
        }
        heap[i] = child;
        i = at;
      }
      heap[i] = last;
    }
    this.now = first.at;
    first.run();
    return true;
  }

  /** Runs a process. At each of its waits `dies` is asked; a process that dies does nothing any more. */
  start(process: Process, dies: () => boolean = () => false, died: () => void = () => undefined): void {
    const go = (): void => {
      const step = process.next();
      if (step.done !== true) {
        if (dies()) {
          this.after(step.value, died);
        } else {
          this.after(step.value, go);
        }
      }
    };
    go();
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
