/** A finding: something that a person should know. */

/** The closed list of what is reported. docs/operating.md says of each what to do. */
export const findingKinds = [
  "breaker_open",
  "broken_invariant",
  "collector_bypassed",
  "damaged_segment",
  "dead_letters",
  "in_flight",
  "inexact",
  "late_put",
  "ledger_size",
  "ledger_unborn",
  "lost_rows",
  "no_evidence",
  "parked_message",
  "quota",
  "reconciler",
  "refused",
  "rescued",
  "rows_missing",
  "table_check",
  "unsealed",
  "volume",
  "wrong_tokens",
  "zone_gap",
  "zone_refused",
  "zone_unwatched",
] as const;
export type FindingKind = (typeof findingKinds)[number];

export interface Finding {
  readonly kind: FindingKind;
  /** What it is about: a table, a payload, a minute, a tenant. */
  readonly subject: string;
  readonly state: "open" | "resolved";
  readonly severity: "note" | "warning" | "page";
  /** Empty where it is about no tenant. */
  readonly tenant: string;
  /** What is wrong and what to do. */
  readonly message: string;
  /** When it was opened, ms since the epoch: the finding's identity together with kind and subject. */
  readonly openedAt: number;
}
