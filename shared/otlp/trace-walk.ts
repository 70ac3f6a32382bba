/**
 * The way through a trace body, from resource to scope to span. Ingress (`inspect.ts`) and consumer
 * (`rows/transcode.ts`) both go it, so they meet the same spans in the same order and refuse the same ones.
 */
import { AttributeScan } from "./attribute-scan.ts";
import { toCanonicalForm } from "./canonical-form.ts";
import { Ranges, skipUnknown, VarintCursor } from "./canonical-reader.ts";
import { tags } from "./fields.ts";
import { MalformedBody, NotCanonical, notCanonical, TooManyMembers } from "./malformed.ts";
import { noRepairs, type Repairs } from "./repairs.ts";
import { type SpanBounds, SpanCheck, type SpanRefusal } from "./span-check.ts";
import { SpanScan } from "./span-scan.ts";

/** What a walker does at each station. The walk's fields and `bytes` hold what was found. */
export interface TraceVisitor {
  /** The walk begins again from the beginning: what was gathered is to be forgotten. */
  restart(): void;
  /** A ResourceSpans begins; `walk.resource` holds its attributes. */
  enterResource(walk: TraceWalk): void;
  /** A ScopeSpans begins; `walk.scopeNameAt` and so on, and `walk.scope` holds its attributes. */
  enterScope(walk: TraceWalk): void;
  /** A span that is accepted; `walk.span` holds it. */
  span(walk: TraceWalk): void;
  /** A span that is refused, and why; `walk.explain` says it in words. */
  rejected(walk: TraceWalk, refusal: SpanRefusal): void;
  leaveScope(walk: TraceWalk): void;
  leaveResource(walk: TraceWalk): void;
}

const resourceSpansFieldMax = 3;
const scopeSpansFieldMax = 3;
const resourceFieldMax = 2;
const scopeFieldMax = 4;

const noBytes = new Uint8Array(0);
const noView = new DataView(noBytes.buffer);

/** One walk may go through many bodies, one after the other: its buffers cost more than a small body. */
export class TraceWalk {
  bytes: Uint8Array = noBytes;
  /** Shows the same bytes. */
  view: DataView = noView;
  /** Where we are: `resource_spans[resourceIndex].scope_spans[scopeIndex].spans[spanIndex]`. */
  resourceIndex = -1;
  scopeIndex = -1;
  spanIndex = -1;
  /** The resource's attributes. */
  readonly resource = new AttributeScan();
  scopeNameAt = 0;
  scopeNameLength = 0;
  scopeVersionAt = 0;
  scopeVersionLength = 0;
  /** The scope's attributes. */
  readonly scope = new AttributeScan();
  /** schema_url of the ResourceSpans, then of the ScopeSpans; neither is stored. */
  readonly schemaUrls = new Ranges();
  readonly span = new SpanScan();
  readonly #check = new SpanCheck();
  readonly #cursor = new VarintCursor();
  readonly #scopeSpans = new Ranges();
  readonly #spans = new Ranges();
  #textsRepaired = 0;

  /** Spans in the current ScopeSpans, refused ones included. */
  get spansInScope(): number {
    return this.#spans.count;
  }

  /** What the last run had to change: texts, links and parent ids. */
  get repairs(): Repairs {
    const { droppedLinks: links, droppedParents: parents } = this.#check;
    return { ...noRepairs(), texts: this.#textsRepaired, links, parents };
  }

  /** The refusal of the span that was just met, for the sender. */
  explain(refusal: SpanRefusal): string {
    return this.#check.explain(refusal, this.bytes, this.view, this.span);
  }

  /**
   * Goes through `body` with `visitor`. A body that is not canonical is rewritten and walked again from the beginning; one
   * whose texts the ingress had to repair is rewritten at once, since not every visitor looks at texts.
   * Returns what was walked in the end, so that who walks twice need not rewrite twice.
   * Throws `MalformedBody`, which says what and where. Nothing of the body is kept.
   */
  run(body: Uint8Array, bounds: SpanBounds, visitor: TraceVisitor): Uint8Array {
    this.#textsRepaired = 0;
    try {
      if (bounds.textsRepaired !== true && this.#readsCanonical(body, bounds, visitor)) {
        return body;
      }
      const repairs = noRepairs();
      const rewritten = toCanonicalForm(body, repairs);
      this.#begin(rewritten);
      this.#textsRepaired = repairs.texts;
      this.#check.use(bounds);
      visitor.restart();
      this.#request(visitor);
      return rewritten;
    } finally {
      this.#begin(noBytes);
      for (const list of [this.resource, this.scope, this.schemaUrls, this.span, this.#check]) {
        list.trim();
      }
      this.#scopeSpans.trim();
      this.#spans.trim();
    }
  }

  /** The walk through a body as it is. Returns false where it is not canonical. */
  #readsCanonical(body: Uint8Array, bounds: SpanBounds, visitor: TraceVisitor): boolean {
    try {
      this.#begin(body);
      this.#check.use(bounds);
      this.#request(visitor);
      return true;
    } catch (error) {
      if (error instanceof TooManyMembers) {
        throw error;
      }
      // Within an unknown field the fast readers throw MalformedBody without a path. Both go the slow way.
      if (error instanceof NotCanonical || error instanceof MalformedBody) {
        return false;
      }
      throw error;
    }
  }

  #begin(bytes: Uint8Array): void {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.resourceIndex = -1;
  }

  #request(visitor: TraceVisitor): void {
    const { bytes } = this;
    const to = bytes.length;
    let at = 0;
    while (at < to) {
      if (bytes[at] !== tags.request.resourceSpans) {
        at = skipUnknown(bytes, at, to, 1);
        continue;
      }
      const length = this.#cursor.length(bytes, at + 1);
      at = this.#cursor.at;
      if (at + length > to) {
        throw notCanonical;
      }
      this.#resourceSpans(visitor, at, at + length);
      at += length;
    }
    if (at !== to) {
      throw notCanonical;
    }
  }

  #resourceSpans(visitor: TraceVisitor, from: number, to: number): void {
    const { bytes } = this;
    this.resourceIndex++;
    this.scopeIndex = -1;
    this.resource.clear();
    this.schemaUrls.clear();
    this.#scopeSpans.clear();
    let resourceSeen = false;
    let at = from;
    while (at < to) {
      const tag = bytes[at] ?? 0;
      if (
        tag !== tags.resourceSpans.resource &&
        tag !== tags.resourceSpans.scopeSpans &&
        tag !== tags.resourceSpans.schemaUrl
      ) {
        at = skipUnknown(bytes, at, to, resourceSpansFieldMax);
        continue;
      }
      const length = this.#cursor.length(bytes, at + 1);
      at = this.#cursor.at;
      const end = at + length;
      if (end > to) {
        throw notCanonical;
      }
      if (tag === tags.resourceSpans.scopeSpans) {
        this.#scopeSpans.add(at, end);
      } else if (tag === tags.resourceSpans.schemaUrl) {
        this.schemaUrls.add(at, end);
      } else {
        if (resourceSeen) {
          throw notCanonical;
        }
        resourceSeen = true;
        this.#scanResource(at, end);
      }
      at = end;
    }
    if (at !== to) {
      throw notCanonical;
    }
    visitor.enterResource(this);
    const scopes = this.#scopeSpans;
    for (let i = 0; i < scopes.count; i++) {
      this.#scopeSpansMessage(visitor, scopes.at[2 * i] ?? 0, scopes.at[2 * i + 1] ?? 0);
    }
    visitor.leaveResource(this);
  }

  #scanResource(from: number, to: number): void {
    const { bytes } = this;
    let at = from;
    while (at < to) {
      const tag = bytes[at] ?? 0;
      if (tag === tags.resource.attributes) {
        const runEnd = this.resource.addRun(this.view, at, to, tag);
        if (runEnd !== at) {
          at = runEnd;
          continue;
        }
        const length = this.#cursor.length(bytes, at + 1);
        at = this.#cursor.at;
        if (at + length > to) {
          throw notCanonical;
        }
        this.resource.add(bytes, at, at + length);
        at += length;
      } else if (tag === tags.resource.droppedAttributesCount) {
        this.#cursor.low32(bytes, at + 1);
        at = this.#cursor.at;
      } else {
        at = skipUnknown(bytes, at, to, resourceFieldMax);
      }
    }
    if (at !== to) {
      throw notCanonical;
    }
  }

  #scopeSpansMessage(visitor: TraceVisitor, from: number, to: number): void {
    const { bytes } = this;
    this.scopeIndex++;
    this.spanIndex = -1;
    this.scopeNameLength = 0;
    this.scopeVersionLength = 0;
    this.scope.clear();
    this.schemaUrls.clear();
    this.#spans.clear();
    let scopeSeen = false;
    let at = from;
    while (at < to) {
      const tag = bytes[at] ?? 0;
      if (
        tag !== tags.scopeSpans.spans &&
        tag !== tags.scopeSpans.scope &&
        tag !== tags.scopeSpans.schemaUrl
      ) {
        at = skipUnknown(bytes, at, to, scopeSpansFieldMax);
        continue;
      }
      const length = this.#cursor.length(bytes, at + 1);
      at = this.#cursor.at;
      const end = at + length;
      if (end > to) {
        throw notCanonical;
      }
      if (tag === tags.scopeSpans.spans) {
        this.#spans.add(at, end);
      } else if (tag === tags.scopeSpans.schemaUrl) {
        this.schemaUrls.add(at, end);
      } else {
        if (scopeSeen) {
          throw notCanonical;
        }
        scopeSeen = true;
        this.#scanScope(at, end);
      }
      at = end;
    }
    if (at !== to) {
      throw notCanonical;
    }
    visitor.enterScope(this);
    const spans = this.#spans;
    for (let i = 0; i < spans.count; i++) {
      this.spanIndex++;
      this.span.scan(bytes, this.view, spans.at[2 * i] ?? 0, spans.at[2 * i + 1] ?? 0);
      const refusal = this.#check.refusal(bytes, this.view, this.span);
      if (refusal === undefined) {
        visitor.span(this);
      } else {
        visitor.rejected(this, refusal);
      }
    }
    visitor.leaveScope(this);
  }

  #scanScope(from: number, to: number): void {
    const { bytes } = this;
    let at = from;
    while (at < to) {
      const tag = bytes[at] ?? 0;
      if (tag === tags.scope.name || tag === tags.scope.version || tag === tags.scope.attributes) {
        const length = this.#cursor.length(bytes, at + 1);
        at = this.#cursor.at;
        if (at + length > to) {
          throw notCanonical;
        }
        if (tag === tags.scope.name) {
          this.scopeNameAt = at;
          this.scopeNameLength = length;
        } else if (tag === tags.scope.version) {
          this.scopeVersionAt = at;
          this.scopeVersionLength = length;
        } else {
          this.scope.add(bytes, at, at + length);
        }
        at += length;
      } else if (tag === tags.scope.droppedAttributesCount) {
        this.#cursor.low32(bytes, at + 1);
        at = this.#cursor.at;
      } else {
        at = skipUnknown(bytes, at, to, scopeFieldMax);
      }
    }
    if (at !== to) {
      throw notCanonical;
    }
  }
}
