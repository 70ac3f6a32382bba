import * as v from "valibot";
import { expect, test } from "vitest";
import { R2Events } from "../../dev/stand-ins/r2-events.ts";
import { limits } from "../../shared/limits.ts";
import { r2EventSchema } from "../../shared/messages.ts";
import { formatPayloadId, formatPayloadKey } from "../../shared/payload-key.ts";
import { formatSegmentKey } from "../../shared/segment/segment-key.ts";

test("each new payload is announced once, in Cloudflare's format and with the delay of the queue", async () => {
  const key = formatPayloadKey(Date.now(), "acme", formatPayloadId(new Uint8Array(16)));
  const segment = formatSegmentKey(Date.now(), new Uint8Array(10), [formatPayloadId(new Uint8Array(16))]);
  const uploaded = new Date();
  const objects = [
    { key: segment, size: 9, etag: "e0", uploaded },
    { key, size: 3, etag: "e1", uploaded },
    { key: "reconcile/cursor", size: 1, etag: "e2", uploaded },
  ];
  let failures = 1;
  const bucket = {
    async list() {
      if (failures-- > 0) {
        throw new Error("R2 is away for a moment");
      }
      return { objects, truncated: false };
    },
  };
  const sent: { event: unknown; options: unknown }[] = [];
  const queue = {
    async sendBatch(messages: readonly { body: unknown }[], options: unknown) {
      expect(messages.length).toBeLessThanOrEqual(100);
      sent.push(...messages.map(({ body }) => ({ event: body, options })));
    },
  };
  const events = new R2Events();
  const details = { bucketName: "headrace-payloads", delaySeconds: limits.lateDelaySeconds };
  await expect(events.notifyNew(bucket, queue, { ...details, now: Date.now() })).rejects.toThrow(
    "R2 is away",
  );
  for (let poll = 0; poll < 3; poll++) {
    await events.notifyNew(bucket, queue, { ...details, now: Date.now() });
  }
  expect(sent).toHaveLength(2);
  expect(sent[0]?.event).toMatchObject({ object: { key: segment, size: 9, eTag: "e0" } });
  expect(v.parse(r2EventSchema, sent[1]?.event)).toEqual({
    account: "local",
    action: "PutObject",
    bucket: "headrace-payloads",
    object: { key, size: 3, eTag: "e1" },
    eventTime: uploaded.toISOString(),
  });
  expect(sent[1]?.options).toEqual({ delaySeconds: limits.lateDelaySeconds });
});

test("what lands in its own minute is found at once, and what lands later within ten seconds", async () => {
  const keyOf = (n: number, at: number): string =>
    formatPayloadKey(at, "acme", formatPayloadId(new Uint8Array(16).fill(n)));
  const keys: string[] = [];
  const listed: string[] = [];
  const bucket = {
    async list({ startAfter, cursor = "0" }: { startAfter: string; cursor?: string }) {
      listed.push(startAfter);
      const behind = keys.filter((key) => key > startAfter).sort();
      const end = Number(cursor) + 2;
      const objects = behind.slice(Number(cursor), end);
      return {
        objects: objects.map((key) => ({ key, size: 1, etag: "e", uploaded: new Date() })),
        truncated: end < behind.length,
        cursor: String(end),
      };
    },
  };
  const sent: string[] = [];
  const queue = {
    async sendBatch(messages: readonly { body: { object: { key: string } } }[]) {
      sent.push(...messages.map(({ body }) => body.object.key));
    },
  };
  const events = new R2Events();
  const minute = Date.UTC(2026, 10, 24, 7, 41);
  const look = async (now: number): Promise<readonly string[]> => {
    sent.length = 0;
    await events.notifyNew(bucket, queue, { bucketName: "b", delaySeconds: 1, now });
    return [...sent];
  };
  expect(await look(minute)).toEqual([]);
  keys.push(...[5, 2, 9].map((n) => keyOf(n, minute + 500)));
  expect(await look(minute + 1000)).toEqual([...keys].sort());
  const late = keyOf(7, minute - 1000);
  keys.push(late);
  expect(await look(minute + 2000)).toEqual([]);
  expect(await look(minute + 10_000)).toEqual([late]);
  expect(new Set(listed)).toEqual(new Set(["p/0/t/2026-11-24T0738", "p/0/t/2026-11-24T0741"]));
});
