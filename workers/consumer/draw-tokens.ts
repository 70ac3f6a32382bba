/** The ledger's random tokens: of its groups, and of a run of the reconciler. */
import { assert } from "../../shared/assert.ts";
import { toHex } from "../../shared/hex.ts";
import { type GroupId, isGroupId } from "../../shared/receipt.ts";

const tokenBytes = 16;
/** `getRandomValues` takes 65,536 bytes. */
const drawnAtOnce = 65_536 / tokenBytes;

/** 128 random bits each. All are drawn, and those that are used become text: a claim may need two for each payload, and mostly needs five. */
export function drawTokens(count: number): Iterable<GroupId> {
  const bytes = new Uint8Array(count * tokenBytes);
  for (let at = 0; at < count; at += drawnAtOnce) {
    crypto.getRandomValues(bytes.subarray(at * tokenBytes, (at + drawnAtOnce) * tokenBytes));
  }
  return texts(bytes);
}

function* texts(bytes: Uint8Array): Iterable<GroupId> {
  for (let at = 0; at < bytes.length; at += tokenBytes) {
    const text = toHex(bytes.subarray(at, at + tokenBytes));
    assert(isGroupId(text), "16 bytes are 32 hex digits");
    yield text;
  }
}
