/**
 * Rows that a reading missed, and what is done about it. One reading is not evidence: it may have come from a replica that
 * lags, or from a table whose parts are detached for an hour; an INSERT on its word doubles what comes back. So nothing
 * is notified before a second reading, minutes later, misses the same rows.
 *
 * Where much of a page is missing, there is most probably one cause, and not many lost payloads: this is the brake. It is
 * reported, and the payloads are notified one at a time, each only when the rows of the one before it are seen to be there
 * once. Where rows have come back meanwhile, no more is inserted.
 */

import { idOfKey, type PayloadKey, tenantOfKey } from "../payload-key.ts";
import { bringBack, judgeId, missingOf } from "./audit-payload.ts";
import type { Checkpoint, Doubt } from "./checkpoint.ts";
import { ask, type CronWork, type ReconcileFinding } from "./effects.ts";
import { idsOf } from "./join.ts";
import { readRows } from "./read-rows.ts";
import type { Run } from "./run-context.ts";
import type { ReconcileSettings } from "./settings.ts";

/** So many of a page's payloads are not lost one by one. */
function isBraked(missing: number, page: number, settings: ReconcileSettings): boolean {
  return missing >= settings.brakeLeast && missing * 1000 > page * settings.brakePerMille;
}

/**
 * Remembers what a reading of a page missed. The page: all stored receipts of `after < key < before`. Null: no room; the
 * page has to be read again later.
 */
export function doubted(
  checkpoint: Checkpoint,
  page: { readonly after: string; readonly before: string; readonly keys: number },
  missing: readonly PayloadKey[],
  { now, settings }: Run,
): Checkpoint | null {
  const fresh = missing.filter((key) => !isDoubted(checkpoint, key));
  if (fresh.length === 0) {
    return checkpoint;
  }
  const dueAt = now + settings.secondReadingMs;
  const common = { missing: missing.length, dueAt, tries: 0, reportedAt: 0 };
  const { after, before } = page;
  const made: Doubt = isBraked(missing.length, page.keys, settings)
    ? { kind: "page", ...common, after, before, notified: null }
    : { kind: "keys", ...common, keys: fresh };
  return checkpoint.doubts.length < settings.doubtsMax
    ? { ...checkpoint, doubts: [...checkpoint.doubts, made] }
    : null;
}

function isDoubted({ doubts }: Checkpoint, key: PayloadKey): boolean {
  return doubts.some((one) =>
    one.kind === "keys" ? one.keys.includes(key) : one.after < key && key < one.before,
  );
}

/** The doubts that are due, a few a run; of the pages under the brake one at a time. */
export function* resolveDoubts(checkpoint: Checkpoint, run: Run): CronWork<Checkpoint> {
  const { now, settings } = run;
  if (checkpoint.doubts.length === 0) {
    return checkpoint;
  }
  let left = settings.doubtsARun;
  let isMending = false;
  const doubts: Doubt[] = [];
  for (const doubt of checkpoint.doubts) {
    const waits = doubt.reportedAt > 0 && isMending;
    isMending ||= doubt.reportedAt > 0;
    if (doubt.dueAt > now || left === 0 || waits || run.budget.isUsedUp) {
      doubts.push(doubt);
      continue;
    }
    left -= 1;
    const next = yield* doubt.kind === "keys" ? readKeys(doubt, run) : readPage(doubt, run);
    if (next !== null) {
      doubts.push({ ...next, dueAt: now + settings.secondReadingMs });
    }
  }
  return { ...checkpoint, doubts };
}

type Keys = Extract<Doubt, { readonly kind: "keys" }>;
type PageDoubt = Extract<Doubt, { readonly kind: "page" }>;

function* readKeys(doubt: Keys, run: Run): CronWork<Keys | null> {
  const keys: PayloadKey[] = [];
  for (const key of doubt.keys) {
    const ended = yield* mend(key, doubt.tries === 0, run);
    if (ended === "waits") {
      keys.push(key);
    }
  }
  // What nobody stores in all this time is missed again, while its object is there, when it is to be deleted.
  const isOver = keys.length === 0 || doubt.tries >= run.settings.doubtTriesMax;
  return isOver ? null : { ...doubt, keys, tries: doubt.tries + 1 };
}

/** Reads a payload's rows once more and, where they are still missing and nobody works on it, rings. */
function* mend(key: PayloadKey, isFirst: boolean, run: Run): CronWork<"done" | "waits" | "inexact"> {
  const id = idOfKey(key);
  const receipts = yield* ask("receiptsOfIds", [id]);
  const { rows, oldestDay } = yield* readRows([id], run);
  const verdict = judgeId(receipts, rows.get(id) ?? [], oldestDay);
  if (verdict !== "too few") {
    return verdict === "inexact" ? "inexact" : "done";
  }
  const held = yield* ask("holds", [key]);
  if (held[0] === true) {
    return "waits";
  }
  return (yield* bringBack(key, receipts, isFirst, run)) ? "waits" : "done";
}

function* readPage(doubt: PageDoubt, run: Run): CronWork<Doubt | null> {
  const { now, settings } = run;
  if (doubt.notified !== null) {
    const ended = yield* mend(doubt.notified, false, run);
    if (ended === "inexact") {
      reportFinding(
        run,
        doubt,
        doubt.notified,
        "resolved",
        "Rows came back: no more of this page is inserted. What has more rows now than its receipt says is reported as `inexact`.",
      );
      tellInexact(run, doubt.notified);
      return null;
    }
    if (ended === "waits" && doubt.tries < settings.doubtTriesMax) {
      return { ...doubt, tries: doubt.tries + 1 };
    }
  }
  const after = doubt.notified ?? doubt.after;
  const { keys, missing, more } = yield* readMissing(after, doubt.before, run);
  const [first] = missing;
  if (first === undefined && more !== undefined) {
    return { ...doubt, after: more, notified: null, tries: 0 };
  }
  if (doubt.reportedAt === 0) {
    if (first === undefined) {
      return null;
    }
    if (!isBraked(missing.length, keys, settings)) {
      return { kind: "keys", missing: missing.length, dueAt: now, tries: 0, reportedAt: 0, keys: missing };
    }
    const reported = { ...doubt, missing: missing.length, reportedAt: now };
    reportFinding(
      run,
      reported,
      first,
      "open",
      `Two readings, minutes apart, miss the rows of ${missing.length} of ${keys} payloads: a replica that lags, detached parts, a partition dropped? They are inserted again from R2 one at a time, each when the one before it is seen; stop that by bringing the rows back.`,
    );
    return reported; // a third reading, before anything is notified
  }
  if (first === undefined) {
    reportFinding(run, doubt, after, "resolved", "The rows that were missing are there.");
    return null;
  }
  const receipts = yield* ask("receiptsOfIds", [idOfKey(first)]);
  yield* bringBack(first, receipts, true, run);
  return { ...doubt, notified: first, after, tries: 0 };
}

function* readMissing(
  after: string,
  before: string,
  run: Run,
): CronWork<{
  readonly keys: number;
  readonly missing: readonly PayloadKey[];
  /** Where more of it may follow. */
  readonly more: PayloadKey | undefined;
}> {
  const { settings } = run;
  const receipts = yield* ask("storedReceipts", { after, before, atMost: settings.pageKeys });
  if (receipts.length === 0) {
    return { keys: receipts.length, missing: [], more: undefined };
  }
  const { rows, oldestDay } = yield* readRows(idsOf(receipts.map(({ key }) => key)), run);
  const more = receipts.length < settings.pageKeys ? undefined : receipts.at(-1)?.key;
  return { keys: receipts.length, missing: missingOf(receipts, rows, oldestDay), more };
}

function reportFinding(
  { findings }: Run,
  { reportedAt, after }: PageDoubt,
  about: string,
  state: ReconcileFinding["state"],
  message: string,
): void {
  const finding = {
    kind: "rows_missing",
    subject: `page of ${reportedAt}`,
    state,
    severity: "page",
    tenant: "",
    message: `${message} (${after} … ${about})`,
    openedAt: reportedAt,
  } as const;
  findings.push(finding);
}

function tellInexact({ findings }: Run, key: PayloadKey): void {
  const finding = {
    kind: "inexact",
    subject: key,
    state: "open",
    severity: "page",
    tenant: tenantOfKey(key),
    message:
      "The rows of this payload were missing, it was inserted again, and the missing rows came back: it has more now than its receipt says. `npx headrace resolve` settles it.",
  } as const;
  findings.push(finding);
}
