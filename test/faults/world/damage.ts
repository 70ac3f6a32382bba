/**
 * Bytes of a segment that are not those that were put: a bit that turned, or an entry that leads to another payload's body with a
 * checksum that is right. R2 promises that neither happens; what is written wrong by us, or by a person, it keeps.
 */
import { assert } from "../../../shared/assert.ts";
import type { ObjectKey } from "../../../shared/payload-key.ts";
import { crc32 } from "../../../shared/segment/crc32.ts";
import { indexBytes } from "../../../shared/segment/segment.ts";
import type { World } from "./world.ts";

/** As shared/segment/segment.ts has them. */
const offsetAt = 88;
const lengthAt = 92;
const checksumAt = 188;

/** Strikes one payload of the segment, or its header. False: there is nothing to strike. */
export function damageSegment(world: World, segment: ObjectKey): boolean {
  const { store, fate, witness } = world;
  const read = store.readSegment(segment);
  const payloads = witness.segments.get(segment) ?? [];
  const slot = fate.choices.oneOf(payloads.length);
  const struck = payloads[slot];
  // Of one that is damaged already the second kind would make a checksum that is right for what the first one left.
  const isStruck = struck !== undefined && witness.damagedKeys.has(struck.key);
  if (read === null || struck === undefined || isStruck || witness.erasing.has(struck.key)) {
    return false;
  }
  const bytes = read.bytes.slice();
  const bodyAt = payloads
    .slice(0, slot)
    .reduce((at, { content }) => at + content.body.bytes.length, indexBytes(payloads.length));
  const kind = kinds[fate.choices.oneOf(kinds.length)];
  switch (kind) {
    case "entry":
      turn(bytes, indexBytes(slot) + fate.choices.oneOf(checksumAt));
      break;
    case "body":
      turn(bytes, bodyAt + fate.choices.oneOf(struck.content.body.bytes.length));
      break;
    case "entry of another body":
      leadTo(bytes, slot, (slot + 1) % payloads.length);
      break;
    case "header":
      turn(bytes, fate.choices.oneOf(indexBytes(0)));
      break;
    case undefined:
      assert(false, "there is a kind");
  }
  store.damage(segment, bytes);
  world.say(() => `damaged: ${kind} ${slot} of ${segment}`);
  if (kind !== "header") {
    witness.damagedKeys.add(struck.key);
  }
  return true;
}

const kinds = ["entry", "body", "entry of another body", "header"] as const;

function turn(bytes: Uint8Array, at: number): void {
  bytes[at] = (bytes[at] ?? 0) ^ 0x40;
}

/** The entry in this slot has the place and length of another one, and a checksum of that. */
function leadTo(bytes: Uint8Array, slot: number, other: number): void {
  const view = new DataView(bytes.buffer);
  for (const field of [offsetAt, lengthAt]) {
    const value = view.getUint32(indexBytes(other) + field, true);
    view.setUint32(indexBytes(slot) + field, value, true);
  }
  const entry = bytes.subarray(indexBytes(slot), indexBytes(slot) + checksumAt);
  view.setUint32(indexBytes(slot) + checksumAt, crc32(entry), true);
}
