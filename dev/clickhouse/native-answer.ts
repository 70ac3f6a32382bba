/**
 * Native answers as a client reads them that named its protocol revision (`client_protocol_version`): each block then
 * begins with a BlockInfo, and each column says whether its serialization is a special one. chdb knows no client and
 * writes the oldest form, so the face adds both. Pure. Source: NativeWriter.cpp, BlockInfo.cpp.
 *
 * It must walk over the columns' data to find their ends. It knows String, FixedString, and what has a fixed width,
 * also Nullable: enough for what drivers ask at connect and before an INSERT. Other types are refused, not guessed.
 */
import { ClickHouseException } from "./exception.ts";

const revisionWithCustomSerialization = 54_454;
/** is_overflows = 0 (field 1), bucket_num = -1 (field 2), end. */
const blockInfo = Uint8Array.of(1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0);

const widths: Readonly<Record<string, number>> = {
  Bool: 1,
  UInt8: 1,
  Int8: 1,
  Enum8: 1,
  UInt16: 2,
  Int16: 2,
  Enum16: 2,
  Date: 2,
  UInt32: 4,
  Int32: 4,
  Float32: 4,
  DateTime: 4,
  Date32: 4,
  IPv4: 4,
  UInt64: 8,
  Int64: 8,
  Float64: 8,
  DateTime64: 8,
  UUID: 16,
  IPv6: 16,
};

/** `bytes` are blocks in the form without revision. */
export function nativeAtRevision(bytes: Uint8Array, revision: number): Uint8Array {
  if (revision === 0) {
    return bytes;
  }
  const parts: Uint8Array[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++];
      if (byte === undefined) {
        throw new Error("a Native answer ends within a number");
      }
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) {
        return value;
      }
    }
  };
  const text = (): string => {
    const length = varint();
    at += length;
    return Buffer.from(bytes.subarray(at - length, at)).toString("utf8");
  };
  while (at < bytes.length) {
    const begin = at;
    const columns = varint();
    const rows = varint();
    parts.push(blockInfo, bytes.subarray(begin, at));
    for (let column = 0; column < columns; column++) {
      const head = at;
      text();
      const type = text();
      parts.push(bytes.subarray(head, at));
      if (revision >= revisionWithCustomSerialization) {
        parts.push(Uint8Array.of(0));
      }
      const data = at;
      const nullable = /^Nullable\((.*)\)$/s.exec(type)?.[1];
      at += nullable === undefined ? 0 : rows; // the null map
      const inner = nullable ?? type;
      if (inner === "String") {
        for (let row = 0; row < rows; row++) {
          const length = varint();
          at += length;
        }
      } else {
        at += rows * widthOf(inner);
      }
      parts.push(bytes.subarray(data, at));
    }
  }
  return Buffer.concat(parts);
}

function widthOf(type: string): number {
  const name = /^\w+/.exec(type)?.[0] ?? "";
  const width = name === "FixedString" ? Number(/\d+/.exec(type)?.[0]) : widths[name];
  if (width === undefined) {
    throw new ClickHouseException(
      48,
      "NOT_IMPLEMENTED",
      `A column of type ${type} in a Native answer with client_protocol_version is not known here yet`,
    );
  }
  return width;
}
