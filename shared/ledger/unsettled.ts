/** Which keys are in flight, so that their minutes' sums are not settled, as the ledger knows it at one moment. */
import { minuteOfKey, type PayloadKey, tenantOfKey } from "../payload-key.ts";
import type { Group, GroupPayload } from "./group.ts";
import type { Waiting } from "./view.ts";

export interface KeyInFlight {
  readonly key: PayloadKey;
  readonly spans: number;
}

export interface InFlightMinute {
  /** `YYYY-MM-DDTHHmm`, UTC */
  readonly minute: string;
  readonly tenant: string;
  readonly payloads: number;
  readonly spans: number;
}

export interface UnsettledKeys {
  /** Keys in flight. Some may have a receipt already (a replay, an erasure): these count by it. */
  readonly keys: readonly KeyInFlight[];
  /** What is in flight beside these keys: more than are named one by one. */
  readonly others: readonly InFlightMinute[];
  /** Everything that is in flight is in the two above; else it is a lower bound. */
  readonly isWhole: boolean;
}

/** `groups`: the longest living ones, of `groupsCount`; those of `keysMax` keys that are likeliest to have a receipt are named. */
export function unsettledOf(
  waiting: Waiting,
  groups: readonly Group[],
  groupsCount: number,
  keysMax: number,
): UnsettledKeys {
  const held = [
    ...groups.flatMap(({ payloads, state }) =>
      payloads.map((payload) => ({ payload, isLikely: state.at !== "open" || isAgain(payload) })),
    ),
    ...waiting.payloads.map((payload) => ({ payload, isLikely: isAgain(payload) })),
  ];
  const keys = held
    .sort((a, b) => Number(b.isLikely) - Number(a.isLikely))
    .flatMap(({ payload: { key, spans, duplicateKeys } }) => [
      { key, spans },
      // Its rows are counted under its own key.
      ...duplicateKeys.map((other) => ({ key: other, spans: 0 })),
    ]);
  return {
    keys: keys.slice(0, keysMax),
    others: byMinute(keys.slice(keysMax)),
    isWhole: groups.length === groupsCount,
  };
}

/** Somebody asked for it, or missed it: it may have ended before. */
function isAgain({ cause, erase }: GroupPayload): boolean {
  return erase !== null || (cause !== "ingress" && cause !== "event");
}

export function byMinute(keys: readonly KeyInFlight[]): readonly InFlightMinute[] {
  const sums = new Map<string, InFlightMinute>();
  for (const { key, spans } of keys) {
    const minute = minuteOfKey(key);
    const tenant = tenantOfKey(key);
    const name = `${minute}/${tenant}`;
    const sum = sums.get(name) ?? { minute, tenant, payloads: 0, spans: 0 };
    sums.set(name, { ...sum, payloads: sum.payloads + 1, spans: sum.spans + spans });
  }
  return [...sums.keys()].sort().flatMap((name) => sums.get(name) ?? []);
}
