/**
 * A proxy between a client and the ingress that refuses requests on command, with the answers that the ingress gives,
 * and records every attempt to send traces.
 */
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { ContentEncoding } from "../../shared/messages.ts";
import { statusBody } from "../../shared/otlp/responses.ts";
import type { BodyType } from "../../shared/payload-key.ts";
import { idOfBody } from "../fixtures/id-of-body.ts";

/**
 * - `pass`: the ingress answers.
 * - `429`, `503`: the ingress never sees the request.
 * - `stored_503`: the ingress takes the request; its answer is lost, and the client gets 503.
 */
export type Fault = "pass" | "429" | "503" | "stored_503";

export interface Try {
  /** ms since the epoch */
  readonly at: number;
  /** What the client was answered. */
  readonly status: number;
  readonly type: BodyType;
  /** As the client named it; "identity" where it did not. */
  readonly encoding: string;
  /** The id that the ingress gives to a payload of this body. */
  readonly payload: string;
  readonly userAgent: string;
}

export interface FaultProxy {
  readonly url: string;
  /** What happens to the next requests, in order; then `pass`. */
  readonly faults: Fault[];
  /** Whether a request was answered 200 since the last `take`. */
  delivered(): boolean;
  /** Every request since the last `take`, oldest first. */
  take(): readonly Try[];
  stop(): Promise<void>;
}

export const retryAfterSeconds = 1;

export async function startFaultProxy(target: string, tenant: string): Promise<FaultProxy> {
  const faults: Fault[] = [];
  let tries: Try[] = [];
  const server: Server = createServer(async (incoming, outgoing) => {
    const at = Date.now();
    const body = await bodyOf(incoming);
    const type: BodyType =
      incoming.headers["content-type"]?.startsWith("application/json") === true ? "json" : "pb";
    const encoding = incoming.headers["content-encoding"] ?? "identity";
    // Deno sends metrics, whatever the variables say: no try, and the ingress's own refusal.
    const isOfTraces = incoming.url === "/v1/traces";
    const fault = isOfTraces ? (faults.shift() ?? "pass") : "pass";
    const forwarded =
      fault === "pass" || fault === "stored_503" ? await forward(target, incoming, body) : undefined;
    const status = fault === "pass" ? (forwarded?.status ?? 502) : fault === "429" ? 429 : 503;
    if (isOfTraces) {
      const payload = await idOfBody(tenant, type, encoding as ContentEncoding, body);
      tries.push({ at, status, type, encoding, payload, userAgent: incoming.headers["user-agent"] ?? "" });
    }
    if (fault === "pass" && forwarded !== undefined) {
      outgoing.writeHead(forwarded.status, forwarded.headers);
      outgoing.end(forwarded.body);
      return;
    }
    outgoing.writeHead(status, {
      "content-type": type === "json" ? "application/json" : "application/x-protobuf",
      "retry-after": String(retryAfterSeconds),
    });
    outgoing.end(statusBody(type, "The proxy of the client tests refuses this request. Try again."));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    faults,
    delivered: () => tries.some(({ status }) => status === 200),
    take() {
      const taken = tries;
      tries = [];
      return taken;
    },
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function bodyOf(incoming: IncomingMessage): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) {
    chunks.push(chunk as Buffer);
  }
  return new Uint8Array(Buffer.concat(chunks));
}

async function forward(
  target: string,
  { url, method, headers }: IncomingMessage,
  body: Uint8Array<ArrayBuffer>,
) {
  const sent = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    if (
      typeof value === "string" &&
      !["host", "connection", "content-length", "transfer-encoding"].includes(name)
    ) {
      sent.set(name, value);
    }
  }
  const answer = await fetch(`${target}${url}`, { method: method ?? "POST", headers: sent, body });
  const got = Buffer.from(await answer.arrayBuffer());
  const kept = Object.fromEntries(
    [...answer.headers].filter(
      ([name]) => !["content-encoding", "content-length", "connection"].includes(name),
    ),
  );
  return { status: answer.status, headers: kept, body: got };
}
