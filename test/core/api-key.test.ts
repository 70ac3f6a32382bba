import { createHash, randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import { expect, test } from "vitest";
import { apiKeyName, formatApiKey, isApiKey } from "../../shared/api-key.ts";

test("a key is hr_ and 32 base62 characters, and has its checksum", () => {
  for (let i = 0; i < 100; i++) {
    const key = formatApiKey(randomBytes(52));
    expect(key).toMatch(/^hr_[0-9A-Za-z]{32}$/);
    expect(isApiKey(key)).toBe(true);
  }
});

test("the checksum is the CRC-32 of the first 26 characters, in base62", () => {
  const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  const key = formatApiKey(randomBytes(52));
  const value = [...key.slice(29)].reduce((sum, digit) => sum * 62 + digits.indexOf(digit), 0);
  expect(value).toBe(crc32(key.slice(3, 29)));
});

test("a key with one character changed, cut or made up is recognised without a look-up", () => {
  const key = formatApiKey(randomBytes(52));
  for (let i = 3; i < key.length; i++) {
    const changed = `${key.slice(0, i)}${key[i] === "x" ? "y" : "x"}${key.slice(i + 1)}`;
    expect(isApiKey(changed), changed).toBe(false);
  }
  for (const text of ["", "hr_", key.slice(0, -1), `${key}0`, key.slice(3), `HR_${key.slice(3)}`]) {
    expect(isApiKey(text), text).toBe(false);
  }
});

test("KV holds a key under its SHA-256 only", async () => {
  const key = formatApiKey(randomBytes(52));
  expect(await apiKeyName(key)).toBe(`key:${createHash("sha256").update(key).digest("hex")}`);
});
