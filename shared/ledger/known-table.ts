/**
 * The table that the ledger inserts into, and what it makes of another one that answers under the same name: one of
 * two servers behind the address, or a table that a person dropped and created anew. Into another one nothing is inserted, and
 * nothing is concluded from its rows, until a person accepts it (decision 0014).
 */
import type { TableWitness } from "../clickhouse/table-identity.ts";
import { limits } from "../limits.ts";
import type { Group, TableMeasure } from "./group.ts";
import type { TableState } from "./head.ts";
import type { LedgerSettings } from "./settings.ts";
import { shortText } from "./short-text.ts";

/** What the table itself says. */
export interface TableFacts {
  /** Why nothing may be inserted; empty: it may. */
  readonly refusal: string;
  /** Null: there is no such table. */
  readonly measure: TableMeasure | null;
  /** The first day inside the table's TTL, in days since 1970-01-01. Null: its TTL is not understood. */
  readonly oldestDay: number | null;
  /** Null: there is no such table. */
  readonly witness: TableWitness | null;
}

/** What a look at the table says. */
export type TableLook = Pick<TableState, "refusal" | "measure">;

/**
 * The first look tells which table it is. One that shows another is a refusal, and stays one for a while after the last of
 * them: where two servers are behind the address, every second look is at the right one.
 */
export function afterLook(
  before: TableState,
  look: TableLook,
  now: number,
  settings: LedgerSettings,
): TableState {
  const found = look.measure?.identity ?? null;
  const known = before.identity ?? null;
  if (found !== null && known !== null && found !== known) {
    // What another table measures says nothing about this one.
    return { ...refusedAsOther(before, found, now), measuredAt: now };
  }
  const other = before.other ?? null;
  const isOtherNear = other !== null && now - other.at < settings.otherTableMs;
  return {
    ...before,
    refusal: look.refusal || (isOtherNear ? otherTableText(known, other.found) : ""),
    measure: look.measure,
    measuredAt: now,
    identity: known ?? found,
    other: isOtherNear ? other : null,
  };
}

/** Another table answered: to a look, or to an INSERT, which does not say which one (`found` empty). */
export function refusedAsOther(before: TableState, found: string, now: number): TableState {
  const seen = found || (before.other?.found ?? "");
  return {
    ...before,
    refusal: otherTableText(before.identity ?? null, seen),
    other: { at: now, found: seen },
  };
}

function otherTableText(known: string | null, found: string): string {
  const text = `Another table answers under the name of the traces table than the one that Headrace has inserted into (known: ${known}; found: ${found || "another one, by an INSERT"}): it was dropped and created anew, or there are several servers behind CLICKHOUSE_URL that do not share their rows. Nothing is inserted. Name one server, or replicas of one table, in CLICKHOUSE_URL; or, if you mean the new table, accept it: npx headrace accept-table`;
  return shortText(text, limits.noteTextBytesMax);
}

/**
 * A person accepts whatever table is there. The next look tells which it is. What was tried before then was tried at another
 * table: its tokens are not known here, and its rows may be here or not.
 */
export function accepted(now: number): TableState {
  return {
    refusal: "",
    measure: null,
    measuredAt: 0,
    identity: null,
    other: null,
    acceptedAt: now,
  };
}

/** Is it to be looked at before anything is inserted? A server that cannot say which table it has is not asked each time. */
export function isUnknown(
  { identity, measuredAt }: TableState,
  now: number,
  settings: LedgerSettings,
): boolean {
  return (identity ?? null) === null && now - measuredAt > settings.measureFreshMs;
}

/** Was the group's INSERT leased for a table that a person has replaced since? */
export function isOfOtherTable({ firstInsertAt }: Group, { acceptedAt }: TableState): boolean {
  return firstInsertAt !== null && acceptedAt !== undefined && firstInsertAt <= acceptedAt;
}
