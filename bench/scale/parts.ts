/**
 * `npm run bench -- parts [spans]`: of what a span costs the local pipeline, which part takes how much, behind so many spans
 * (10^5). Linux's `perf` samples workerd's stacks a thousand times per second, V8 names its functions for it, and each sample
 * belongs to the part whose function is the innermost; what is native and between the parts stays by its kind. ClickHouse is
 * counted by its threads. 8 connections, 100 spans per request, as in `bench -- pipeline`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { assert } from "../../shared/assert.ts";
import { cpuSecondsOf, nameOf, threadsOf, treeOf } from "../process-cost.ts";
import { startSide } from "./pipeline.ts";

const spansMeasured = 100_000;
/** A prime, so that it does not beat with timers. */
const samplesPerSecond = 997;

export async function benchParts(spans = "100000"): Promise<void> {
  // V8 writes /tmp/perf-PID.map, where perf looks for the names of compiled functions.
  process.env["MINIFLARE_WORKERD_V8_FLAGS"] = "--perf-basic-prof --interpreted-frames-native-stack";
  const folder = mkdtempSync(join(tmpdir(), "headrace-parts-"));
  const side = await startSide(join(import.meta.dirname, "../.."));
  const workerd = treeOf(side.pid).find((pid) => nameOf(pid) === "workerd");
  assert(workerd !== undefined, "the pipeline has started a workerd");
  try {
    await side.sendUntil(Math.max(10_000, Number(spans)));
    const before = {
      node: cpuSecondsOf(side.pid),
      engine: threadsOf(side.enginePid),
      sent: side.sent(),
    };
    const data = join(folder, "perf.data");
    const record = ["record", "-q", "-g", "-F", String(samplesPerSecond), "-o", data, "-p", String(workerd)];
    const perf = spawn("perf", record, { stdio: "inherit" });
    await once(perf, "spawn"); // rejects where there is no perf
    await side.sendUntil(before.sent + spansMeasured);
    await ended(perf, "SIGINT");
    const spansSent = side.sent() - before.sent;
    const perSpan = (seconds: number): number => Math.round((seconds / spansSent) * 1e8) / 100;
    const parts = await partsIn(data);
    const samples = [...parts.values()].reduce((sum, count) => sum + count, 0);
    const engine = new Map<string, number>();
    for (const [thread, { name, seconds }] of threadsOf(side.enginePid)) {
      const spent = seconds - (before.engine.get(thread)?.seconds ?? 0);
      engine.set(name, (engine.get(name) ?? 0) + spent);
    }
    const largestFirst = (entries: readonly (readonly [string, number])[]) =>
      Object.fromEntries(entries.filter(([, us]) => us >= 0.05).toSorted((a, b) => b[1] - a[1]));
    const result = {
      benchmark: "parts",
      spansBefore: before.sent,
      node: perSpan(cpuSecondsOf(side.pid) - before.node),
      workerd: perSpan(samples / samplesPerSecond),
      parts: largestFirst([...parts].map(([part, count]) => [part, perSpan(count / samplesPerSecond)])),
      engineThreads: largestFirst([...engine].map(([name, seconds]) => [name, perSpan(seconds)])),
    };
    console.log(JSON.stringify(result, null, 2));
  } finally {
    await side.stop();
    rmSync(folder, { recursive: true, force: true });
    rmSync(`/tmp/perf-${workerd}.map`, { force: true });
  }
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const exit = once(child, "exit");
  child.kill(signal);
  await exit;
}

/** How many samples each part has. */
async function partsIn(data: string): Promise<ReadonlyMap<string, number>> {
  const script = spawn("perf", ["script", "-i", data, "-F", "comm,tid,time,ip,sym"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const parts = new Map<string, number>();
  let thread = "";
  let frames: string[] = [];
  // A sample is a line with its thread's name, a line for each frame, the innermost first, and an empty line.
  for await (const line of createInterface({ input: script.stdout })) {
    if (line.trim() === "") {
      if (thread !== "") {
        const part = thread.startsWith("V8") ? "V8's own threads: compiling, collecting" : partOf(frames);
        parts.set(part, (parts.get(part) ?? 0) + 1);
      }
      [thread, frames] = ["", []];
    } else if (/^\s/.test(line) && thread !== "") {
      frames.push(line.trim().replace(/^[0-9a-f]+ /, ""));
    } else {
      thread = line.trim();
    }
  }
  return parts;
}

interface JsFrame {
  readonly name: string;
  readonly file: string;
}

/** As V8 names them for perf: `JS:*check ingress.js:4973:8`. The sign says by what it was compiled. */
function jsFrames(frames: readonly string[]): readonly JsFrame[] {
  return frames.flatMap((frame) => {
    const [, name = "", file = ""] = /^(?:JS|Script|Eval):[*^~+']*(\S*) (\S+):\d+:\d+$/.exec(frame) ?? [];
    // What a runtime brings along counts for its caller.
    return file === "" || /^(workerd|node|node-internal|cloudflare-internal):/.test(file)
      ? []
      : [{ name, file }];
  });
}

const collecting =
  /CollectGarbage|Scaveng|cppgc::internal::(Sweeper|HeapVisitor|\(anonymous namespace\)::Mutator)/;

function partOf(frames: readonly string[]): string {
  const stack = frames.join("\n");
  if (collecting.test(stack)) {
    return "collecting garbage on the main thread";
  }
  const js = jsFrames(frames);
  const [innermost] = js;
  if (innermost === undefined) {
    return nativePartOf(stack);
  }
  const names = new Set(js.map(({ name }) => name));
  switch (innermost.file) {
    case "ingress.js":
      return ingressPartOf(names);
    case "consumer.js":
      return consumerPartOf(names);
    case "stand-ins.js":
      return "stand-ins";
    case "broker.worker.js":
      return "simulator of queues";
    default:
      // bucket.worker.js, and what it shares with the other simulators, which nearly nobody asks: keys are remembered.
      return js.some(({ file }) => file === "broker.worker.js") ? "simulator of queues" : "simulator of R2";
  }
}

function has(names: ReadonlySet<string>, ...some: readonly string[]): boolean {
  return some.some((name) => names.has(name));
}

function ingressPartOf(names: ReadonlySet<string>): string {
  if (has(names, "checkPayload", "payloadId")) {
    return "ingress: inflate, check, id";
  }
  return has(names, "#put", "#store", "#look", "#answer", "#notify")
    ? "collector"
    : "ingress: the rest of a request";
}

function consumerPartOf(names: ReadonlySet<string>): string {
  if (has(names, "addPayloads", "buildInto", "loadPayloads", "isBodyOf")) {
    return "consumer: fetch, inflate, rows, zstd";
  }
  return has(names, "#decide", "#live", "#perform", "decideAndPersist") ? "ledger" : "consumer: the rest";
}

/** What no JavaScript called: the runtime's own steps between an event and the next one. */
const nativeParts: readonly (readonly [part: string, pattern: RegExp])[] = [
  [
    "simulator of R2",
    /Streams?Js?Controller|pumpTo|DrainingReader|PipeLocked|R2Result|R2Bucket|R2HTTP|md5|DiskRequest|services::disk|libc_open|ext4|std::fs|DigestStream|ReadableStream|WritableStream|vfs_/,
  ],
  ["SQLite of the ledger and of the simulators", /[Ss]qlite|fdatasync|fsync/],
  ["calls to Durable Objects", /JsRpc|capnp|Membrane/],
  ["HTTP and sockets", /hyper|serve_connection|tokio::net|__send|tcp_|recv|epoll|Http(Server|Headers)/],
];

function nativePartOf(stack: string): string {
  const [part = "isolates' turns, promises, timers"] =
    nativeParts.find(([, pattern]) => pattern.test(stack)) ?? [];
  return part;
}
