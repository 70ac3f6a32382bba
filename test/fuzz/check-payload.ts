/**
 * What must hold of any bytes whatever. Returns what the engine must print for them, or undefined when they are
 * refused; throws when the codec contradicts itself.
 */
import { deepStrictEqual } from "node:assert";
import { toCanonicalForm } from "../../shared/otlp/canonical-form.ts";
import { type Inspection, inspectTraces } from "../../shared/otlp/inspect.ts";
import { MalformedBody } from "../../shared/otlp/malformed.ts";
import { noRepairs } from "../../shared/otlp/repairs.ts";
import { BlockBuilder } from "../../shared/rows/transcode.ts";
import { blockBytes, payloadId } from "../fixtures/blocks.ts";
import { bounds } from "../fixtures/protobuf.ts";

const emptyBlockBytes = new BlockBuilder().finish().bytes;
/** Row counts and dictionaries' heads, beside the rows' own bytes: 10 LowCardinality columns of 24 bytes, a varint. */
const blockHeadBytes = 10 * 24 + 5;

/** Without stack traces, which would take a quarter of the time: a refusal is no failure here. */
export function manyPayloads<T>(run: () => T): T {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  try {
    return run();
  } finally {
    Error.stackTraceLimit = limit;
  }
}

/** Writes the second block of each body. */
const reused = new BlockBuilder();

/**
 * `refused` is one builder for all bodies that the inspection refuses: whatever the transcoder makes of them is cut
 * back, so it must stay as empty as it was. `assertEmpty` says so at the end.
 */
export function checkPayload(body: Uint8Array, refused: BlockBuilder): Inspection | undefined {
  const inspection = refusedOr(() => inspectTraces(body, bounds));
  const repairs = noRepairs();
  const canonical = refusedOr(() => toCanonicalForm(body, repairs));
  const textsRepaired = (inspection?.repairs.texts ?? 0) > 0;
  const add = (builder: BlockBuilder, bytes: Uint8Array, spans: number) => {
    builder.add({ id: payloadId, tenant: "acme", body: bytes, bounds: { ...bounds, textsRepaired }, spans });
    return builder;
  };
  if (inspection === undefined) {
    // The transcoder reads only what the inspection took. Given something else it may refuse, in one way only.
    try {
      add(refused, body, 0);
    } catch (error) {
      if (
        !(error instanceof MalformedBody) &&
        !(error instanceof Error && /accepted 0 spans/.test(error.message))
      ) {
        throw error;
      }
    }
    return undefined;
  }
  const noneAccepted = inspectTraces(body, { startMinMs: 0, startMaxMs: 0 });
  deepStrictEqual(
    noneAccepted.contentMinute,
    inspection.contentMinute,
    "an id's time depends on which spans are accepted",
  );
  const block = blockBytes(add(new BlockBuilder(), body, inspection.spans));
  if (block.length > emptyBlockBytes + blockHeadBytes + inspection.outputBytes) {
    throw new Error(`a block of ${block.length} bytes exceeds its bound of ${inspection.outputBytes}`);
  }
  if (canonical !== undefined) {
    if (canonical.length > body.length && repairs.texts === 0) {
      throw new Error("the canonical form is longer than the body");
    }
    const again = inspectTraces(canonical, bounds);
    deepStrictEqual(
      [again.spans, again.rejections, again.contentMinute],
      [inspection.spans, inspection.rejections, inspection.contentMinute],
    );
    deepStrictEqual(
      again.repairs,
      { ...inspection.repairs, texts: 0 },
      "texts are repaired once, all else is counted alike",
    );
    // A builder that has written everything before, so that what it remembers would show.
    reused.clear();
    const twin = blockBytes(add(reused, canonical, again.spans));
    deepStrictEqual(
      Buffer.compare(twin, block),
      0,
      "the canonical form, or a used builder, has another block",
    );
  } else if (inspection.rejectedSpans === 0 && inspection.repairs.links === 0) {
    // What lies inside a refused span, or a link that goes, is not inspected: only then may the slow reader know better.
    throw new Error("the inspection accepts what is malformed");
  }
  return inspection;
}

/** Nothing of any refused body is left. */
export function assertEmpty(refused: BlockBuilder): void {
  const block = refused.finish();
  deepStrictEqual(
    [block.rows, block.bytes],
    [0, emptyBlockBytes],
    "a refused body left something in the block",
  );
}

function refusedOr<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch (error) {
    if (error instanceof MalformedBody) {
      return undefined;
    }
    throw error;
  }
}
