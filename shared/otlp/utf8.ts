/**
 * UTF-8 checking and repairing. proto3 strings must be UTF-8; ClickHouse would store anything, and every reader after it
 * would guess. A string cut inside a character is one attribute's fault: it is repaired (decision 0024).
 *
 * Source: Unicode 16, table 3-7 "Well-Formed UTF-8 Byte Sequences": no overlong forms, no surrogates, nothing above
 * U+10FFFF.
 */

/** Whether `bytes[from, to)` is well-formed UTF-8. */
export function isUtf8(bytes: Uint8Array, from: number, to: number): boolean {
  let at = from;
  while (at < to) {
    const lead = bytes[at++] ?? 0;
    if (lead < 0x80) {
      continue;
    }
    let low = 0x80;
    let high = 0xbf;
    let more = 0;
    if (lead >= 0xc2 && lead <= 0xdf) {
      more = 1;
    } else if (lead >= 0xe0 && lead <= 0xef) {
      more = 2;
      low = lead === 0xe0 ? 0xa0 : 0x80;
      high = lead === 0xed ? 0x9f : 0xbf;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      more = 3;
      low = lead === 0xf0 ? 0x90 : 0x80;
      high = lead === 0xf4 ? 0x8f : 0xbf;
    } else {
      return false;
    }
    // A sequence cut by the string's end must not borrow the neighbour's bytes.
    if (more > to - at) {
      return false;
    }
    const second = bytes[at] ?? 0;
    if (second < low || second > high) {
      return false;
    }
    for (let i = 1; i < more; i++) {
      if (((bytes[at + i] ?? 0) & 0xc0) !== 0x80) {
        return false;
      }
    }
    at += more;
  }
  return true;
}

/** The same of a whole body: what is ASCII is looked at by four bytes, in a quarter of the time. */
export function isUtf8Body(bytes: Uint8Array): boolean {
  if (bytes.byteOffset % 4 !== 0) {
    return isUtf8(bytes, 0, bytes.length);
  }
  const fours = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
  for (let at = 0; at < bytes.length; ) {
    if (at % 4 === 0) {
      let four = at / 4;
      while (four < fours.length && ((fours[four] ?? 0) & 0x80808080) === 0) {
        four++;
      }
      at = four * 4;
    }
    if (at < bytes.length) {
      const length = sequenceLength(bytes, at, bytes.length);
      if (length <= 0) {
        return false;
      }
      at += length;
    }
  }
  return true;
}

/** U+FFFD */
const replacement = [0xef, 0xbf, 0xbd] as const;
/** Where repaired text is gathered: a call for each character would be slow. */
const chunk = new Uint8Array(4096);
/** The longest character. */
const characterBytesMax = 4;

/** Takes bytes of `source`; `WireWriter` is one. */
interface Output {
  raw(source: Uint8Array, from: number, to: number): void;
}

/**
 * Writes `bytes[from, to)` with U+FFFD for each part that is not UTF-8. A part is what the Encoding standard takes for one
 * ("maximal subpart", as TextDecoder does): the first bytes of a character that is cut off are one.
 */
export function writeRepaired(output: Output, bytes: Uint8Array, from: number, to: number): void {
  let filled = 0;
  for (let at = from; at < to; ) {
    if (filled + characterBytesMax > chunk.length) {
      output.raw(chunk, 0, filled);
      filled = 0;
    }
    const length = sequenceLength(bytes, at, to);
    if (length > 0) {
      for (let i = 0; i < length; i++) {
        chunk[filled++] = bytes[at++] ?? 0;
      }
    } else {
      chunk[filled++] = replacement[0];
      chunk[filled++] = replacement[1];
      chunk[filled++] = replacement[2];
      at -= length;
    }
  }
  output.raw(chunk, 0, filled);
}

/** The bytes of the well-formed character at `at`, or minus the bytes that are replaced together. */
function sequenceLength(bytes: Uint8Array, at: number, to: number): number {
  const lead = bytes[at] ?? 0;
  if (lead < 0x80) {
    return 1;
  }
  const more = lead < 0xc2 || lead > 0xf4 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
  if (more === 0) {
    return -1;
  }
  const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  for (let i = 1; i <= more; i++) {
    const byte = at + i < to ? (bytes[at + i] ?? 0) : 0;
    if (byte < (i === 1 ? low : 0x80) || byte > (i === 1 ? high : 0xbf)) {
      return -i;
    }
  }
  return more + 1;
}

const highBits = 0x80808080 | 0;

/**
 * Whether `bytes[from, to)` is ASCII, sixteen bytes at a look. `view` shows the same bytes. Most strings of a trace
 * are, and this is several times cheaper than looking at each byte.
 */
export function isAscii(bytes: Uint8Array, view: DataView, from: number, to: number): boolean {
  let at = from;
  for (; at + 16 <= to; at += 16) {
    const four = view.getInt32(at, true) | view.getInt32(at + 4, true);
    const more = view.getInt32(at + 8, true) | view.getInt32(at + 12, true);
    if (((four | more) & highBits) !== 0) {
      return false;
    }
  }
  for (; at + 4 <= to; at += 4) {
    if ((view.getInt32(at, true) & highBits) !== 0) {
      return false;
    }
  }
  let rest = 0;
  for (; at < to; at++) {
    rest |= bytes[at] ?? 0;
  }
  return rest < 0x80;
}
