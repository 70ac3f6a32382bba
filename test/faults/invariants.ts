/**
 * The invariants I1-I12 and S1-S8 of the protocol, checked on what really happened: on the tables, on R2, on the ledger's state
 * and on the witness's record. Nothing here is shared with the code under test but the shapes of its data.
 */
import { contentMinuteOfId } from "../../shared/id-time.ts";
import type { Group } from "../../shared/ledger/group.ts";
import type { Head } from "../../shared/ledger/head.ts";
import { defaultSettings } from "../../shared/ledger/settings.ts";
import type { PayloadPlace } from "../../shared/ledger/view.ts";
import {
  idOfKey,
  isInSegment,
  minuteOfKey,
  minuteToMs,
  objectOf,
  type PayloadId,
  type PayloadKey,
} from "../../shared/payload-key.ts";
import type { Receipt } from "../../shared/receipt.ts";
import type { LedgerState } from "../ledger/ledger-state.ts";
import { type Content, rowsOfObject, sampledRows } from "./world/object-store.ts";
import type { WrittenReceipt } from "./world/receipts-table.ts";
import type { Seal, World } from "./world/world.ts";

export type Invariant =
  | "I1"
  | "I2"
  | "I3"
  | "I4"
  | "I5"
  | "I6"
  | "I7"
  | "I8"
  | "I9"
  | "I10"
  | "I11"
  | "I12"
  | "S1"
  | "S2"
  | "S3"
  | "S4"
  | "S5"
  | "S6"
  | "S7"
  | "S8"
  | "seal"
  | "row"
  | "slots"
  | "subrequests"
  | "assertion";

/** An invariant does not hold. */
export class Violation extends Error {
  readonly invariant: Invariant;

  constructor(invariant: Invariant, message: string) {
    super(`${invariant}: ${message}`);
    this.invariant = invariant;
  }
}

export class Checker {
  readonly #world: World;
  readonly #contentOf = new Map<string, string>();
  #seen = {
    table: -1,
    receipts: -1,
    ledger: -1,
    store: 0,
    inserts: 0,
    deletions: 0,
    segmentsGone: 0,
    seals: 0,
    named: 0,
    accepted: 0,
  };
  #seenStored: { state: LedgerState | null; moves: number } = { state: null, moves: -1 };
  #seenMemory: { state: LedgerState | null; moves: number; marks: Head | null } = {
    state: null,
    moves: -1,
    marks: null,
  };
  #seenPlaces: { state: LedgerState | null; moves: number; isAnyHeld: boolean } = {
    state: null,
    moves: -1,
    isAnyHeld: false,
  };

  constructor(world: World) {
    this.#world = world;
  }

  /** After every step: I1-I6 and S1-S8. */
  afterStep(): void {
    const { table, receipts, ledger, witness, store } = this.#world;
    const seen = this.#seen;
    const isTableNew = seen.table !== table.version;
    if (isTableNew || seen.receipts !== receipts.version) {
      for (const content of witness.contents.values()) {
        if (isTableNew) {
          this.#atMostOneCopy(content);
        }
        this.#storedMeansThere(content);
      }
      seen.table = table.version;
      seen.receipts = receipts.version;
    }
    if (seen.ledger !== ledger.version) {
      seen.ledger = ledger.version;
      this.#inOneGroup();
      this.#isRemembered();
    }
    if (witness.refusedRows.length > 0) {
      throw new Violation("row", `the ledger's store refused a row, ${witness.refusedRows[0]}`);
    }
    if (witness.crowded.length > 0) {
      throw new Violation(
        "slots",
        `the breaker's slots are not the INSERTs in flight, ${witness.crowded[0]}`,
      );
    }
    if (witness.unseen.length > 0) {
      throw new Violation("I11", `no finding says that ${witness.unseen[0]}`);
    }
    if (witness.exhausted.length > 0) {
      throw new Violation("subrequests", `an invocation used up its subrequests, ${witness.exhausted[0]}`);
    }
    if (witness.mistaken.length > 0) {
      throw new Violation("S2", `another payload's bytes were read, ${witness.mistaken[0]}`);
    }
    for (; seen.inserts < witness.inserts.length; seen.inserts++) {
      this.#insertIsLawful(seen.inserts);
    }
    if (seen.store !== store.version) {
      seen.store = store.version;
      this.#segmentsAreTheirs();
    }
    for (; seen.segmentsGone < witness.segmentsGone.length; seen.segmentsGone++) {
      this.#segmentMayGo(seen.segmentsGone);
    }
    for (; seen.deletions < witness.deletions.length; seen.deletions++) {
      this.#deletionIsLawful(seen.deletions);
    }
    for (; seen.seals < witness.seals.length; seen.seals++) {
      this.#sealIsTrue(seen.seals);
    }
    for (; seen.accepted < witness.accepted.length; seen.accepted++) {
      this.#acceptedIsThere(witness.accepted[seen.accepted]);
    }
    for (; seen.named < witness.named.length; seen.named++) {
      this.#hasOneId(seen.named);
    }
    if (witness.forgotten.size > 0) {
      for (const [id, { until, stored }] of witness.forgotten) {
        this.#forgottenIsBack(id, until, stored);
      }
    }
  }

  /** I9, of rows that a person asked for: they are back by then, and the keys that were stored are, and no others. */
  #forgottenIsBack(id: PayloadId, until: number, stored: readonly PayloadKey[]): void {
    const { clock, witness, receipts } = this.#world;
    if (clock.now < until) {
      return;
    }
    witness.forgotten.delete(id);
    const lost = [...witness.lost.keys()].find((one) => one.startsWith(`${id}/`));
    if (lost !== undefined) {
      throw new Violation("I9", `a person let ${id} in again, and ${lost} is not back`);
    }
    const now = receipts.ofId(id).filter(({ receipt }) => receipt.outcome === "stored");
    const other = now.find(({ receipt }) => !stored.includes(receipt.key));
    if (other !== undefined) {
      throw new Violation("I9", `${id} was stored as ${stored.join(", ")}, and now as ${other.receipt.key}`);
    }
  }

  /** I1, and on the way: what was lost is back. */
  #atMostOneCopy(content: Content): void {
    const { id, rowsByDay } = content;
    const { table, witness } = this.#world;
    const least = this.#leastRows(content);
    if (least.every(({ day, rows }) => table.count(id, day) >= rows)) {
      witness.rewriting.delete(id);
    }
    for (const { day, rows } of rowsByDay) {
      const found = table.count(id, day);
      if (found > rows && found > rows * this.#copiesAllowed(id) && !witness.reattached.has(id)) {
        throw new Violation("I1", `${found} rows of ${id} on day ${day}, one copy is ${rows}`);
      }
      if (found >= (least.find((one) => one.day === day)?.rows ?? 0)) {
        witness.lost.delete(`${id}/${day}`);
      }
    }
  }

  /** One copy of a content, of which a request may have kept fewer traces. */
  #leastRows(content: Content): Content["rowsByDay"] {
    const isSampled = this.#world.witness.landed.get(content.id)?.some((landed) => landed.isSampled) ?? false;
    return isSampled ? sampledRows(content) : content.rowsByDay;
  }

  /** Equal bytes are one payload while each copy lands within K of the one before. */
  #copiesAllowed(id: PayloadId): number {
    const landed = [...(this.#world.witness.landed.get(id) ?? [])].sort((a, b) => a.at - b.at);
    let copies = 1;
    let last = landed[0]?.at ?? 0;
    for (const { at } of landed) {
      copies += at - last > defaultSettings.clientRetryMs ? 1 : 0;
      last = at;
    }
    return copies;
  }

  #storedMeansThere(content: Content): void {
    const { id } = content;
    const { table, receipts, witness } = this.#world;
    if (witness.damaged.has(id) || witness.rewriting.has(id) || witness.erased.has(id)) {
      return;
    }
    const stored = receipts.ofId(id).filter(({ receipt }) => receipt.outcome === "stored");
    if (stored.length === 0) {
      return;
    }
    const expired = this.#expiredDays(stored);
    for (const { day, rows } of this.#leastRows(content)) {
      if (expired.has(day)) {
        continue;
      }
      if (table.count(id, day) < rows && !witness.lost.has(`${id}/${day}`)) {
        throw new Violation(
          "I2",
          `${id} is receipted as stored, day ${day} has ${table.count(id, day)} of ${rows}`,
        );
      }
    }
  }

  /** Days that the TTL took. Rows that it had taken before they were receipted are not to be claimed. */
  #expiredDays(stored: readonly WrittenReceipt[]): ReadonlySet<number> {
    const { profile, table } = this.#world;
    if (profile.ttlDays === null) {
      return noDays;
    }
    const expired = new Set<number>();
    for (const { receipt, at } of stored) {
      // What was inserted in time may expire while its receipt waits for ClickHouse to come back.
      const inserted = this.#world.witness.inserts.find(({ group }) => group === receipt.group);
      const oldestDayThen = Math.floor((inserted?.at ?? at) / DAY_MS) - profile.ttlDays + 1;
      for (const { day } of receipt.rowsByDay) {
        if (day < oldestDayThen) {
          throw new Violation(
            "I2",
            `${receipt.key} is receipted as stored with rows of day ${day}, which had expired`,
          );
        }
      }
    }
    for (const { day } of [...this.#world.witness.contents.values()].flatMap(({ rowsByDay }) => rowsByDay)) {
      if (day < table.oldestDay) {
        expired.add(day);
      }
    }
    return expired;
  }

  /** S5: what ended is known, but for what the marks of the head say is forgotten. An id that is not known and later is new. */
  #isRemembered(): void {
    const { state } = this.#world.ledger;
    const { head } = state;
    if (head === null) {
      return;
    }
    const { memSince, trimmed } = head;
    const seen = this.#seenMemory;
    // Most steps of the ledger move nothing, and leave the marks as they were.
    if (seen.state === state && seen.moves === state.moves && areSameMarks(seen.marks, head)) {
      return;
    }
    this.#seenMemory = { state, moves: state.moves, marks: head };
    const { ended, places } = state.dump();
    if (this.#world.profile.storesIds) {
      this.#isStored([...places.keys()]); // whatever else is asked of it is equal then
    }
    for (const [id, at] of ended) {
      const isTrimmed = trimmed != null && contentMinuteOfId(id) < trimmed.from;
      if (at >= memSince && !isTrimmed && state.placeInMemory(id) === undefined) {
        throw new Violation(
          "S5",
          `${id} ended at ${new Date(at).toISOString()}, and the ledger does not know it`,
        );
      }
    }
  }

  /** S5, of the store: it says of every id what the state in memory says. */
  #isStored(ids: readonly PayloadId[]): void {
    const { state } = this.#world.ledger;
    const seen = this.#seenStored;
    if (seen.state === state && seen.moves === state.moves) {
      return;
    }
    this.#seenStored = { state, moves: state.moves };
    const stored = state.places(ids);
    const known = state.placesInMemory(ids);
    for (const id of ids) {
      const [is, should] = [stored, known].map((places) => JSON.stringify(placeOf(places.get(id))));
      if (is !== should) {
        throw new Violation(
          "S5",
          `the store has ${id} as ${is ?? "nothing"}, and it is ${should ?? "nothing"}`,
        );
      }
    }
  }

  #inOneGroup(): void {
    const { ledger, witness } = this.#world;
    const { waiting, groups } = ledger.state.dump();
    const seen = this.#seenPlaces;
    // Most steps of the ledger move nothing: a minute is counted, the table is looked at, an alarm finds nothing due.
    if (seen.state === ledger.state && seen.moves === ledger.state.moves && !seen.isAnyHeld) {
      return;
    }
    this.#seenPlaces = { state: ledger.state, moves: ledger.state.moves, isAnyHeld: false };
    const places = new Map<PayloadId, Group | null>();
    const place = (key: PayloadKey, group: Group | null): void => {
      const id = idOfKey(key);
      const other = places.get(id);
      if (other !== undefined) {
        throw new Violation("I3", `${id} is in ${placeText(other)} and in ${placeText(group)}`);
      }
      places.set(id, group);
    };
    for (const { key } of waiting.payloads) {
      place(key, null);
    }
    for (const group of groups.values()) {
      for (const { key } of group.payloads) {
        place(key, group);
      }
      this.#seenPlaces.isAnyHeld ||= group.state.at === "held";
      // A copy from before a person's decision holds what is whole by now, until it sees that it is a copy.
      if (group.state.at === "held" && ledger.isAwake) {
        for (const { key, reason } of group.state.found) {
          const { flaw } = witness.contents.get(idOfKey(key)) ?? {};
          if (
            !witness.damaged.has(idOfKey(key)) &&
            flaw !== "breaks an invariant" &&
            !this.#isAmbiguous(group, key)
          ) {
            const isDamaged = (witness.landed.get(idOfKey(key)) ?? []).some((one) =>
              witness.damagedKeys.has(one.key),
            );
            if (isDamaged || this.#mayKillIsolates(key)) {
              witness.damaged.add(idOfKey(key)); // a person decides about rows that nobody can explain
              continue;
            }
            throw new Violation("I7", `${key} is held (${reason}), and nobody damaged its rows`);
          }
        }
      }
    }
  }

  /**
   * Its keys come to other rows, and what the table holds is explained by no object that the group knows of: it waits for
   * the key that was stored, or for a person.
   */
  #isAmbiguous({ payloads }: Group, key: PayloadKey): boolean {
    const { witness, store, table } = this.#world;
    const id = idOfKey(key);
    const landed = witness.landed.get(id) ?? [];
    const isMixed = landed.some(({ isSampled }) => isSampled) && landed.some(({ isSampled }) => !isSampled);
    const known = payloads.find((payload) => payload.key === key);
    const isExplained = [key, ...(known?.duplicateKeys ?? [])].some((one) => {
      const object = store.get(one);
      return (
        object !== null &&
        object !== "damaged" &&
        rowsOfObject(object).every(({ day, rows }) => table.count(id, day) === rows)
      );
    });
    return isMixed && !isExplained;
  }

  /**
   * As many consumers died with it as make it a suspect: no object is transcoded for it any more, and so a part of its rows
   * is explained by nothing.
   */
  #mayKillIsolates(key: PayloadKey): boolean {
    const { fate, settings, table } = this.#world;
    const deaths = (fate.struck.get("consumer dies") ?? 0) + (fate.struck.get("consumer stalls") ?? 0);
    const hasRows = table.rowsByDay(idOfKey(key)).length > 0;
    return deaths >= settings.ownFailuresMax && hasRows;
  }

  /** S1: what is answered 200 is in an object then, or was, and was erased since. */
  #acceptedIsThere(accepted: World["witness"]["accepted"][number] | undefined): void {
    if (accepted === undefined) {
      return;
    }
    const { id, key } = accepted;
    if (!this.#world.witness.landed.get(id)?.some((one) => one.key === key)) {
      throw new Violation("S1", `${id} was answered 200 with ${key}, and no object has it there`);
    }
  }

  /**
   * S2: a payload of a segment has the bytes that it was put with, where they were put, until it is erased; and who reads it gets them. S6:
   * it is zeros then, the others are as they were, and no other object has its bytes.
   */
  #segmentsAreTheirs(): void {
    const { store, witness } = this.#world;
    for (const object of store.touched) {
      const segment = store.readSegment(object);
      const payloads = witness.segments.get(object) ?? [];
      // Where one of them is damaged, an erasure takes all that is nobody's.
      const isAnyErasing = payloads.some(({ key }) => witness.erasing.has(key));
      let at = segmentHeadBytes + payloads.length * segmentEntryBytes;
      for (const { key, content } of segment === null ? [] : payloads) {
        const { bytes } = content.body;
        const found = segment?.bytes.subarray(at, at + bytes.length) ?? noBytes;
        at += bytes.length;
        const isBlank = found.every((byte) => byte === 0);
        const isDamaged = witness.damagedKeys.has(key);
        if (isBlank && !witness.erasing.has(key) && !(isDamaged && isAnyErasing)) {
          throw new Violation("S6", `the bytes of ${key} were erased, and nobody asked for it`);
        }
        const isOther = found.length !== bytes.length || found.some((byte, i) => byte !== bytes[i]);
        if (!isBlank && isOther && !isDamaged) {
          throw new Violation("S2", `${key} has other bytes than it was put with`);
        }
        if (!isBlank && witness.overwritten.has(key)) {
          throw new Violation("S6", `${key} is erased, and its segment has its bytes`);
        }
        if (isBlank || isDamaged) {
          continue;
        }
        const read = store.get(key);
        if (read === null || read === "damaged" || read.content !== content) {
          const as = read === null || read === "damaged" ? (read ?? "nothing") : read.content.id;
          throw new Violation("S2", `${key} is there, and is read as ${as}`);
        }
      }
    }
    store.touched.clear();
    for (const key of witness.bytesGone) {
      if (store.get(key) !== null) {
        throw new Violation("S6", `${key} is erased, and an object or a copy has its bytes`);
      }
    }
  }

  /** S3: a segment goes when each of its payloads has a receipt that counts, and each dead one its copy. */
  #segmentMayGo(at: number): void {
    const { witness, receipts, store } = this.#world;
    const gone = witness.segmentsGone[at];
    for (const { key } of gone === undefined ? [] : (witness.segments.get(gone.object) ?? [])) {
      const all = receipts.ofId(idOfKey(key)).map(({ receipt }) => receipt);
      const own = all.find((receipt) => receipt.key === key);
      const lostAt = receipts.lostAt.get(key) ?? Number.NEGATIVE_INFINITY;
      // What is erased has nothing left to store: its segment goes with the last one, whenever a person removed this one's receipt.
      const isErased = witness.overwritten.has(key) && receipts.lostAt.has(key);
      const wasSeen = isErased || lostAt >= (gone?.runBegan ?? 0) || receipts.expired.has(key);
      if (!wasSeen && (own === undefined || !isAccounted(own, all))) {
        throw new Violation("S3", `${key} has ${own?.outcome ?? "no"} receipt, and its segment is gone`);
      }
      if (own?.outcome === "dead" && store.get(key) === null) {
        throw new Violation("S3", `${key} is dead, and its bytes went with its segment`);
      }
    }
  }

  #insertIsLawful(at: number): void {
    const began = this.#world.witness.inserts[at];
    if (began === undefined) {
      return;
    }
    const before = this.#contentOf.get(began.token);
    if (before !== undefined && before !== began.content) {
      throw new Violation("I5", `token ${began.token} served ${before}, now ${began.content}`);
    }
    this.#contentOf.set(began.token, began.content);
    // Its deadline is by the ledger's clock, and was judged by the consumer's.
    const { skews } = this.#world;
    if (began.at > began.deadline - skews.consumer) {
      throw new Violation(
        "I6",
        `an INSERT of ${began.token} began ${began.at - began.deadline} ms after its deadline`,
      );
    }
  }

  /** S8: one body has one id, in every instance and at every time. */
  #hasOneId(at: number): void {
    const named = this.#world.witness.named[at];
    if (named !== undefined && named.given !== named.id) {
      throw new Violation("S8", `a body of the id ${named.id} was given ${named.given}`);
    }
  }

  #deletionIsLawful(at: number): void {
    const { witness, receipts, table } = this.#world;
    const deletion = witness.deletions[at];
    if (deletion === undefined) {
      return;
    }
    const { key, runBegan } = deletion;
    const id = idOfKey(key);
    const all = receipts.ofId(id).map(({ receipt }) => receipt);
    const own = all.find((receipt) => receipt.key === key);
    const lostAt = receipts.lostAt.get(key);
    if (own === undefined && lostAt !== undefined && lostAt >= runBegan) {
      return; // there was one when it was looked for
    }
    if (own === undefined || !isAccounted(own, all) || own.outcome === "dead") {
      throw new Violation("I4", `${key} was deleted, its receipt says ${own?.outcome ?? "nothing"}`);
    }
    if (own.outcome === "erased" || witness.damaged.has(id) || witness.resolved.has(id)) {
      return;
    }
    const content = witness.contents.get(id);
    for (const { day, rows } of content === undefined ? [] : this.#leastRows(content)) {
      const since = witness.lost.get(`${id}/${day}`);
      if (
        day >= table.oldestDay &&
        table.count(id, day) < rows &&
        (since === undefined || since < runBegan)
      ) {
        throw new Violation("I4", `${key} was deleted, and day ${day} is not in the table`);
      }
    }
  }

  /** A minute is sealed only when whatever was there when its walk began has ended. */
  #sealIsTrue(at: number): void {
    const { witness, receipts, store } = this.#world;
    const seal = witness.seals[at];
    if (seal === undefined) {
      return;
    }
    if (!seal.sealed) {
      this.#isReopenedForAReason(seal);
      return;
    }
    for (const landed of witness.landed.values()) {
      for (const { key, landedAt } of landed) {
        if (
          minuteToMs(minuteOfKey(key)) !== seal.minute ||
          landedAt >= seal.runBegan ||
          store.get(key) === null
        ) {
          continue;
        }
        const all = receipts.ofId(idOfKey(key)).map(({ receipt }) => receipt);
        const own = all.find((receipt) => receipt.key === key);
        const lostAt = receipts.lostAt.get(key) ?? Number.NEGATIVE_INFINITY;
        const isSeenEnded = (own !== undefined && isAccounted(own, all)) || receipts.expired.has(key);
        if (!isSeenEnded && receipts.lostLastAt < seal.runBegan && lostAt < seal.runBegan) {
          const invariant = isInSegment(key) ? "S4" : "seal";
          throw new Violation(
            invariant,
            `${key} has ${own?.outcome ?? "no"} receipt, and its minute is sealed`,
          );
        }
      }
    }
    // The other way round: a receipt that no payload has would make up for one that is missing.
    for (const { receipt } of receipts.list()) {
      const { key } = receipt;
      const isOfMinute = isInSegment(key) && minuteToMs(minuteOfKey(key)) === seal.minute;
      if (isOfMinute && !witness.segments.get(objectOf(key))?.some((payload) => payload.key === key)) {
        throw new Violation("S4", `${key} has a receipt, and no segment has it`);
      }
    }
  }

  /** A minute is opened again for what has not ended in it, never because a receipt left by its TTL. */
  #isReopenedForAReason({ minute }: Seal): void {
    const { witness, receipts } = this.#world;
    const own = [...witness.landed.values()]
      .flat()
      .filter(({ key }) => minuteToMs(minuteOfKey(key)) === minute);
    if (own.length > 0 && own.every(({ key }) => receipts.expired.has(key))) {
      throw new Violation("seal", `${own[0]?.key} has no receipt any more, and its minute is open again`);
    }
  }

  /** Is everything that landed accounted for, and nothing under way? The world may stop then. */
  isSettled(): boolean {
    const { store, witness, ledger } = this.#world;
    return (
      witness.unreported.size === 0 && // I11: what was judged is reported by every channel
      store.erasures.size === 0 && // what was asked is remembered until it is done
      ledger.state.waiting.payloads.length === 0 &&
      this.#allGroupsAreHeld() &&
      this.#allMinutesAreSealed() &&
      this.#allLandedHaveEnded() &&
      this.#allErasedAreGone() &&
      this.#allLostAreBack()
    );
  }

  #allGroupsAreHeld(): boolean {
    for (const { state } of this.#world.ledger.state.dump().groups.values()) {
      if (state.at !== "held") {
        return false;
      }
    }
    return true;
  }

  /** But for those that wait for a person. */
  #allMinutesAreSealed(): boolean {
    const { witness, ledger } = this.#world;
    const { checkpoint } = ledger.reconciler;
    if (checkpoint === null || checkpoint.open.length === 0) {
      return checkpoint !== null;
    }
    for (const { payloads } of ledger.state.dump().groups.values()) {
      if (payloads.every(({ key }) => this.#isHeldForGood(key))) {
        return true;
      }
    }
    return [...witness.damagedKeys].some((key) => this.#isDamageReported(key));
  }

  #allLandedHaveEnded(): boolean {
    const { witness, ledger } = this.#world;
    const from = ledger.reconciler.checkpoint?.from ?? 0;
    for (const landed of witness.landed.values()) {
      for (const { key } of landed) {
        if (!this.#hasEnded(key, from) && !this.#isHeldForGood(key)) {
          return false;
        }
      }
    }
    return true;
  }

  /** The watermark has passed it, and it is accounted for, or nothing is left that could say how it ended. */
  #hasEnded(key: PayloadKey, from: number): boolean {
    const { receipts, store } = this.#world;
    if (minuteToMs(minuteOfKey(key)) >= from) {
      return false;
    }
    const own = receipts.get(key)?.receipt;
    if (own !== undefined && (own.outcome !== "duplicate" || isAnyNoDuplicate(receipts.ofId(idOfKey(key))))) {
      return true;
    }
    // Deleted, and then its receipt was lost: nothing is left that could say how it ended.
    const isKept = store.get(key) !== null && !receipts.expired.has(key);
    return !isKept || this.#isDamageReported(key);
  }

  /** An erasure that was stopped is done again before its object goes. */
  #allErasedAreGone(): boolean {
    const { receipts, store, table, witness } = this.#world;
    for (const id of witness.erased) {
      const isErased = receipts.ofId(id).some(({ receipt }) => receipt.outcome === "erased");
      const hasObject = store.list().some(({ key }) => idOfKey(key) === id);
      if (isErased && hasObject && table.rowsByDay(id).length > 0) {
        return false;
      }
    }
    return true;
  }

  /** I9: while the object is there, the rows come back. */
  #allLostAreBack(): boolean {
    const { receipts, store, witness } = this.#world;
    for (const lost of witness.lost.keys()) {
      const id = lost.slice(0, lost.indexOf("/")) as PayloadId;
      if (
        !witness.erased.has(id) &&
        !witness.resolved.has(id) &&
        store.list().some(({ key }) => idOfKey(key) === id && store.get(key) !== "damaged") &&
        receipts.ofId(id).some(({ receipt }) => receipt.outcome === "stored")
      ) {
        return false;
      }
    }
    return true;
  }

  /** It breaks an invariant of ours, and waits for a person: its minute stays open, and says so. */
  #isHeldForGood(key: PayloadKey): boolean {
    const { ledger, witness } = this.#world;
    if (witness.contents.get(idOfKey(key))?.flaw !== "breaks an invariant") {
      return false;
    }
    return [...ledger.state.dump().groups.values()].some(
      ({ state, payloads }) =>
        state.at === "held" && payloads.some((payload) => idOfKey(payload.key) === idOfKey(key)),
    );
  }

  /** No receipt can name it, and a person knows: its minute stays open. */
  #isDamageReported(key: PayloadKey): boolean {
    const { witness, receipts } = this.#world;
    return (
      witness.damagedKeys.has(key) &&
      receipts.get(key) === undefined &&
      witness.findings.has(`damaged_segment ${objectOf(key)}`)
    );
  }

  /** When faults have stopped and time has passed: I7, I8, I9. */
  atEnd(): void {
    const { receipts, witness, table, ledger, profile, store } = this.#world;
    const [unreported] = witness.unreported;
    if (unreported !== undefined) {
      throw new Violation("I11", `not reported by ${[...unreported[1]].join(", ")}: ${unreported[0]}`);
    }
    if (!this.isSettled()) {
      throw new Violation(witness.lost.size > 0 ? "I9" : "I7", `not settled: ${this.#unsettled()}`);
    }
    for (const content of witness.contents.values()) {
      const { id, flaw } = content;
      const outcomes = new Set(receipts.ofId(id).map(({ receipt }) => receipt.outcome));
      if (outcomes.has("erased") && table.rowsByDay(id).length > 0) {
        throw new Violation("I7", `${id} is erased, and has rows`);
      }
      if (outcomes.size === 0 || witness.erased.has(id)) {
        continue;
      }
      const keys = (witness.landed.get(id) ?? []).map(({ key }) => key);
      if (keys.every((key) => store.get(key) === null) && keys.some((key) => receipts.lostAt.has(key))) {
        continue; // deleted, and then its receipts were lost: nothing is left that could tell
      }
      if (outcomes.has("erased")) {
        throw new Violation("I7", `${id} ended erased, and nobody asked for it`);
      }
      const isExpired = content.rowsByDay.every(({ day }) => day < table.oldestDay);
      const isDamaged = keys.some((key) => witness.damagedKeys.has(key));
      if (flaw === "none" && !outcomes.has("stored") && witness.breaks <= 1 && !isExpired && !isDamaged) {
        throw new Violation("I7", `${id} is good, and ended ${[...outcomes].join(", ")}`);
      }
      if (flaw !== "none" && outcomes.has("stored")) {
        throw new Violation("I7", `${id} cannot be stored, and ended stored`);
      }
      if (outcomes.has("stored") && !witness.damaged.has(id)) {
        for (const { day, rows } of this.#leastRows(content)) {
          if (table.count(id, day) > 0 && !table.view.has(`${id}/${day}`)) {
            throw new Violation("I7", `${id} ended stored, and the view has nothing of day ${day}`);
          }
          if (day >= table.oldestDay && table.count(id, day) < rows && !witness.lost.has(`${id}/${day}`)) {
            throw new Violation(
              "I7",
              `${id} ended stored, day ${day} has ${table.count(id, day)} of ${rows}`,
            );
          }
        }
      }
    }
    this.#askedAreErased();
    this.#deadHaveLetters();
    this.#innocentsInTime();
    this.#nothingIsInHand();
    this.#onePutAndOneRead();
    const { rescues } = ledger.state.head ?? {};
    // Beyond so many keys of a live payload, the reconciler brings the others their receipts (shared/limits.ts).
    const keysMax = 1 + this.#world.settings.duplicateKeysMax;
    if ([...witness.landed.values()].some((landed) => landed.length > keysMax)) {
      return;
    }
    if (
      profile.isLossless &&
      ((rescues?.event ?? 0) + (rescues?.reconcile ?? 0) > 0 || witness.notified > 0)
    ) {
      throw new Violation(
        "I8",
        `nothing was lost, and ${JSON.stringify(rescues)} were rescued, ${witness.notified} notified by the reconciler`,
      );
    }
  }

  /**
   * S7: where nothing is lost, what a collector takes has no object of its own, and a group reads a segment once. What goes alone by advice
   * does so one at a time, few times, and by advice that is young.
   */
  #onePutAndOneRead(): void {
    const { profile, witness } = this.#world;
    if (profile.isLossless && witness.putAlone.length > 0) {
      throw new Violation("S7", `nothing went wrong, and ${witness.putAlone[0]} was put alone`);
    }
    if (witness.wronglyAlone.length > 0) {
      throw new Violation("S7", `a payload went alone by advice: ${witness.wronglyAlone[0]}`);
    }
    // Where doorbells were lost, those of the reconciler come one by one, and in any order.
    if (profile.isLossless && witness.readAgain.length > 0) {
      throw new Violation("S7", `${witness.readAgain[0]} was read twice for one group`);
    }
  }

  /** I7: what a person asked to be erased, and was not refused, is gone. */
  #askedAreErased(): void {
    const { witness, receipts, store, table } = this.#world;
    for (const key of witness.asked) {
      const id = idOfKey(key);
      if (receipts.lostAt.has(key)) {
        continue; // what said so was lost by somebody: test/known-gaps.md
      }
      const isErased = receipts.get(key)?.receipt.outcome === "erased" || witness.overwritten.has(key);
      if (!isErased && (store.get(key) !== null || table.rowsByDay(id).length > 0)) {
        throw new Violation("I7", `${key} was to be erased, and is there`);
      }
      // Asked for again behind a retry of the same bytes, by a request that was lost: test/known-gaps.md.
      if (store.get(key) !== null && !witness.ledgerForgot && !witness.cameAgain.has(key)) {
        throw new Violation("I7", `${key} is erased by its receipt, and R2 has it`);
      }
    }
  }

  /** I11: what is dead is shown to a person, by its key. */
  #deadHaveLetters(): void {
    const { receipts, deadLetters } = this.#world;
    for (const { receipt } of receipts.list()) {
      if (receipt.outcome === "dead" && !deadLetters.has(receipt.key)) {
        throw new Violation("I11", `${receipt.key} is dead, and no dead letter names it`);
      }
    }
  }

  /** I10: what another payload's flaw costs those of its group is minutes. */
  #innocentsInTime(): void {
    const { profile, witness, receipts } = this.#world;
    if (profile.innocentsWithinMs === null) {
      return;
    }
    for (const { id, flaw } of witness.contents.values()) {
      const began = witness.firstAttemptAt.get(id);
      const ended = receipts.firstStoredAt.get(id);
      if (flaw === "none" && began !== undefined && ended !== undefined) {
        const ms = ended - began;
        if (ms > profile.innocentsWithinMs) {
          throw new Violation(
            "I10",
            `${id} is innocent, and was stored ${Math.round(ms / 60_000)} min after its first attempt`,
          );
        }
      }
    }
  }

  /** I12: no byte of an isolate is lost with the invocation that held it. */
  #nothingIsInHand(): void {
    const { bytesInHand, clock } = this.#world;
    for (const [worker, budget] of Object.entries(bytesInHand)) {
      const bytes = budget.bytesAt(clock.now);
      if (bytes > 0) {
        throw new Violation("I12", `an isolate of the ${worker} holds ${bytes} bytes for nobody`);
      }
    }
  }

  #unsettled(): string {
    const { receipts, witness, ledger } = this.#world;
    const { waiting, groups } = ledger.state.dump();
    const keys = [...witness.landed.values()]
      .flat()
      .map(({ key }) => `${key}: ${receipts.get(key)?.receipt.outcome ?? "no receipt"}`);
    const live = [...groups.values()].map(
      ({ id, state, payloads, due }) =>
        `${id} ${state.at} (${payloads.length}) due ${new Date(Math.min(due, 8e15)).toISOString()}`,
    );
    const { checkpoint } = ledger.reconciler;
    const minute = (ms: number): string => new Date(ms).toISOString().slice(0, 16);
    const minutes = checkpoint?.open.map(
      (one) => `${minute(one.minute)} ${one.pending} pending due ${minute(one.dueAt)}`,
    );
    return `checkpoint from ${minute(checkpoint?.from ?? 0)} open ${minutes?.join(", ")}; ${waiting.payloads.length} wait; groups ${live.join(", ") || "none"}; ${keys.join(", ")}; lost ${[...witness.lost.keys()].join(" ") || "nothing"}`;
  }
}

/** Do both say the same of what is known and what is forgotten? */
function areSameMarks(one: Head | null, other: Head): boolean {
  return (
    one?.memSince === other.memSince &&
    one.forgottenBefore === other.forgottenBefore &&
    one.trimmed === other.trimmed
  );
}

/** Its fields in one order. */
function placeOf(place: PayloadPlace | undefined): readonly unknown[] {
  return place === undefined
    ? []
    : place.at === "group"
      ? [place.group]
      : [place.outcome, place.tag, place.since];
}

function placeText(group: Group | null): string {
  return group === null ? "what waits" : `group ${group.id}`;
}

const DAY_MS = 86_400_000;
/** As shared/segment/segment.ts has it. */
const segmentHeadBytes = 32;
const segmentEntryBytes = 192;
const noBytes = new Uint8Array();
const noDays: ReadonlySet<number> = new Set();

function isAnyNoDuplicate(all: readonly WrittenReceipt[]): boolean {
  return all.some(({ receipt }) => receipt.outcome !== "duplicate");
}

/** Does this receipt end its key's story? */
function isAccounted(own: Receipt, all: readonly Receipt[]): boolean {
  return own.outcome !== "duplicate" || all.some(({ outcome }) => outcome !== "duplicate");
}
