/**
 * How many different attribute keys and event names a body has: each is looked up in a dictionary of its column, which costs
 * the consumer far more for a name that is new than for one that it knows. Only a body of very many attributes is looked
 * at, a second time: no other one can have too many.
 */
import { limits } from "../../shared/limits.ts";
import { type AttributeScan, entrySize } from "../../shared/otlp/attribute-scan.ts";
import { EventScan } from "../../shared/otlp/event-scan.ts";
import type { Inspection, SpanBounds } from "../../shared/otlp/inspect.ts";
import { LinkScan } from "../../shared/otlp/link-scan.ts";
import { type TraceVisitor, TraceWalk } from "../../shared/otlp/trace-walk.ts";
import { equalBytes, hashOf } from "../../shared/rows/dictionary.ts";
import type { TooLarge } from "./refusal.ts";

/**
 * Somebody can choose names that all hash alike. One that is not found within so many steps counts as new, each time: among
 * names that are not chosen so, none has ever to go so far before there are too many.
 */
const probesMax = 128;

/** The columns that have a dictionary each (rows/block-columns.ts). */
const column = { resource: 0, span: 1, event: 2, link: 3, eventName: 4 } as const;
const columns = 8;

/** The bound that a body exceeds whose rows would have too many names, or undefined. */
export function tooManyNames(
  protobuf: Uint8Array,
  bounds: SpanBounds,
  { namesAtMost }: Pick<Inspection, "namesAtMost">,
  namesMax: number = limits.namesMax,
  uncountedMax: number = limits.namesUncountedMax,
): TooLarge | undefined {
  if (namesAtMost <= uncountedMax) {
    return undefined;
  }
  const names = new Names(namesMax);
  new TraceWalk().run(protobuf, bounds, names);
  return names.count > namesMax ? { what: "names" } : undefined;
}

class Names implements TraceVisitor {
  count = 0;
  #spans = 0;
  #bytes: Uint8Array = new Uint8Array(0);
  #view: DataView = new DataView(new ArrayBuffer(0));
  readonly #namesMax: number;
  /** Open addressing, linear probing: 1 + the name's number, or 0. Half of them are free, so that one is near. */
  readonly #slots: Int32Array;
  /** Of each name: its place in the body, its length and column in one number, its hash. */
  readonly #at: Int32Array;
  readonly #kind: Int32Array;
  readonly #hash: Int32Array;
  readonly #event = new EventScan();
  readonly #link = new LinkScan();

  /** `namesMax`: a power of two. */
  constructor(namesMax: number) {
    this.#namesMax = namesMax;
    this.#slots = new Int32Array(2 * namesMax);
    this.#at = new Int32Array(namesMax);
    this.#kind = new Int32Array(namesMax);
    this.#hash = new Int32Array(namesMax);
  }

  restart(): void {
    this.count = 0;
    this.#slots.fill(0);
  }

  enterResource({ bytes, view }: TraceWalk): void {
    this.#bytes = bytes;
    this.#view = view;
    this.#spans = 0;
  }

  enterScope(): void {}

  span({ bytes, view, span }: TraceWalk): void {
    this.#spans++;
    this.#attributes(span.attributes, column.span);
    const { events, links } = span;
    for (let i = 0; i < events.count; i++) {
      const event = this.#event;
      event.scan(bytes, view, events.at[2 * i] ?? 0, events.at[2 * i + 1] ?? 0);
      this.#name(event.nameAt, event.nameLength, column.eventName);
      this.#attributes(event.attributes, column.event);
    }
    for (let i = 0; i < links.count; i++) {
      const link = this.#link;
      link.scan(bytes, view, links.at[2 * i] ?? 0, links.at[2 * i + 1] ?? 0);
      this.#attributes(link.attributes, column.link);
    }
  }

  rejected(): void {}

  leaveScope(): void {}

  leaveResource({ resource }: TraceWalk): void {
    if (this.#spans > 0) {
      this.#attributes(resource, column.resource);
    }
  }

  #attributes({ entries, count }: AttributeScan, of: number): void {
    const end = count * entrySize;
    for (let slot = 0; slot < end; slot += entrySize) {
      this.#name(entries[slot] ?? 0, entries[slot + 1] ?? 0, of);
    }
  }

  #name(at: number, length: number, of: number): void {
    if (this.count > this.#namesMax) {
      return; // it is refused
    }
    const kind = length * columns + of;
    const hash = hashOf(this.#bytes, this.#view, at, length) ^ of;
    const mask = this.#slots.length - 1;
    let slot = hash & mask;
    for (let probe = 0; probe < probesMax; probe++) {
      const name = (this.#slots[slot] ?? 0) - 1;
      if (name < 0) {
        this.#add(slot, at, kind, hash);
        return;
      }
      const isKnown =
        this.#hash[name] === hash &&
        this.#kind[name] === kind &&
        equalBytes(this.#view, this.#at[name] ?? 0, this.#view, at, length);
      if (isKnown) {
        return;
      }
      slot = (slot + 1) & mask;
    }
    this.count++;
  }

  #add(slot: number, at: number, kind: number, hash: number): void {
    const name = this.count++;
    if (name < this.#namesMax) {
      this.#slots[slot] = name + 1;
      this.#at[name] = at;
      this.#kind[name] = kind;
      this.#hash[name] = hash;
    }
  }
}
