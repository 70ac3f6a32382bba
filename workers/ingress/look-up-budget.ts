/**
 * How many unknown keys an isolate looks up. A made-up key with a right checksum costs a KV read; ten thousand of them
 * a second must not. Only look-ups that find nothing use the budget up: keys that exist are never held back by it.
 *
 * Beyond the budget a key is looked up when it is asked for again. Exporters repeat their key and retry what 429
 * answers, made-up keys come once: so a key that was made a moment ago gets through a flood with its second try. A
 * made-up key that is repeated is looked up once in `limits.unknownKeyAgainMs`.
 *
 * Nothing here says that a key does not exist: a refusal by this budget is 429, never 401.
 */
import { limits } from "../../shared/limits.ts";

/** A token bucket: `limits.unknownKeysPerSecond`, and five seconds' worth at once. */
class Allowance {
  static readonly max = 5 * limits.unknownKeysPerSecond;
  #tokens = Allowance.max;
  #at = 0;

  take(now: number): boolean {
    const elapsed = Math.max(0, now - this.#at);
    this.#at = now;
    this.#tokens = Math.min(Allowance.max, this.#tokens + (elapsed / 1000) * limits.unknownKeysPerSecond);
    if (this.#tokens < 1) {
      return false;
    }
    this.#tokens -= 1;
    return true;
  }

  give(): void {
    this.#tokens = Math.min(Allowance.max, this.#tokens + 1);
  }
}

export type LookUp = "first" | "again" | "not_now";

export class LookUpBudget {
  readonly #first = new Allowance();
  readonly #again = new Allowance();
  /** Keys that were not looked up, and when each may be at the earliest. Two generations: the older is forgotten whole. */
  #asked = new Map<string, number>();
  #askedBefore = new Map<string, number>();
  /** Addresses that sent too many unknown keys, and until when they get no first look-up. */
  readonly #blocked = new Map<string, number>();

  /** Whether to look the key up now. `id` is the key's hash, `address` the client's; `now` in ms since the epoch. */
  ask(id: string, address: string, now: number): LookUp {
    if ((this.#blocked.get(address) ?? 0) <= now && this.#first.take(now)) {
      return "first";
    }
    const due = this.#asked.get(id) ?? this.#askedBefore.get(id);
    if (due === undefined) {
      this.#remember(id, now + limits.unknownKeyRetryMs);
      return "not_now";
    }
    if (now < due || !this.#again.take(now)) {
      return "not_now";
    }
    this.#remember(id, now + limits.unknownKeyAgainMs);
    return "again";
  }

  /** The key that was asked for exists, or KV did not say: it costs nothing. */
  giveBack(lookUp: LookUp): void {
    if (lookUp === "first") {
      this.#first.give();
    } else if (lookUp === "again") {
      this.#again.give();
    }
  }

  /** The address sent more unknown keys than its share. */
  block(address: string, now: number): void {
    if (this.#blocked.size >= limits.unknownKeysRememberedMax) {
      this.#blocked.clear();
    }
    this.#blocked.set(address, now + limits.unknownKeyBlockMs);
  }

  #remember(id: string, due: number): void {
    if (this.#asked.size >= limits.unknownKeysRememberedMax) {
      this.#askedBefore = this.#asked;
      this.#asked = new Map();
    }
    this.#asked.set(id, due);
  }
}

/**
 * Whom an address stands for: IPv4 as it is, IPv6 by its /64, which is one customer's. `cf-connecting-ip` is written by
 * Cloudflare and cannot be forged by a client there.
 */
export function addressOf(headers: Headers): string {
  const address = headers.get("cf-connecting-ip") ?? "";
  if (!address.includes(":")) {
    return address;
  }
  const [head = "", tail] = address.toLowerCase().split("::");
  const groups = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - groups.length - after.length);
  return [...groups, ...Array<string>(zeros).fill("0"), ...after].slice(0, 4).join(":");
}
