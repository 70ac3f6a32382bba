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
    async send(event: unknown, options: unknown) {
      sent.push({ event, options });
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
