/**
 * Deleting payloads past their retention. Nobody else deletes any. Before a page's payloads go, the page is joined
 * once more, and the table is asked for their rows in this very run.
 */
import { keyChecksum } from "../key-checksum.ts";
import {
  idOfKey,
  isInSegment,
  type ObjectKey,
  objectOf,
  type PayloadId,
  type PayloadKey,
  payloadPrefix,
} from "../payload-key.ts";
import { contentOf, contentOfAll, payloadsOf } from "../segment/segment-key.ts";
import { auditId, receiptsById } from "./audit-payload.ts";
import { beforeMinute, type Checkpoint, isOpen, startOfMinute } from "./checkpoint.ts";
import { doubted } from "./doubts.ts";
import { ask, type CronWork, type DatedReceipt, type Listed } from "./effects.ts";
import { auditRows, mayDelete } from "./evidence.ts";
import { idsOf } from "./join.ts";
import type { Listing } from "./listing.ts";
import { readRows } from "./read-rows.ts";
import type { Run } from "./run-context.ts";
import { findLate, minuteOf, type Walked } from "./walk-minutes.ts";

export interface Deleted extends Walked {
  readonly deleted: number;
}

/** Goes on with the round, or begins one when it is time; a round is over when everything old enough was seen. */
export function* deletePayloads(checkpoint: Checkpoint, listing: Listing, run: Run): CronWork<Deleted> {
  const { retentionMs, deleteEveryMs } = run.settings;
  let walked: Walked = { checkpoint, rows: [] };
  let deleted = 0;
  if (checkpoint.deleteAfter === payloadPrefix && run.now < checkpoint.deleteNextAt) {
    return { ...walked, deleted };
  }
  const before = beforeMinute(startOfMinute(run.now - retentionMs));
  for (;;) {
    const listed = yield* listing.next(walked.checkpoint.deleteAfter);
    if (listed === undefined) {
      return { ...walked, deleted };
    }
    const old = firstPayloads(
      listed.objects.filter(({ key }) => key < before),
      run.settings.deletePayloads,
    );
    const late = yield* findLate(walked.checkpoint, old, run);
    const objects = old.slice(0, late.looked).map(({ key }) => key);
    // The page ends with the last object that was looked at, or with what was listed behind all of them.
    const isWhole = objects.length === listed.objects.length;
    const through = isWhole ? listed.through : (objects.at(-1) ?? walked.checkpoint.deleteAfter);
    const page = { after: walked.checkpoint.deleteAfter, before: `${through}~` };
    const { gone, checkpoint: judged } = yield* deletable(objects, page, late.checkpoint, run);
    if (gone.length > 0) {
      yield* ask("delete", gone);
      deleted += contentOfAll(gone).payloads;
    }
    const next = listed.objects[objects.length]?.key;
    const isOver = next === undefined ? !listed.more || listed.through >= before : next >= before;
    walked = {
      rows: [...walked.rows, ...late.rows],
      checkpoint: isOver
        ? { ...judged, deleteAfter: payloadPrefix, deleteNextAt: run.now + deleteEveryMs }
        : { ...judged, deleteAfter: through },
    };
    if (isOver) {
      return { ...walked, deleted };
    }
  }
}

/** The first of these objects, at least one: so many that they have at most as many payloads as this. */
function firstPayloads(objects: readonly Listed[], atMost: number): readonly Listed[] {
  let payloads = 0;
  const end = objects.findIndex(({ key }) => {
    payloads += payloadsOf(key);
    return payloads > atMost;
  });
  return end < 0 ? objects : objects.slice(0, Math.max(1, end));
}

/** Of a page's objects, those of which `mayDelete` lets every payload go; the rows that are missing are doubted. */
function* deletable(
  objects: readonly ObjectKey[],
  page: { readonly after: string; readonly before: string },
  checkpoint: Checkpoint,
  run: Run,
): CronWork<{ readonly gone: readonly ObjectKey[]; readonly checkpoint: Checkpoint }> {
  const sealed = objects.filter((key) => !isOpen(checkpoint, minuteOf(key)));
  if (sealed.length === 0) {
    return { gone: [], checkpoint };
  }
  const own = yield* ask("receipts", sealed);
  const candidates = own.filter(({ outcome }) => outcome !== "dead");
  const dead = own.filter(({ outcome }) => outcome === "dead");
  if (candidates.length === 0) {
    return { gone: yield* objectsOfAll(sealed, [], dead, run), checkpoint };
  }
  const candidateKeys = candidates.map(({ key }) => key);
  const { rows, oldestDay } = yield* readRows(idsOf(candidateKeys), run);
  const rowsOf = (id: PayloadId) => rows.get(id) ?? [];
  const isPlain = ({ key, outcome, rowsByDay }: DatedReceipt): boolean =>
    outcome === "stored" && auditRows(rowsByDay, rowsOf(idOfKey(key)), 1, oldestDay) === "exact";
  // Where its own receipt and one copy of rows do not settle it, the receipts of the id's other keys are read.
  const others = yield* receiptsById(
    idsOf(candidates.filter((receipt) => !isPlain(receipt)).map(({ key }) => key)),
  );
  const held = yield* ask("holds", candidateKeys);
  const gone: PayloadKey[] = [];
  const left = new Set<PayloadId>();
  for (const [index, receipt] of candidates.entries()) {
    const id = idOfKey(receipt.key);
    const isHeld = held[index] !== false;
    const facts = {
      key: receipt.key,
      receipts: others.get(id) ?? [receipt],
      rowsByDay: rowsOf(id),
      oldestDay,
      isHeld,
      isSealed: true,
      now: run.now,
    };
    if (mayDelete(facts, run.settings)) {
      gone.push(receipt.key);
    } else if (!isHeld && others.has(id)) {
      left.add(id);
    }
  }
  // Its hour was audited days ago: what the table has lost since is missed here, while the object is still there.
  const missing: PayloadKey[] = [];
  for (const id of left) {
    if (run.budget.isUsedUp) {
      break; // looked at by the next round
    }
    const ofId = others.get(id) ?? [];
    const verdict = yield* auditId(ofId, rowsOf(id), oldestDay, run);
    const [claimed] = ofId.filter(({ outcome }) => outcome === "stored");
    if (verdict === "too few" && claimed !== undefined) {
      missing.push(claimed.key);
    }
  }
  // Without room for one more doubt they are missed again by the next round: none of them is deleted.
  const seen = { ...page, keys: candidates.length };
  return {
    gone: yield* objectsOfAll(sealed, gone, dead, run),
    checkpoint: doubted(checkpoint, seen, missing, run) ?? checkpoint,
  };
}

/** The objects of which each payload may go, or is dead and keeps its bytes when its segment goes. */
function* objectsOfAll(
  objects: readonly ObjectKey[],
  gone: readonly PayloadKey[],
  dead: readonly DatedReceipt[],
  run: Run,
): CronWork<readonly ObjectKey[]> {
  const inSegments = dead
    .filter(({ key, at }) => isInSegment(key) && run.now - at >= run.settings.receiptAgeMs)
    .map(({ key }) => key);
  const maybe = new Set(wholeOf(objects, [...gone, ...inSegments]));
  const asked = inSegments.filter((key) => maybe.has(objectOf(key)));
  if (asked.length === 0) {
    return [...maybe];
  }
  const copied = run.budget.isUsedUp ? [] : yield* copiedDead(asked);
  return wholeOf(objects, [...gone, ...copied]);
}

/** A replay of one that is dead has a copy to read, or the ledger holds it. */
function* copiedDead(keys: readonly PayloadKey[]): CronWork<readonly PayloadKey[]> {
  const held = yield* ask("holds", keys);
  return yield* ask(
    "deadCopies",
    keys.filter((_, i) => held[i] === false),
  );
}

/** The objects of which all payloads are among these. */
function wholeOf(objects: readonly ObjectKey[], keys: readonly PayloadKey[]): readonly ObjectKey[] {
  const byObject = Map.groupBy(keys, objectOf);
  return objects.filter((object) => {
    const own = byObject.get(object) ?? [];
    const { payloads, checksum } = contentOf(object);
    return own.length === payloads && keyChecksum(own.map(idOfKey)) === checksum;
  });
}
