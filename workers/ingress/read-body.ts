/**
 * Reads a request's body, bounded before and while reading. A Content-Length is a claim: it can refuse early, and
 * never replaces counting (RFC 9112 section 6.3 allows a body without one).
 */
import { limits } from "../../shared/limits.ts";
import { ok, type Result, refuse } from "../../shared/result.ts";
import type { BytesInHand } from "./bytes-in-hand.ts";
import type { Refusal } from "./refusal.ts";

const tooLarge: Refusal = {
  reason: "too_large",
  message: `The body is larger than ${limits.bodyBytesMax} bytes as received. Send fewer spans a request (OTEL_BSP_MAX_EXPORT_BATCH_SIZE=512) or compress (OTEL_EXPORTER_OTLP_COMPRESSION=gzip).`,
};

const busy: Refusal = {
  reason: "busy",
  message: "Too many bodies are being received at this moment. Try again.",
};

/** A body read into memory; its bytes stay taken from the budget until `release` is called, once. */
export interface HeldBody {
  readonly bytes: Uint8Array;
  readonly release: () => void;
}

/** Reads the whole body. Refuses with `too_large` above `limits.bodyBytesMax`, with `busy` above the budget. */
export async function readBody(request: Request, budget: BytesInHand): Promise<Result<HeldBody, Refusal>> {
  if (Number(request.headers.get("content-length") ?? 0) > limits.bodyBytesMax) {
    await request.body?.cancel();
    return refuse(tooLarge);
  }
  const chunks: Uint8Array[] = [];
  let taken = 0;
  try {
    for await (const chunk of request.body ?? []) {
      if (taken + chunk.length > limits.bodyBytesMax) {
        budget.give(taken);
        return refuse(tooLarge);
      }
      if (!budget.take(chunk.length)) {
        budget.give(taken);
        return refuse(busy);
      }
      taken += chunk.length;
      chunks.push(chunk);
    }
  } catch (error) {
    budget.give(taken);
    throw new Error("the request's body broke off", { cause: error });
  }
  return ok({ bytes: joined(chunks, taken), release: () => budget.give(taken) });
}

/**
 * Reads and drops the body of a request that is refused anyway, up to the limit: a client that is still sending
 * would see a reset connection instead of the answer, and would retry what must not be retried.
 */
export async function drainBody(request: Request): Promise<void> {
  let drained = 0;
  try {
    for await (const chunk of request.body ?? []) {
      drained += chunk.length;
      if (drained > limits.bodyBytesMax) {
        return;
      }
    }
  } catch {
    // The client has gone: there is nobody left to answer, and nothing of the body was wanted.
  }
}

function joined(chunks: readonly Uint8Array[], length: number): Uint8Array {
  const [only] = chunks;
  if (only !== undefined && chunks.length === 1) {
    return only;
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
