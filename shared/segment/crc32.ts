/** CRC-32 of ISO/IEC 13239, as gzip and PNG have it: it tells damage, and nothing of intent. */

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) {
    value = value & 1 ? (value >>> 1) ^ 0xed_b8_83_20 : value >>> 1;
  }
  return value >>> 0;
});

/** Example: of the nine characters `123456789` it is 0xcbf43926. */
export function crc32(bytes: Uint8Array): number {
  let crc = 0xff_ff_ff_ff;
  for (const byte of bytes) {
    crc = (crc >>> 8) ^ (table[(crc ^ byte) & 255] ?? 0);
  }
  return (crc ^ 0xff_ff_ff_ff) >>> 0;
}
