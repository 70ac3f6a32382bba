/**
 * Fixtures for the ledger's tests: doorbells, tokens and a ledger in memory that is driven event by event. Nothing
 * in here decides anything.
 */
import { contentMinuteOf } from "../../shared/id-time.ts";
import type { AttemptReport, GroupTask } from "../../shared/ledger/group.ts";
import type { BirthFacts } from "../../shared/ledger/head.ts";
import { type LedgerEvent, type Step, step, tokensNeeded } from "../../shared/ledger/machine.ts";
import { defaultSettings, type LedgerSettings } from "../../shared/ledger/settings.ts";
import type { Cause, Doorbell } from "../../shared/messages.ts";
import { formatPayloadId, formatPayloadKey, type PayloadId } from "../../shared/payload-key.ts";
import type { GroupId } from "../../shared/receipt.ts";
import { LedgerState } from "./ledger-state.ts";

export const startMs = Date.UTC(2026, 10, 24, 12, 0, 0);
export const codecVersion = 1;
/** The identity of the table that the tests' ledger knows. */
export const knownTable = "plain 0 1";

/** The n-th payload id of a test. */
export function idAt(n: number): PayloadId {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint32(0, n);
  return formatPayloadId(bytes);
}

/**
 * The n-th id of a history in which content has times: mostly of a few minutes, some of another year or of no time at all, as
 * ids of version 1 and clocks that are wrong make them.
 */
export function timedIdAt(n: number): PayloadId {
  const minute = minutesOf(startMs);
  const time = n % 5 === 4 ? (n * 1_234_577) % 2 ** 24 : n % 7 === 6 ? 0 : minute + (n % 3);
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, time * 256 + ((n * 37) % 256));
  view.setUint32(4, Math.imul(n + 1, 0x9e3779b1));
  view.setUint32(12, n);
  return formatPayloadId(bytes);
}

function minutesOf(timeMs: number): number {
  return contentMinuteOf(BigInt(timeMs) * 1_000_000n);
}

export const emptyWorld: BirthFacts = { epoch: null, anyPayload: false, anyRow: false };

export interface Bell {
  readonly n: number;
  /** Instead of the n-th id. */
  readonly id?: PayloadId;
  readonly arrival?: number;
  readonly cause?: Cause;
  readonly spans?: number;
  readonly outputBytes?: number;
}

export function doorbell({
  n,
  id = idAt(n),
  arrival = startMs,
  cause = "ingress",
  spans = 10,
  outputBytes = 1000,
}: Bell): Doorbell {
  return { v: 1, key: formatPayloadKey(arrival, "acme", id), cause, spans, outputBytes, arrival };
}

export class TestLedger {
  readonly state = new LedgerState();
  readonly settings: LedgerSettings;
  now = startMs;
  #drawn = 0;

  /** Born into an empty world: its memory is complete from the beginning. */
  constructor(settings: LedgerSettings = defaultSettings, facts: BirthFacts = emptyWorld) {
    this.settings = settings;
    this.step({ kind: "born", facts });
    this.#learnTable();
  }

  /** As after a first look: a ledger that knows no table measures before it inserts. */
  #learnTable(): void {
    const { head } = this.state;
    if (head !== null) {
      this.state.apply([{ kind: "head", head: { ...head, table: { ...head.table, identity: knownTable } } }]);
    }
  }

  tokens(count: number): readonly GroupId[] {
    return Array.from({ length: count }, () => (this.#drawn++).toString(16).padStart(32, "0") as GroupId);
  }

  step(event: LedgerEvent): Step {
    const done = step(
      this.state,
      event,
      { now: this.now, tokens: this.tokens(tokensNeeded(event)), databaseBytes: 0 },
      this.settings,
    );
    this.state.apply(done.changes);
    return done;
  }

  claim(...bells: readonly Bell[]): GroupTask | null {
    return this.step({ kind: "claim", doorbells: bells.map(doorbell), codecVersion }).task;
  }

  take(group: GroupId, version: number = codecVersion): GroupTask | null {
    return this.step({ kind: "take", group, codecVersion: version }).task;
  }

  alarm(): readonly GroupId[] {
    return this.step({ kind: "alarm" }).rings;
  }

  /** An alarm of a ledger whose store has this many bytes. */
  fullAlarm(databaseBytes: number, trimTo: number | undefined): void {
    const moment = { now: this.now, tokens: this.tokens(1), databaseBytes, trimTo };
    this.state.apply(step(this.state, { kind: "alarm" }, moment, this.settings).changes);
  }

  report(task: GroupTask, report: AttemptReport): GroupTask | null {
    return this.step({ kind: "report", group: task.group, attempt: task.attempt, report }).task;
  }

  receipted(...tasks: readonly GroupTask[]): void {
    this.step({ kind: "receipted", receipted: tasks.map(({ group, attempt }) => ({ group, attempt })) });
  }

  /** Waits out the age, fires the alarm, and takes the group that was notified. */
  takeNotified(): GroupTask {
    this.now += this.settings.caps.ageReadyMs;
    const [group] = this.alarm();
    const task = group === undefined ? null : this.take(group);
    if (task === null) {
      throw new Error("nothing was notified");
    }
    return task;
  }

  /** Insert, receipts, receipted: everything goes well. */
  storeAll(task: GroupTask): void {
    const receipts = this.report(task, storedReport(task));
    if (receipts === null) {
      throw new Error("a stored group has receipts");
    }
    this.receipted(receipts);
  }
}

/** The report of an INSERT that went well: all of a payload's rows on its day of arrival. */
export function storedReport(task: GroupTask): Extract<AttemptReport, { kind: "stored" }> {
  return {
    kind: "stored",
    codecVersion,
    payloads: task.payloads.map(({ key, spans, arrival }) => ({
      key,
      rowsByDay: [{ day: Math.floor(arrival / 86_400_000), rows: spans }],
      rejectedSpans: 0,
      bytes: 100,
    })),
  };
}
