/**
 * What was changed in a request so that one item's defect costs that item alone. It is counted, reported to the sender
 * as a warning, and kept in the payload's metadata: nothing is changed silently.
 */

/** Counts, by what was changed. */
export interface Repairs {
  /** Texts that are not UTF-8 (in JSON half of a surrogate pair, too): stored with U+FFFD. */
  texts: number;
  /** Links whose ids cannot be used: left out. */
  links: number;
  /** Parent span ids that cannot be used: stored as none. */
  parents: number;
  /** Values nested deeper than `limits.depthMax`: null in their place. */
  nested: number;
  /** NaN and infinities inside an array or a map: their names as text, since JSON has no such numbers. */
  numbers: number;
  /** Names in JSON that the enum does not have: stored like a number that it does not have, as no text. */
  enums: number;
}

export function noRepairs(): Repairs {
  return { texts: 0, links: 0, parents: 0, nested: 0, numbers: 0, enums: 0 };
}

export function addRepairs(a: Readonly<Repairs>, b: Readonly<Repairs>): Repairs {
  return {
    texts: a.texts + b.texts,
    links: a.links + b.links,
    parents: a.parents + b.parents,
    nested: a.nested + b.nested,
    numbers: a.numbers + b.numbers,
    enums: a.enums + b.enums,
  };
}

export function repairsCount({ texts, links, parents, nested, numbers, enums }: Readonly<Repairs>): number {
  return texts + links + parents + nested + numbers + enums;
}

const said: readonly (readonly [keyof Repairs, string])[] = [
  ["texts", "texts are not UTF-8 (stored with U+FFFD for what is none)"],
  ["links", "links have ids that cannot be used (left out)"],
  ["parents", "parent_span_ids cannot be used (stored as none)"],
  ["nested", "values are nested too deep (null in their place)"],
  ["numbers", "numbers inside arrays or maps are NaN or infinite (stored as text)"],
  ["enums", "names are none of their enum's (stored as no text)"],
];

/** For the sender. Empty when nothing was changed. */
export function repairsMessage(repairs: Readonly<Repairs>): string {
  const parts = said.flatMap(([kind, text]) => (repairs[kind] > 0 ? [`${repairs[kind]} ${text}`] : []));
  return parts.length === 0 ? "" : `Stored with changes: ${parts.join("; ")}`;
}
