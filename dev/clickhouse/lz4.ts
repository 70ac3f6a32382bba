/** Inflates one LZ4 block (lz4_Block_format.md). Pure; every length is checked against input and output. */

/** `size` is the inflated size; a block that does not come to it exactly throws. */
export function inflateLz4(block: Uint8Array, size: number): Uint8Array {
  const out = new Uint8Array(size);
  let from = 0;
  let to = 0;
  const longer = (length: number): number => {
    if (length < 15) {
      return length;
    }
    for (let total = length; ; ) {
      const byte = block[from++];
      if (byte === undefined) {
        throw new RangeError("an LZ4 block ends within a length");
      }
      total += byte;
      if (byte < 255) {
        return total;
      }
    }
  };
  while (from < block.length) {
    const token = block[from++] ?? 0;
    const literals = longer(token >> 4);
    if (from + literals > block.length || to + literals > size) {
      throw new RangeError("an LZ4 block's literals leave their bounds");
    }
    copy(out, to, block, from, literals);
    from += literals;
    to += literals;
    if (from === block.length) {
      break; // the last sequence has literals only
    }
    const distance = (block[from] ?? 0) | ((block[from + 1] ?? 0) << 8);
    from += 2;
    const match = longer(token & 15) + 4;
    if (distance === 0 || distance > to || to + match > size || from > block.length) {
      throw new RangeError("an LZ4 block's match leaves its bounds");
    }
    // A match may overlap what it writes: each copy can be as long as what lies between.
    const begin = to - distance;
    for (const end = to + match; to < end; ) {
      const piece = Math.min(end - to, to - begin);
      copy(out, to, out, begin, piece);
      to += piece;
    }
  }
  if (to !== size) {
    throw new RangeError(`an LZ4 block has ${to} bytes instead of ${size}`);
  }
  return out;
}

/** Most copies are short, and a call for each would cost more than the bytes. */
function copy(out: Uint8Array, to: number, bytes: Uint8Array, from: number, length: number): void {
  if (length > 32) {
    out.set(bytes.subarray(from, from + length), to);
    return;
  }
  for (let i = 0; i < length; i++) {
    out[to + i] = bytes[from + i] ?? 0;
  }
}
