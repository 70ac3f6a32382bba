/**
 * CityHash128 in the version that ClickHouse froze (1.0.2), the checksum of its compressed blocks. Pure. In BigInts,
 * some 20 MB/s: for answers of a few kilobytes. The names are those of the published algorithm.
 */
const mask = 0xffff_ffff_ffff_ffffn;
const k0 = 0xc3a5_c85c_97cb_3127n;
const k1 = 0xb492_b66f_be98_f273n;
const k2 = 0x9ae1_6a3b_2f90_404fn;
const k3 = 0xc949_d7c7_509e_6557n;

const add = (a: bigint, b: bigint): bigint => (a + b) & mask;
const subtract = (a: bigint, b: bigint): bigint => (a - b) & mask;
const multiply = (a: bigint, b: bigint): bigint => (a * b) & mask;
const rotate = (a: bigint, bits: bigint): bigint =>
  bits === 0n ? a : ((a >> bits) | (a << (64n - bits))) & mask;
const shiftMix = (a: bigint): bigint => a ^ (a >> 47n);

function hash16(u: bigint, v: bigint): bigint {
  const factor = 0x9ddf_ea08_eb38_2d69n;
  const a = shiftMix(multiply(u ^ v, factor));
  return multiply(shiftMix(multiply(v ^ a, factor)), factor);
}

/** 16 bytes: the low 64 bits first, little-endian, as they stand before a compressed block. Takes 8 bytes or more. */
export function cityHash128(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const u64 = (at: number): bigint => view.getBigUint64(at, true);
  const length = bytes.length;
  const [low, high] =
    length >= 16
      ? seeded(view, 16, u64(0) ^ k3, u64(8))
      : seeded(view, length, u64(0) ^ multiply(BigInt(length), k0), u64(length - 8) ^ k1);
  const hash = new DataView(new ArrayBuffer(16));
  hash.setBigUint64(0, low, true);
  hash.setBigUint64(8, high, true);
  return new Uint8Array(hash.buffer);
}

/** The hash of what follows `from`, the first bytes being in the seed. */
function seeded(view: DataView, from: number, seedLow: bigint, seedHigh: bigint): [bigint, bigint] {
  const length = view.byteLength - from;
  if (length < 128) {
    return murmur(view, from, length, seedLow, seedHigh);
  }
  const u64 = (at: number): bigint => view.getBigUint64(at, true);
  const weak = (at: number, first: bigint, second: bigint): [bigint, bigint] => {
    const z = u64(at + 24);
    const a = add(first, u64(at));
    const b = rotate(add(add(second, a), z), 21n);
    const middle = add(add(a, u64(at + 8)), u64(at + 16));
    return [add(middle, z), add(add(b, rotate(middle, 44n)), a)];
  };
  let x = seedLow;
  let y = seedHigh;
  let z = multiply(BigInt(length), k1);
  let v0 = add(multiply(rotate(y ^ k1, 49n), k1), u64(from));
  let v1 = add(multiply(rotate(v0, 42n), k1), u64(from + 8));
  let w0 = add(multiply(rotate(add(y, z), 35n), k1), x);
  let w1 = multiply(rotate(add(x, u64(from + 88)), 53n), k1);
  let at = from;
  let left = length;
  const round = (): void => {
    x = multiply(rotate(add(add(add(x, y), v0), u64(at + 16)), 37n), k1) ^ w1;
    y = multiply(rotate(add(add(y, v1), u64(at + 48)), 42n), k1) ^ v0;
    z = rotate(z ^ w0, 33n);
    [v0, v1] = weak(at, multiply(v1, k1), add(x, w0));
    [w0, w1] = weak(at + 32, add(z, w1), y);
    [z, x] = [x, z];
    at += 64;
  };
  for (; left >= 128; left -= 128) {
    round();
    round();
  }
  y = add(y, add(multiply(rotate(w0, 37n), k0), z));
  x = add(x, multiply(rotate(add(v0, z), 49n), k0));
  for (let done = 0; done < left; ) {
    done += 32;
    const tail = view.byteLength - done;
    y = add(multiply(rotate(subtract(y, x), 42n), k0), v1);
    w0 = add(w0, u64(tail + 16));
    x = add(multiply(rotate(x, 49n), k0), w0);
    w0 = add(w0, v0);
    [v0, v1] = weak(tail, v0, v1);
  }
  x = hash16(x, v0);
  y = hash16(y, w0);
  return [add(hash16(add(x, v1), w1), y), hash16(add(x, w1), add(y, v1))];
}

function murmur(view: DataView, from: number, length: number, low: bigint, high: bigint): [bigint, bigint] {
  const u64 = (at: number): bigint => view.getBigUint64(from + at, true);
  let a = low;
  let b = high;
  let c: bigint;
  let d: bigint;
  if (length <= 16) {
    a = multiply(shiftMix(multiply(a, k1)), k1);
    c = add(multiply(b, k1), short(view, from, length));
    d = shiftMix(add(a, length >= 8 ? u64(0) : c));
  } else {
    c = hash16(add(u64(length - 8), k1), a);
    d = hash16(add(b, BigInt(length)), add(c, u64(length - 16)));
    a = add(a, d);
    // The last 16 bytes are in c and d already.
    for (let at = 0; at < length - 16; at += 16) {
      a = multiply(a ^ multiply(shiftMix(multiply(u64(at), k1)), k1), k1);
      b ^= a;
      c = multiply(c ^ multiply(shiftMix(multiply(u64(at + 8), k1)), k1), k1);
      d ^= c;
    }
  }
  a = hash16(a, c);
  b = hash16(d, b);
  return [a ^ b, hash16(b, a)];
}

/** The 64-bit hash of at most 16 bytes. */
function short(view: DataView, from: number, length: number): bigint {
  const n = BigInt(length);
  if (length > 8) {
    const b = view.getBigUint64(from + length - 8, true);
    return hash16(view.getBigUint64(from, true), rotate(add(b, n), n)) ^ b;
  }
  if (length >= 4) {
    const last = BigInt(view.getUint32(from + length - 4, true));
    return hash16(add(n, BigInt(view.getUint32(from, true)) << 3n), last);
  }
  if (length > 0) {
    const y = BigInt(view.getUint8(from)) + (BigInt(view.getUint8(from + (length >> 1))) << 8n);
    const z = n + (BigInt(view.getUint8(from + length - 1)) << 2n);
    return multiply(shiftMix(multiply(y, k2) ^ multiply(z, k3)), k2);
  }
  return k2;
}
