/**
 * The clients of a chaos run: they send OTLP bodies made by the real SDK, as exporters do. What was not answered 200 is
 * sent again, byte for byte; and what was answered 200 is sometimes sent again too, as by a client that lost the answer.
 */
import { gzipSync } from "node:zlib";
import { JsonTraceSerializer, ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { RandomIdGenerator } from "@opentelemetry/sdk-trace";
import { generateSpans } from "../../dev/send/generate-spans.ts";
import type { SeededRandom } from "../../dev/send/seeded-random.ts";
import { toHex } from "../../shared/hex.ts";
import { DAY_MS } from "../../shared/limits.ts";
import { payloadId, payloadIdToBytes } from "../../shared/payload-key.ts";
import type { Addresses } from "./chaos-pipeline.ts";
import type { Fault } from "./faults.ts";

/** A resource attribute of poison payloads; the table's CONSTRAINT refuses it. */
export const poisonAttribute = "chaos.poison";

export interface SentPayload {
  /** As HeadracePayload of its rows, in hex. */
  readonly id: string;
  readonly spanIds: readonly string[];
  readonly isPoison: boolean;
  readonly sentAt: number;
  /** Answered 200 at least once. */
  accepted: boolean;
  /** When the first 200 came, ms since the epoch. */
  acceptedAt: number;
}

interface Body {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly headers: Readonly<Record<string, string>>;
  readonly sent: SentPayload;
}

const spansMost = 40;
const poisonShare = 0.1;
/** Of all payloads, those whose spans lie on three days: three partitions of one INSERT. */
const oldShare = 0.25;
const sendAgainShare = 0.05;

async function makeBody(random: SeededRandom, poison: boolean): Promise<Body> {
  const isOld = random.chance(oldShare);
  const spans = random.integer(1, spansMost);
  const windowMs = isOld ? 2 * DAY_MS : 60_000;
  const made = [
    ...generateSpans({
      spans,
      services: 2,
      seed: random.integer(0, 1_000_000),
      batchSpans: spans,
      startMs: Date.now() - windowMs - 1000,
      windowMs,
      resource: poison ? { [poisonAttribute]: "yes" } : {},
      ids: new RandomIdGenerator(),
    }),
  ].flat();
  const isJson = random.chance(0.3);
  const serializer = isJson ? JsonTraceSerializer : ProtobufTraceSerializer;
  const plain = serializer.serializeRequest(made) ?? new Uint8Array();
  const isGzip = random.chance(0.5);
  const bytes = new Uint8Array(isGzip ? gzipSync(plain) : plain);
  const id = await payloadId("dev", isJson ? "json" : "pb", isGzip ? "gzip" : "identity", bytes);
  return {
    bytes,
    headers: {
      "content-type": isJson ? "application/json" : "application/x-protobuf",
      ...(isGzip ? { "content-encoding": "gzip" } : {}),
    },
    sent: {
      id: toHex(payloadIdToBytes(id)),
      spanIds: made.map((span) => span.spanContext().spanId),
      isPoison: poison,
      sentAt: Date.now(),
      accepted: false,
      acceptedAt: 0,
    },
  };
}

export interface Clients {
  readonly payloads: readonly SentPayload[];
  /** Requests that were not answered 200. */
  refusals(): number;
  /** Resolves when the last client has ended: what it was sending has been answered, or given up at the deadline. */
  readonly ended: Promise<void>;
}

export interface ClientsOptions {
  readonly random: SeededRandom;
  readonly clients: number;
  /** Between two payloads of one client. */
  readonly pauseMs: number;
  readonly poison: boolean;
  /** Where the pipeline is at this moment; undefined: it is down. */
  readonly addresses: () => Addresses | undefined;
  /** New payloads are begun as long as this is true. */
  readonly goOn: () => boolean;
  /** A payload that was not answered 200 until then is given up, ms since the epoch. */
  readonly giveUpAt: number;
  readonly onFault: (fault: Fault) => void;
}

const requestMs = 10_000;
const retryMs = 300;

export function startClients(options: ClientsOptions): Clients {
  const { random, onFault } = options;
  const payloads: SentPayload[] = [];
  let refusals = 0;

  async function post(body: Body): Promise<boolean> {
    const addresses = options.addresses();
    if (addresses === undefined) {
      refusals += 1;
      return false;
    }
    try {
      const response = await fetch(`${addresses.otlp}/v1/traces`, {
        method: "POST",
        headers: { ...body.headers, "x-api-key": addresses.key },
        body: body.bytes,
        signal: AbortSignal.timeout(requestMs),
      });
      await response.arrayBuffer();
      if (response.status === 200) {
        return true;
      }
      if (![429, 502, 503, 504].includes(response.status)) {
        throw new Error(`a good body was answered ${response.status}`);
      }
    } catch (error) {
      if (!(error instanceof TypeError || (error instanceof Error && error.name === "TimeoutError"))) {
        throw error;
      }
    }
    refusals += 1;
    return false;
  }

  async function client(): Promise<void> {
    while (options.goOn()) {
      // The first payload is one, so that the shortest run has it.
      const poison = options.poison && (payloads.length === 0 || random.chance(poisonShare));
      const body = await makeBody(random, poison);
      payloads.push(body.sent);
      if (poison) {
        onFault("poison");
      }
      while (!body.sent.accepted && Date.now() < options.giveUpAt) {
        body.sent.accepted = await post(body);
        body.sent.acceptedAt = Date.now();
        if (!body.sent.accepted) {
          await sleep(retryMs);
        }
      }
      if (random.chance(sendAgainShare)) {
        onFault("sent_again");
        await post(body);
      }
      await sleep(options.pauseMs * (0.5 + random.fraction()));
    }
  }

  const ended = Promise.all(Array.from({ length: options.clients }, client)).then(() => undefined);
  return { payloads, refusals: () => refusals, ended };
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
