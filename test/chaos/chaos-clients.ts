/**
 * The clients of a chaos run: they send OTLP bodies made by the real SDK, as exporters do. What was not answered 200 is
 * sent again, byte for byte; and what was answered 200 is sometimes sent again too, as by a client that lost the answer.
 */
import { request } from "node:http";
import { gzipSync } from "node:zlib";
import { JsonTraceSerializer, ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { RandomIdGenerator } from "@opentelemetry/sdk-trace";
import { generateSpans } from "../../dev/send/generate-spans.ts";
import type { SeededRandom } from "../../dev/send/seeded-random.ts";
import { toHex } from "../../shared/hex.ts";
import { DAY_MS } from "../../shared/limits.ts";
import { payloadIdToBytes } from "../../shared/payload-key.ts";
import { idOfBody } from "../fixtures/id-of-body.ts";
import type { Addresses } from "./chaos-pipeline.ts";
import type { Fault } from "./faults.ts";

/** A resource attribute of poison payloads; the table's CONSTRAINT refuses it. */
export const poisonAttribute = "chaos.poison";

type Kind = "usual" | "poison" | "wide" | "slow" | "too_old" | "sampled";

export interface SentPayload {
  /** As HeadracePayload of its rows, in hex. */
  readonly id: string;
  readonly kind: Kind;
  readonly spanIds: readonly string[];
  /** Spans that the table's TTL drops: in ClickHouse they may be missing. */
  readonly tooOld: ReadonlySet<string>;
  /** What a key that keeps half of the traces keeps of it; undefined: its key keeps all, always. */
  readonly half: readonly string[] | undefined;
  readonly sentAt: number;
  /** Answered 200 at least once. */
  accepted: boolean;
  /** Answered 400: its spans are all too old for the table, and the ingress knows it. */
  refused: boolean;
  /** When the first 200 came, ms since the epoch. */
  acceptedAt: number;
}

interface Body {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly headers: Readonly<Record<string, string>>;
  readonly sent: SentPayload;
  /** Its client is on a slow line, at each try. */
  readonly isSlow: boolean;
}

const spansMost = 40;
const poisonShare = 0.1;
const specialShare = 0.3;
const specials = ["wide", "slow", "too_old", "sampled", "sampled"] as const;
/** The first payloads of a run are these, so that the shortest run has each. */
const firstKinds: readonly Kind[] = ["too_old", "poison", "sampled", "wide", "slow", "sampled", "too_old"];
/** Of all payloads, those whose spans lie on three days: three partitions of one INSERT. */
const oldShare = 0.25;
const sendAgainShare = 0.05;
const sampledAgainShare = 0.15;
const hangUpShare = 0.15;
const slowUploadShare = 0.08;
/** The table of a run keeps its rows so long; `tooOld` spans are older by two days at least. */
export const tableDays = 4;
const tooOldDays = 6;
/** 200 rows of 30 kB: 6 MB of rows of a body of 10 kB. */
const wideSpans = 200;
const wideText = 30_000;
const slowSpans = 60;
const slowAttributes = 2000;
/** Of many traces, so that half of them is neither none nor all. */
const sampledSpans = 40;

const tenantOf = (kind: Kind): string => (kind === "sampled" ? sampledTenant : "dev");
export const sampledTenant = "sampled";

function resourceOf(kind: Kind, random: SeededRandom): Record<string, string> {
  switch (kind) {
    case "poison":
      return { [poisonAttribute]: "yes" };
    case "wide":
      return { blob: "x".repeat(wideText) };
    case "slow":
      return Object.fromEntries(
        Array.from({ length: slowAttributes }, (_, n) => [`attribute.${n}`, String(random.fraction())]),
      );
    default:
      return {};
  }
}

function spansOf(kind: Kind, random: SeededRandom): number {
  switch (kind) {
    case "wide":
      return wideSpans;
    case "slow":
      return slowSpans;
    case "sampled":
      return sampledSpans;
    default:
      return random.integer(1, spansMost);
  }
}

/** OpenTelemetry's rule: a trace is kept by a half when the last 7 bytes of its id, as a number, are 2^55 or more. */
function isInHalf(traceId: string): boolean {
  return Number.parseInt(traceId.slice(18, 20), 16) >= 0x80;
}

async function makeBody(random: SeededRandom, kind: Kind, isFirst: boolean): Promise<Body> {
  const isOld = kind === "usual" && random.chance(oldShare);
  const spans = spansOf(kind, random);
  const windowMs = isOld ? 2 * DAY_MS : 60_000;
  const generate = (count: number, startMs: number, window: number) =>
    [
      ...generateSpans({
        spans: count,
        services: 2,
        seed: random.integer(0, 1_000_000),
        batchSpans: count,
        startMs,
        windowMs: window,
        resource: resourceOf(kind, random),
        ids: new RandomIdGenerator(),
      }),
    ].flat();
  const tooOld =
    kind === "too_old"
      ? generate(random.integer(1, spansMost), Date.now() - tooOldDays * DAY_MS, 60_000)
      : [];
  const isAllTooOld = kind === "too_old" && (isFirst || random.chance(0.5));
  const made = [...tooOld, ...(isAllTooOld ? [] : generate(spans, Date.now() - windowMs - 1000, windowMs))];
  const isJson = random.chance(0.3);
  const serializer = isJson ? JsonTraceSerializer : ProtobufTraceSerializer;
  const plain = serializer.serializeRequest(made) ?? new Uint8Array();
  const isGzip = kind === "wide" || kind === "slow" || random.chance(0.5);
  const bytes = new Uint8Array(isGzip ? gzipSync(plain) : plain);
  const id = await idOfBody(tenantOf(kind), isJson ? "json" : "pb", isGzip ? "gzip" : "identity", bytes);
  const idOf = (span: (typeof made)[number]) => span.spanContext().spanId;
  return {
    bytes,
    headers: {
      "content-type": isJson ? "application/json" : "application/x-protobuf",
      ...(isGzip ? { "content-encoding": "gzip" } : {}),
    },
    sent: {
      id: toHex(payloadIdToBytes(id)),
      kind,
      spanIds: made.map(idOf),
      tooOld: new Set(tooOld.map(idOf)),
      half:
        kind === "sampled"
          ? made.filter((span) => isInHalf(span.spanContext().traceId)).map(idOf)
          : undefined,
      sentAt: Date.now(),
      accepted: false,
      refused: false,
      acceptedAt: 0,
    },
    isSlow: kind === "slow" || (kind !== "wide" && random.chance(slowUploadShare)),
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
  /** Payloads that are refused, wide, slow, too old or sampled, and connections that break; else usual ones only. */
  readonly special: boolean;
  /** Where the pipeline is at this moment; undefined: it is down. */
  readonly addresses: () => Addresses | undefined;
  /** New payloads are begun as long as this is true. */
  readonly goOn: () => boolean;
  /** A payload that was not answered 200 until then is given up, ms since the epoch. */
  readonly giveUpAt: number;
  readonly onFault: (fault: Fault) => void;
}

/** Longer than a slow upload takes. */
const requestMs = 15_000;
const slowPieces = 8;
const slowPauseMs = 500;
/** Bodies of one burst of connections that break off, and what comes of each: together most of what a key may have. */
const burstUploads = 16;
const burstBytes = 1_000_000;
const burstEveryMs = 2000;
const lastBurstEveryMs = 500;
const burstsAtLast = 4;
/** So long is waited before a connection is reset: what the server has not read by then is lost with it. */
const resetMs = 1000;
const retryMs = 300;

export function startClients(options: ClientsOptions): Clients {
  const { random, onFault } = options;
  const payloads: SentPayload[] = [];
  const sampled: Body[] = [];
  let refusals = 0;
  let count = 0;

  async function post(body: Body): Promise<boolean> {
    const addresses = options.addresses();
    if (addresses === undefined) {
      refusals += 1;
      return false;
    }
    const key = body.sent.kind === "sampled" ? addresses.sampledKey : addresses.key;
    const headers = { ...body.headers, "x-api-key": key };
    const hurt = options.special ? random.fraction() : 1;
    if (options.special && (hurt < hangUpShare || count <= firstKinds.length)) {
      onFault("hung_up");
      await hangUp(addresses.otlp, headers, body.bytes, random.integer(0, body.bytes.length));
    }
    if (body.isSlow) {
      onFault("slow_upload");
    }
    try {
      const status = await upload(addresses.otlp, headers, body.bytes, body.isSlow ? slowPieces : 1);
      if (status === 200) {
        return true;
      }
      if (status === 400 && body.sent.spanIds.length === body.sent.tooOld.size) {
        body.sent.refused = true;
        return false;
      }
      if (![429, 502, 503, 504].includes(status)) {
        throw new WrongAnswer(`a good body (${body.sent.kind}) was answered ${status}`);
      }
    } catch (error) {
      if (error instanceof WrongAnswer) {
        throw error;
      }
    }
    refusals += 1;
    return false;
  }

  function nextKind(): Kind {
    if (!options.special) {
      return "usual";
    }
    const first = firstKinds[count++];
    if (first !== undefined) {
      return first;
    }
    if (random.chance(poisonShare)) {
      return "poison";
    }
    return random.chance(specialShare) ? random.pick(specials) : "usual";
  }

  async function client(): Promise<void> {
    while (options.goOn()) {
      const kind = nextKind();
      const body = await makeBody(random, kind, payloads.length === 0);
      payloads.push(body.sent);
      if (kind === "sampled") {
        sampled.push(body);
      } else if (kind !== "usual") {
        onFault(kind);
      }
      while (!body.sent.accepted && !body.sent.refused && Date.now() < options.giveUpAt) {
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
      if (sampled.length > 0 && random.chance(sampledAgainShare)) {
        onFault("sent_again");
        await post(random.pick(sampled)); // perhaps under another share than before
      }
      await sleep(options.pauseMs * (0.5 + random.fraction()));
    }
  }

  /** Large uploads that break off in the middle, several at once. */
  async function breakOff(): Promise<void> {
    const junk = new Uint8Array(burstBytes);
    // The last ones come when nothing dies any more: what they leave behind is what the payloads after them meet.
    for (let last = burstsAtLast; options.goOn() || last > 0; last -= options.goOn() ? 0 : 1) {
      const addresses = options.addresses();
      if (addresses !== undefined) {
        const headers = { "x-api-key": addresses.key, "content-type": "application/x-protobuf" };
        await Promise.all(
          Array.from({ length: burstUploads }, () => {
            onFault("hung_up");
            return hangUp(addresses.otlp, headers, junk, random.integer(burstBytes / 2, burstBytes - 1));
          }),
        );
      }
      await sleep(options.goOn() ? burstEveryMs : lastBurstEveryMs);
    }
  }

  const ended = Promise.all([
    ...Array.from({ length: options.clients }, client),
    ...(options.special ? [breakOff()] : []),
  ]).then(() => undefined);
  return { payloads, refusals: () => refusals, ended };
}

class WrongAnswer extends Error {}

/** Sends the body in so many pieces with pauses between them. Throws when no whole answer came. */
function upload(
  otlp: string,
  headers: Readonly<Record<string, string>>,
  bytes: Uint8Array,
  pieces: number,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      `${otlp}/v1/traces`,
      {
        method: "POST",
        headers: { ...headers, "content-length": bytes.length },
        agent: false,
        signal: AbortSignal.timeout(requestMs),
      },
      (answer) => {
        answer.resume();
        answer.once("error", reject);
        answer.once("close", () =>
          answer.complete ? resolve(answer.statusCode ?? 0) : reject(new Error("the answer broke off")),
        );
      },
    );
    outgoing.once("error", reject);
    void (async () => {
      for (let n = 0; n < pieces && !outgoing.destroyed; n++) {
        const from = Math.floor((bytes.length * n) / pieces);
        outgoing.write(bytes.subarray(from, Math.floor((bytes.length * (n + 1)) / pieces)));
        await sleep(n + 1 < pieces ? slowPauseMs : 0);
      }
      outgoing.end();
    })();
  });
}

/** Begins an upload, and resets the connection when `cut` bytes of the body have been written. */
function hangUp(
  otlp: string,
  headers: Readonly<Record<string, string>>,
  bytes: Uint8Array,
  cut: number,
): Promise<void> {
  return new Promise((resolve) => {
    const outgoing = request(
      `${otlp}/v1/traces`,
      { method: "POST", headers: { ...headers, "content-length": bytes.length }, agent: false },
      (answer) => answer.resume(),
    );
    outgoing.on("error", () => undefined);
    outgoing.once("close", () => resolve());
    outgoing.flushHeaders();
    outgoing.write(bytes.subarray(0, cut), () => {
      setTimeout(() => {
        outgoing.socket?.resetAndDestroy();
        outgoing.destroy();
      }, resetMs);
    });
  });
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
