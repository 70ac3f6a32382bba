/**
 * Counts the blocks of a zstd body by their headers, before it is inflated: an empty one is three bytes, and one that brings
 * tables of its own costs a decoder about 10 µs, however little it holds.
 *
 * Source: RFC 8878 section 3.1. What is malformed is left to the decoder, which names it.
 */

/** More blocks than this in one body, and than one per so many bytes of it, are refused. An ordinary block holds up to 128 KiB. */
const zstdBlocksFree = 1024;
const zstdBlockBytesMin = 1024;

const frameMagic = 0xfd2fb528;
const skippableMagic = 0x184d2a50;

/** Whether it has more blocks than its length gives reason for. Ends at the first that is too many. */
export function hasTooManyZstdBlocks(body: Uint8Array): boolean {
  const blocksMax = zstdBlocksFree + body.length / zstdBlockBytesMin;
  let blocks = 0;
  const number = (at: number, bytes: number): number => {
    let value = 0;
    for (let i = bytes - 1; i >= 0; i--) {
      value = value * 256 + (body[at + i] ?? 0);
    }
    return value;
  };
  for (let at = 0; at < body.length; ) {
    const magic = number(at, 4);
    if ((magic & 0xfffffff0) === skippableMagic) {
      at += 8 + number(at + 4, 4);
      if (++blocks > blocksMax) {
        return true;
      }
      continue;
    }
    if (magic !== frameMagic) {
      return false;
    }
    const descriptor = body[at + 4] ?? 0;
    const isSingleSegment = (descriptor & 0x20) !== 0;
    const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
    const contentSizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >>> 6] ?? 0;
    at += 5 + (isSingleSegment ? 0 : 1) + dictionaryBytes + contentSizeBytes;
    for (let isLast = false; !isLast && at < body.length; ) {
      const header = number(at, 3);
      isLast = (header & 1) === 1;
      const isRepeated = ((header >>> 1) & 3) === 1; // one byte, and how often
      at += 3 + (isRepeated ? 1 : header >>> 3);
      if (++blocks > blocksMax) {
        return true;
      }
    }
    at += (descriptor & 4) !== 0 ? 4 : 0;
  }
  return false;
}
