import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import {
  formatMinute,
  formatPayloadId,
  formatPayloadKey,
  idOfKey,
  minuteToMs,
  parsePayloadKey,
  payloadId,
  payloadIdToBytes,
} from "../../shared/payload-key.ts";

const body = new TextEncoder().encode("a body");
const version1 = { contentMinute: 3_627_821, from: Number.POSITIVE_INFINITY };
const version2 = { contentMinute: 3_627_821, from: 0 };

describe("payload id", () => {
  test("of version 1 is the first 16 bytes of SHA-256 over tenant, type, encoding and body", async () => {
    const digest = createHash("sha256").update("acme\0pb\0identity\0").update(body).digest();
    const id = await payloadId("acme", "pb", "identity", body, version1);
    expect(payloadIdToBytes(id)).toEqual(new Uint8Array(digest.subarray(0, 16)));
  });

  test("does not change with gzip's time and operating system bytes, and leaves the body as it was", async () => {
    const first = new Uint8Array(gzipSync(body));
    const second = Uint8Array.from(first);
    second.set([1, 2, 3, 4], 4);
    second[9] = 255;
    const before = Uint8Array.from(second);
    const idOf = (bytes: Uint8Array) => payloadId("acme", "pb", "gzip", bytes, version2);
    expect(await idOf(second)).toBe(await idOf(first));
    expect(second).toEqual(before);
  });

  test("differs by tenant, type, encoding and body", async () => {
    for (const version of [version1, version2]) {
      const ids = await Promise.all([
        payloadId("acme", "pb", "identity", body, version),
        payloadId("acme2", "pb", "identity", body, version),
        payloadId("acme", "json", "identity", body, version),
        payloadId("acme", "pb", "deflate", body, version),
        payloadId("acme", "pb", "identity", body.subarray(1), version),
      ]);
      expect(new Set(ids).size).toBe(5);
    }
  });

  test("keeps byte order as text, and every byte", () => {
    const texts: string[] = [];
    for (let i = 0; i < 256; i++) {
      const bytes = new Uint8Array(16).fill(i);
      const text = formatPayloadId(bytes);
      expect(payloadIdToBytes(text)).toEqual(bytes);
      texts.push(text);
    }
    expect([...texts].sort()).toEqual(texts);
  });
});

describe("payload key", () => {
  test("says lane, signal, minute of arrival, tenant and id", () => {
    const id = formatPayloadId(new Uint8Array(16).fill(7));
    const key = formatPayloadKey(Date.UTC(2026, 10, 24, 7, 41, 59, 999), "acme", id);
    expect(key).toBe(`p/0/t/2026-11-24T0741/acme/${id}`);
    expect(parsePayloadKey(key)).toEqual({
      lane: "0",
      signal: "t",
      minute: "2026-11-24T0741",
      tenant: "acme",
      id,
      object: key,
      slot: 0,
    });
    expect(idOfKey(key)).toBe(id);
  });

  test("is one of ours for any id", () => {
    for (let i = 0; i < 256; i++) {
      const bytes = new Uint8Array(16).map((_, at) => (i * 31 + at * 7) & 255).fill(i, 15);
      const key = formatPayloadKey(0, "acme", formatPayloadId(bytes));
      expect(parsePayloadKey(key)?.id, key).toBe(formatPayloadId(bytes));
    }
  });

  test("is none of ours with another prefix, tenant, id or an extra part", () => {
    const id = formatPayloadId(new Uint8Array(16).fill(7));
    for (const text of [
      `d/0/t/2026-11-24T0741/acme/${id}`,
      `p/1/t/2026-11-24T0741/acme/${id}`,
      `p/0/t/2026-11-24T07:41/acme/${id}`,
      `p/0/t/2026-11-24T0741/ACME/${id}`,
      `p/0/t/2026-11-24T0741/acme/${id}0`,
      `p/0/t/2026-11-24T0741/acme/${id}/x`,
      `p/0/t/2026-11-24T0741/acme/${id.slice(0, 25)}1`,
    ]) {
      expect(parsePayloadKey(text), text).toBeUndefined();
    }
  });

  test("gives its minute back as a time", () => {
    const time = Date.UTC(2026, 1, 28, 23, 59);
    expect(minuteToMs(formatMinute(time + 59_999))).toBe(time);
  });
});
