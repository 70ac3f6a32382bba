/**
 * `npm run bench -- hostile [words,words]`: what bodies cost that somebody makes on purpose, beside usual ones, at the ingress (inflating,
 * conversion, inspection) and, where that takes them, at the consumer (the same, rows, compression); in Node, CPU time of the
 * process. No body may cost more than 100 ms and 25 (ingress) or 30 (consumer) per inflated MiB, and 4 per MiB of rows: the
 * aim, for a machine that does nothing else. On a busy one three times what a usual body in JSON, the dearer form, costs per inflated
 * MiB in the same run stand for them; both are printed. README.md has the figures.
 */
import * as zlib from "node:zlib";
import { decodeBody } from "../shared/decode-body.ts";
import { defaultSettings } from "../shared/ledger/settings.ts";
import type { ContentEncoding } from "../shared/messages.ts";
import { Slices, StartOver } from "../shared/rows/slices.ts";
import { BlockBuilder, type TranscodePayload } from "../shared/rows/transcode.ts";
import { compressParts } from "../workers/consumer/compress-block.ts";
import { checkPayload } from "../workers/ingress/check-payload.ts";
import { wordRefusal } from "../workers/ingress/word-refusal.ts";
import { corpusBounds, makeCorpus } from "./corpus.ts";
import { hostileEncodings, hostileJson, hostileProtobuf } from "./hostile-bodies.ts";

const mebibyte = 1024 * 1024;
const roundsUsual = 4;
/** Before anything is measured: an isolate that bodies are sent to is warm. */
const warmRounds = 6;
const allowedBaseMs = 100;
const allowedTimesUsual = 3;
const allowedRowsMsPerMib = 4;
/** What is aimed at per inflated MiB, on a machine that does nothing else. */
const aimedMsPerMib = { ingress: 25, consumer: 30 } as const;

type Form = "pb" | "json";

interface Cost {
  readonly ingressMs: number;
  /** Undefined: it is refused. */
  readonly consumer: { readonly ms: number; readonly rowsMib: number } | undefined;
  readonly inflatedMib: number;
  readonly said: string;
}

function cpuMs(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/** The least of some rounds. */
function costOf(type: Form, encoding: ContentEncoding, body: Uint8Array, rounds: number): Cost {
  let ingressMs = Number.POSITIVE_INFINITY;
  let checked: ReturnType<typeof checkPayload> | undefined;
  for (let round = 0; round < rounds; round++) {
    const ms = cpuMs(() => {
      checked = checkPayload(body, { type, encoding }, corpusBounds, Number.POSITIVE_INFINITY);
    });
    ingressMs = Math.min(ingressMs, ms);
  }
  if (checked?.ok !== true) {
    const refusal = checked?.refusal;
    return {
      ingressMs,
      consumer: undefined,
      inflatedMib: (refusal?.inflatedBytes ?? 0) / mebibyte,
      said: refusal === undefined ? "" : wordRefusal(refusal),
    };
  }
  const { inflatedBytes, inspection, repairedTexts } = checked.value;
  const said = `${inspection.spans} spans`;
  const inflatedMib = inflatedBytes / mebibyte;
  if (inspection.spans === 0) {
    return { ingressMs, consumer: undefined, inflatedMib, said };
  }
  const consumer = { ms: Number.POSITIVE_INFINITY, rowsMib: 0 };
  const accepted = { ...inspection, textsRepaired: repairedTexts > 0 };
  for (let round = 0; round < rounds; round++) {
    const ms = cpuMs(() => {
      consumer.rowsMib = transcode(type, encoding, body, accepted) / mebibyte;
    });
    consumer.ms = Math.min(consumer.ms, ms);
  }
  return { ingressMs, consumer, inflatedMib, said };
}

interface Accepted {
  readonly spans: number;
  readonly outputBytes: number;
  readonly textsRepaired: boolean;
}

/** The byte work of an INSERT of this payload alone, a wide one in slices. Returns the bytes of its rows. */
function transcode(
  type: Form,
  encoding: ContentEncoding,
  body: Uint8Array,
  { spans, outputBytes, textsRepaired }: Accepted,
): number {
  const decoded = decodeBody(zlib, body, { type, encoding });
  if (!decoded.ok) {
    throw new Error(decoded.refusal.message);
  }
  const payload: TranscodePayload = {
    id: new Uint8Array(16).fill(7),
    tenant: "bench",
    body: decoded.value.protobuf,
    bounds: { ...corpusBounds, textsRepaired },
    spans,
  };
  const { outputBytesMax, sliceBytes } = defaultSettings.caps;
  if (outputBytes > outputBytesMax) {
    return transcodeWide(payload, Math.min(spans, Math.ceil(outputBytes / sliceBytes)), outputBytes);
  }
  const builder = new BlockBuilder();
  builder.add(payload);
  const block = builder.finish();
  compressParts(block.chunks, "zstd");
  return block.bytes;
}

function transcodeWide(payload: TranscodePayload, blocks: number, outputBytes: number): number {
  let bytes = 0;
  const slices = new Slices(blocks, payload.spans, outputBytes, (chunks) => {
    bytes += chunks.reduce((sum, { length }) => sum + length, 0);
    compressParts(chunks, "zstd");
  });
  try {
    new BlockBuilder().addSliced(payload, slices);
    return bytes;
  } catch (error) {
    if (!(error instanceof StartOver)) {
      throw error;
    }
    return transcodeWide(
      { ...payload, bounds: { ...payload.bounds, textsRepaired: true } },
      blocks,
      outputBytes,
    );
  }
}

interface Usual {
  readonly ingress: number;
  readonly consumer: number;
}

/** Whether it is within the bound of three times the usual. */
function printRow(form: string, name: string, cost: Cost, usual: Usual | undefined): boolean {
  const { ingressMs, consumer, inflatedMib, said } = cost;
  const side = (ms: number, of: keyof Usual, rowsMib: number) => {
    const bound = (perMib: number) => allowedBaseMs + perMib * inflatedMib + allowedRowsMsPerMib * rowsMib;
    const allowed = usual === undefined ? Number.POSITIVE_INFINITY : bound(allowedTimesUsual * usual[of]);
    const aimed = bound(aimedMsPerMib[of]);
    const mark = ms > Math.max(allowed, aimed) ? "  OVER" : ms > aimed ? "  over the aim" : "";
    const bounds = usual === undefined ? "" : ` of ${allowed.toFixed(0)}, aim ${aimed.toFixed(0)}${mark}`;
    return { isWithin: ms <= Math.max(allowed, aimed), text: `${ms.toFixed(0)} ms${bounds}` };
  };
  const ingress = side(ingressMs, "ingress", 0);
  const rowsMib = consumer?.rowsMib ?? 0;
  const consumed = consumer === undefined ? undefined : side(consumer.ms, "consumer", rowsMib);
  const figures = [
    form.padEnd(4),
    name.padEnd(34),
    `${inflatedMib.toFixed(1)} MiB`.padStart(8),
    `ingress ${ingress.text}`.padEnd(42),
    (consumed === undefined ? "" : `consumer ${consumed.text}, rows ${rowsMib.toFixed(1)} MiB`).padEnd(58),
    said.slice(0, 50),
  ];
  console.log(figures.join(" | "));
  return ingress.isWithin && consumed?.isWithin !== false;
}

function gzipped(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(zlib.gzipSync(bytes, { level: 1 }));
}

/** Those whose name has one of the words, which stand between commas. */
function chosen<Make>(bodies: Readonly<Record<string, Make>>, words: string): [string, Make][] {
  return Object.entries(bodies).filter(([name]) => words.split(",").some((word) => name.includes(word)));
}

export function benchHostile(words = "", rounds = roundsUsual): void {
  const [payload] = makeCorpus(1, 1, 16_500);
  const ordinary: Record<Form, Uint8Array> = {
    pb: payload?.protobuf ?? new Uint8Array(0),
    json: Buffer.from(payload?.json ?? ""),
  };
  for (let round = 0; round < warmRounds; round++) {
    for (const form of ["json", "pb"] as const) {
      costOf(form, "gzip", gzipped(ordinary[form]), 1);
    }
  }
  let usual: Usual = { ingress: 0, consumer: 0 };
  let isWithin = true;
  for (const form of ["json", "pb"] as const) {
    const cost = costOf(form, "gzip", gzipped(ordinary[form]), roundsUsual);
    printRow(form, "usual spans", cost, undefined);
    const { ingressMs, consumer, inflatedMib } = cost;
    usual = {
      ingress: Math.max(usual.ingress, ingressMs / inflatedMib),
      consumer: Math.max(
        usual.consumer,
        ((consumer?.ms ?? 0) - allowedRowsMsPerMib * (consumer?.rowsMib ?? 0)) / inflatedMib,
      ),
    };
  }
  const [ingress, consumer] = [usual.ingress.toFixed(1), usual.consumer.toFixed(1)];
  console.log(
    `usual, the dearer form: ingress ${ingress}, consumer ${consumer} ms per inflated MiB (rows left out)`,
  );
  for (const [name, make] of chosen(hostileJson, words)) {
    isWithin =
      printRow("json", name, costOf("json", "gzip", gzipped(Buffer.from(make())), rounds), usual) && isWithin;
  }
  for (const [name, make] of chosen(hostileProtobuf, words)) {
    isWithin = printRow("pb", name, costOf("pb", "gzip", gzipped(make()), rounds), usual) && isWithin;
  }
  for (const [name, make] of chosen(hostileEncodings, words)) {
    const [encoding, body] = make();
    isWithin = printRow("pb", name, costOf("pb", encoding, new Uint8Array(body), rounds), usual) && isWithin;
  }
  if (!isWithin) {
    process.exitCode = 1;
  }
}
