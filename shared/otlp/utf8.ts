/**
 * UTF-8 checking. proto3 strings must be UTF-8 (and OTLP wants a 400 otherwise); ClickHouse would store anything,
 * and every reader after it would guess.
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
