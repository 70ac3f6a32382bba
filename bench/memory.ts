/**
 * `npm run bench -- memory [part[:words]]` (`consumer`, `ingress:wide`, `ledger`; the settings whose name has the words): what the Workers' code holds at its peak, heap and
 * external memory of the isolate, against the 128 MB that an isolate of Cloudflare's has. workerd enforces nothing.
 * How it is read: memory/isolate.ts; what each figure means: README.md.
 */

import { randomBytes } from "node:crypto";
import { request } from "node:http";
import { join } from "node:path";
import * as v from "valibot";
import { splitLogin } from "../dev/clickhouse/login.ts";
import { migrateClickHouse } from "../dev/clickhouse/migrate-clickhouse.ts";
import { formatApiKey } from "../shared/api-key.ts";
import { insertCompressions } from "../shared/clickhouse/connection.ts";
import type { GroupPayload, GroupTask } from "../shared/ledger/group.ts";
import { blocksOf } from "../shared/ledger/grouping.ts";
import { defaultSettings } from "../shared/ledger/settings.ts";
import { limits } from "../shared/limits.ts";
import { formatPayloadMetadata } from "../shared/messages.ts";
import { everyTrace } from "../shared/otlp/sample-threshold.ts";
import { formatPayloadKey, payloadId } from "../shared/payload-key.ts";
import { isGroupId } from "../shared/receipt.ts";
import { classPath, randomText, wideBody } from "../test/fixtures/wide-bodies.ts";
import { corpusBounds, corpusStartMs } from "./corpus.ts";
import { type EngineSession, startEngineSession } from "./engine-session.ts";
import {
  type Body,
  bodyOf,
  distinctKeys,
  escapedJson,
  largeMap,
  largestUsual,
  longArray,
  longTextInArray,
  randomBodies,
  randomJson,
  slowlyInflating,
  usualBodies,
} from "./memory/bodies.ts";
import { type Isolate, type Mark, type Peak, sizeOf, startIsolate } from "./memory/isolate.ts";
import { consumerMarks, ingressMarks, ledgerMarks } from "./memory/marks.ts";

const megabyte = 1_000_000;
const fourMebibytes = 4 * 1024 * 1024;

interface Line {
  readonly setting: string;
  readonly peak: Peak;
}

/** The consumer before this engine, with R2, queues and the ledger of Miniflare. */
async function startConsumer({ url: address }: EngineSession, marks: readonly Mark[]): Promise<Isolate> {
  const { url, user, password } = splitLogin(address);
  return await startIsolate(join(import.meta.dirname, "memory/consumer-worker.ts"), marks, {
    bindings: {
      CLICKHOUSE_URL: url,
      CLICKHOUSE_USER: user,
      CLICKHOUSE_PASSWORD: password,
      CLICKHOUSE_DATABASE: "default",
      CLICKHOUSE_TRACES_TABLE: "otel_traces",
    },
    r2Buckets: ["PAYLOADS"],
    queueProducers: { RING: "bench-ring", GROUP: "bench-group" },
    durableObjects: { LEDGER: { className: "Ledger", useSQLite: true } },
  });
}

/** The settings whose name has these words. */
function chosen<Setting>(settings: Readonly<Record<string, Setting>>, words: string): [string, Setting][] {
  return Object.entries(settings).filter(([name]) => name.includes(words));
}

async function measureConsumer(words: string): Promise<Line[]> {
  const engine = await startEngineSession();
  const lines: Line[] = [];
  let isolate: Isolate | undefined;
  try {
    await migrateClickHouse({ url: engine.url });
    const start = async () => await startConsumer(engine, consumerMarks);
    const groups: Readonly<Record<string, () => readonly (readonly Body[])[]>> = {
      "500 payloads of 1 span": () => [usualBodies(1, limits.groupPayloadsMax)],
      "payloads of 100 spans": () => [usualBodies(100, 400)],
      "payloads of 512 spans": () => [usualBodies(512, 80)],
      "payloads of 8192 spans": () => [usualBodies(8192, 4)],
      "one payload at its limits": () => [[largestUsual("pb")]],
      "one payload at its limits, JSON": () => [[largestUsual("json")]],
      "one wide payload: 8192 spans with 30 KB of resource": () => [[wide(8192, 30_000, classPath)]],
      "one wide payload: 3000 spans with 10 KB of random resource, 15 MB of their own": () => [
        [wide(3000, 10_000, randomText, 5_000)],
      ],
      "one wide payload: 1000 resources of 10 KB, 20 spans each": () => [
        [wide(20, 10_000, randomText, 0, 1000)],
      ],
      "wide payloads, two at once, and 10,000 rows": () => [
        [wide(8192, 30_000, classPath)],
        [wide(512, 70_000, classPath)],
        usualBodies(512, 20),
      ],
      "8 payloads of 4 MiB random text": () => [randomBodies(8, fourMebibytes)],
      "one payload of 20 MiB random text": () => [randomBodies(1, limits.bodyBytesMax)],
      "one payload of 20 MiB random text, JSON": () => [[randomJson(1)]],
      "20 MiB of random text, twice in protobuf and twice in JSON at once": () => [
        randomBodies(1, limits.bodyBytesMax),
        [randomJson(1)],
        randomBodies(1, limits.bodyBytesMax),
        [randomJson(2)],
      ],
      "one payload of distinct keys, 16 spans": () => [[distinctKeys(16)]],
      "one payload of distinct keys, 1 span": () => [[distinctKeys(1)]],
      "one payload of a map of a million keys": () => [[largeMap()]],
      "one payload of a text of 20 MiB within an array": () => [[longTextInArray()]],
      "one payload of an array whose text takes 32 MiB": () => [[longArray()]],
      "random text, groups of 8 and 2 payloads at once": () => [
        randomBodies(8, fourMebibytes),
        randomBodies(2, fourMebibytes),
        randomBodies(2, fourMebibytes),
      ],
      "16 groups of 10,000 rows at once": () => sixteen(usualBodies(512, 20)),
      "16 groups at their limits at once": () => sixteen([largestUsual("pb")]),
    };
    for (const [name, make] of chosen(groups, words)) {
      const bodies = make();
      for (const compression of insertCompressions) {
        isolate = await start();
        const tasks = await Promise.all(bodies.map((group) => store(group, isolate)));
        lines.push(
          printed(
            `${name}, ${compression}`,
            await isolate.peakOf(() => ask(isolate, `/work?compression=${compression}`, tasks.map(again))),
          ),
        );
        await isolate.stop();
        isolate = undefined;
      }
    }
  } finally {
    await isolate?.stop();
    await engine.stop();
  }
  return lines;
}

function wide(
  spans: number,
  resourceBytes: number,
  text: (bytes: number) => string,
  ownBytes = 0,
  resources = 1,
): Body {
  return bodyOf(
    "pb",
    "gzip",
    wideBody({ spans, resourceBytes, text, ownBytes, resources, startMs: () => corpusStartMs }),
  );
}

function sixteen(group: readonly Body[]): readonly (readonly Body[])[] {
  return Array.from({ length: limits.insertsAtOnceMax }, () => group);
}

/** Puts a group's payloads into R2, as the ingress would have; returns their part of a task. */
async function store(
  bodies: readonly Body[],
  isolate: Isolate | undefined,
): Promise<readonly GroupPayload[]> {
  const bucket = await isolate?.miniflare.getR2Bucket("PAYLOADS");
  const arrival = Date.now();
  const payloads: GroupPayload[] = [];
  for (const { type, encoding, bytes, inflatedBytes, inspection } of bodies) {
    const { spans, rejectedSpans, outputBytes, contentMinute } = inspection;
    const key = formatPayloadKey(
      arrival,
      "bench",
      await payloadId("bench", type, encoding, bytes, { contentMinute, from: 0 }),
    );

    const customMetadata = formatPayloadMetadata({
      version: "1",
      type,
      encoding,
      spans,
      rejectedSpans,
      inflatedBytes,
      outputBytes,
      arrival,
      ...corpusBounds,
      sampleThreshold: everyTrace,
    });
    await bucket?.put(key, bytes, { customMetadata });
    payloads.push({
      key,
      spans,
      outputBytes,
      arrival,
      cause: "ingress",
      doorbell: true,
      duplicateKeys: [],
      missingDays: null,
      erase: null,
    });
  }
  return payloads;
}

/** A group of its own for each attempt: a token is used once. */
function again(payloads: readonly GroupPayload[]): GroupTask {
  const group = randomBytes(16).toString("hex");
  if (!isGroupId(group)) {
    throw new Error("16 bytes are 32 hex digits");
  }
  return {
    step: "insert",
    blocks: blocksOf(payloads, defaultSettings.caps),
    isFirstInsert: true,
    table: null,
    serverDeadline: Date.now() + 600_000,
    group,
    attempt: 1,
    deadline: Date.now() + 600_000,
    payloads,
  };
}

async function ask(isolate: Isolate | undefined, path: string, body: unknown): Promise<void> {
  const { status, text } = await posted(new URL(path, isolate?.url), JSON.stringify(body));
  if (status !== 200 || /unknown|retry|refused|unreadable|nothing/.test(text)) {
    throw new Error(`${path}: ${text}`);
  }
}

/** Waits as long as it takes, where `fetch` gives up after five minutes: each sample collects, and a wide payload has hundreds. */
function posted(url: URL, body: string): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const asked = request(url.href, { method: "POST" }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on("data", (chunk: Buffer) => chunks.push(chunk));
      answer.on("end", () =>
        resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString() }),
      );
      answer.on("error", reject);
    });
    asked.on("error", reject);
    asked.end(body);
  });
}

async function measureIngress(words: string): Promise<Line[]> {
  const lines: Line[] = [];
  const settings: Readonly<Record<string, () => readonly Body[]>> = {
    "20 bodies of 4 MiB that inflate to 16 MiB": () =>
      Array.from({ length: 20 }, (_, i) => slowlyInflating(i + 1)),
    "1000 bodies of 1 span": () => usualBodies(1, limits.groupPayloadsMax).flatMap((body) => [body, body]),
    "7 bodies of 4 MiB, and JSON at its limits": () => [
      ...Array.from({ length: 7 }, (_, i) => slowlyInflating(i + 1)),
      largestUsual("json"),
    ],
    "7 bodies of 4 MiB, and distinct keys in 16 spans": () => [
      ...Array.from({ length: 7 }, (_, i) => slowlyInflating(i + 1)),
      distinctKeys(16),
    ],
    "6 bodies of 4 MiB, and distinct keys in one span": () => [
      ...Array.from({ length: 6 }, (_, i) => slowlyInflating(i + 1)),
      distinctKeys(1),
    ],
    "6 bodies of 4 MiB, and a wide one of 8192 spans with 30 KB of resource": () => [
      ...Array.from({ length: 6 }, (_, i) => slowlyInflating(i + 1)),
      wide(8192, 30_000, classPath),
    ],
    "6 bodies of 4 MiB, and a wide one of 3000 spans, 15 MB of random text": () => [
      ...Array.from({ length: 6 }, (_, i) => slowlyInflating(i + 1)),
      wide(3000, 10_000, randomText, 5_000),
    ],
    "6 bodies of 4 MiB, and 20 MiB of JSON in one text with escapes": () => [
      ...Array.from({ length: 6 }, (_, i) => slowlyInflating(i + 1)),
      escapedJson(),
    ],
    "20 MiB of random text in JSON": () => [randomJson(1)],
    // Five segments at their puts and an open one, each full; what comes besides goes alone, with the largest that the rest has room for.
    "collector full: 60 bodies of 250 KB, and 20 of 4 MiB that inflate to 16 MiB": smallAndLarge,
    // The same, and no put ends before nothing more is taken.
    [`${bothFull}: 60 bodies of 250 KB, and 20 of 4 MiB that inflate to 16 MiB`]: smallAndLarge,
    "two bodies of 20 MiB of random text, and one in JSON": () => [
      ...randomBodies(1, limits.bodyBytesMax),
      ...randomBodies(1, limits.bodyBytesMax - 1_000_000),
      randomJson(1),
    ],
  };
  for (const [name, makeBodies] of chosen(settings, words)) {
    const bodies = makeBodies();
    const isolate = await startIsolate(join(import.meta.dirname, "memory/ingress-worker.ts"), ingressMarks, {
      durableObjects: { COLLECTOR: { className: "Collector", useSQLite: true } },
    });
    try {
      const statuses = new Map<number, number>();
      let run = 0;
      const send = async ({ type, encoding, bytes }: Body, at: number): Promise<number> => {
        const response = await fetch(new URL("/v1/traces", isolate.url), {
          method: "POST",
          headers: {
            "content-type": type === "json" ? "application/json" : "application/x-protobuf",
            ...(encoding === "gzip" ? { "content-encoding": "gzip" } : {}),
            "x-api-key": formatApiKey(new Uint8Array(52).fill(at)), // of several keys: one has a part of the budget
          },
          body: type === "pb" && encoding === "identity" ? ofRun(bytes, run) : bytes,
        });
        await response.text();
        statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
        return response.status;
      };
      const peak = await isolate.peakOf(async () => {
        run++;
        await (name.startsWith(bothFull) ? fillUp(isolate, bodies, send) : Promise.all(bodies.map(send)));
      });
      lines.push(printed(name, peak));
      console.log(`  answers: ${[...statuses].map(([status, count]) => `${count} × ${status}`).join(", ")}`);
    } finally {
      await isolate.stop();
    }
  }
  return lines;
}

const smallAndLarge = (): readonly Body[] => [
  ...randomBodies(60, 250_000),
  ...Array.from({ length: 20 }, (_, i) => slowlyInflating(i + 1)),
];

const bothFull = "ingress and collector full at one moment";
const heldSchema = v.object({ segments: v.number(), alone: v.number(), budget: v.number() });

/**
 * Sends what is collected until the collector takes no more, then what goes alone, until three in a row are refused; no put ends
 * before. Prints what is held then.
 */
async function fillUp(
  isolate: Isolate,
  bodies: readonly Body[],
  send: (body: Body, at: number) => Promise<number>,
): Promise<void> {
  const look = async () => v.parse(heldSchema, await (await fetch(new URL("/held", isolate.url))).json());
  /** Until what is at the puts has been the same for a second. */
  const settled = async (): Promise<void> => {
    let before = "";
    for (let same = 0; same < 10; ) {
      const { segments, alone } = await look();
      same = `${segments} ${alone}` === before ? same + 1 : 0;
      before = `${segments} ${alone}`;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  await fetch(new URL("/hold", isolate.url));
  const isSmall = ({ bytes }: Body): boolean => bytes.length <= limits.collectBodyBytesMax;
  // Segments are as full as they come only where nothing is stopped meanwhile.
  await isolate.passOver(true);
  const answers: Promise<number>[] = bodies.filter(isSmall).map(send);
  await settled();
  await isolate.passOver(false);
  let refused = 0;
  for (const [at, body] of bodies.filter((one) => !isSmall(one)).entries()) {
    const answer = send(body, answers.length + at);
    answers.push(answer);
    const status = await Promise.race([answer, settled()]);
    refused = status === 503 ? refused + 1 : 0;
    if (refused === 3) {
      break;
    }
  }
  const held = await look();
  const mb = (bytes: number): string => `${(bytes / megabyte).toFixed(1)} MB`;
  const inUse = sizeOf(await isolate.inUse());
  console.log(
    `  at rest: in use ${mb(inUse)}; the budget counts ${mb(held.budget)}; at puts ${mb(held.segments)} in segments, ${mb(held.alone)} alone`,
  );
  await fetch(new URL("/release", isolate.url));
  await Promise.all(answers);
}

/** Other bytes for each run, or a collector would know them: an unknown field more, number 15 of the request. */
function ofRun(body: Uint8Array<ArrayBuffer>, run: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(body.length + 2);
  bytes.set(body);
  bytes.set([0x78, run], body.length);
  return bytes;
}

async function measureLedger(): Promise<Line[]> {
  const engine = await startEngineSession();
  const lines: Line[] = [];
  try {
    await migrateClickHouse({ url: engine.url });
    for (const [name, path] of [
      ["ledger: 100,000 payloads in open groups", "/ledger?count=100000"],
      ["reconciler: 150,000 keys of one minute, all notified", "/reconcile?count=150000"],
    ] as const) {
      const isolate = await startConsumer(engine, ledgerMarks);
      try {
        let answer = "";
        const peak = await isolate.peakOf(async () => {
          const response = await fetch(new URL(path, isolate.url));
          answer = await response.text();
        });
        lines.push(printed(name, peak));
        console.log(`  ${answer}`);
      } finally {
        await isolate.stop();
      }
    }
  } finally {
    await engine.stop();
  }
  return lines;
}

function printed(setting: string, peak: Peak): Line {
  const mb = (bytes: number): string => (bytes / megabyte).toFixed(0);
  const { asItComes, inUse, processGrowth, samples } = peak;
  console.log(
    `${setting.padEnd(60)} | in use ${mb(sizeOf(inUse))} (heap ${mb(inUse.heapBytes)} + external ${mb(inUse.externalBytes)}, ${inUse.at}) | as it comes ${mb(sizeOf(asItComes))} (${mb(asItComes.heapBytes)} + ${mb(asItComes.externalBytes)}, ${asItComes.at}) | process +${mb(processGrowth)} | ${samples} samples`,
  );
  return { setting, peak };
}

/** Runs all parts or the one that is named, and prints the figures as JSON in the last line. */
export async function benchMemory(only = ""): Promise<void> {
  if (process.platform !== "linux") {
    console.log("Not measured: the process's memory is read from Linux's /proc.");
    return;
  }
  console.log("MB (10^6 bytes) at the peak; an isolate has 128 MB");
  const lines: Line[] = [];
  const [wanted, words = ""] = only.split(":");
  for (const [name, part] of Object.entries({
    consumer: measureConsumer,
    ingress: measureIngress,
    ledger: measureLedger,
  })) {
    if (wanted === "" || name === wanted) {
      lines.push(...(await part(words)));
    }
  }
  console.log(JSON.stringify({ benchmark: "memory", unit: "bytes", lines }));
}
