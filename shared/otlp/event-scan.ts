/** Finds the fields of one span event, as `span-scan.ts` does those of a span. */
import { AttributeScan } from "./attribute-scan.ts";
import { skipUnknown, VarintCursor } from "./canonical-reader.ts";
import { tags } from "./fields.ts";
import { notCanonical } from "./malformed.ts";

const eventFieldMax = 4;

export class EventScan {
  /** Where the eight bytes of the time stand, or -1: absent, which means 0. */
  timeAt = -1;
  nameAt = 0;
  nameLength = 0;
  readonly attributes = new AttributeScan();
  readonly #cursor = new VarintCursor();

  /**
   * Takes the Event in `bytes[from, to)`. `view` shows the same bytes. Throws `notCanonical`, or `MalformedBody` from within
   * an unknown field.
   */
  scan(bytes: Uint8Array, view: DataView, from: number, to: number): void {
    this.timeAt = -1;
    this.nameLength = 0;
    this.attributes.clear();
    let at = from;
    while (at < to) {
      const tag = bytes[at] ?? 0;
      if (tag === tags.event.attributes) {
        const runEnd = this.attributes.addRun(view, at, to, tag);
        if (runEnd !== at) {
          at = runEnd;
          continue;
        }
      }
      at++;
      switch (tag) {
        case tags.event.time:
          this.timeAt = at;
          at += 8;
          break;
        case tags.event.name:
        case tags.event.attributes: {
          const length = this.#cursor.length(bytes, at);
          at = this.#cursor.at;
          const end = at + length;
          if (end > to) {
            throw notCanonical;
          }
          if (tag === tags.event.name) {
            this.nameAt = at;
            this.nameLength = length;
          } else {
            this.attributes.add(bytes, at, end);
          }
          at = end;
          break;
        }
        case tags.event.droppedAttributesCount:
          this.#cursor.low32(bytes, at);
          at = this.#cursor.at;
          break;
        default:
          at = skipUnknown(bytes, at - 1, to, eventFieldMax);
      }
    }
    if (at !== to) {
      throw notCanonical;
    }
  }
}
