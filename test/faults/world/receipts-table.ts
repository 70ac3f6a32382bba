/** headrace_receipts: one row per key holds, the higher rank, among equals the later (ReplacingMergeTree, read FINAL). */

import { outcomeRank } from "../../../shared/outcome.ts";
import { idOfKey, type PayloadId, type PayloadKey } from "../../../shared/payload-key.ts";
import type { Receipt } from "../../../shared/receipt.ts";

export interface WrittenReceipt {
  readonly receipt: Receipt;
  readonly at: number;
}

export class ReceiptsTable {
  readonly #byKey = new Map<PayloadKey, WrittenReceipt>();
  /** The same by id, in the same order; made when it is asked for after a change, and so is the list in order of keys. */
  #byId: Map<PayloadId, WrittenReceipt[]> | null = null;
  #inOrder: readonly WrittenReceipt[] | null = null;
  /** When a key's receipt was last lost. For the checker. */
  readonly lostAt = new Map<PayloadKey, number>();
  /** When an id was first receipted as stored. For the checker. */
  readonly firstStoredAt = new Map<PayloadId, number>();
  /** Keys whose receipts left by their TTL. */
  readonly expired = new Set<PayloadKey>();
  lostLastAt = Number.NEGATIVE_INFINITY;
  /** Raised by whatever changes receipts. */
  version = 0;

  write(receipts: readonly Receipt[], at: number): void {
    for (const receipt of receipts) {
      const id = idOfKey(receipt.key);
      if (receipt.outcome === "stored" && !this.firstStoredAt.has(id)) {
        this.firstStoredAt.set(id, at);
      }
      const before = this.#byKey.get(receipt.key);
      if (before === undefined || outcomeRank[receipt.outcome] >= outcomeRank[before.receipt.outcome]) {
        this.#byKey.set(receipt.key, { receipt, at });
      }
    }
    this.#changed();
  }

  get(key: PayloadKey): WrittenReceipt | undefined {
    return this.#byKey.get(key);
  }

  ofId(id: PayloadId): readonly WrittenReceipt[] {
    this.#byId ??= Map.groupBy(this.#byKey.values(), ({ receipt }) => idOfKey(receipt.key));
    return this.#byId.get(id) ?? none;
  }

  /** All, in the order of keys. */
  list(): readonly WrittenReceipt[] {
    this.#inOrder ??= [...this.#byKey.values()].sort((a, b) => (a.receipt.key < b.receipt.key ? -1 : 1));
    return this.#inOrder;
  }

  /** What was written before `before`, ms since the epoch, leaves by the table's TTL. */
  expire(before: number): void {
    for (const [key, { at }] of this.#byKey) {
      if (at < before) {
        this.#byKey.delete(key);
        this.expired.add(key);
        this.#changed();
      }
    }
  }

  /** The table is truncated, or loses its last rows: those that `isLost` picks. */
  lose(isLost: (written: WrittenReceipt) => boolean, now: number): void {
    for (const [key, written] of this.#byKey) {
      if (isLost(written)) {
        this.#byKey.delete(key);
        this.lostAt.set(key, now);
        this.lostLastAt = now;
      }
    }
    this.#changed();
  }

  #changed(): void {
    this.version++;
    this.#byId = null;
    this.#inOrder = null;
  }
}

const none: readonly WrittenReceipt[] = [];
