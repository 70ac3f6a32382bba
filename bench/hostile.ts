/**
 * `npm run bench -- hostile`: what the ingress's check costs for bodies that somebody makes on purpose, beside usual ones. The
 * check is inflating, conversion and inspection, in Node, CPU time of the process; no body may cost more than 100 ms and three
 * times what a usual one in JSON, the dearer form, costs per inflated MiB. README.md has the figures.
 */
import { gzipSync } from "node:zlib";
import { limits } from "../shared/limits.ts";
import { checkPayload } from "../workers/ingress/check-payload.ts";
import { corpusBounds, makeCorpus } from "./corpus.ts";

const mebibyte = 1024 * 1024;
const rounds = 3;
const allowedBaseMs = 100;
const allowedTimesUsual = 3;
/** About what one inflated body may have; its frame is a few hundred bytes. */
const bytesMax = limits.inflatedBytesMax - 1000;

type Form = "pb" | "json";

/** As many pieces as fit, at most `countMax`. */
function pieces(piece: string, separator = ",", countMax = Number.POSITIVE_INFINITY): string {
  const count = Math.min(countMax, Math.floor(bytesMax / (piece.length + separator.length)));
  return new Array<string>(count).fill(piece).join(separator);
}

function repeated(piece: Uint8Array, countMax = Number.POSITIVE_INFINITY): Uint8Array {
  const count = Math.min(countMax, Math.floor((bytesMax - 100) / piece.length));
  const bytes = new Uint8Array(count * piece.length);
  for (let at = 0; at < bytes.length; at += piece.length) {
    bytes.set(piece, at);
  }
  return bytes;
}

function field(tag: number, content: Uint8Array): Uint8Array {
  const length: number[] = [];
  for (let rest = content.length; rest > 0 || length.length === 0; rest >>>= 7) {
    length.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
  }
  return Buffer.concat([Uint8Array.of(tag, ...length), content]);
}

const nanos = `${corpusBounds.startMinMs + 1000}000000`;
const goodSpan = `{"traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708","startTimeUnixNano":"${nanos}"`;
const spansOf = (spans: string): string => `{"resourceSpans":[{"scopeSpans":[{"spans":[${spans}]}]}]}`;
const spanWith = (value: string): string =>
  spansOf(`${goodSpan},"attributes":[{"key":"a","value":${value}}]}`);
const arrayOf = (values: string): string => spanWith(`{"arrayValue":{"values":[${values}]}}`);

const hostileJson: Readonly<Record<string, () => string>> = {
  "empty spans": () => spansOf(pieces("{}")),
  "empty resources": () => `{"resourceSpans":[${pieces("{}")}]}`,
  "unknown members": () => `{${pieces('"a":0')}}`,
  "unknown empty texts": () => `{"x":[${pieces('""')}]}`,
  "unknown arrays": () => `{"x":[${pieces("[[]]")}]}`,
  "one text of \\u escapes": () => spanWith(`{"stringValue":"${pieces("\\u00e9", "")}"}`),
  "one text of \\n escapes": () => spanWith(`{"stringValue":"${pieces("\\n", "")}"}`),
  "a million attributes": () =>
    spansOf(`${goodSpan},"attributes":[${pieces('{"key":"a"}', ",", 1_000_000)}]}`),
  "a million resource attributes": () =>
    `{"resourceSpans":[{"resource":{"attributes":[${pieces('{"key":"a"}', ",", 1_000_000)}]}}]}`,
  "one array of integers": () => arrayOf(pieces('{"intValue":1}')),
  "one array of doubles": () => arrayOf(pieces('{"doubleValue":1.5}')),
  "one array of nothing": () => arrayOf(pieces("{}")),
};

const hostileProtobuf: Readonly<Record<string, () => Uint8Array>> = {
  "empty spans, 60 a scope": () => field(0x0a, repeated(field(0x12, repeated(Uint8Array.of(0x12, 0), 60)))),
  "empty resources": () => repeated(Uint8Array.of(0x0a, 0)),
  "events of spans without ids": () =>
    field(0x0a, field(0x12, repeated(field(0x12, repeated(Uint8Array.of(0x5a, 0), 60)), 150_000))),
  "unknown fields": () => repeated(Uint8Array.of(0x78, 0)),
  "resources of 25 empty attributes": () =>
    repeated(field(0x0a, field(0x0a, repeated(Uint8Array.of(0x0a, 2, 0x0a, 0), 25)))),
};

/** CPU ms of the check of a gzip body: the least of some rounds. */
function costOf(type: Form, inflated: Uint8Array): { readonly ms: number; readonly said: string } {
  const body = new Uint8Array(gzipSync(inflated, { level: 1 }));
  let ms = Number.POSITIVE_INFINITY;
  let said = "";
  for (let round = 0; round < rounds; round++) {
    const before = process.cpuUsage();
    const checked = checkPayload(body, { type, encoding: "gzip" }, corpusBounds, Number.POSITIVE_INFINITY);
    const { user, system } = process.cpuUsage(before);
    ms = Math.min(ms, (user + system) / 1000);
    said = checked.ok ? `${checked.value.inspection.spans} spans` : checked.refusal.message;
  }
  return { ms, said };
}

function printRow(
  form: Form,
  name: string,
  bytes: number,
  usual: number | undefined,
  cost: ReturnType<typeof costOf>,
) {
  const mib = bytes / mebibyte;
  const allowed = usual === undefined ? undefined : allowedBaseMs + allowedTimesUsual * usual * mib;
  const within = allowed === undefined || cost.ms <= allowed;
  const bound = allowed === undefined ? "" : `of ${allowed.toFixed(0)} ms${within ? "" : "  OVER"}`;
  const figures = [
    form,
    name.padEnd(34),
    `${mib.toFixed(1)} MiB`,
    `${cost.ms.toFixed(0)} ms`,
    `${(cost.ms / mib).toFixed(0)} ms/MiB`,
    bound,
  ];
  console.log(`${figures.join(" | ")} | ${cost.said.slice(0, 50)}`);
  return within;
}

export function benchHostile(): void {
  const [payload] = makeCorpus(1, 1, 16_500);
  const usual: Record<Form, Uint8Array> = {
    pb: payload?.protobuf ?? new Uint8Array(0),
    json: Buffer.from(payload?.json ?? ""),
  };
  let isWithin = true;
  let perMib = 0;
  for (const form of ["json", "pb"] as const) {
    const ordinary = costOf(form, usual[form]);
    printRow(form, "usual spans", usual[form].length, undefined, ordinary);
    perMib = Math.max(perMib, ordinary.ms / (usual[form].length / mebibyte));
    const bodies = form === "json" ? hostileJson : hostileProtobuf;
    for (const [name, make] of Object.entries(bodies)) {
      const made = make();
      const inflated = typeof made === "string" ? Buffer.from(made) : made;
      isWithin = printRow(form, name, inflated.length, perMib, costOf(form, inflated)) && isWithin;
    }
  }
  if (!isWithin) {
    process.exitCode = 1;
  }
}
