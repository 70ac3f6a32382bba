/**
 * The world that the ledger lives in, and what a witness of it knows. Only the world is modelled: the ledger's
 * machine, its grouping, the reconciler and the verdicts on ClickHouse's answers are the real code.
 *
 * The witness's record is for the checker alone (invariants.ts); no part of the world reads it to decide anything.
 */
import { type Channel, channels, type Unreported } from "../../../shared/alerts.ts";
import { ByteBudget } from "../../../shared/byte-budget.ts";
import {
  type ServerWitness,
  serverWitnessOf,
  type TableWitness,
  witnessOf,
} from "../../../shared/clickhouse/table-identity.ts";
import type { Failure } from "../../../shared/effect.ts";
import type { Finding } from "../../../shared/finding.ts";
import { defaultSettings, type LedgerSettings } from "../../../shared/ledger/settings.ts";
import { limits } from "../../../shared/limits.ts";
import type { ObjectKey, PayloadId, PayloadKey } from "../../../shared/payload-key.ts";
import type { DayRows } from "../../../shared/receipt.ts";
import { minutesOf } from "./bodies.ts";
import type { Choices } from "./choices.ts";
import { Clock } from "./clock.ts";
import { deliverBatch } from "./consumer.ts";
import { Cron } from "./cron.ts";
import { Door } from "./door.ts";
import { Fate } from "./fate.ts";
import { CallFailed, LedgerShell, type Snapshot } from "./ledger-shell.ts";
import { type Content, ObjectStore, type StoredObject, StoreFailed } from "./object-store.ts";
import type { Profile } from "./profile.ts";
import { Queue } from "./queue.ts";
import { ReceiptsTable } from "./receipts-table.ts";
import { Servers } from "./servers.ts";
import { type Rows, TracesTable } from "./traces-table.ts";

/** Noon, so that payloads of "today and yesterday" are on two days. */
export const startMs = Date.UTC(2026, 10, 24, 12, 0, 0);

/** ClickHouse could not be asked, or its answer was lost. Returned and not thrown: one question in five ends so, and a throw costs more than the question. */
export class Unanswered implements Extract<Failure, { is: "failed" }> {
  readonly is = "failed";
  readonly reason: string;

  constructor(what: string) {
    this.reason = `Error: ${what}`;
  }
}

/** Something could not be asked, or its answer was lost: what the product must live with. Anything else is a bug. */
export function isWorldFailure(error: unknown): boolean {
  return error instanceof StoreFailed || error instanceof CallFailed;
}

/** Durations are the defaults; groups are small, so that caps and readiness are met. */
const modelSettings: LedgerSettings = {
  ...defaultSettings,
  caps: { ...defaultSettings.caps, payloadsMax: 3, keysMax: 9, rowsReady: 8, rowsTogether: 16, batchMax: 2 },
  duplicateKeysMax: 2,
  erasedKeysMax: 2,
  receiptsMax: 2,
};

/** An INSERT that reached ClickHouse. */
interface InsertBegan {
  readonly group: string;
  /** What ClickHouse deduplicates by: the group and the blocks of its body. */
  readonly token: string;
  /** What would be written, as bytes would compare: rows in order, and the transcoder's version. */
  readonly content: string;
  readonly at: number;
  /** By the ledger's clock. */
  readonly deadline: number;
}

/** A minute that the reconciler recorded as sealed, or as open again. */
export interface Seal {
  /** ms since the epoch */
  readonly minute: number;
  readonly sealed: boolean;
  readonly at: number;
  readonly runBegan: number;
}

interface Deletion {
  readonly key: PayloadKey;
  readonly at: number;
  /** When the run that deleted it began. */
  readonly runBegan: number;
}

/** What really happened, known to the parts or not. Times are true times. */
export interface Witness {
  readonly contents: Map<PayloadId, Content>;
  /** What was answered 200: of which content, and under which key it is said to be. */
  readonly accepted: { readonly id: PayloadId; readonly key: PayloadKey }[];
  /** Of the segments that landed, the payloads that they were put with, by slot. */
  readonly segments: Map<ObjectKey, readonly StoredObject[]>;
  /** What was read under the key of another payload. */
  readonly mistaken: string[];
  /** Payloads of segments whose bytes, or what is said of them, were damaged. */
  readonly damagedKeys: Set<PayloadKey>;
  /** Keys whose bytes somebody has begun to take away; those that are said to be gone. */
  readonly erasing: Set<PayloadKey>;
  readonly bytesGone: Set<PayloadKey>;
  /** These, and those whose segment has zeros for them while a copy is there still. */
  readonly overwritten: Set<PayloadKey>;
  /** Keys under which a client's retry brought erased bytes again. */
  readonly cameAgain: Set<PayloadKey>;
  /** Segments that were deleted, and when what decided it began. */
  readonly segmentsGone: { readonly object: ObjectKey; readonly runBegan: number }[];
  /** How often a segment was read for one group, where that was more than once. */
  readonly readAgain: string[];
  /** Payloads that went alone by advice, and should not have. */
  readonly wronglyAlone: string[];
  /** Payloads that had a collector, and an object of their own all the same. */
  readonly putAlone: PayloadKey[];
  /** The keys of an id that landed in R2: when they arrived, and when the put landed. */
  readonly landed: Map<
    PayloadId,
    {
      readonly key: PayloadKey;
      readonly at: number;
      readonly landedAt: number;
      readonly isSampled: boolean;
    }[]
  >;
  readonly inserts: InsertBegan[];
  readonly deletions: Deletion[];
  readonly seals: Seal[];
  /** Kind and subject of what the reconciler and the consumer reported. */
  readonly findings: Set<string>;
  /** What the ledger judged and some channel has still to report: the finding, and the channels left. */
  readonly unreported: Map<string, Set<Channel>>;
  /** The ledger was lost or restored: what it had still to do is done when somebody asks again. */
  ledgerForgot: boolean;
  /** Rows that the table lost, or a person removed, and that are not back: `id/day`, since when. */
  readonly lost: Map<string, number>;
  /** Rows that ClickHouse acknowledged, or showed to somebody who asked: `id/day`. */
  readonly shown: Set<string>;
  /** Keys that a person asked to erase, and that R2 remembers, or that were promised. */
  readonly asked: Set<PayloadKey>;
  /** Ids that a person asked to erase, whose rows a person damaged or accepted as they are. */
  readonly erased: Set<PayloadId>;
  readonly damaged: Set<PayloadId>;
  readonly resolved: Map<PayloadId, readonly DayRows[]>;
  /** Ids that a person asked to write anew, and that are not whole yet: a ledger can forget that. */
  readonly rewriting: Set<PayloadId>;
  /** Ids that a person deleted the rows of and lets in again: until when they are back, and the keys that were stored. */
  readonly forgotten: Map<PayloadId, { readonly until: number; readonly stored: readonly PayloadKey[] }>;
  /** Ids of which a part came back that had been away: if they were written anew meanwhile, they are there twice. */
  readonly reattached: Set<PayloadId>;
  /** When an INSERT of an id was first worked on. */
  readonly firstAttemptAt: Map<PayloadId, number>;
  /** Rows that the ledger's store refused: they were too large. */
  readonly refusedRows: string[];
  /** Where the breaker's slots and the groups that are in flight were not the same. */
  readonly crowded: string[];
  /** Invocations that used up their subrequests. */
  readonly exhausted: string[];
  /** Trouble that no finding said when the alerts were judged. */
  readonly unseen: string[];
  /** Times at which the schema broke for everybody. */
  breaks: number;
  /** Payloads that the reconciler rang. */
  notified: number;
  /** The id of a body, and the one that an instance of the ingress gave it. */
  readonly named: { readonly id: PayloadId; readonly given: PayloadId }[];
}

/** One run of a Worker's code: the platform ends it at so many subrequests. */
export class Invocation {
  readonly #witness: Witness;
  readonly #name: string;
  readonly #most: number;
  #spent = 0;

  constructor({ witness, profile }: World, name: string) {
    this.#witness = witness;
    this.#name = name;
    this.#most = profile.subrequestsMax;
  }

  spend(subrequests: number): void {
    this.#spent += subrequests;
    if (this.#spent > this.#most) {
      this.#witness.exhausted.push(`${this.#name}: ${this.#spent} of ${this.#most}`);
    }
  }
}

export interface Skews {
  readonly ingress: number;
  readonly consumer: number;
  readonly ledger: number;
  /** ClickHouse's. */
  readonly server: number;
}

export class World {
  readonly profile: Profile;
  readonly settings: LedgerSettings;
  readonly fate: Fate;
  readonly clock = new Clock(startMs);
  readonly skews: Skews;
  readonly store = new ObjectStore();
  readonly table = new TracesTable(limits.deduplicationWindow);
  readonly receipts = new ReceiptsTable();
  readonly deadLetters = new Set<PayloadKey>();
  readonly queues: Readonly<Record<"ring" | "late" | "group" | "dead", Queue>>;
  readonly ledger: LedgerShell;
  readonly cron: Cron;
  readonly witness: Witness;
  /** One isolate of each Worker: what its invocations have in hand together, a row being 100 bytes. */
  readonly bytesInHand: { readonly ingress: ByteBudget; readonly consumer: ByteBudget };
  codecVersion = 1;
  /** Null: each payload has its own object. */
  readonly door: Door | null;
  /** Keys whose doorbells the ingress has sent. */
  readonly notified = new Set<PayloadKey>();
  /** Copies of the ledger that it can be restored to. */
  readonly copies: Snapshot[] = [];
  /** Our way to ClickHouse is cut until then. */
  outageUntil = 0;
  /** Every INSERT is refused until then: somebody broke the schema. */
  brokenUntil = 0;
  /** The table check finds it without a window until then. */
  refusedUntil = 0;
  /** R2 and the ledger cannot be reached until then. */
  storeAwayUntil = 0;
  ledgerAwayUntil = 0;
  readonly servers: Servers;
  /** When the last instance of the ingress that knows no ID_TIME_FROM is gone, and what it is. */
  readonly rolledOutAt: number;
  readonly idsFrom: number;
  /** What happened, for people; null: nobody reads it. */
  readonly story: string[] | null;

  constructor(profile: Profile, choices: Choices, story: string[] | null) {
    this.profile = profile;
    this.settings = { ...modelSettings, ...profile.ledger };
    this.story = story;
    this.rolledOutAt = startMs + (profile.rolloutMs ?? 0);
    this.idsFrom = profile.rolloutMs === null ? 0 : minutesOf(this.rolledOutAt + limits.idTimeLeadMs);
    this.fate = new Fate(choices, profile.faults, profile.strikesMax);
    const skew = (): number =>
      profile.skewMs === 0 ? 0 : this.fate.between(0, 2 * profile.skewMs) - profile.skewMs;
    this.skews = { ingress: skew(), consumer: skew(), ledger: -skew(), server: skew() };
    this.door = profile.collects > 0 && choices.happens(profile.collects) ? new Door() : null;
    const rows = profile.rowsInHandMax ?? Number.POSITIVE_INFINITY;
    this.bytesInHand = { ingress: new ByteBudget(100 * rows), consumer: new ByteBudget(100 * rows) };
    this.servers = new Servers(this, limits.deduplicationWindow);
    this.ledger = new LedgerShell(this);
    this.cron = new Cron(this);
    const queue = (delayMs: number, batchMs: number, batchMax: number, retryMs: number, dead: Queue | null) =>
      new Queue(
        this.clock,
        this.fate,
        { delayMs, batchMs, batchMax, retryMs, retriesMax: dead === null ? 100 : 3 },
        profile.lateMs,
        dead,
        (messages, from) => deliverBatch(this, messages, from),
      );
    const dead = queue(1000, 0, 1, 300_000, null);
    this.queues = {
      dead,
      ring: queue(5, 1000, 10, 10_000, dead),
      late: queue(limits.lateDelaySeconds * 1000, 5000, 10, 30_000, dead),
      group: queue(5, 0, 1, 10_000, dead),
    };
    this.witness = {
      contents: new Map(),
      accepted: [],
      segments: new Map(),
      mistaken: [],
      damagedKeys: new Set(),
      erasing: new Set(),
      bytesGone: new Set(),
      overwritten: new Set(),
      cameAgain: new Set(),
      segmentsGone: [],
      readAgain: [],
      putAlone: [],
      wronglyAlone: [],
      landed: new Map(),
      inserts: [],
      deletions: [],
      seals: [],
      findings: new Set(),
      unreported: new Map(),
      ledgerForgot: false,
      lost: new Map(),
      shown: new Set(),
      asked: new Set(),
      erased: new Set(),
      damaged: new Set(),
      rewriting: new Set(),
      forgotten: new Map(),
      reattached: new Set(),
      firstAttemptAt: new Map(),
      resolved: new Map(),
      refusedRows: [],
      crowded: [],
      exhausted: [],
      unseen: [],
      breaks: 0,
      notified: 0,
      named: [],
    };
  }

  /** What an instance of the ingress knows of it: while the one that does is rolled out, some know nothing. */
  idTimeFrom(): number {
    const isOld = this.clock.now < this.rolledOutAt && this.fate.choices.below(2) === 0;
    return isOld ? Number.POSITIVE_INFINITY : this.idsFrom;
  }

  say(what: () => string): void {
    this.story?.push(`${new Date(this.clock.now).toISOString().slice(5, 23)} ${what()}`);
  }

  /** Is anything under way, or without its receipt? */
  isBusy(): boolean {
    if (this.ledger.state.waiting.payloads.length > 0 || this.ledger.state.nextDue("insert") !== undefined) {
      return true;
    }
    for (const group of this.ledger.state.dump().groups.values()) {
      if (group.state.at !== "held") {
        return true;
      }
    }
    return (
      this.store.erasures.size > 0 ||
      this.store.list().some(({ key }) => this.receipts.get(key) === undefined)
    );
  }

  get isOutage(): boolean {
    return this.clock.now < this.outageUntil;
  }

  /** One call of R2. Throws when it fails. */
  askStore(what: string): void {
    if (this.clock.now < this.storeAwayUntil || this.fate.strikes("R2 fails")) {
      throw new StoreFailed(what);
    }
  }

  /** One question to ClickHouse. */
  askTable<T>(what: string, read: (table: TracesTable) => T): T | Unanswered {
    return this.isOutage || this.fate.strikes("query fails") ? new Unanswered(what) : read(this.table);
  }

  /** One statement to ClickHouse: done, or not; or done and the answer lost; or done a while after the caller gave up. */
  tellTable(
    what: string,
    act: () => void,
    longestMs: number = limits.queryTimeoutSeconds * 1000,
  ): null | Unanswered {
    if (this.isOutage || this.fate.strikes("query fails")) {
      return new Unanswered(what);
    }
    if (this.fate.strikes("statement runs on")) {
      this.clock.after(this.fate.within(1, longestMs), act);
      return new Unanswered(`${what}: no answer yet`);
    }
    act();
    return this.fate.strikes("statement fails after") ? new Unanswered(`${what}: the answer was lost`) : null;
  }

  /** The table lost these rows. Rows that were never shown to anybody cannot have been receipted: those are no loss. */
  rowsLost(rows: readonly Rows[]): void {
    this.rowsTaken(rows.filter(({ id, day }) => this.witness.shown.has(`${id}/${day}`)));
  }

  /** A person took them away, perhaps in the middle of their INSERT, which is acknowledged all the same. */
  rowsTaken(rows: readonly Rows[]): void {
    for (const { id, day } of rows) {
      this.witness.lost.set(`${id}/${day}`, this.clock.now);
    }
  }

  findingsJudged(findings: readonly Finding[]): void {
    for (const finding of findings) {
      this.witness.unreported.set(nameOf(finding), new Set(channels));
    }
  }

  findingsReported(channel: Channel, reported: readonly Unreported[]): void {
    for (const { finding } of reported) {
      const left = this.witness.unreported.get(nameOf(finding));
      left?.delete(channel);
      if (left?.size === 0) {
        this.witness.unreported.delete(nameOf(finding));
      }
    }
  }

  /** The ledger forgot an operator's decisions and unreported findings: what is not written anew by now is damaged as before. */
  decisionsForgotten(): void {
    for (const id of this.witness.rewriting) {
      this.witness.damaged.add(id);
    }
    this.witness.rewriting.clear();
    this.witness.ledgerForgot = true;
    this.witness.forgotten.clear(); // the audit brings it back, later
    this.witness.unreported.clear();
  }

  /** Rows by day, from whichever server answers, and what it says of itself. */
  countRows(ids: readonly PayloadId[]): {
    readonly rows: readonly (readonly DayRows[])[];
    readonly witness: ServerWitness | TableWitness;
  } {
    const server = this.servers.reach(true);
    const { answer } = server;
    return {
      rows: ids.map((id) => this.servers.rows(server, id)),
      witness: answer.replica === null ? witnessOf(answer) : serverWitnessOf(answer),
    };
  }

  /** Somebody learns which rows these payloads have. */
  showRows(id: PayloadId): readonly DayRows[] {
    const rowsByDay = this.table.rowsByDay(id);
    for (const { day } of rowsByDay) {
      this.witness.shown.add(`${id}/${day}`);
    }
    return rowsByDay;
  }
}

/** A telling: of a finding that opened, grew worse, or is resolved. Each channel is asked for each of them. */
function nameOf(finding: Finding): string {
  let name = names.get(finding);
  if (name === undefined) {
    const { kind, subject, openedAt, state, severity } = finding;
    name = `${kind} ${subject} ${openedAt} ${state} ${severity}`;
    names.set(finding, name);
  }
  return name;
}

const names = new WeakMap<Finding, string>();
