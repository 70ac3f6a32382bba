/**
 * Random choices from a seed: the same seed makes the same choices on every machine. For shapes only; ids come from
 * a real random source, so that two runs with one seed do not collide.
 */
import { assert } from "../../shared/assert.ts";

export interface SeededRandom {
  /** A number in [0, 1). */
  fraction(): number;
  /** An integer in [min, max], both inclusive. */
  integer(min: number, max: number): number;
  /** True with this probability, 0 to 1. */
  chance(probability: number): boolean;
  /** One of a list that is not empty. */
  pick<T>(list: readonly T[]): T;
}

/** `seed` is any integer; its low 32 bits count. The generator is mulberry32: 32 bits of state are plenty for shapes. */
export function seededRandom(seed: number): SeededRandom {
  let state = seed >>> 0;
  const fraction = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    fraction,
    integer: (min, max) => min + Math.floor(fraction() * (max - min + 1)),
    chance: (probability) => fraction() < probability,
    pick: (list) => {
      const picked = list[Math.floor(fraction() * list.length)];
      assert(picked !== undefined, "a list to pick from is not empty");
      return picked;
    },
  };
}
