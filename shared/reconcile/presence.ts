/**
 * What the table has of one payload, compared with what its receipts claim: for a person who asks where the rows are, or
 * who deleted rows and wants them again. It only says what is seen; whether anything is inserted is decided by VERIFY
 * (shared/ledger/verify.ts), after its fence and on a reading of its own.
 */
import { unreachable } from "../assert.ts";
import type { Whereabouts } from "../ledger/whereabouts.ts";
import type { DayRows, Receipt } from "../receipt.ts";
import { auditRows } from "./evidence.ts";

export const presences = [
  /** The ledger has it under way. */
  "in_flight",
  /** The ledger keeps it for a person, who is to resolve it. */
  "held",
  /** No key of it is receipted as stored, dead, erased or expired. */
  "no_receipt",
  "dead",
  "erased",
  /** What was stored, or was to be, is older than the table's TTL. */
  "expired",
  /** Every row that the receipt claims is in the table. */
  "present",
  /** It was stored, and none of its rows is in the table. */
  "gone",
  /** It was stored; some of its days are complete, the others have no row. */
  "days_gone",
  /** It was stored, and the table has some rows of a day, or more than the receipts claim. */
  "inexact",
  /** The table's TTL is not understood, so missing rows say nothing. */
  "unclear",
] as const;
export type Presence = (typeof presences)[number];

export interface PresenceFacts {
  readonly at: Whereabouts;
  /** Of every key of the id. */
  readonly receipts: readonly Pick<Receipt, "outcome" | "rowsByDay">[];
  readonly rowsByDay: readonly DayRows[];
  /** The first day inside the table's TTL; null: not known. */
  readonly oldestDay: number | null;
}

/**
 * Example: the receipt claims 10 rows on Monday and 5 on Tuesday. None found: `gone`. 10 and 0: `days_gone`. 7 and 5:
 * `inexact`. 10 and 0, and Tuesday is outside the TTL: `present`.
 */
export function presenceOf({ at, receipts, rowsByDay, oldestDay }: PresenceFacts): Presence {
  if (at.at === "waiting" || at.at === "group") {
    return at.at === "group" && at.state === "held" ? "held" : "in_flight";
  }
  const has = (outcome: Receipt["outcome"]): boolean => receipts.some((one) => one.outcome === outcome);
  if (has("erased")) {
    return "erased"; // a person's decision about every key of the id
  }
  const stored = receipts.filter(({ outcome }) => outcome === "stored");
  const claimed = stored[0]?.rowsByDay;
  if (claimed === undefined) {
    return has("expired") ? "expired" : has("dead") ? "dead" : "no_receipt";
  }
  if (oldestDay === null) {
    return "unclear";
  }
  const expected = claimed.filter(({ day, rows }) => day >= oldestDay && rows > 0);
  const found = rowsByDay.filter(({ day, rows }) => day >= oldestDay && rows > 0);
  if (expected.length === 0) {
    return found.length === 0 ? "expired" : "inexact";
  }
  const verdict = auditRows(expected, found, stored.length, oldestDay);
  if (verdict !== "too few") {
    return verdict === "exact" ? "present" : "inexact";
  }
  if (found.length === 0) {
    return "gone";
  }
  const isWhole = ({ day, rows }: DayRows): boolean =>
    expected.some((one) => one.day === day && one.rows === rows);
  return found.every(isWhole) ? "days_gone" : "inexact";
}

/** What `forget` does about a payload: has the ledger look and store what is missing, or nothing. */
export type Forgetting =
  /** Handed to the ledger. `isHeldNext`: which rows are missing nobody can say, and it will be held for a person. */
  { readonly kind: "look"; readonly isHeldNext: boolean } | { readonly kind: "refuse"; readonly why: string };

/** `hasObject`: R2 has the bytes, under one of the payload's keys. */
export function forgettingOf(presence: Presence, hasObject: boolean): Forgetting {
  switch (presence) {
    case "gone":
    case "days_gone":
    case "no_receipt":
    case "inexact":
      return hasObject
        ? { kind: "look", isHeldNext: presence === "inexact" }
        : { kind: "refuse", why: noObject };
    case "present":
      return refuse("all of its rows are in the table. To remove a payload for good, use `headrace erase`");
    case "in_flight":
      return refuse("it is in flight: the ledger is storing it, and what is missing comes by itself");
    case "held":
      return refuse("the ledger holds it for a decision: `headrace resolve KEY rewrite` stores it anew");
    case "dead":
      return refuse(
        "it is a dead letter: `headrace dead-letters replay KEY` stores it once the cause is fixed",
      );
    case "erased":
      return refuse("it was erased for good, and equal bytes are erased again");
    case "expired":
      return refuse("its rows are older than the table's TTL: ClickHouse would drop them again");
    case "unclear":
      return refuse("the table's TTL is not understood, so nobody can say which rows are missing");
    default:
      return unreachable(presence);
  }
}

function refuse(why: string): Forgetting {
  return { kind: "refuse", why };
}

const noObject =
  "R2 has no object of it any more. Send the bytes again: the ledger remembers a payload for 26 hours, and stores them as new after that";

/** Describes it for an operator, with what can be done; empty where there is nothing to say. `name`: a key or an id. */
export function presenceText(presence: Presence, name: string): string {
  const bringBack = `\`headrace forget ${name}\` lets it in again`;
  switch (presence) {
    case "gone":
      return `it was stored, and none of its rows is in the table now: a person deleted them, or the table lost them. Equal bytes that are sent again are a duplicate. ${bringBack}`;
    case "days_gone":
      return `it was stored, and the rows of some days are gone from the table. ${bringBack}`;
    case "inexact":
      return "it was stored, and the table has neither none nor all of what its receipt says: some of its rows were deleted, or others came. `headrace forget KEY` has the ledger look and hold it, then `headrace resolve KEY rewrite` stores it anew";
    case "expired":
      return "its rows are older than the table's TTL";
    case "held":
      return "the ledger holds it for a decision: see `headrace resolve`";
    case "unclear":
      return "the table's TTL is not understood, so missing rows say nothing";
    case "present":
    case "in_flight":
    case "no_receipt":
    case "dead":
    case "erased":
      return "";
    default:
      return unreachable(presence);
  }
}
