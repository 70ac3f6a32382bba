/**
 * Reads a request's body, bounded in bytes and in time, before and while reading. A Content-Length is a claim: it can
 * refuse early, and never replaces counting (RFC 9112 section 6.3 allows a body without one).
 */
import type { ByteBudget, Taking } from "../../shared/byte-budget.ts";
import { limits } from "../../shared/limits.ts";
import { ok, type Result, refuse } from "../../shared/result.ts";
import { type Deadline, DeadlinePassed, within } from "./deadline.ts";
import { noRoom, type Refusal } from "./refusal.ts";

/** A body read into memory; its bytes stay taken from the budget until `release` is called. */
export interface HeldBody {
  readonly bytes: Uint8Array;
  readonly release: () => void;
}

/** Where bodies take their bytes from, and for whom. */
export interface BodyBudget {
  readonly budget: ByteBudget;
  /** For buffers of bodies that are announced: they count as bytes in hand when they have come. */
  readonly announced: ByteBudget;
  /** The sender: each has at most a part of the budget. */
  readonly holder: string;
}

/** The buffer that a body of several chunks starts with; it doubles. */
const bufferBytesFirst = 65_536;
/**
 * A body that says to be no longer is read in one go: workerd hands a stream over in chunks of 4 KiB, and each chunk costs
 * 10 to 15 µs. Its buffer is made before its bytes have come, so a client that only claims them holds it: hence not for
 * longer ones, and out of a budget of its own. Where that is used up, bodies are read chunk by chunk, which is only slower.
 */
const oneReadBytesMax = 65_536;

/**
 * Reads the whole body. Refuses with `too_large` above `limits.bodyBytesMax`, with `busy` above the budget, with
 * `slow_body` after `limits.bodyTimeoutMs` or below the least rate, with `broken_body` when the client breaks off. A part of a
 * body must never pass for a body: cut between two spans, protobuf is valid, and the client's next try would store its first
 * spans again.
 */
export async function readBody(
  request: Request,
  budget: BodyBudget,
  deadline: Deadline,
): Promise<Result<HeldBody, Refusal>> {
  const claimed = request.headers.get("content-length");
  const encoding = request.headers.get("content-encoding") ?? "identity";
  const isCompressed = encoding.trim().toLowerCase() !== "identity";
  const tooLarge = (): Refusal => ({ reason: "too_large", size: { what: "received", isCompressed } });
  if (Number(claimed ?? 0) > limits.bodyBytesMax) {
    return refuse(tooLarge());
  }
  if (request.body === null) {
    return ok({ bytes: new Uint8Array(0), release: () => undefined });
  }
  const buffer = new GrowingBuffer(budget, Number(claimed) || limits.bodyBytesMax);
  const patience = new Patience(deadline);
  const announcement = announce(budget, claimed);
  const byteReader = announcement === null ? undefined : byteReaderOf(request.body);
  const reader = byteReader ?? request.body.getReader();
  let refusal: Refusal | undefined;
  try {
    refusal =
      byteReader === undefined
        ? await fill(buffer, reader as ReadableStreamDefaultReader<Uint8Array>, patience, tooLarge)
        : await fillAtOnce(buffer, byteReader, Number(claimed), patience);
    refusal ??= incomplete(buffer.length, claimed);
  } catch (error) {
    // Of a body that is read in one go nobody knows how much has come.
    const came = numbers(byteReader === undefined ? buffer.length : undefined, claimed);
    buffer.release();
    if (!(error instanceof DeadlinePassed)) {
      // RFC 9112 section 8: a message that ends before its framing says is incomplete
      return refuse({ reason: "broken_body", ...came });
    }
    // Not awaited: the client is slow, and its answer is due now.
    reader.cancel().catch(() => undefined);
    return refuse({ reason: "slow_body", isBelowRate: !patience.isOverall, ...came });
  } finally {
    announcement?.give();
  }
  if (refusal !== undefined) {
    buffer.release();
    reader.releaseLock();
    return refuse(refusal);
  }
  buffer.hold();
  return ok({ bytes: buffer.bytes(), release: buffer.release });
}

/** How long bytes may take: at first as long as they like, then at the least rate; and all of them 30 s. */
class Patience {
  readonly #deadline: Deadline;
  readonly #began = Date.now();
  isOverall = false;

  constructor(deadline: Deadline) {
    this.#deadline = deadline;
  }

  /** `bytes`: so many will have come by the end of this wait, or have come already where that is not known. */
  async within<T>(promise: Promise<T>, bytes: number): Promise<T> {
    const overall = this.#began + limits.bodyTimeoutMs;
    const atRate = this.#began + limits.bodyGraceMs + (bytes / limits.bodyBytesPerSecondMin) * 1000;
    this.isOverall = overall <= atRate;
    return await this.#deadline.within(promise, Math.max(1, Math.min(overall, atRate) - Date.now()));
  }
}

/** A buffer for a body that says how long it is. Null: it does not, it is long, or too many are awaited. */
function announce({ announced, holder }: BodyBudget, claimed: string | null): Taking | null {
  const bytes = Number(claimed);
  if (claimed === null || !(bytes >= 0 && bytes <= oneReadBytesMax)) {
    return null;
  }
  const now = Date.now();
  return announced.take(holder, bytes + 1, now, now + limits.bodyTimeoutMs);
}

/** Undefined for a stream that was made in JavaScript: a test's, never a client's. */
function byteReaderOf(body: ReadableStream<Uint8Array>): ReadableStreamBYOBReader | undefined {
  try {
    return body.getReader({ mode: "byob" });
  } catch {
    return undefined;
  }
}

/** Reads a body that says to have `claimed` bytes. It asks for one byte more, so that a longer one is seen. */
async function fillAtOnce(
  buffer: GrowingBuffer,
  reader: ReadableStreamBYOBReader,
  claimed: number,
  patience: Patience,
): Promise<Refusal | undefined> {
  const all = new Uint8Array(claimed + 1);
  const { value } = await patience.within(reader.readAtLeast(all.length, all), claimed);
  return value === undefined || value.length === 0 || buffer.append(value) ? undefined : noRoom;
}

/** A second look at the framing, which is the server's: a stream that failed can end as if it were complete. */
function incomplete(bytes: number, claimed: string | null): Refusal | undefined {
  return claimed !== null && Number(claimed) !== bytes
    ? { reason: "broken_body", ...numbers(bytes, claimed) }
    : undefined;
}

function numbers(received: number | undefined, claimed: string | null) {
  return { received, claimed: claimed === null ? undefined : Number(claimed) };
}

async function fill(
  buffer: GrowingBuffer,
  reader: ReadableStreamDefaultReader<Uint8Array>,
  patience: Patience,
  tooLarge: () => Refusal,
): Promise<Refusal | undefined> {
  for (;;) {
    const { done, value } = await patience.within(reader.read(), buffer.length);
    if (done) {
      return undefined;
    }
    if (buffer.length + value.length > limits.bodyBytesMax) {
      return tooLarge();
    }
    if (!buffer.append(value)) {
      return noRoom;
    }
  }
}

/**
 * Bytes appended one chunk after another, in one buffer: a client that sends a body byte by byte costs a copy and not
 * twenty million objects. What the buffer holds is taken from the budget, and so bounded by it.
 */
class GrowingBuffer {
  readonly #budget: BodyBudget;
  readonly #bytesExpected: number;
  #taking: Taking | null = null;
  #bytes: Uint8Array = new Uint8Array(0);
  #released = false;
  length = 0;

  /** `bytesExpected`: what the client says, or the most. It doubles no further; nothing is made before bytes have come. */
  constructor(budget: BodyBudget, bytesExpected: number) {
    this.#budget = budget;
    this.#bytesExpected = bytesExpected;
  }

  /** False when the budget does not have the bytes, or the body has been given up. */
  append(chunk: Uint8Array): boolean {
    const needed = this.length + chunk.length;
    if (this.#released) {
      return false;
    }
    if (this.length === 0) {
      // Most bodies come in one chunk: it is kept as it is.
      if (!this.#take(chunk.length)) {
        return false;
      }
      this.#bytes = chunk;
    } else {
      const isRoom = needed <= this.#bytes.length ? this.#take(0) : this.#grow(needed);
      if (!isRoom) {
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
      Math.max(needed, this.#bytesExpected),
    );
    if (!this.#take(capacity - this.#bytes.length)) {
      return false;
    }
    const larger = new Uint8Array(capacity);
    larger.set(this.#bytes.subarray(0, this.length));
    this.#bytes = larger;
    return true;
  }

  /** More bytes, until a while after now: a body of which nothing comes any more holds nothing. */
  #take(bytes: number): boolean {
    const { budget, holder } = this.#budget;
    const now = Date.now();
    if (this.#taking === null) {
      this.#taking = budget.take(holder, bytes, now, now + limits.bodyIdleMs);
      return this.#taking !== null;
    }
    return budget.grow(this.#taking, bytes, now, now + limits.bodyIdleMs);
  }

  bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  /** The body is complete: its bytes are in hand until it is stored. */
  hold(): void {
    if (this.#taking !== null) {
      this.#taking.expiresAt = Date.now() + limits.bodyHeldMs;
    }
  }

  /** Gives everything back to the budget. */
  readonly release = (): void => {
    this.#released = true;
    this.#taking?.give();
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
