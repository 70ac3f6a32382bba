/** What the ledger says of itself to the alerts and to people. */
import type { Group } from "../ledger/group.ts";
import type { Waiting } from "../ledger/view.ts";
import type { PayloadKey } from "../payload-key.ts";

/** When the oldest payload in flight arrived, ms since the epoch; null: nothing is in flight. */
export function oldestArrival(waiting: Waiting, oldestGroups: readonly Group[]): number | null {
  const payloads = [...waiting.payloads, ...oldestGroups.flatMap((group) => group.payloads)];
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
