/**
 * Walking minutes: the first time, again while they are open, and once more a day later. A walk joins a minute from
 * its first key to its last; what it comes to seals the minute or leaves it open.
 */
import { assert } from "../assert.ts";
import type { MinuteRow } from "../clickhouse/minutes.ts";
import { keyChecksum } from "../key-checksum.ts";
import { limits, MINUTE_MS } from "../limits.ts";
import {
  idOfKey,
  minuteOfKey,
  minuteToMs,
  type ObjectKey,
  type PayloadKey,
  tenantOfKey,
} from "../payload-key.ts";
import { contentOfAll, payloadsOf } from "../segment/segment-key.ts";
import {
  type AgainMinute,
  beforeMinute,
  type Checkpoint,
  dueMinutes,
  isOpen,
  type OpenMinute,
  opened,
  startOfMinute,
  withOpen,
  withoutOpen,
} from "./checkpoint.ts";
import { ask, type CronWork, type Listed } from "./effects.ts";
import { type JoinedPage, joinPage } from "./join-page.ts";
import type { Listing } from "./listing.ts";
import type { Run } from "./run-context.ts";

export interface Walked {
  readonly checkpoint: Checkpoint;
  readonly rows: readonly MinuteRow[];
}

/**
 * The minutes that are old enough and that no walk has begun. Minutes without a key are sealed by the very listing
 * that shows it, without a question to ClickHouse: it may idle.
 */
export function* walkFresh(checkpoint: Checkpoint, listing: Listing, run: Run): CronWork<Walked> {
  const end = startOfMinute(run.now - run.settings.ageMs);
  const rows: MinuteRow[] = [];
  let now = checkpoint;
  // One more open minute at most comes of each step. Where there is no room, the watermark waits for days already.
  while (now.from < end && now.open.length < run.settings.openMax) {
    const page = yield* listing.next(beforeMinute(now.from));
    if (page === undefined) {
      break;
    }
    const [first] = page.objects;
    if (first === undefined && page.more) {
      break; // the budget ended before the next payload
    }
    const minute = first === undefined ? end : minuteOf(first.key);
    if (minute >= end) {
      now = { ...now, from: end };
      break;
    }
    const begun = { ...now, from: minute + MINUTE_MS, newest: Math.max(now.newest, minute) };
    const walked = yield* walkOne(opened(minute, run.now), begun, listing, run);
    now = walked.checkpoint;
    rows.push(...walked.rows);
  }
  return { checkpoint: now, rows };
}

/** Open minutes that are due, the longest due first. With `all`, each of them is due. */
export function* walkOpen(
  checkpoint: Checkpoint,
  listing: Listing,
  run: Run,
  all: boolean,
): CronWork<Walked> {
  const rows: MinuteRow[] = [];
  let now = all
    ? { ...checkpoint, open: checkpoint.open.map((one) => ({ ...one, dueAt: run.now })) }
    : checkpoint;
  for (const one of dueMinutes(now, run.now)) {
    const walked = yield* walkOne(one, now, listing, run);
    now = walked.checkpoint;
    rows.push(...walked.rows);
    // What is walked to its end is sealed, or due later.
    if (now.open.some(({ minute, dueAt }) => minute === one.minute && dueAt <= run.now)) {
      break;
    }
  }
  return { checkpoint: now, rows };
}

/** Walks one minute on; sealed, or open and due later, or, where the budget ends, open and due at once. */
function* walkOne(start: OpenMinute, checkpoint: Checkpoint, listing: Listing, run: Run): CronWork<Walked> {
  // A walk that begins anew counts anew.
  let one = start.after === "" ? { ...opened(start.minute, start.dueAt), tries: start.tries } : start;
  for (;;) {
    const page = yield* listing.next(one.after === "" ? beforeMinute(one.minute) : one.after);
    if (page === undefined) {
      return { checkpoint: withOpen(checkpoint, one), rows: [] };
    }
    const end = beforeMinute(one.minute + MINUTE_MS);
    const own = objectsBefore(page.objects, end);
    const joined = yield* joinInto(one, own, run);
    ({ one } = joined);
    if (joined.objects < own.length) {
      continue;
    }
    if (!page.more || page.through >= end) {
      return yield* settle(one, checkpoint, run);
    }
    one = { ...one, after: page.through };
  }
}

/** The minute with these objects, or with the first of them where the budget ends. */
function* joinInto(
  one: OpenMinute,
  page: readonly Listed[],
  run: Run,
): CronWork<{ readonly one: OpenMinute; readonly objects: number }> {
  // A minute that was left open once had payloads that had not ended: these are waited for, however long.
  const from = one.tries === 0 ? receiptsFrom(run) : Number.NEGATIVE_INFINITY;
  const { objects, pending, damaged, ...joined } = yield* joinPage(page, from, run);
  count(run, joined, objects);
  reportDamaged(run, damaged);
  const { payloads, checksum } = contentOfAll(objects.map(({ key }) => key));
  // What expired or was erased has no receipt to be compared with.
  const unknown = [...joined.expired, ...joined.erased];
  const sum = BigInt(one.checksum) + checksum - keyChecksum(unknown.map(idOfKey));
  return {
    one: {
      ...one,
      after: objects.at(-1)?.key ?? one.after,
      listed: one.listed + payloads - unknown.length,
      checksum: BigInt.asUintN(64, sum).toString(),
      pending: one.pending + pending.length + damaged.length,
      example: one.example ?? pending[0] ?? damaged[0] ?? null,
    },
    objects: objects.length,
  };
}

function count(
  { counts }: Run,
  { held, notified }: Pick<JoinedPage, "held" | "notified">,
  objects: readonly Listed[],
): void {
  counts.listed += objects.reduce((sum, { key }) => sum + payloadsOf(key), 0);
  counts.held += held;
  counts.notified += notified;
}

/** What can be read of a damaged segment was notified; the others have no receipt, and keep their minute open. */
function reportDamaged({ findings }: Run, segments: readonly ObjectKey[]): void {
  findings.push(
    ...segments.map((segment) => ({
      kind: "damaged_segment" as const,
      subject: segment,
      state: "open" as const,
      severity: "page" as const,
      tenant: "",
      message:
        "Not every payload of this object can be read, and those that cannot have no receipt. What can be read is stored. Its minute stays open; look at the object in R2, and replace it from a copy if there is one.",
    })),
  );
}

/**
 * A minute was walked to its end. Nothing pending, and the receipts say the same by their own count: sealed. A receipt
 * may outlive its object (erased, deleted), so they may count more; with equal counts the sets must be equal.
 */
function* settle(one: OpenMinute, checkpoint: Checkpoint, run: Run): CronWork<Walked> {
  if (one.pending > 0) {
    return { checkpoint: stillOpen(one, checkpoint, run), rows: [] };
  }
  const tenants = yield* ask("tally", [one.minute]);
  const accepted = tenants.reduce((sum, tally) => sum + tally.accepted, 0);
  const checksum = BigInt.asUintN(
    64,
    tenants.reduce((sum, tally) => sum + tally.checksum, 0n),
  );
  if (accepted < one.listed || (accepted === one.listed && checksum.toString() !== one.checksum)) {
    // Receipts came or went while it was walked; a server that lost some says so again at the next walk.
    return { checkpoint: stillOpen(one, checkpoint, run), rows: [] };
  }
  run.counts.sealed += 1;
  const sealed = withoutOpen(checkpoint, one.minute);
  const again = { minute: one.minute, at: run.now + run.settings.againMs, after: "" };
  // Sealed a day late: the second listing has passed it, so it is listed again on its own.
  const isPassed = beforeMinute(one.minute) <= checkpoint.againAfter;
  return {
    checkpoint: isPassed ? withAgain(sealed, again, run.settings.againMax) : sealed,
    rows: tenants.map((tally) => ({ ...tally, sealed: true })),
  };
}

/** The checkpoint with this minute to be listed once more; without it where there is no room: its deletion lists it too. */
function withAgain(checkpoint: Checkpoint, one: AgainMinute, atMost: number): Checkpoint {
  const again = checkpoint.again.filter(({ minute }) => minute !== one.minute);
  return again.length < atMost ? { ...checkpoint, again: [...again, one] } : checkpoint;
}

function stillOpen(one: OpenMinute, checkpoint: Checkpoint, { now, settings }: Run): Checkpoint {
  const wait = Math.min(settings.retryFirstMs * 2 ** Math.min(one.tries, 30), settings.retryLastMs);
  const { listed, checksum, pending, example } = one;
  const seen = { listed, checksum, pending, example };
  return withOpen(checkpoint, {
    ...opened(one.minute, now),
    ...seen,
    tries: one.tries + 1,
    dueAt: now + wait,
  });
}

/**
 * Payloads too young to be sealed: rings what nobody holds, and remembers nothing. Asked for by a person, and at each
 * start of the local pipeline, whose queue is empty then.
 */
export function* ringYoung(from: number, listing: Listing, run: Run): CronWork<void> {
  let after = beforeMinute(from);
  for (;;) {
    const page = yield* listing.next(after);
    if (page === undefined) {
      return;
    }
    const joined = yield* joinPage(page.objects, receiptsFrom(run), run);
    count(run, joined, joined.objects);
    const isWhole = joined.objects.length === page.objects.length;
    after = isWhole ? page.through : (joined.objects.at(-1)?.key ?? after);
    if (isWhole && !page.more) {
      return;
    }
  }
}

/** The second listing, by a cursor over all minutes: one that was empty can have got a late put too. */
export function* walkAgain(checkpoint: Checkpoint, listing: Listing, run: Run): CronWork<Walked> {
  const end = Math.min(checkpoint.from, startOfMinute(run.now - run.settings.againMs));
  let walked = yield* listAgain(checkpoint, checkpoint.againAfter, beforeMinute(end), listing, run);
  const rows = [...walked.rows];
  let now: Checkpoint = { ...walked.checkpoint, againAfter: walked.after };
  for (const one of now.again.filter(({ at }) => at <= run.now)) {
    const start = one.after === "" ? beforeMinute(one.minute) : one.after;
    const before = beforeMinute(one.minute + MINUTE_MS);
    walked = yield* listAgain(now, start, before, listing, run);
    rows.push(...walked.rows);
    const others = walked.checkpoint.again.filter(({ minute }) => minute !== one.minute);
    const isOver = walked.after === before;
    now = { ...walked.checkpoint, again: isOver ? others : [...others, { ...one, after: walked.after }] };
    if (!isOver) {
      break;
    }
  }
  return { checkpoint: now, rows };
}

/** Lists what was sealed between two texts once more; `after` tells how far it came. */
function* listAgain(
  checkpoint: Checkpoint,
  start: string,
  before: string,
  listing: Listing,
  run: Run,
): CronWork<Walked & { readonly after: string }> {
  let now = checkpoint;
  let after = start;
  const rows: MinuteRow[] = [];
  while (after < before) {
    // Without room for one more open minute it goes on where it is, later.
    const page = now.open.length < run.settings.openMax ? yield* listing.next(after) : undefined;
    if (page === undefined) {
      return { checkpoint: now, rows, after };
    }
    const own = objectsBefore(page.objects, before);
    const late = yield* findLate(now, own, run);
    now = late.checkpoint;
    rows.push(...late.rows);
    if (late.looked < own.length) {
      after = own[late.looked - 1]?.key ?? after;
      continue;
    }
    const isOver = !page.more || page.through >= before;
    after = isOver ? before : page.through;
  }
  return { checkpoint: now, rows, after: before };
}

/**
 * A key without receipt in a sealed minute opens it again: a put that landed after the seal, or a receipt lost. `looked`: how many
 * of the objects, from the first, were looked at (`joinPage`).
 */
export function* findLate(
  checkpoint: Checkpoint,
  page: readonly Listed[],
  run: Run,
): CronWork<Walked & { readonly looked: number }> {
  if (page.length === 0) {
    return { checkpoint, rows: [], looked: 0 };
  }
  const { objects, pending, damaged, ...joined } = yield* joinPage(page, receiptsFrom(run), run);
  count(run, joined, objects);
  reportDamaged(run, damaged);
  let now = yield* tellExpired(checkpoint, joined.expired, run);
  const minutes: number[] = [];
  for (const key of pending) {
    const minute = minuteOf(key);
    if (isOpen(now, minute) || now.open.length >= run.settings.openMax) {
      continue; // it was notified all the same, and its minute is opened when its deletion finds it without receipt
    }
    assert(minute < now.from, "a sealed minute is behind the first walk");
    now = withOpen(now, { ...opened(minute, run.now), pending: 1, example: key });
    now = { ...now, newest: Math.max(now.newest, minute) };
    minutes.push(minute);
    run.findings.push({
      kind: "late_put",
      subject: key,
      state: "resolved",
      severity: "note",
      tenant: tenantOfKey(key),
      message:
        "This payload has no receipt, and its minute had been sealed: its put landed after the seal, or the receipt was lost. It is stored now; the minute is open again until it has ended.",
    });
  }
  if (minutes.length === 0) {
    return { checkpoint: now, rows: [], looked: objects.length };
  }
  const tenants = yield* ask("tally", minutes);
  const again = tenants.map((tally) => ({ ...tally, sealed: false }));
  return { checkpoint: now, rows: again, looked: objects.length };
}

function receiptsFrom({ now, settings }: Run): number {
  return now - settings.receiptsMs;
}

/**
 * Objects that outlived their receipts. A dead letter is known by its record, and needs nothing. Any other is
 * reported once: it is not notified, since nothing says any more what became of it, and no minute is opened for it.
 */
function* tellExpired(checkpoint: Checkpoint, keys: readonly PayloadKey[], run: Run): CronWork<Checkpoint> {
  const reported = checkpoint.expiredReported ?? [];
  const unknown = keys.filter((key) => !reported.includes(key));
  if (unknown.length === 0) {
    return checkpoint;
  }
  const dead = new Set(yield* ask("deadLetters", unknown));
  const findings = unknown
    .filter((key) => !dead.has(key))
    .slice(0, limits.expiredReportedMax)
    .map((key) => ({
      kind: "late_put" as const,
      subject: key,
      state: "resolved" as const,
      severity: "warning" as const,
      tenant: tenantOfKey(key),
      message:
        "This payload is older than receipts are kept, and has neither a receipt nor a dead letter's record. It is not inserted. Look for its rows by HeadracePayload, and replay it where there are none.",
    }));
  if (findings.length === 0) {
    return checkpoint;
  }
  run.findings.push(...findings);
  const all = [...reported, ...findings.map(({ subject }) => subject)];
  return { ...checkpoint, expiredReported: all.slice(-limits.expiredReportedMax) };
}

/** The objects, which are in order of keys, up to a text. */
function objectsBefore(objects: readonly Listed[], text: string): readonly Listed[] {
  const end = objects.findIndex(({ key }) => key >= text);
  return end < 0 ? objects : objects.slice(0, end);
}

export function minuteOf(key: PayloadKey | ObjectKey): number {
  return minuteToMs(minuteOfKey(key));
}
