/**
 * What the console asks of the consumer, by service binding: the consumer's `Operations` implements it, the console's
 * binding is of it. Arguments were checked by the console (questions.ts).
 */

import type { LedgerStatus } from "../delivery/ledger-status.ts";
import type { Check } from "../doctor/check.ts";
import type { Finding } from "../finding.ts";
import type { InFlight } from "../ledger/in-flight.ts";
import type { LedgerHealth } from "../ledger/trouble.ts";
import type { UnsettledKeys } from "../ledger/unsettled.ts";
import type { Whereabouts } from "../ledger/whereabouts.ts";
import type { PayloadId, PayloadKey } from "../payload-key.ts";
import type { Checkpoint } from "../reconcile/checkpoint.ts";
import type { Presence } from "../reconcile/presence.ts";
import type { ReconcileReport } from "../reconcile/run.ts";
import type { AskedFor, Fixed, Forgotten } from "./answers.ts";

/**
 * What of the sums by minute is not settled, at one moment: how far minutes are sealed, which of them changed since, and
 * which keys are in flight. For the sums, the receipts of the rest are read at one moment too.
 */
export interface Unsettled extends UnsettledKeys {
  /** Null: the reconciler has not run yet, and nothing is sealed. */
  readonly checkpoint: Checkpoint | null;
  /** Sealed minutes, ms since the epoch, whose rows may be older than their receipts. */
  readonly changed: readonly number[];
}

export interface ConsumerOperations {
  /** Which of these keys the ledger has in flight, in the order asked. */
  holds(keys: readonly PayloadKey[]): Promise<readonly boolean[]>;
  /** Where the ledger has a payload. */
  whereIs(id: PayloadId): Promise<Whereabouts>;
  /** Where it has each of these, in the order given; unknown for anything that is not a payload's id. */
  whereAre(ids: readonly string[]): Promise<readonly Whereabouts[]>;
  /** What only the consumer can try out: its bindings, and ClickHouse as it is logged in there. */
  examine(): Promise<readonly Check[]>;
  /** Rings what nobody holds, however young. Null: a run is under way already. */
  reconcile(): Promise<ReconcileReport | null>;
  /** Stores payloads after all, however they ended. */
  replay(keys: readonly string[]): Promise<Fixed<AskedFor>>;
  /** What the table has of a payload, compared with its receipts. */
  presence(id: PayloadId): Promise<Presence>;
  /** Lets payloads in again whose rows a person deleted. `asked`: keys or ids. */
  forget(asked: readonly string[]): Promise<Fixed<Forgotten>>;
  /** Erases payloads under all of their keys: rows, objects; their receipts stay and say why. */
  erase(keys: readonly string[], reason: string): Promise<Fixed<AskedFor>>;
  /**
   * Decides about a payload whose rows are inexact, and which the ledger holds for that: its rows stand as they are, or
   * the ledger has them deleted and written anew from R2. Anything else is not touched. False: the ledger does not hold it.
   */
  resolve(key: string, how: "accept" | "rewrite"): Promise<boolean>;
  /** Accepts whatever table answers under the traces' name now as the one to insert into. */
  acceptTable(): Promise<void>;
  status(): Promise<LedgerStatus>;
  /** Whether payloads are stored: for an outside check, and as little as it needs. */
  health(): Promise<LedgerHealth>;
  /** Findings that are open, as the ledger keeps them: also while ClickHouse, which has them all, does not answer. */
  openFindings(): Promise<readonly Finding[]>;
  /** An address sent so many wrong tokens to the console that it is turned away for a while. */
  reportWrongTokens(address: string): Promise<void>;
  /** How far the balance is proven. Null: the reconciler has not run yet. */
  checkpoint(): Promise<Checkpoint | null>;
  /** What of the sums by minute is not settled, at one moment. */
  unsettled(): Promise<Unsettled>;
  /** What is in flight, and what it waits for. */
  inFlight(): Promise<InFlight>;
}
