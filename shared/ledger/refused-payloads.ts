/**
 * Payloads that ClickHouse refuses while nothing else is stored: only other groups' success lets such a payload end as a dead letter
 * (refuse-alone.ts), so in a quiet installation it is held. It is retried at each back-off, and is stored
 * once the cause is repaired. It is reported, with ClickHouse's message.
 */

import { errorText } from "../failure.ts";
import type { PayloadKey } from "../payload-key.ts";
import type { Group } from "./group.ts";
import type { LedgerSettings } from "./settings.ts";

export interface RefusedPayload {
  readonly key: PayloadKey;
  /** The last refusal that counted, ms since the epoch: since then nothing else was stored, or it was not retried. */
  readonly since: number;
  /** Refusals altogether, and what ClickHouse said last. */
  readonly refused: number;
  readonly words: string;
}

/** Was the group's one payload refused last? Then it waits for others to be stored, or for what refuses it to be fixed. */
export function isRefusedAlone({ payloads, refusals, failure }: Group): boolean {
  return payloads.length === 1 && refusals > 0 && failure?.kind === "refused";
}

/** The groups that have waited for long enough to be reported. `now` in ms since the epoch. */
export function refusedPayloads(
  groups: readonly Group[],
  { refusedHeldMs }: Pick<LedgerSettings, "refusedHeldMs">,
  now: number,
): readonly RefusedPayload[] {
  return groups
    .filter((group) => isRefusedAlone(group) && now - group.lastRefusalAt >= refusedHeldMs)
    .flatMap(({ payloads, failure, lastRefusalAt: since }) =>
      payloads.map(({ key }) => ({
        key,
        since,
        refused: failure?.refused ?? 0,
        words: failure === null ? "" : errorText(failure),
      })),
    );
}
