/**
 * Keeps a queue message that nobody understands, or that a dead-letter queue is about to forget: in R2, under a prefix
 * of its own outside the notification rule, where it stays until a person has read it. So nothing exists only in a
 * dead-letter queue, which forgets after 4 days.
 */
import type { Finding } from "../../shared/finding.ts";
import { formatMinute } from "../../shared/payload-key.ts";

const parkedPrefix = "parked/";

/** What is kept of a message. */
interface ParkedMessage {
  readonly queue: string;
  readonly id: string;
  /** When it was sent, ISO 8601. */
  readonly sentAt: string;
  readonly attempts: number;
  /** Why it is here. */
  readonly reason: string;
  /** Bytes are base64, as `{ "base64": … }`; what JSON cannot say is text. */
  readonly body: unknown;
}

/**
 * Writes the message and returns the finding that tells of it. Parked again (the acknowledgement was lost), it is the
 * same object. Throws when R2 cannot be reached: then the message must be redelivered.
 */
export async function parkMessage(
  bucket: R2Bucket,
  queue: string,
  message: Message,
  reason: string,
): Promise<Finding> {
  const sentAt = message.timestamp.getTime();
  const key = `${parkedPrefix}${queue}/${formatMinute(sentAt)}/${message.id}`;
  const parked: ParkedMessage = {
    queue,
    id: message.id,
    sentAt: message.timestamp.toISOString(),
    attempts: message.attempts,
    reason,
    body: readable(message.body),
  };
  await bucket.put(key, JSON.stringify(parked, null, 2), {
    httpMetadata: { contentType: "application/json" },
  });
  return {
    kind: "parked_message",
    subject: key,
    state: "open",
    severity: "warning",
    tenant: "",
    message: `A message of queue ${queue} was parked in R2 under ${key}: ${reason}. If it named a payload, that is in R2 and the reconciler will find it; read the object, and delete it when you know where the message came from.`,
    // The message's own time: reported again, it is the same finding.
    openedAt: sentAt,
  };
}

function readable(body: unknown): unknown {
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) {
    const bytes = body instanceof ArrayBuffer ? new Uint8Array(body) : new Uint8Array(body.buffer);
    return { base64: btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")) };
  }
  try {
    // A message may hold what JSON has no word for: a Map, a BigInt, a cycle.
    return JSON.parse(JSON.stringify(body) ?? "null");
  } catch {
    return String(body);
  }
}
