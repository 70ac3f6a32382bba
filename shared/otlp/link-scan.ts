/** Finds the fields of one span link, as `span-scan.ts` does those of a span. */
import { AttributeScan } from "./attribute-scan.ts";
import { skipUnknown, VarintCursor } from "./canonical-reader.ts";
import { tags } from "./fields.ts";
import { notCanonical } from "./malformed.ts";

const linkFieldMax = 6;

export class LinkScan {
  traceIdAt = 0;
  traceIdLength = 0;
  spanIdAt = 0;
  spanIdLength = 0;
  traceStateAt = 0;
  traceStateLength = 0;
  readonly attributes = new AttributeScan();
  readonly #cursor = new VarintCursor();

  /**
   * Takes the Link in `bytes[from, to)`. `view` shows the same bytes. Throws `notCanonical`, or `MalformedBody` from within
   * an unknown field.
   */
  scan(bytes: Uint8Array, view: DataView, from: number, to: number): void {
    this.traceIdLength = 0;
    this.spanIdLength = 0;
    this.traceStateLength = 0;
    this.attributes.clear();
    let at = from;
    while (at < to) {
      const tag = bytes[at] ?? 0;
      if (tag === tags.link.attributes) {
        const runEnd = this.attributes.addRun(view, at, to, tag);
        if (runEnd !== at) {
          at = runEnd;
          continue;
        }
      }
      at++;
      switch (tag) {
        case tags.link.traceId:
        case tags.link.spanId:
        case tags.link.traceState:
        case tags.link.attributes: {
          const length = this.#cursor.length(bytes, at);
          at = this.#cursor.at;
          const end = at + length;
          if (end > to) {
            throw notCanonical;
          }
          if (tag === tags.link.traceId) {
            this.traceIdAt = at;
            this.traceIdLength = length;
          } else if (tag === tags.link.spanId) {
            this.spanIdAt = at;
            this.spanIdLength = length;
          } else if (tag === tags.link.traceState) {
            this.traceStateAt = at;
            this.traceStateLength = length;
          } else {
            this.attributes.add(bytes, at, end);
          }
          at = end;
          break;
        }
        case tags.link.droppedAttributesCount:
          this.#cursor.low32(bytes, at);
          at = this.#cursor.at;
          break;
        case tags.link.flags:
          at += 4;
          break;
        default:
          at = skipUnknown(bytes, at - 1, to, linkFieldMax);
      }
    }
    if (at !== to) {
      throw notCanonical;
    }
  }
}
