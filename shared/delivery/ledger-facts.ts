/** What the ledger says of itself to the alerts and to people. */
import { type AlertFacts, type BrokenRecord, longest, type WrongTokens } from "../alerts.ts";
import type { Group } from "../ledger/group.ts";
import { type LookedInto, unlookedOf } from "../ledger/group-kinds.ts";
import type { Head } from "../ledger/head.ts";
import { oldestWork } from "../ledger/in-flight.ts";
import { refusedPayloads } from "../ledger/refused-payloads.ts";
import type { LedgerSettings } from "../ledger/settings.ts";
import { erasureTroubleOf } from "../ledger/trouble.ts";
import type { Waiting } from "../ledger/view.ts";
import type { PayloadKey } from "../payload-key.ts";
import type { Checkpoint } from "../reconcile/checkpoint.ts";
import type { LearntFacts } from "../reconcile/effects.ts";

/** What the alerts are judged by, of what the ledger's object keeps. */
export interface KnownFacts {
  /** Null: the ledger is not born yet. */
  readonly head: Head | null;
  readonly waiting: Waiting;
  readonly looked: LookedInto;
  readonly databaseBytes: number;
  readonly broken: BrokenRecord | null;
  readonly wrongTokens: WrongTokens | null;
  /** Empty: payloads are stored, or were until a moment ago. */
  readonly trouble: string;
  readonly settings: Pick<LedgerSettings, "refusedHeldMs">;
  readonly checkpoint: Checkpoint | null;
}

/** `now`: ms since the epoch. */
export function alertFacts(known: KnownFacts, learnt: LearntFacts, now: number): AlertFacts {
  const { head, databaseBytes, broken, checkpoint } = known;
  const { groups } = known.looked;
  const refused = refusedPayloads(groups, known.settings, now);
  const reported = new Set(refused.map(({ key }) => key));
  // What is reported as refused is not reported as in flight too.
  const others = groups.filter(({ payloads: [first] }) => first === undefined || !reported.has(first.key));
  return {
    ...learnt,
    now,
    isBorn: head !== null,
    oldestWork: oldestWork(known.waiting, others),
    refused,
    refusedOthers: unlookedOf(known.looked, "refused"),
    held: groups.flatMap(heldPayloads),
    heldOthers: unlookedOf(known.looked, "held"),
    breakerOpen: head?.breaker.isOpen ?? false,
    trouble: known.trouble,
    erasure: erasureTroubleOf(known.looked),
    noEvidence: longest(head?.noEvidence, checkpoint?.noEvidence),
    tableRefusal: head?.table.refusal ?? "",
    clockAheadMs: head?.table.measure?.clockAheadMs ?? 0,
    databaseBytes,
    rescues: head?.rescues ?? { event: 0, reconcile: 0 },
    broken,
    wrongTokens: known.wrongTokens,
    checkpoint,
  };
}

/** When the oldest payload in flight arrived, ms since the epoch; null: nothing is in flight. */
export function oldestArrival(waiting: Waiting, groups: readonly Group[]): number | null {
  const payloads = [...waiting.payloads, ...groups.flatMap((group) => group.payloads)];
  return payloads.reduce<number | null>(
    (least, { arrival }) => (least === null ? arrival : Math.min(least, arrival)),
    null,
  );
}

/** A payload that waits for a person, and why. */
export interface HeldPayload {
  readonly key: PayloadKey;
  readonly reason: string;
}

export function heldPayloads({ state }: Group): readonly HeldPayload[] {
  return state.at === "held" ? state.found.map(({ key, reason }) => ({ key, reason })) : [];
}
