/**
 * A world for reconciler runs in memory: what R2 lists, the receipts, the table's rows, what the ledger holds. Every
 * effect is performed as the Worker performs it, counted, and can be made to fail.
 */

import { assert } from "../../shared/assert.ts";
import type { MinuteRow, MinuteTally, WatermarkRow } from "../../shared/clickhouse/minutes.ts";
import type { TableWitness } from "../../shared/clickhouse/table-identity.ts";
import { type Answered, failure } from "../../shared/effect.ts";
import { keyChecksum } from "../../shared/key-checksum.ts";
import { DAY_MS } from "../../shared/limits.ts";
import type { BareDoorbell, Doorbell } from "../../shared/messages.ts";
import type { PayloadOutcome } from "../../shared/outcome.ts";
import {
  formatPayloadId,
  formatPayloadKey,
  formatSlotKey,
  idOfKey,
  isObjectKey,
  type ObjectKey,
  objectOf,
  type PayloadId,
  type PayloadKey,
  tenantOfKey,
} from "../../shared/payload-key.ts";
import type { DayRows, Receipt } from "../../shared/receipt.ts";
import { Budget, subrequestsOf, within } from "../../shared/reconcile/budget.ts";
import type { ChangedMinute } from "../../shared/reconcile/changed-minutes.ts";
import { beforeMinute, type Checkpoint, startOfMinute } from "../../shared/reconcile/checkpoint.ts";
import type {
  CronEffects,
  CronWork,
  DatedReceipt,
  ReconcileFinding,
} from "../../shared/reconcile/effects.ts";
import { Listing } from "../../shared/reconcile/listing.ts";
import { type ReconcileReport, reconcileRun } from "../../shared/reconcile/run.ts";
import type { Counts, Run } from "../../shared/reconcile/run-context.ts";
import { type ReconcileSettings, reconcileSettings } from "../../shared/reconcile/settings.ts";
import { minuteOf } from "../../shared/reconcile/walk-minutes.ts";
import { formatSegmentKey } from "../../shared/segment/segment-key.ts";
import { outcomeCounts } from "../fixtures/outcome-counts.ts";

/** A Tuesday, 12:00:00 UTC. */
export const noon = Date.UTC(2026, 10, 24, 12);

/** The effects of a run; the rest of a tick is not this world's. */
type RunEffects = Pick<
  CronEffects,
  | "beginRun"
  | "sealedAnew"
  | "endRun"
  | "list"
  | "segmentReceipts"
  | "readIndex"
  | "outcomes"
  | "receipts"
  | "receiptsOfIds"
  | "storedReceipts"
  | "holds"
  | "readTable"
  | "readWitness"
  | "rows"
  | "tally"
  | "find"
  | "deadLetters"
  | "deadCopies"
  | "ring"
  | "record"
  | "delete"
  | "reportFindings"
  | "save"
>;
type RunPerformer = {
  readonly [Name in keyof RunEffects]: (asks: RunEffects[Name]["asks"]) => RunEffects[Name]["answers"];
};

export class ReconcileWorld {
  /** Payloads whose bytes R2 has. */
  readonly objects = new Set<PayloadKey>();
  /** Those of them whose bytes were overwritten: their segment is there. */
  readonly blanked = new Set<PayloadKey>();
  /** Those that their segment's index does not name any more. */
  readonly unreadable = new Set<PayloadKey>();
  readonly receipts = new Map<PayloadKey, DatedReceipt>();
  readonly rows = new Map<PayloadId, readonly DayRows[]>();
  readonly held = new Set<PayloadId>();
  checkpoint: Checkpoint | null = null;
  /** What the ledger noted as changed. */
  changed: readonly ChangedMinute[] = [];
  readonly notified: (BareDoorbell | Doorbell)[] = [];
  readonly reported: ReconcileFinding[] = [];
  readonly minutes = new Map<string, MinuteRow>();
  watermark: WatermarkRow | null = null;
  /** Effects of the last run, by name, and with what they asked. */
  effects: (keyof CronEffects)[] = [];
  asked: (readonly [name: keyof CronEffects, asks: unknown])[] = [];
  /** The next save finds that another run has the lease. */
  isOvertaken = false;
  /** So many more saves find no other run's lease. */
  savesLeft = Number.POSITIVE_INFINITY;
  /** The effect (counted from 0) at which the next run fails: before it was done, or after. */
  failAt: { readonly effect: number; readonly when: "before" | "after" } | null = null;
  largestPage = 0;
  /** The table that the ledger knows; null: the one that answers. */
  knownTable: string | null = null;
  /** What the server that is asked for rows says of itself. */
  witness: TableWitness = { table: "plain 0 1", server: "one", behind: "", replicas: 1, upSeconds: 1 };
  /** Subrequests of the last run. */
  subrequests = 0;
  /** R2 may list fewer than asked, with more to come: metadata counts too. */
  listsAtMost = Number.POSITIVE_INFINITY;
  /** Dead letters' records. */
  readonly records = new Set<PayloadKey>();
  /** Dead payloads whose bytes are kept beside their segment. */
  readonly copies = new Set<PayloadKey>();
  /** Keys under the prefix that are no payload's. */
  readonly foreign = new Set<string>();
  /** How many keys the nth list call of a run answers; else as many as were asked for. */
  pageOf: ((call: number) => number) | null = null;

  /** A payload that arrived, and has its object. */
  put(arrival: number, n: number, tenant = "acme"): PayloadKey {
    const key = formatPayloadKey(arrival, tenant, idOf(n));
    this.objects.add(key);
    return key;
  }

  /** Payloads that arrived together, and have one object. */
  putSegment(openedAt: number, ns: readonly number[], random = 0): readonly PayloadKey[] {
    const ids = ns.map(idOf);
    const segment = formatSegmentKey(openedAt, new Uint8Array(10).fill(random), ids);
    const keys = ids.map((id, slot) => formatSlotKey(segment, slot, "acme", id));
    for (const key of keys) {
      this.objects.add(key);
    }
    return keys;
  }

  /** It ended. Stored: its rows are in the table, two on the day of its arrival. */
  end(key: PayloadKey, outcome: PayloadOutcome, at = minuteOf(key)): void {
    const rowsByDay = outcome === "stored" ? [{ day: Math.floor(minuteOf(key) / DAY_MS), rows: 2 }] : [];
    if (outcome === "stored") {
      this.rows.set(idOfKey(key), rowsByDay);
    }
    if (outcome === "dead") {
      this.records.add(key);
    }
    const receipt: Receipt = {
      key,
      outcome,
      group: "00000000000000000000000000000000" as Receipt["group"],
      spans: 2,
      rowsByDay,
      rejectedSpans: 0,
      bytes: 100,
      reason: "",
    };
    this.receipts.set(key, { ...receipt, at });
  }

  stored(arrival: number, n: number, tenant = "acme"): PayloadKey {
    const key = this.put(arrival, n, tenant);
    this.end(key, "stored");
    return key;
  }

  /** One run to its end; throws `EffectFailed` where it was made to fail. */
  run(now: number, changed: Partial<ReconcileSettings> = {}, everything = false): ReconcileReport {
    const report = this.drive(reconcileRun({ now, everything }, { ...reconcileSettings, ...changed }));
    assert(report !== null, "nobody else has the lease here");
    return report;
  }

  /** A run, or a part of one, to its end. */
  drive<T>(run: CronWork<T>): T {
    this.effects = [];
    this.asked = [];
    this.subrequests = 0;
    let next = run.next();
    while (next.done !== true) {
      const at = this.effects.length;
      const fails = this.failAt?.effect === at ? this.failAt.when : null;
      const { name, asks } = next.value;
      this.effects.push(name);
      this.asked.push([name, structuredClone(asks)]);
      this.subrequests += subrequestsOf(next.value);
      const answer = fails === "before" ? null : this.#perform(name, asks);
      next = run.next(fails === null && answer !== null ? answer : failure(new Error("made to fail")));
    }
    return next.value;
  }

  #perform<Name extends keyof CronEffects>(
    name: Name,
    asks: CronEffects[Name]["asks"],
  ): Answered<CronEffects> {
    const performer: Partial<{
      [N in keyof CronEffects]: (asks: CronEffects[N]["asks"]) => CronEffects[N]["answers"];
    }> = this.#performer;
    const act = performer[name];
    assert(act !== undefined, "a run asks for nothing else");
    return { is: "done", to: name, value: act(asks) } as Answered<CronEffects>;
  }

  count(name: keyof CronEffects): number {
    return this.effects.filter((one) => one === name).length;
  }

  readonly #performer: RunPerformer = {
    beginRun: () => ({
      run: "run",
      checkpoint: this.checkpoint,
      table: this.knownTable ?? this.witness.table,
      changed: this.changed,
    }),
    sealedAnew: (changed) => {
      this.changed = this.changed.filter((one) => !changed.includes(one));
      return null;
    },
    endRun: () => null,
    list: ({ after: listAfter, cursor, atMost }) => {
      // A cursor is the text that it goes on after, marked so that no key is taken for one.
      const after = cursor?.slice("cursor ".length) ?? listAfter;
      const objects = new Set<string>([...this.objects].map(objectOf));
      const rest = [...objects, ...this.foreign].filter((key) => key > after).sort();
      const asked = this.pageOf?.(this.count("list") - 1) ?? atMost;
      const seen = rest.slice(0, Math.min(asked, this.listsAtMost));
      const through = seen.at(-1) ?? after;
      return {
        objects: seen.filter(isObjectKey).map((key) => ({ key })),
        through,
        cursor: rest.length > seen.length ? `cursor ${through}` : null,
      };
    },
    segmentReceipts: (segments) =>
      segments.flatMap((segment) => {
        const receipts = this.#receiptsOfObjects([segment]);
        const duplicates = receipts.filter(({ outcome }) => outcome === "duplicate").map(({ key }) => key);
        const checksum = keyChecksum(receipts.map(({ key }) => idOfKey(key)));
        return receipts.length === 0 ? [] : [{ segment, payloads: receipts.length, checksum, duplicates }];
      }),
    readIndex: (segment) => {
      const own = [...this.objects].filter((key) => objectOf(key) === segment);
      const named = sorted(own.filter((key) => !this.unreadable.has(key)));
      const counts = { spans: 2, outputBytes: 200, arrival: minuteOf(segment) };
      return own.length === 0 ? null : named.map((key) => ({ key, counts, isErased: this.blanked.has(key) }));
    },
    outcomes: (keys) => {
      this.largestPage = Math.max(this.largestPage, keys.length);
      return this.#receiptsOf(keys).map(({ key, outcome }) => ({ key, outcome }));
    },
    receipts: (objects) => this.#receiptsOfObjects(objects),
    receiptsOfIds: (asked) => {
      const ids = new Set(asked);
      return [...this.receipts.values()].filter(({ key }) => ids.has(idOfKey(key)));
    },
    storedReceipts: ({ after, before, atMost }) => {
      const keys = sorted([...this.receipts.keys()]).filter(
        (key) => key > after && key < before && this.receipts.get(key)?.outcome === "stored",
      );
      return this.#receiptsOf(keys.slice(0, atMost));
    },
    holds: (keys) => keys.map((key) => this.held.has(idOfKey(key))),
    readTable: () => ({ refusal: "", measure: null, oldestDay: 0, witness: this.witness }),
    readWitness: () => this.witness,
    rows: ({ ids, days }) => {
      const rowsOf = (id: PayloadId) =>
        (this.rows.get(id) ?? []).filter(({ day }) => days === null || days.includes(day));
      return { rows: new Map(ids.map((id) => [id, rowsOf(id)])), witness: this.witness };
    },
    tally: (minutes) => minutes.flatMap((minute) => this.#tally(minute)),
    find: (keys) => keys.filter((key) => this.objects.has(key) && !this.blanked.has(key)),
    deadLetters: (keys) => keys.filter((key) => this.records.has(key)),
    deadCopies: (keys) => keys.filter((key) => this.copies.has(key)),
    ring: (doorbells) => {
      this.notified.push(...doorbells);
      return null;
    },
    record: ({ minutes, watermark }) => {
      for (const row of minutes) {
        this.minutes.set(`${row.minute} ${row.tenant}`, row);
      }
      this.watermark = watermark;
      return null;
    },
    delete: (objects) => {
      for (const key of this.objects) {
        if (objects.includes(objectOf(key))) {
          this.objects.delete(key);
        }
      }
      return null;
    },
    reportFindings: (findings) => {
      this.reported.push(...findings);
      return null;
    },
    save: ({ checkpoint }) => {
      this.savesLeft -= 1;
      if (this.isOvertaken || this.savesLeft < 0) {
        return false;
      }
      // As the ledger keeps it: as JSON.
      this.checkpoint = JSON.parse(JSON.stringify(checkpoint)) as Checkpoint;
      return true;
    },
  };

  #receiptsOfObjects(objects: readonly ObjectKey[]): readonly DatedReceipt[] {
    const asked = new Set(objects);
    return this.#receiptsOf(sorted([...this.receipts.keys()].filter((key) => asked.has(objectOf(key)))));
  }

  #receiptsOf(keys: readonly PayloadKey[]): readonly DatedReceipt[] {
    return keys.flatMap((key) => this.receipts.get(key) ?? []);
  }

  #tally(minute: number): readonly MinuteTally[] {
    const start = beforeMinute(minute);
    const receipts = [...this.receipts.values()].filter(({ key }) => key.startsWith(start));
    const tenants = [...new Set(receipts.map(({ key }) => tenantOfKey(key)))].sort();
    return tenants.map((tenant) => {
      const own = receipts.filter(({ key }) => tenantOfKey(key) === tenant);
      const counts = outcomeCounts(own);
      return {
        minute,
        tenant,
        ...counts,
        spans: 2 * counts.stored,
        rejectedSpans: 0,
        bytes: 100 * own.length,
        checksum: keyChecksum(own.map(({ key }) => idOfKey(key))),
      };
    });
  }
}

/** In the order of their numbers; what is a hash in an id of the product is as good as one here. */
function idOf(n: number): PayloadId {
  const bytes = Uint8Array.from({ length: 16 }, (_, i) => Math.imul(n + 1, 0x9e_37_79_b1 + 2 * i) >>> 24);
  new DataView(bytes.buffer).setUint32(0, n);
  return formatPayloadId(bytes);
}

function sorted(keys: readonly PayloadKey[]): readonly PayloadKey[] {
  return [...keys].sort();
}

/** Minutes before `noon`, in ms since the epoch, a second into the minute. */
export function minutesAgo(minutes: number): number {
  return startOfMinute(noon) - minutes * 60_000 + 1000;
}

/** What a part of a run came to, and what it counted and reported. */
export interface Driven<T> {
  readonly ended: T;
  readonly asked: ReconcileWorld["asked"];
  readonly counts: Counts;
  readonly findings: readonly ReconcileFinding[];
}

/** What a part of a run may ask for. */
export interface Budgets {
  readonly calls?: number;
  readonly pageKeys?: number;
  readonly subrequests?: number;
}

export const noCounts: Counts = { listed: 0, held: 0, notified: 0, sealed: 0, sealedAnew: 0 };

/** Does a part of a run, at noon, on this world. */
export function driven<T>(
  world: ReconcileWorld,
  work: (listing: Listing, run: Run) => CronWork<T>,
  { calls = 100, pageKeys = 1000, subrequests = 1000 }: Budgets = {},
  changed: Partial<ReconcileSettings> = {},
): Driven<T> {
  const budget = new Budget(subrequests);
  const run: Run = {
    now: noon,
    settings: { ...reconcileSettings, ...changed },
    counts: { ...noCounts },
    findings: [],
    table: world.witness.table,
    budget,
  };
  const ended = world.drive(within(budget, work(new Listing(calls, pageKeys, budget), run)));
  return { ended, asked: world.asked, counts: run.counts, findings: run.findings };
}
