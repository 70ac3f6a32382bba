/** A group's payloads as Native blocks, compressed: the byte work of an INSERT, and nothing of its outcome. */
import { assert, BrokenInvariant } from "../../shared/assert.ts";
import type { InsertCompression } from "../../shared/clickhouse/connection.ts";
import type { GroupPayload, StoredPayload } from "../../shared/ledger/group.ts";
import { blocksOf, rowsWanted } from "../../shared/ledger/grouping.ts";
import { defaultSettings } from "../../shared/ledger/settings.ts";
import { DAY_MS, limits } from "../../shared/limits.ts";
import { acceptedBounds } from "../../shared/messages.ts";
import type { SpanBounds } from "../../shared/otlp/inspect.ts";
import { MalformedBody } from "../../shared/otlp/malformed.ts";
import { type PayloadKey, parsePayloadKey, payloadIdToBytes } from "../../shared/payload-key.ts";
import type { DayRows } from "../../shared/receipt.ts";
import { Slices, StartOver } from "../../shared/rows/slices.ts";
import { type AddedPayload, BlockBuilder, type TranscodePayload } from "../../shared/rows/transcode.ts";
import { compressParts } from "./compress-block.ts";
import { type FetchedPayload, loadPayloads } from "./load-payloads.ts";

export interface CompressedBlock {
  readonly rows: number;
  /** Compressed. Whole before anything is sent: see compress-block.ts. */
  readonly body: Uint8Array;
  readonly encoding: InsertCompression;
}

/** What a payload's rows take compressed does not fit into an isolate. */
interface TooLarge {
  readonly kind: "too_large";
  readonly reason: string;
}

interface Unreadable {
  readonly kind: "unreadable";
  readonly keys: readonly PayloadKey[];
  readonly reason: string;
}

export type BuiltBlock =
  | { readonly kind: "built"; readonly block: CompressedBlock; readonly payloads: readonly StoredPayload[] }
  | TooLarge
  | Unreadable;

/** Blocks that are not joined yet. */
type CompressedParts =
  | {
      readonly kind: "built";
      readonly rows: number;
      readonly parts: readonly Uint8Array[];
      readonly payloads: readonly StoredPayload[];
    }
  | TooLarge
  | Unreadable;

/** A group's rows in so many blocks (more than one: of one wide payload), joined when the builder's memory has been given back. Throws when R2 cannot be reached. */
export async function buildBlock(
  bucket: R2Bucket,
  wanted: readonly GroupPayload[],
  blocks: number,
  compression: InsertCompression,
): Promise<BuiltBlock> {
  // A wide payload is never held as it is.
  const encoding = blocks > 1 && compression === "none" ? "gzip" : compression;
  const built = await compressedParts(bucket, wanted, blocks, encoding);
  if (built.kind !== "built") {
    return built;
  }
  const { rows, parts, payloads } = built;
  const [only] = parts;
  const body = only !== undefined && parts.length === 1 ? only : Buffer.concat(parts);
  return { kind: "built", block: { rows, body, encoding }, payloads };
}

/** Fetches and transcodes a group's payloads, one after the other, each dropped as soon as its rows are written. */
async function compressedParts(
  bucket: R2Bucket,
  wanted: readonly GroupPayload[],
  blocks: number,
  compression: InsertCompression,
): Promise<CompressedParts> {
  const builder = takeBuilder();
  try {
    return blocks === 1
      ? await buildInto(builder, bucket, wanted, compression)
      : await buildSlices(builder, bucket, wanted, blocks, compression);
  } finally {
    giveBack(builder);
  }
}

/** A builder that no group is using. Its buffers are worth more than what a small group writes into them. */
let idleBuilder: BlockBuilder | undefined;

function takeBuilder(): BlockBuilder {
  const builder = idleBuilder ?? new BlockBuilder();
  idleBuilder = undefined;
  return builder;
}

function giveBack(builder: BlockBuilder): void {
  builder.clear();
  if (builder.heldBytes <= limits.idleBuilderBytesMax) {
    idleBuilder = builder;
  }
}

async function buildInto(
  builder: BlockBuilder,
  bucket: R2Bucket,
  wanted: readonly GroupPayload[],
  compression: InsertCompression,
): Promise<CompressedParts> {
  const { payloads, unreadable, reason } = await addPayloads(builder, bucket, wanted);
  if (unreadable.length > 0) {
    return { kind: "unreadable", keys: unreadable, reason };
  }
  const block = builder.finish();
  return {
    kind: "built",
    rows: block.rows,
    parts: compressParts(block.chunks, compression),
    payloads,
  };
}

/** One wide payload, each of its blocks compressed and dropped before the next is written. */
async function buildSlices(
  builder: BlockBuilder,
  bucket: R2Bucket,
  wanted: readonly GroupPayload[],
  blocks: number,
  compression: InsertCompression,
): Promise<CompressedParts> {
  assert(wanted.length === 1, "a wide payload is a group of its own");
  for await (const loaded of loadPayloads(bucket, wanted)) {
    if (loaded.kind === "unreadable") {
      return { kind: "unreadable", keys: [loaded.key], reason: loaded.reason };
    }
    return compressSlices(builder, loaded, blocks, compression);
  }
  throw new BrokenInvariant("each payload that is wanted is loaded");
}

function compressSlices(
  builder: BlockBuilder,
  loaded: FetchedPayload,
  blocks: number,
  compression: InsertCompression,
): CompressedParts {
  const taken = loaded.takeProtobuf();
  if (!taken.ok) {
    return { kind: "unreadable", keys: [loaded.key], reason: taken.refusal };
  }
  const kept = { rows: 0, bytes: 0, parts: [] as Uint8Array[] };
  const slices = {
    blocks,
    restart: () => {
      kept.rows = 0;
      kept.bytes = 0;
      kept.parts = [];
    },
    take: (chunks: readonly Uint8Array[], rows: number) => {
      kept.rows += rows;
      for (const part of compressParts(chunks, compression)) {
        kept.parts.push(part);
        kept.bytes += part.length;
      }
      if (kept.bytes > limits.compressedBytesMax) {
        throw new HardlyCompresses();
      }
    },
  };
  try {
    const payload = addSliced(builder, loaded, taken.value, slices);
    return { kind: "built", rows: kept.rows, parts: kept.parts, payloads: [payload] };
  } catch (error) {
    if (error instanceof HardlyCompresses) {
      return {
        kind: "too_large",
        reason: `its rows take more than ${limits.compressedBytesMax} bytes compressed`,
      };
    }
    if (!(error instanceof MalformedBody || error instanceof BrokenInvariant)) {
      throw error;
    }
    return { kind: "unreadable", keys: [loaded.key], reason: `decode: ${describe(error)}` };
  }
}

class HardlyCompresses extends Error {}

interface SliceTaker {
  readonly blocks: number;
  /** What was taken is worth nothing: it begins again. */
  readonly restart: () => void;
  /** The chunks are good until it returns. */
  readonly take: (chunks: readonly Uint8Array[], rows: number) => void;
}

/** `addPayload` in so many blocks. A body that turns out not to be plain is walked again, rewritten from the beginning. */
function addSliced(
  builder: BlockBuilder,
  loaded: FetchedPayload,
  protobuf: Uint8Array,
  { blocks, restart, take }: SliceTaker,
): StoredPayload {
  const { payload, metadata } = loaded;
  const rows = rowsWanted({ spans: metadata.spans, missingDays: payload.missingDays });
  const once = (bounds: Partial<SpanBounds>): StoredPayload => {
    const slices = new Slices(blocks, rows, payload.outputBytes, take);
    const stored = addParts(loaded, protobuf, (part) =>
      builder.addSliced({ ...part, bounds: { ...part.bounds, ...bounds } }, slices),
    );
    assert(slices.blocksLeft === 0, "as many blocks come out as were said");
    return stored;
  };
  try {
    return once({});
  } catch (error) {
    if (!(error instanceof StartOver)) {
      throw error;
    }
    builder.clear();
    restart();
    return once({ textsRepaired: true });
  }
}

/**
 * A function of its own: V8 keeps the last value of a loop's variable as long as the function runs, and the last body
 * (up to 20 MiB) shall be gone before the block is compressed.
 */
async function addPayloads(
  builder: BlockBuilder,
  bucket: R2Bucket,
  wanted: readonly GroupPayload[],
): Promise<{
  readonly payloads: readonly StoredPayload[];
  readonly unreadable: readonly PayloadKey[];
  readonly reason: string;
}> {
  const payloads: StoredPayload[] = [];
  const unreadable: PayloadKey[] = [];
  let reason = "";
  for await (const loaded of loadPayloads(bucket, wanted)) {
    if (loaded.kind === "unreadable") {
      unreadable.push(loaded.key);
      reason = loaded.reason;
      continue;
    }
    const taken = loaded.takeProtobuf();
    if (!taken.ok) {
      unreadable.push(loaded.key);
      reason = taken.refusal;
      continue;
    }
    try {
      payloads.push(addPayload(builder, loaded, taken.value));
    } catch (error) {
      if (!(error instanceof MalformedBody || error instanceof BrokenInvariant)) {
        throw error;
      }
      // The ingress took it and this transcoder does not: a person must see it, and the others must not wait for it.
      unreadable.push(loaded.key);
      reason = `decode: ${describe(error)}`;
    }
  }
  return { payloads, unreadable, reason };
}

/** What a payload's rows come to by day, without storing them. */
export function countPayload(loaded: FetchedPayload): readonly DayRows[] | "undecodable" {
  const protobuf = loaded.takeProtobuf();
  if (!protobuf.ok) {
    return "undecodable";
  }
  try {
    const blocks = blocksOf([{ ...loaded.payload, spans: loaded.metadata.spans }], defaultSettings.caps);
    if (blocks > 1) {
      const nobody = () => undefined;
      return addSliced(new BlockBuilder(), loaded, protobuf.value, { blocks, restart: nobody, take: nobody })
        .rowsByDay;
    }
    return addPayload(new BlockBuilder(), loaded, protobuf.value).rowsByDay;
  } catch (error) {
    if (error instanceof MalformedBody || error instanceof BrokenInvariant) {
      return "undecodable";
    }
    throw error;
  }
}

/** Adds a payload's rows, or those of the days that the table lacks. Throws for what does not decode. */
function addPayload(builder: BlockBuilder, loaded: FetchedPayload, protobuf: Uint8Array): StoredPayload {
  return addParts(loaded, protobuf, (part) => builder.add(part));
}

function addParts(
  loaded: FetchedPayload,
  protobuf: Uint8Array,
  addPart: (part: TranscodePayload) => AddedPayload,
): StoredPayload {
  const { key, payload, metadata, bytes } = loaded;
  const parts = parsePayloadKey(key);
  assert(parts !== undefined, "a group's keys are payload keys");
  const add = (bounds: SpanBounds, spans: number) =>
    addPart({ id: payloadIdToBytes(parts.id), tenant: parts.tenant, body: protobuf, bounds, spans })
      .rowsByDay;
  const rows = new Map<number, number>();
  const collect = (added: ReadonlyMap<number, number>): void => {
    for (const [day, count] of added) {
      rows.set(day, count);
    }
  };
  const bounds = acceptedBounds(metadata);
  if (payload.missingDays === null) {
    collect(add(bounds, metadata.spans));
  } else {
    for (const { day, rows: spans } of payload.missingDays.complete) {
      if (payload.missingDays.days.includes(day)) {
        // A day is a range of start times: the payload's bounds, narrowed to it.
        const narrowed = {
          ...bounds,
          startMinMs: Math.max(bounds.startMinMs, day * DAY_MS),
          startMaxMs: Math.min(bounds.startMaxMs, (day + 1) * DAY_MS - 1),
        };
        collect(add(narrowed, spans));
      }
    }
  }
  return {
    key,
    rowsByDay: [...rows].map(([day, count]) => ({ day, rows: count })).sort((a, b) => a.day - b.day),
    rejectedSpans: metadata.rejectedSpans,
    bytes,
  };
}

function describe(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
