/**
 * Random but reproducible ledger histories: a seed gives the same events. For property tests that compare two stores
 * of the same state; the model test (test/faults) has its own, larger world.
 */
import { unreachable } from "../../shared/assert.ts";
import type { AttemptReport, GroupTask } from "../../shared/ledger/group.ts";
import type { LedgerEvent, Step } from "../../shared/ledger/machine.ts";
import type { Cause } from "../../shared/messages.ts";
import type { PayloadId } from "../../shared/payload-key.ts";
import type { GroupId } from "../../shared/receipt.ts";
import { type Bell, codecVersion, doorbell, emptyWorld, idAt, startMs, storedReport } from "./world.ts";

/** mulberry32: small, fast, and good enough to pick events. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Chooses events by a seed, from what the ledger has answered so far. */
export class RandomHistory {
  readonly #random: () => number;
  now = startMs;
  #notified: GroupId[] = [];
  #tasks: GroupTask[] = [];
  #isNew = true;
  #epoch = 1;

  readonly #idOf: (n: number) => PayloadId;
  readonly #bellsMax: number;

  /** `bellsMax`: of one claim. */
  constructor(seed: number, idOf = idAt, bellsMax = 4) {
    this.#idOf = idOf;
    this.#bellsMax = bellsMax;
    this.#random = seededRandom(seed);
  }

  #below(n: number): number {
    return Math.floor(this.#random() * n);
  }

  #pick<T>(items: readonly T[]): T | undefined {
    return items[this.#below(items.length)];
  }

  next(): LedgerEvent {
    if (this.#isNew) {
      this.#isNew = false;
      return { kind: "born", facts: emptyWorld };
    }
    this.now += this.#random() < 0.05 ? 3_600_000 * this.#below(8) : this.#below(3000);
    const task = this.#pick(this.#tasks);
    const notified = this.#pick(this.#notified);
    const choice = this.#below(10);
    if (choice < 3) {
      return {
        kind: "claim",
        doorbells: Array.from({ length: 1 + this.#below(this.#bellsMax) }, () => doorbell(this.#bell())),
        codecVersion,
      };
    }
    if (choice < 5 && notified !== undefined) {
      return { kind: "take", group: notified, codecVersion };
    }
    if (choice < 9 && task !== undefined) {
      const { group, attempt } = task;
      if (task.step === "receipts") {
        return { kind: "receipted", receipted: [{ group, attempt }] };
      }
      return { kind: "report", group, attempt, report: this.#report(task) };
    }
    if (this.#random() < 0.1) {
      return this.#decision();
    }
    if (this.#random() < 0.03) {
      return { kind: "restored", epoch: ++this.#epoch };
    }
    return { kind: this.#random() < 0.3 ? "minute" : "alarm" };
  }

  /** A person asks for something, of a payload that may be held, live, done or unknown. */
  #decision(): LedgerEvent {
    const payload = doorbell(this.#bell());
    return this.#random() < 0.3
      ? { kind: "erase", payloads: [payload], reason: "asked for" }
      : { kind: "resolve", key: payload.key, how: this.#random() < 0.5 ? "accept" : "rewrite" };
  }

  #report(task: Exclude<GroupTask, { step: "receipts" }>): AttemptReport {
    const rowsByDay = (spans: number) => (this.#random() < 0.5 ? [] : [{ day: 20_781, rows: spans }]);
    if (this.#random() < 0.25) {
      return { kind: "unknown", reason: "reset" };
    }
    switch (task.step) {
      case "insert":
        return this.#random() < 0.7 ? storedReport(task) : { kind: "refused", reason: "bad", code: 117 };
      case "clear":
        return { kind: this.#random() < 0.5 ? "cleared" : "kept" };
      case "measure":
        return {
          kind: "measured",
          refusal: "",
          table: { blocks: this.#below(9), windowBlocks: 9, windowMs: null },
        };
      case "count":
        return {
          kind: "counted",
          payloads: task.payloads.map(({ key, spans }) => ({ key, rowsByDay: rowsByDay(spans) })),
        };
      case "verify":
        return {
          kind: "verified",
          running: this.#random() < 0.1,
          oldestDay: 0,
          payloads: task.payloads.map(({ key, spans }) => ({
            key,
            receipts: [],
            rowsByDay: rowsByDay(this.#random() < 0.1 ? 1 : spans),
            object:
              this.#random() < 0.1
                ? null
                : { key, spans, rejectedSpans: 0, bytes: 1, rowsByDay: [{ day: 20_781, rows: spans }] },
          })),
        };
      default:
        return unreachable(task);
    }
  }

  #bell(): Bell {
    const causes: readonly Cause[] = ["ingress", "ingress", "event", "reconcile"];
    const n = this.#below(40);
    return {
      n,
      id: this.#idOf(n),
      arrival: startMs + this.#below(3) * 60_000,
      cause: this.#pick(causes) ?? "ingress",
      spans: 1 + this.#below(3000),
    };
  }

  /** Tells the history what the ledger answered. */
  learn(done: Step): void {
    this.#notified = [...done.rings, ...this.#notified].slice(0, 8);
    if (done.task !== null) {
      this.#tasks = [done.task, ...this.#tasks].slice(0, 6);
    }
  }
}
