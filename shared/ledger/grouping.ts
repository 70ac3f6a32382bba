/**
 * When payloads that wait are one group. The caps bound one INSERT for the consumer's memory and for ClickHouse; they
 * are never exceeded, and every payload that was accepted fits into them alone (shared/limits.ts asserts it).
 */
import { assert } from "../assert.ts";
import { DAY_MS } from "../limits.ts";
import type { GroupPayload } from "./group.ts";

export interface GroupCaps {
  readonly payloadsMax: number;
  /** Keys of all payloads together (`keysCounted`): a group is one row of the ledger. */
  readonly keysMax: number;
  readonly rowsMax: number;
  /** A payload whose rows alone can take more is wide: it is a group of its own, of several blocks. */
  readonly outputBytesMax: number;
  /** What a block of a wide payload takes about. */
  readonly sliceBytes: number;
  readonly inflatedBytesMax: number;
  readonly partitionsMax: number;
  /** Rows at which a group waits no longer. */
  readonly rowsReady: number;
  /** Rows at which what one claim brings is a group before the claim is over. */
  readonly rowsTogether: number;
  /** So long after it arrived a payload waits for no others any more. */
  readonly ageReadyMs: number;
  /** Doorbells of a full batch of the queue. */
  readonly batchMax: number;
  /** The widest bounds on a span's start that any ingress version applies, relative to its payload's arrival. */
  readonly spanAgeMs: number;
  readonly spanFutureMs: number;
}

/** The sums that the caps are about, over payloads that wait together. */
export interface GroupSize {
  readonly payloads: number;
  readonly keys: number;
  readonly rows: number;
  readonly outputBytes: number;
  readonly inflatedBytes: number;
  readonly arrivalMin: number;
  readonly arrivalMax: number;
}

const emptySize: GroupSize = {
  payloads: 0,
  keys: 0,
  rows: 0,
  outputBytes: 0,
  inflatedBytes: 0,
  arrivalMin: Number.POSITIVE_INFINITY,
  arrivalMax: Number.NEGATIVE_INFINITY,
};

export function addToSize(size: GroupSize, payload: GroupPayload): GroupSize {
  return {
    payloads: size.payloads + 1,
    keys: size.keys + keysCounted(payload),
    rows: size.rows + payload.spans,
    outputBytes: size.outputBytes + payload.outputBytes,
    // Where nobody said it: its rows take more than its body, but for what is left out of them.
    inflatedBytes: size.inflatedBytes + (payload.inflatedBytes ?? payload.outputBytes),
    arrivalMin: Math.min(size.arrivalMin, payload.arrival),
    arrivalMax: Math.max(size.arrivalMax, payload.arrival),
  };
}

/** A payload counts as two keys at least: VERIFY may find its object under one that nobody rang. */
export function keysCounted({ duplicateKeys }: Pick<GroupPayload, "duplicateKeys">): number {
  return 1 + Math.max(1, duplicateKeys.length);
}

export function sizeOf(payloads: readonly GroupPayload[]): GroupSize {
  return payloads.reduce(addToSize, emptySize);
}

/**
 * Days (partitions) that payloads of these arrivals can touch at most. A payload's spans start in
 * [arrival - age, arrival + future]; an interval of x days touches at most ceil(x) + 1 days.
 * Example: one arrival, age 60 d, future 1 d: an interval of 61 days, 62 partitions.
 */
export function partitionsAtMost(size: GroupSize, caps: GroupCaps): number {
  const days = (size.arrivalMax - size.arrivalMin + caps.spanAgeMs + caps.spanFutureMs) / DAY_MS;
  return Math.ceil(days) + 1;
}

/** May these payloads be one group? */
export function fitsCaps(size: GroupSize, caps: GroupCaps): boolean {
  return (
    size.payloads <= caps.payloadsMax &&
    size.keys <= caps.keysMax &&
    size.rows <= caps.rowsMax &&
    (size.payloads === 1 || size.outputBytes <= caps.outputBytesMax) &&
    size.inflatedBytes <= caps.inflatedBytesMax &&
    partitionsAtMost(size, caps) <= caps.partitionsMax
  );
}

/**
 * Into how many Native blocks a group's rows are cut: more than one only where it is one wide payload. ClickHouse counts a
 * body's blocks into its token (the same rows in one block and then in two are stored twice), so this is said once, when
 * the group is made, and is stored with it. Each block has a row at least.
 */
export function blocksOf(payloads: readonly GroupPayload[], caps: GroupCaps): number {
  const [only] = payloads;
  if (only === undefined || payloads.length > 1 || only.outputBytes <= caps.outputBytesMax) {
    return 1;
  }
  return Math.max(1, Math.min(rowsWanted(only), Math.ceil(only.outputBytes / caps.sliceBytes)));
}

/** The rows of a payload that its INSERT has: those of the days that the table lacks, or all of them. */
export function rowsWanted({ spans, missingDays }: Pick<GroupPayload, "spans" | "missingDays">): number {
  return missingDays === null
    ? spans
    : missingDays.complete.reduce(
        (sum, { day, rows }) => sum + (missingDays.days.includes(day) ? rows : 0),
        0,
      );
}

/** Is waiting for more not worth it? By size only; age is the machine's, which knows the time. `rowsReady`: at so many rows. */
export function isReadyBySize(size: GroupSize, caps: GroupCaps, rowsReady = caps.rowsReady): boolean {
  return (
    size.rows >= rowsReady || size.payloads >= caps.payloadsMax || size.outputBytes > caps.outputBytesMax
  );
}

/**
 * Payloads whose spans are of the day of their arrival or the one before, and those with older ones: each day is a part
 * of its own in an INSERT, and one payload of 31 days would make everybody's one of 31 parts. Where nobody said it, it
 * counts as the former.
 */
export function byDays(payloads: readonly GroupPayload[]): readonly (readonly GroupPayload[])[] {
  const isOld = ({ oldestDay, arrival }: GroupPayload): boolean =>
    oldestDay !== undefined && oldestDay < Math.floor(arrival / DAY_MS) - 1;
  const old = payloads.filter(isOld);
  return [payloads.filter((one) => !isOld(one)), old].filter(({ length }) => length > 0);
}

/** Splits payloads, in their order, into runs that each fit the caps. */
export function splitByCaps(
  payloads: readonly GroupPayload[],
  caps: GroupCaps,
): readonly (readonly GroupPayload[])[] {
  const runs: GroupPayload[][] = [];
  let run: GroupPayload[] = [];
  let size = emptySize;
  for (const payload of payloads) {
    const grown = addToSize(size, payload);
    if (fitsCaps(grown, caps)) {
      run.push(payload);
      size = grown;
    } else {
      assert(run.length > 0, "one payload alone fits the caps");
      runs.push(run);
      run = [payload];
      size = addToSize(emptySize, payload);
    }
  }
  return run.length > 0 ? [...runs, run] : runs;
}

export function halvesOf(payloads: readonly GroupPayload[]): readonly (readonly GroupPayload[])[] {
  const middle = Math.ceil(payloads.length / 2);
  return [payloads.slice(0, middle), payloads.slice(middle)];
}
