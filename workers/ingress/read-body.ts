/**
 * Reads a request's body, bounded in bytes and in time, before and while reading. A Content-Length is a claim: it can
 * refuse early, and never replaces counting (RFC 9112 section 6.3 allows a body without one).
 */
import { limits } from "../../shared/limits.ts";
import { ok, type Result, refuse } from "../../shared/result.ts";
import type { BytesInHand } from "./bytes-in-hand.ts";
import { type Deadline, DeadlinePassed, within } from "./deadline.ts";
import type { Refusal } from "./refusal.ts";

const tooLarge: Refusal = {
  reason: "too_large",
  message: `The body is larger than ${limits.bodyBytesMax} bytes as received. Send fewer spans a request (OTEL_BSP_MAX_EXPORT_BATCH_SIZE=512) or compress (OTEL_EXPORTER_OTLP_COMPRESSION=gzip).`,
};

const busy: Refusal = {
  reason: "busy",
  message: "Too many bodies are being received at this moment. Try again.",
};

const slow: Refusal = {
  reason: "slow_body",
  message: `The body was not complete after ${limits.bodyTimeoutMs / 1000} seconds. Try again, or send fewer spans a request.`,
};

/** Nobody may be left to read this; but a client that only stopped sending is, and its body may come whole next time. */
const broken: Refusal = {
  reason: "broken_body",
  message: "The body ended before it was complete. Try again.",
};

/** A body read into memory; its bytes stay taken from the budget until `release` is called, once. */
export interface HeldBody {
  readonly bytes: Uint8Array;
  readonly release: () => void;
}

/** The buffer that a body of several chunks starts with; it doubles. */
const bufferBytesFirst = 65_536;
/**
 * A body that says to be no longer is read in one go: workerd hands a stream over in chunks of 4 KiB, and each chunk
 * costs 10 to 15 µs. It takes its bytes from the budget before they have come, so a client that only claims them holds
 * them: hence not for longer ones, of which a few would hold the whole budget.
 */
const oneReadBytesMax = 65_536;

/**
 * Reads the whole body. Refuses with `too_large` above `limits.bodyBytesMax`, with `busy` above the budget, with
 * `slow_body` after `limits.bodyTimeoutMs`, with `broken_body` when the client breaks off. A part of a body must never pass for a
 * body: cut between two spans, protobuf is valid, and the client's next try would store its first spans again.
 */
export async function readBody(
  request: Request,
  budget: BytesInHand,
  deadline: Deadline,
): Promise<Result<HeldBody, Refusal>> {
  const claimed = request.headers.get("content-length");
  if (Number(claimed ?? 0) > limits.bodyBytesMax) {
    return refuse(tooLarge);
  }
  if (request.body === null) {
    return ok({ bytes: new Uint8Array(0), release: () => undefined });
  }
  const saysLength = claimed !== null && Number(claimed) >= 0 && Number(claimed) <= oneReadBytesMax;
  const oneReader = saysLength ? byteReader(request.body) : undefined;
  if (oneReader !== undefined) {
    return await readAtOnce(oneReader, Number(claimed), budget, deadline);
  }
  const reader = request.body.getReader();
  const buffer = new GrowingBuffer(budget);
  let result: Result<HeldBody, Refusal>;
  try {
    const refusal =
      (await deadline.within(fill(buffer, reader), limits.bodyTimeoutMs)) ??
      incomplete(buffer.length, claimed);
    result = refusal === undefined ? ok({ bytes: buffer.bytes(), release: buffer.release }) : refuse(refusal);
  } catch (error) {
    buffer.release();
    if (!(error instanceof DeadlinePassed)) {
      return refuse(broken); // RFC 9112 section 8: a message that ends before its framing says is incomplete
    }
    // Not awaited: the client is slow, and its answer is due now.
    reader.cancel().catch(() => undefined);
    return refuse(slow);
  }
  if (!result.ok) {
    buffer.release();
    reader.releaseLock();
  }
  return result;
}

/** Undefined for a stream that was made in JavaScript: a test's, never a client's. */
function byteReader(body: ReadableStream<Uint8Array>): ReadableStreamBYOBReader | undefined {
  try {
    return body.getReader({ mode: "byob" });
  } catch {
    return undefined;
  }
}

/** Reads a body that says to have `claimed` bytes. It asks for one byte more, so that a longer one is seen. */
async function readAtOnce(
  reader: ReadableStreamBYOBReader,
  claimed: number,
  budget: BytesInHand,
  deadline: Deadline,
): Promise<Result<HeldBody, Refusal>> {
  if (!budget.take(claimed + 1)) {
    reader.releaseLock();
    return refuse(busy);
  }
  let released = false;
  const release = (): void => {
    if (!released) {
      released = true;
      budget.give(claimed + 1);
    }
  };
  try {
    const { value } = await deadline.within(
      reader.readAtLeast(claimed + 1, new Uint8Array(claimed + 1)),
      limits.bodyTimeoutMs,
    );
    if (value?.length === claimed) {
      return ok({ bytes: value, release });
    }
  } catch (error) {
    if (error instanceof DeadlinePassed) {
      reader.cancel().catch(() => undefined);
      release();
      return refuse(slow);
    }
  }
  release();
  reader.releaseLock();
  return refuse(broken);
}

/** A second look at the framing, which is the server's: a stream that failed can end as if it were complete. */
function incomplete(bytes: number, claimed: string | null): Refusal | undefined {
  return claimed !== null && Number(claimed) !== bytes ? broken : undefined;
}

async function fill(
  buffer: GrowingBuffer,
  reader: ReadableStreamDefaultReader<Uint8Array>,
): Promise<Refusal | undefined> {
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      return undefined;
    }
    if (buffer.length + value.length > limits.bodyBytesMax) {
      return tooLarge;
    }
    if (!buffer.append(value)) {
      return busy;
    }
  }
}

/**
 * Bytes appended one chunk after another, in one buffer: a client that sends a body byte by byte costs a copy and not
 * four million objects. What the buffer holds is taken from the budget, and so bounded by it.
 */
class GrowingBuffer {
  readonly #budget: BytesInHand;
  #bytes: Uint8Array = new Uint8Array(0);
  #released = false;
  length = 0;

  constructor(budget: BytesInHand) {
    this.#budget = budget;
  }

  /** False when the budget does not have the bytes, or the body has been given up. */
  append(chunk: Uint8Array): boolean {
    const needed = this.length + chunk.length;
    if (this.#released) {
      return false;
    }
    if (this.length === 0) {
      // Most bodies come in one chunk: it is kept as it is.
      if (!this.#budget.take(chunk.length)) {
        return false;
      }
      this.#bytes = chunk;
    } else {
      if (needed > this.#bytes.length && !this.#grow(needed)) {
        return false;
      }
      this.#bytes.set(chunk, this.length);
    }
    this.length = needed;
    return true;
  }

  #grow(needed: number): boolean {
    const capacity = Math.min(
      Math.max(needed, 2 * this.#bytes.length, bufferBytesFirst),
      Math.max(needed, limits.bodyBytesMax),
    );
    if (!this.#budget.take(capacity - this.#bytes.length)) {
      return false;
    }
    const larger = new Uint8Array(capacity);
    larger.set(this.#bytes.subarray(0, this.length));
    this.#bytes = larger;
    return true;
  }

  bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  /** Gives everything back to the budget, once. */
  readonly release = (): void => {
    if (!this.#released) {
      this.#released = true;
      this.#budget.give(this.#bytes.length);
    }
  };
}

/**
 * Reads and drops the body of a request that is refused anyway, up to the limit: a client that is still sending
 * would see a reset connection instead of the answer, and would retry what must not be retried.
 */
export async function drainBody(request: Request): Promise<void> {
  if (request.body === null || request.bodyUsed) {
    return;
  }
  try {
    await within(drain(request.body), limits.drainTimeoutMs);
  } catch {
    // The client has gone or is slow: its answer does not wait, and nothing of the body was wanted.
  }
}

async function drain(body: ReadableStream<Uint8Array>): Promise<void> {
  let drained = 0;
  for await (const chunk of body) {
    drained += chunk.length;
    if (drained > limits.bodyBytesMax) {
      return;
    }
  }
}
