/** A clock that jumps from one thing that is to happen to the next: a heap of them, by time and then by order. */
export class VirtualClock {
  now: number;
  #count = 0;
  readonly #heap: { readonly at: number; readonly order: number; readonly act: () => void }[] = [];

  constructor(now: number) {
    this.now = now;
  }

  after(ms: number, act: () => void): void {
    this.at(this.now + ms, act);
  }

  at(at: number, act: () => void): void {
    const heap = this.#heap;
    let i = heap.push({ at, order: this.#count++, act }) - 1;
    for (let parent = (i - 1) >> 1; i > 0 && this.#isBefore(i, parent); parent = (i - 1) >> 1) {
      this.#swap(i, parent);
      i = parent;
    }
  }

  /** Everything that is to happen until then happens, what follows from it included. */
  runUntil(end: number): void {
    for (let next = this.#heap[0]; next !== undefined && next.at <= end; next = this.#heap[0]) {
      this.#removeFirst();
      this.now = next.at;
      next.act();
    }
    this.now = end;
  }

  #removeFirst(): void {
    const heap = this.#heap;
    this.#swap(0, heap.length - 1);
    heap.pop();
    for (let i = 0; ; ) {
      const children = [2 * i + 1, 2 * i + 2].filter((child) => child < heap.length);
      const least = children.reduce((best, child) => (this.#isBefore(child, best) ? child : best), i);
      if (least === i) {
        return;
      }
      this.#swap(i, least);
      i = least;
    }
  }

  #isBefore(a: number, b: number): boolean {
    const [one, other] = [this.#heap[a], this.#heap[b]];
    return (
      one !== undefined &&
      other !== undefined &&
      (one.at < other.at || (one.at === other.at && one.order < other.order))
    );
  }

  #swap(a: number, b: number): void {
    const [one, other] = [this.#heap[a], this.#heap[b]];
    if (one !== undefined && other !== undefined) {
      this.#heap[a] = other;
      this.#heap[b] = one;
    }
  }
}
