/**
 * The story of one POST /v1/traces, from its headers to its payload in R2. It words nothing and answers nothing: it returns
 * what came of the request, or why it is refused, and the Worker's edge answers.
 */
import { assert } from "../../shared/assert.ts";
import { ByteBudget } from "../../shared/byte-budget.ts";
import { type BypassReason, unmeteredReason } from "../../shared/collect/bypass.ts";
import { isCollected } from "../../shared/collect/gathering.ts";
import { KnownCollectors } from "../../shared/collect/known-collectors.ts";
import { type Acceptance, acceptPayload } from "../../shared/delivery/acceptance.ts";
import { perform } from "../../shared/effect.ts";
import { parseIdTimeFrom } from "../../shared/id-time.ts";
import { limits } from "../../shared/limits.ts";
import { countsOf, type PayloadMetadata } from "../../shared/messages.ts";
import {
  type Inspection,
  partialMessage,
  rejectionMessage,
  type SpanBounds,
} from "../../shared/otlp/inspect.ts";
import { repairsCount } from "../../shared/otlp/repairs.ts";
import { sampleThreshold } from "../../shared/otlp/sample-threshold.ts";
import { formatPayloadKey, payloadId } from "../../shared/payload-key.ts";
import { ok, type Result, refuse } from "../../shared/result.ts";
import { spanAges, type TableLimits } from "../../shared/table-limits.ts";
import { writeLog } from "../../shared/write-log.ts";
import type { PartialSuccess, Success } from "./answer.ts";
import { authenticate, KeyMemory, type Sender } from "./authenticate.ts";
import type { IngressBindings } from "./bindings.ts";
import { budget } from "./bytes-in-hand.ts";
import {
  type Charge,
  type Cost,
  isCharged,
  type Leases,
  noCharge,
  openCharge,
  overLimit,
} from "./charge-request.ts";
import { checkPayload } from "./check-payload.ts";
import { type Content, readContent } from "./content.ts";
import { forbiddenOrigin } from "./cors.ts";
import type { Deadline } from "./deadline.ts";
import { FruitlessRequests } from "./fruitless-requests.ts";
import { type AcceptedPayload, acceptancePerformer, NotifiedKeys } from "./perform-acceptance.ts";
import { readBody } from "./read-body.ts";
import { answerOf, type Refusal } from "./refusal.ts";
import { TableMemory } from "./table-memory.ts";
import type { Tally } from "./tally.ts";

/** One request, and what belongs to it. */
export interface Asked {
  readonly request: Request;
  readonly env: IngressBindings;
  readonly ctx: ExecutionContext;
  readonly tally: Tally;
  readonly deadline: Deadline;
}

// One per Worker instance, shared by its requests.
const keyMemory = new KeyMemory();
const tableMemory = new TableMemory();
const leases: Leases = new Map();
const fruitless = new FruitlessRequests();
const notifiedKeys = new NotifiedKeys();
const knownCollectors = new KnownCollectors();
const announced = new ByteBudget(limits.announcedBytesMax);

/** A body without spans that is longer than this is most likely a mistake (fields of other names, say): it gets a warning. */
const emptyBodyBytesQuiet = 100;

export async function receiveTraces(asked: Asked): Promise<Result<Success, Refusal>> {
  const { request, env, ctx, tally, deadline } = asked;
  const { headers } = request;
  const content = readContent(headers);
  if (!content.ok) {
    return content;
  }
  const sender = await authenticate(headers, env, keyMemory, Date.now(), tally);
  if (keyMemory.list.isDue(Date.now())) {
    ctx.waitUntil(keyMemory.list.read(env.KEYS, Date.now()));
  }
  if (!sender.ok) {
    return sender;
  }
  const barred = forbiddenOrigin(headers, sender.value.record) ?? overAllowance(sender.value);
  if (barred !== undefined) {
    return refuse(barred);
  }
  const table = await tableMemory.read(env.PAYLOADS, Date.now(), deadline);
  const stored = readAndStore(asked, content.value, sender.value, table);
  // A client that hangs up would otherwise end the work here and now, and with it whatever gives back what it holds.
  ctx.waitUntil(stored.catch(() => undefined));
  return await stored;
}

function overAllowance(sender: Sender): Refusal | undefined {
  const now = Date.now();
  const over = overLimit(sender, leases, now);
  return over ?? (sender.record.spansPerSecond === null ? fruitless.refusal(sender, now) : undefined);
}

/** Its bytes are held from the first one until the payload is stored or refused. */
async function readAndStore(
  asked: Asked,
  content: Content,
  sender: Sender,
  table: TableLimits,
): Promise<Result<Success, Refusal>> {
  const body = await readBody(asked.request, { budget, announced, holder: sender.id }, asked.deadline);
  if (!body.ok) {
    return body;
  }
  try {
    const { bytes } = body.value;
    const charge = isCharged(sender)
      ? await openCharge(sender, bytes.length, asked.env.METER, leases, asked.tally)
      : ok(noCharge);
    return charge.ok ? await storeCharged(asked, bytes, content, sender, table, charge.value) : charge;
  } finally {
    body.value.release();
  }
}

/** What is answered 429 or 503 costs the sender nothing; what brings nothing to store costs what looking at it took. */
async function storeCharged(
  asked: Asked,
  body: Uint8Array,
  content: Content,
  sender: Sender,
  table: TableLimits,
  charge: Charge,
): Promise<Result<Success, Refusal>> {
  let cost: Cost = "nothing";
  try {
    const stored = await store(asked, body, content, sender, table, charge);
    cost = costOf(stored, body.length);
    // What sampling leaves out is what the operator chose.
    const isSampled = stored.ok && stored.value.outcome === "sampled";
    if (typeof cost === "object" && !isSampled && sender.record.spansPerSecond === null) {
      fruitless.add(sender, cost.lookBytes, Date.now());
    }
    return stored;
  } finally {
    charge.settle(cost);
  }
}

function costOf(stored: Result<Success, Refusal>, bodyBytes: number): Cost {
  if (stored.ok) {
    return stored.value.isNew ? "all" : { lookBytes: Math.max(bodyBytes, stored.value.inflatedBytes) };
  }
  const { reason, inflatedBytes = 0 } = stored.refusal;
  return answerOf(reason).retryable ? "nothing" : { lookBytes: Math.max(bodyBytes, inflatedBytes) };
}

async function store(
  asked: Asked,
  body: Uint8Array,
  content: Content,
  sender: Sender,
  table: TableLimits,
  charge: Charge,
): Promise<Result<Success, Refusal>> {
  const { env, tally } = asked;
  const { tenant, sample, spanAgeDays } = sender.record;
  tally.bytes = body.length;
  const arrival = Date.now(); // the body is complete; the put follows at once, or after a call to the Meter
  const bounds = spanBounds(arrival, sample, spanAges(table, spanAgeDays));
  const checked = checkPayload(body, content, bounds, budget.roomAt(arrival));
  if (!checked.ok) {
    return checked;
  }
  const { inspection, inflatedBytes, repairedTexts } = checked.value;
  const { spans, rejectedSpans, sampledSpans, contentMinute } = inspection;
  tally.spans = spans;
  tally.rejectedSpans = rejectedSpans;
  tally.sampledSpans = sampledSpans;
  if (spans === 0) {
    return ok(nothingStored(content, inspection, inflatedBytes));
  }
  const metered =
    charge === noCharge
      ? ok(true)
      : await charge.spend({ spans, bytes: Math.max(body.length, inflatedBytes) });
  if (!metered.ok) {
    return metered;
  }
  const metadata = {
    version: "1",
    type: content.type,
    encoding: content.encoding,
    spans,
    rejectedSpans,
    inflatedBytes,
    outputBytes: Math.max(inspection.outputBytes, body.length),
    arrival,
    oldestDay: inspection.oldestDay,
    ...bounds,
    repairs: repairsCount(inspection.repairs),
    repairedTexts,
  } satisfies PayloadMetadata;
  const from = idTimeFrom(env);
  const id = await payloadId(tenant, content.type, content.encoding, body, { contentMinute, from });
  const { acceptance, cameEarlier } = await accept(asked, { id, tenant, metadata, body });
  if (acceptance.kind === "unreachable") {
    return refuse({ reason: "store_unreachable" });
  }
  const isDuplicate = acceptance.kind === "duplicate" || cameEarlier;
  if (isDuplicate) {
    writeLog("log", { outcome: "accepted", payload: acceptance.key, duplicate: true });
  }
  const message = partialMessage(inspection);
  if (metadata.repairs !== 0) {
    writeLog("warn", { outcome: "accepted", payload: acceptance.key, repairs: metadata.repairs, message });
  }
  return ok({
    outcome: "accepted",
    reason: metered.value ? (tally.bypassed ?? acceptance.kind) : unmeteredReason(tally.bypassed),
    isNew: !isDuplicate,
    inflatedBytes,
    type: content.type,
    partial: partialSuccess(metadata, message, acceptance),
    headers: {
      "x-headrace-payload": id,
      ...(isDuplicate ? { "x-headrace-duplicate": "1" } : {}),
    },
  });
}

/** Into R2, by the collector or alone. `cameEarlier`: equal bytes came in a minute before, as far as this isolate knows. */
async function accept({ env, ctx, deadline, tally }: Asked, accepted: AcceptedPayload) {
  const { id, tenant, metadata, body } = accepted;
  const payload = formatPayloadKey(metadata.arrival, tenant, id);
  const cameEarlier = notifiedKeys.hasEarlier(payload, id);
  const waitUntil = (promise: Promise<unknown>): void => ctx.waitUntil(promise);
  const isToCollect = env.COLLECT !== "off" && isCollected({ ...metadata, bytes: body.length });
  const choice = isToCollect ? knownCollectors.choose(id, Date.now()) : null;
  if (choice?.way === "collector is paused") {
    tally.bypassed = knownCollectors.pauseOf(choice.collector).why;
  }
  const collecting =
    choice?.way === "collector"
      ? {
          collector: choice.collector,
          known: knownCollectors,
          bypassed: (why: BypassReason): void => {
            tally.bypassed = why;
          },
        }
      : null;
  const isNotified = (): boolean => notifiedKeys.has(payload, id, Date.now());
  try {
    const acceptance = await perform(
      acceptPayload(payload, countsOf(metadata), isNotified, collecting !== null),
      acceptancePerformer(env, accepted, collecting, notifiedKeys, deadline, waitUntil),
    );
    return { acceptance, cameEarlier };
  } finally {
    if (choice?.way === "alone by advice") {
      knownCollectors.advised.aloneEnded();
    }
  }
}

/** A wrong one would give ids that no retry has had: nothing is accepted then, and everything is retried. */
function idTimeFrom({ ID_TIME_FROM: text }: IngressBindings): number {
  const from = parseIdTimeFrom(text);
  assert(from !== undefined, "ID_TIME_FROM is a time such as 2026-11-29T08:00Z, or empty");
  return from;
}

/**
 * The message to the client: which spans were refused, what was repaired, and which spans are not stored because equal
 * bytes, which came first, do not have them: their key kept a smaller share of the traces.
 */
function partialSuccess(
  metadata: PayloadMetadata,
  message: string,
  acceptance: Acceptance,
): PartialSuccess | undefined {
  const stored = acceptance.kind === "duplicate" ? (acceptance.spans ?? metadata.spans) : metadata.spans;
  const missing = Math.max(0, metadata.spans - stored);
  const before = `These bytes were stored before, with ${stored} of their ${metadata.spans} spans: that request's key kept another share of the traces.`;
  const errorMessage = [message, missing > 0 ? before : ""].filter((text) => text !== "").join(" ");
  return errorMessage === "" ? undefined : { rejectedSpans: metadata.rejectedSpans + missing, errorMessage };
}

/** A request that holds no span, or whose good ones were all sampled out, is a success (OTLP: an empty one is). */
function nothingStored({ type }: Content, inspection: Inspection, inflatedBytes: number): Success {
  const { rejectedSpans, sampledSpans } = inspection;
  if (sampledSpans > 0) {
    const partial =
      rejectedSpans === 0 ? undefined : { rejectedSpans, errorMessage: rejectionMessage(inspection) };
    return {
      outcome: "sampled",
      reason: "all_spans",
      type,
      partial,
      isNew: false,
      inflatedBytes,
      headers: {},
    };
  }
  writeLog("warn", { outcome: "empty", inflatedBytes });
  if (inflatedBytes <= emptyBodyBytesQuiet) {
    return {
      outcome: "empty",
      reason: "no_spans",
      type,
      partial: undefined,
      isNew: false,
      inflatedBytes,
      headers: {},
    };
  }
  const errorMessage = `The body of ${inflatedBytes} bytes holds no span. Are the fields named as in OTLP (resourceSpans, scopeSpans, spans)?`;
  const partial = { rejectedSpans: 0, errorMessage };
  return {
    outcome: "empty",
    reason: "no_spans_in_a_body",
    type,
    partial,
    isNew: false,
    inflatedBytes,
    headers: {},
  };
}

/**
 * Which spans a payload may have. Times: older ones would fall out of the table, later ones are a wrong clock.
 * Traces: the share that the key keeps.
 */
function spanBounds(arrival: number, sample: number, ages: ReturnType<typeof spanAges>) {
  return {
    startMinMs: arrival - ages.start,
    endMinMs: arrival - ages.end,
    startMaxMs: arrival + limits.spanFutureMaxMs,
    sampleThreshold: sampleThreshold(sample),
  } satisfies SpanBounds;
}
