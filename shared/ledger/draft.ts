/**
 * One event's context: its time, the settings, and what it has changed so far, over the view that it began with. The
 * machine reads its own changes back, and nothing else sees them until they are applied together. It knows no rule of
 * the protocol.
 */
import { assert } from "../assert.ts";
import { idOfKey, type PayloadId } from "../payload-key.ts";
import type { GroupId } from "../receipt.ts";
import type { EndedPayload, Group, GroupPayload } from "./group.ts";
import { addToSize, type GroupSize, sizeOf } from "./grouping.ts";
import type { Head } from "./head.ts";
import { tagOfEnded } from "./key-tag.ts";
import type { LedgerSettings } from "./settings.ts";
import type { Change, LedgerView, PayloadPlace } from "./view.ts";

/** Time and randomness of one step. */
export interface Moment {
  /** ms since the epoch */
  readonly now: number;
  /** Fresh 128-bit tokens, at least `tokensNeeded(event)`. */
  readonly tokens: Iterable<GroupId>;
  /** How large the store is. */
  readonly databaseBytes: number;
  /** Where it is full: the content minute before which it would forget, to have room. Undefined: it has nothing to forget. */
  readonly trimTo?: number | undefined;
}

/** What an event has read or changed. */
interface Looked {
  /** Undefined: not there (any more). */
  readonly groups: Map<GroupId, Group | undefined>;
  readonly changed: Map<GroupId, { readonly isNew: boolean }>;
  readonly places: Map<PayloadId, PayloadPlace | undefined>;
}

export class Draft {
  readonly #view: LedgerView;
  #head: Head | null;
  #since: number;
  /** What waits, by id; null: as in the view, which few events look into. */
  #waiting: Map<PayloadId, GroupPayload> | null = null;
  #waitingChanged = false;
  /** What waits comes to; null: to be added up. A claim asks for it at each of a thousand payloads. */
  #waitingSize: GroupSize | null = null;
  /** Null: most events look at no group, and at no payload. */
  #looked: Looked | null = null;
  readonly #rest: Change[] = [];
  readonly #tokens: Iterator<GroupId>;
  /** When the event happens, ms since the epoch: the same for all of it. */
  readonly now: number;
  /** How large the store is. */
  readonly databaseBytes: number;
  readonly trimTo: number | undefined;
  readonly settings: LedgerSettings;

  constructor(view: LedgerView, { now, tokens, databaseBytes, trimTo }: Moment, settings: LedgerSettings) {
    this.now = now;
    this.databaseBytes = databaseBytes;
    this.trimTo = trimTo;
    this.settings = settings;
    this.#view = view;
    this.#head = view.head;
    this.#since = view.waiting.since;
    this.#tokens = tokens[Symbol.iterator]();
  }

  /** A token that nobody has used. */
  drawToken(): GroupId {
    const { done, value: token } = this.#tokens.next();
    assert(done !== true, "a step is given the tokens that it needs");
    return token;
  }

  get isBorn(): boolean {
    return this.#head !== null;
  }

  get head(): Head {
    assert(this.#head !== null, "a ledger is born before it takes anything over");
    return this.#head;
  }

  set head(head: Head) {
    this.#head = head;
  }

  // --- payloads that wait

  get waitingSince(): number {
    return this.#since;
  }

  get waiting(): readonly GroupPayload[] {
    return this.#waiting === null ? this.#view.waiting.payloads : [...this.#waiting.values()];
  }

  get waitingCount(): number {
    return this.#waiting?.size ?? this.#view.waiting.payloads.length;
  }

  get waitingSize(): GroupSize {
    this.#waitingSize ??= sizeOf(this.waiting);
    return this.#waitingSize;
  }

  waitingPayload(id: PayloadId): GroupPayload | undefined {
    return this.#waitingById().get(id);
  }

  /** Adds a payload, or puts another version in its place. The time is remembered if it is the first. */
  wait(payload: GroupPayload): void {
    const waiting = this.#waitingById();
    if (waiting.size === 0) {
      this.#since = this.now;
    }
    const id = idOfKey(payload.key);
    const size = this.#waitingSize;
    this.#waitingSize = size === null || waiting.has(id) ? null : addToSize(size, payload);
    waiting.set(id, payload);
    this.#waitingChanged = true;
  }

  #waitingById(): Map<PayloadId, GroupPayload> {
    this.#waiting ??= new Map(this.#view.waiting.payloads.map((payload) => [idOfKey(payload.key), payload]));
    return this.#waiting;
  }

  nobodyWaits(): void {
    this.#waiting = new Map();
    this.#waitingSize = null;
    this.#since = 0;
    this.#waitingChanged = true;
  }

  // --- groups

  get #at(): Looked {
    this.#looked ??= { groups: new Map(), changed: new Map(), places: new Map() };
    return this.#looked;
  }

  group(id: GroupId): Group | undefined {
    const { groups } = this.#at;
    const known = groups.get(id);
    if (known !== undefined || groups.has(id)) {
      return known;
    }
    const group = this.#view.group(id);
    groups.set(id, group);
    return group;
  }

  make(group: Group): Group {
    assert(this.group(group.id) === undefined, "a token is used for one group and never again");
    const { groups, changed, places } = this.#at;
    groups.set(group.id, group);
    changed.set(group.id, { isNew: true });
    for (const { key } of group.payloads) {
      places.set(idOfKey(key), { at: "group", group: group.id });
    }
    return group;
  }

  change(group: Group): Group {
    const before = this.group(group.id);
    assert(before !== undefined, "a group that changes is there");
    const { groups, changed } = this.#at;
    groups.set(group.id, group);
    if (!changed.has(group.id)) {
      changed.set(group.id, { isNew: false });
    }
    return group;
  }

  /** The group is over; `ended` are its payloads that are done, the others must have been placed elsewhere. */
  end(group: Group, ended: readonly EndedPayload[], at: number): void {
    const { groups, changed, places } = this.#at;
    assert(changed.get(group.id)?.isNew !== true, "a group does not end in the event that made it");
    groups.set(group.id, undefined);
    changed.delete(group.id);
    this.#rest.push({ kind: "end", group: group.id, ended, at });
    for (const one of ended) {
      const { key, outcome } = one;
      places.set(idOfKey(key), { at: "done", outcome, tag: tagOfEnded(one), since: at });
    }
    for (const { key } of group.payloads) {
      const place = places.get(idOfKey(key));
      assert(
        place !== undefined && (place.at === "done" || place.group !== group.id),
        "no payload stays in a group that is over",
      );
    }
  }

  // --- ids

  /** Reads the places of these ids in one go; `place` answers from them. */
  readPlaces(ids: readonly PayloadId[]): void {
    const { places } = this.#at;
    const unread = ids.filter((id) => !places.has(id));
    const found = this.#view.places(unread);
    for (const id of unread) {
      places.set(id, found.get(id));
    }
  }

  /** Where an id is that does not wait, as of this event's changes. */
  place(id: PayloadId): PayloadPlace | undefined {
    const { places } = this.#at;
    if (!places.has(id)) {
      this.readPlaces([id]);
    }
    return places.get(id);
  }

  /** The head's marks have changed: what is forgotten by them may go. */
  forget(): void {
    this.#rest.push({ kind: "forget" });
  }

  /** The changes, in the order in which they are to be applied. */
  changes(): readonly Change[] {
    const changes: Change[] = [];
    if (this.#head !== null && this.#head !== this.#view.head) {
      changes.push({ kind: "head", head: this.#head });
    }
    // What came and became a group in one event has not waited.
    if (this.#waitingChanged && (this.waitingCount > 0 || this.#view.waiting.payloads.length > 0)) {
      changes.push({ kind: "waiting", waiting: { since: this.#since, payloads: this.waiting } });
    }
    if (this.#looked !== null) {
      for (const [id, { isNew }] of this.#looked.changed) {
        const group = this.#looked.groups.get(id);
        assert(group !== undefined, "a changed group is there");
        changes.push({ kind: "group", group, isNew });
      }
    }
    changes.push(...this.#rest);
    return changes;
  }
}
