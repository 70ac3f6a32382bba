/**
 * What the ingress must know of a body before it answers: whether it is OTLP, how many spans are accepted, which are
 * refused and why, and how many bytes of rows it can become. It builds nothing and copies nothing.
 */

import { type AttributeScan, entrySize } from "./attribute-scan.ts";
import { DayCount } from "./day-count.ts";
import { EventScan } from "./event-scan.ts";
import { LinkScan } from "./link-scan.ts";
import { NewestTime } from "./newest-time.ts";
import { type Repairs, repairsMessage } from "./repairs.ts";
import type { SpanBounds, SpanRefusal } from "./span-check.ts";
import { type TraceVisitor, TraceWalk } from "./trace-walk.ts";
import { isAscii } from "./utf8.ts";
import { checkText, ValueCheck } from "./value-check.ts";

export type { SpanBounds } from "./span-check.ts";

interface Rejection {
  /** `resource_spans[0].scope_spans[0].spans[3]` */
  readonly path: string;
  readonly reason: string;
}

/** The accepted span whose own fields take the most bytes of rows. */
interface LargestSpan {
  /** `resource_spans[0].scope_spans[0].spans[3]` */
  readonly path: string;
  /** What it takes, without its resource and scope. */
  readonly outputBytes: number;
  /** Its own attributes, its events' and its links'. */
  readonly attributes: number;
}

export interface Inspection {
  /** Spans accepted: the rows that the transcoder will write. */
  readonly spans: number;
  readonly rejectedSpans: number;
  /** Good spans that the bounds' sampling leaves out. */
  readonly sampledSpans: number;
  /** The first few. */
  readonly rejections: readonly Rejection[];
  /** No block of this payload's rows has more bytes, its header and empty columns left aside. */
  readonly outputBytes: number;
  /** The most that one row takes, with what it repeats. */
  readonly largestRowBytes: number;
  /** Of these, what spans repeat of their resources and scopes. */
  readonly repeatedBytes: number;
  /** Attributes of all messages together, and the entries of maps within them. */
  readonly attributes: number;
  /** At most so many names stand in the rows' dictionaries: of attributes, and of events. */
  readonly namesAtMost: number;
  /** Undefined where no span is accepted. */
  readonly largestSpan: LargestSpan | undefined;
  /** The first UTC day on which a span begins, in days since the epoch. 0: there is no span. */
  readonly oldestDay: number;
  /** Of the body's newest time, which its id may begin with (newest-time.ts): minutes since 2020. */
  readonly contentMinute: number;
  /** What is changed before it is stored. */
  readonly repairs: Readonly<Repairs>;
}

const rejectionsNamedMax = 5;

// What the columns of `rows/columns.ts` take at most. A string's length is a varint of at most 4 bytes (a body has
// less than 2^28), a LowCardinality index at most 4 bytes, a dictionary's key as much as a string.
const stringOverhead = 4;
const indexBytes = 4;
/** Timestamp, TraceId, SpanId, ParentSpanId, Duration, HeadracePayload. */
const spanFixedBytes = 8 + 33 + 17 + 17 + 8 + 16;
/** Offsets: two maps, three arrays of events, four of links. */
const spanOffsetBytes = (2 + 3 + 4) * 8;
/** SpanName, SpanKind, ServiceName, StatusCode, HeadraceTenant. */
const spanIndexBytes = 5 * indexBytes;
/** TraceState, ScopeName, ScopeVersion, StatusMessage, and SpanName's key. */
const spanStringBytes = 5 * stringOverhead;
const spanBytes = spanFixedBytes + spanOffsetBytes + spanIndexBytes + spanStringBytes;
/** Events.Timestamp, Events.Name and its key, the offset of Events.Attributes. */
const eventBytes = 8 + indexBytes + stringOverhead + 8;
/** Links.TraceId, Links.SpanId, Links.TraceState, the offset of Links.Attributes. */
const linkBytes = 33 + 17 + stringOverhead + 8;

function pathOf(resource: number, scope: number, span: number): string {
  return `resource_spans[${resource}].scope_spans[${scope}].spans[${span}]`;
}

class Inspector implements TraceVisitor {
  spans = 0;
  rejectedSpans = 0;
  sampledSpans = 0;
  rejections: Rejection[] = [];
  outputBytes = 0;
  largestRowBytes = 0;
  repeatedBytes = 0;
  /** Without the entries of maps. */
  #attributesAlone = 0;
  #events = 0;
  #largestBytes = 0;
  #largestAttributes = 0;
  /** Its resource, scope and span. */
  #largestAt = [0, 0, 0];
  #days = new DayCount();
  readonly #newest = new NewestTime();
  readonly #values = new ValueCheck();
  readonly #event = new EventScan();
  readonly #link = new LinkScan();
  /** Bytes that each span of this resource, and of this scope, takes beside its own. */
  #resourceBytes = 0;
  #scopeBytes = 0;
  /** Bytes of the keys met in the last `#attributes`. */
  #keyBytes = 0;

  restart(): void {
    this.spans = 0;
    this.rejectedSpans = 0;
    this.sampledSpans = 0;
    this.rejections = [];
    this.outputBytes = 0;
    this.largestRowBytes = 0;
    this.repeatedBytes = 0;
    this.#attributesAlone = 0;
    this.#events = 0;
    this.#largestBytes = 0;
    this.#days = new DayCount();
    this.#newest.restart();
    this.#values.nested = 0;
    this.#values.numbers = 0;
    this.#values.entries = 0;
  }

  /** Lets go of lists that one body has made long. */
  trim(): void {
    this.#event.attributes.trim();
    this.#link.attributes.trim();
  }

  /** Of the values, in the walk that was just made. */
  get repairs(): Pick<Repairs, "nested" | "numbers"> {
    const { nested, numbers } = this.#values;
    return { nested, numbers };
  }

  /** The entries of maps count: each is kept while they are sorted. */
  get attributes(): number {
    return this.#attributesAlone + this.#values.entries;
  }

  get namesAtMost(): number {
    return this.#attributesAlone + this.#events;
  }

  get oldestDay(): number {
    return this.spans === 0 ? 0 : Math.min(...this.#days.byDay().keys());
  }

  get contentMinute(): number {
    return this.#newest.minute;
  }

  enterResource(walk: TraceWalk): void {
    this.#resourceBytes = this.#attributes(walk, walk.resource);
    // The keys, and the service name's, stand in dictionaries: once, not once a span.
    this.outputBytes += this.#keyBytes + this.#resourceBytes + stringOverhead;
    this.#schemaUrls(walk);
  }

  enterScope(walk: TraceWalk): void {
    const { bytes, view, scopeNameAt, scopeNameLength, scopeVersionAt, scopeVersionLength } = walk;
    checkText(bytes, view, scopeNameAt, scopeNameAt + scopeNameLength);
    checkText(bytes, view, scopeVersionAt, scopeVersionAt + scopeVersionLength);
    this.#attributes(walk, walk.scope);
    this.#scopeBytes = scopeNameLength + scopeVersionLength;
    this.#schemaUrls(walk);
  }

  span(walk: TraceWalk): void {
    const { bytes, view, span } = walk;
    this.spans++;
    this.#days.add(view, span.startTimeAt);
    this.#newest.add(view, span);
    checkText(bytes, view, span.traceStateAt, span.traceStateAt + span.traceStateLength);
    checkText(bytes, view, span.nameAt, span.nameAt + span.nameLength);
    checkText(bytes, view, span.statusMessageAt, span.statusMessageAt + span.statusMessageLength);
    const attributesBefore = this.attributes;
    let output = spanBytes + span.traceStateLength + span.nameLength;
    output += span.statusMessageLength + this.#attributes(walk, span.attributes) + this.#keyBytes;
    const { events, links } = span;
    this.#events += events.count;
    for (let i = 0; i < events.count; i++) {
      const event = this.#event;
      event.scan(bytes, view, events.at[2 * i] ?? 0, events.at[2 * i + 1] ?? 0);
      checkText(bytes, view, event.nameAt, event.nameAt + event.nameLength);
      output += eventBytes + event.nameLength + this.#attributes(walk, event.attributes) + this.#keyBytes;
    }
    for (let i = 0; i < links.count; i++) {
      const link = this.#link;
      link.scan(bytes, view, links.at[2 * i] ?? 0, links.at[2 * i + 1] ?? 0);
      checkText(bytes, view, link.traceStateAt, link.traceStateAt + link.traceStateLength);
      output += linkBytes + link.traceStateLength + this.#attributes(walk, link.attributes) + this.#keyBytes;
    }
    const repeated = this.#resourceBytes + this.#scopeBytes;
    this.repeatedBytes += repeated;
    this.outputBytes += output + repeated;
    this.largestRowBytes = Math.max(this.largestRowBytes, output + repeated);
    if (output > this.#largestBytes) {
      this.#largestBytes = output;
      this.#largestAttributes = this.attributes - attributesBefore;
      this.#largestAt[0] = walk.resourceIndex;
      this.#largestAt[1] = walk.scopeIndex;
      this.#largestAt[2] = walk.spanIndex;
    }
  }

  get largestSpan(): LargestSpan | undefined {
    const [resource = 0, scope = 0, span = 0] = this.#largestAt;
    return this.spans === 0
      ? undefined
      : {
          path: pathOf(resource, scope, span),
          outputBytes: this.#largestBytes,
          attributes: this.#largestAttributes,
        };
  }

  rejected(walk: TraceWalk, refusal: SpanRefusal): void {
    this.#newest.add(walk.view, walk.span);
    if (refusal === "sampled_out") {
      this.sampledSpans++;
      return;
    }
    this.rejectedSpans++;
    if (this.rejections.length < rejectionsNamedMax) {
      const { resourceIndex, scopeIndex, spanIndex } = walk;
      const path = pathOf(resourceIndex, scopeIndex, spanIndex);
      this.rejections.push({ path, reason: walk.explain(refusal) });
    }
  }

  leaveScope(): void {}

  leaveResource(): void {}

  /** Checks keys and values. Returns what they take in a map column, without the keys: those are in `#keyBytes`. */
  #attributes(walk: TraceWalk, scan: AttributeScan): number {
    const { bytes, view } = walk;
    const { entries, count } = scan;
    const end = count * entrySize;
    this.#attributesAlone += count;
    let keyBytes = count * stringOverhead;
    let output = count * (indexBytes + stringOverhead);
    // Texts that are not looked at yet: those of the attributes from `runSlot` on, which lie between `from` and `to`.
    let runSlot = 0;
    let from = 0;
    let to = 0;
    for (let slot = 0; slot < end; slot += entrySize) {
      const keyAt = entries[slot] ?? 0;
      const keyLength = entries[slot + 1] ?? 0;
      const valueAt = entries[slot + 2] ?? 0;
      const valueLength = entries[slot + 3] ?? 0;
      from = slot === runSlot ? keyAt : from;
      to = keyAt + keyLength;
      keyBytes += keyLength;
      if (valueLength >= 0) {
        to = valueAt + valueLength;
        output += valueLength;
      } else {
        this.#checkRun(walk, entries, runSlot, slot, from, to);
        runSlot = slot + entrySize;
        output += this.#values.check(bytes, view, valueAt, valueAt - valueLength, 1);
      }
    }
    if (runSlot < end) {
      this.#checkRun(walk, entries, runSlot, end - entrySize, from, to);
    }
    this.#keyBytes = keyBytes;
    return output;
  }

  /**
   * Checks the keys and string values of the attributes in the slots from `first` to `last`. The first key begins at
   * `from`, and the last text ends at `to`. Between them are only tags and lengths, mostly of one byte and so
   * below 128: when all of it is ASCII, so is each text in it, and one look was enough.
   */
  #checkRun(
    { bytes, view }: TraceWalk,
    entries: Int32Array,
    first: number,
    last: number,
    from: number,
    to: number,
  ): void {
    if (isAscii(bytes, view, from, to)) {
      return;
    }
    for (let slot = first; slot <= last; slot += entrySize) {
      const keyAt = entries[slot] ?? 0;
      checkText(bytes, view, keyAt, keyAt + (entries[slot + 1] ?? 0));
      const valueAt = entries[slot + 2] ?? 0;
      const valueLength = entries[slot + 3] ?? 0;
      if (valueLength > 0) {
        checkText(bytes, view, valueAt, valueAt + valueLength);
      }
    }
  }

  #schemaUrls(walk: TraceWalk): void {
    const { at, count } = walk.schemaUrls;
    for (let i = 0; i < count; i++) {
      checkText(walk.bytes, walk.view, at[2 * i] ?? 0, at[2 * i + 1] ?? 0);
    }
  }
}

/** One of each for all bodies: an inspection runs to its end before the next begins. */
const walk = new TraceWalk();
const inspector = new Inspector();

/**
 * Inspects an inflated ExportTraceServiceRequest. Throws `MalformedBody`, whose message says what is wrong and
 * where, for what is not OTLP in protobuf: bad framing, a known field of another wire type.
 */
export function inspectTraces(body: Uint8Array, bounds: SpanBounds): Inspection {
  return inspectAndRewrite(body, bounds).inspection;
}

/** The same, and the body as it was walked: where it is odd, it has been rewritten. */
export function inspectAndRewrite(
  body: Uint8Array,
  bounds: SpanBounds,
): { readonly inspection: Inspection; readonly walked: Uint8Array } {
  inspector.restart();
  let walked: Uint8Array;
  try {
    walked = walk.run(body, bounds, inspector);
  } finally {
    inspector.trim();
  }
  const {
    spans,
    rejectedSpans,
    sampledSpans,
    rejections,
    outputBytes,
    largestRowBytes,
    repeatedBytes,
    attributes,
    namesAtMost,
    oldestDay,
    contentMinute,
  } = inspector;
  const inspection = {
    spans,
    rejectedSpans,
    sampledSpans,
    rejections,
    outputBytes,
    largestRowBytes,
    repeatedBytes,
    attributes,
    namesAtMost,
    largestSpan: inspector.largestSpan,
    oldestDay,
    contentMinute,
    repairs: { ...walk.repairs, ...inspector.repairs },
  };
  return { inspection, walked };
}

/**
 * The text of `partial_success.error_message`: names the first refused spans and counts the rest, and says what was
 * changed. Empty when none was refused and nothing changed.
 */
export function partialMessage(inspection: Inspection): string {
  return [rejectionMessage(inspection), repairsMessage(inspection.repairs)]
    .filter((text) => text !== "")
    .join(". ");
}

/** Names the first refused spans and counts the rest. Empty when none was refused. */
export function rejectionMessage(inspection: Inspection): string {
  const { spans, rejectedSpans, sampledSpans, rejections } = inspection;
  if (rejectedSpans === 0) {
    return "";
  }
  const named = rejections.map(({ path, reason }) => `${path}: ${reason}`).join("; ");
  const more = rejectedSpans - rejections.length;
  const rest = more > 0 ? `; and ${more} more` : "";
  return `${rejectedSpans} of ${spans + rejectedSpans + sampledSpans} spans rejected: ${named}${rest}`;
}
