/** What the ledger says of itself, for people who look at it. Times in ms since the epoch. */
import type { FrontDoorLine } from "../front-door/text.ts";
import type { Head } from "../ledger/head.ts";
import type { GroupId } from "../receipt.ts";
import type { HeldPayload } from "./ledger-facts.ts";

export interface LedgerCounts {
  readonly waiting: number;
  readonly groups: number;
  readonly remembered: number;
  readonly databaseBytes: number;
}

export interface LedgerStatus extends LedgerCounts {
  readonly oldestArrival: number | null;
  readonly head: Head | null;
  /** Payloads that wait for a person, and why: the longest living ones. */
  readonly held: readonly HeldPayload[];
  /** All of them. Absent: a consumer of an earlier version has not counted. */
  readonly heldCount?: number;
  /** What keeps payloads from being stored, in one sentence; empty: nothing does. */
  readonly trouble: string;
  /** Of the zone before the ingress, as it was looked at last. Never empty. */
  readonly frontDoor: readonly FrontDoorLine[];
  readonly oldestGroups: readonly {
    readonly group: GroupId;
    readonly state: string;
    readonly made: number;
    readonly attempts: number;
    readonly payloads: number;
    readonly due: number;
  }[];
}
