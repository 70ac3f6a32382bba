/**
 * `npm run bench -- scale [ids [from]]`: what a payload costs the ledger while the ids that it remembers grow from 10^4 (or `from`) to
 * 10^8 (or `ids`), in workerd with its SQLite on disk, at 50,000 payloads per second in segments; how large an id is, on disk and in
 * memory, and how many rows a payload writes; and from these the capacity of a lane.
 *
 * Ids up to each size are laid down by the store's own writer. Then a new instance of the store is measured, and in turn with it,
 * round by round, a ledger that begins with 10^4: others work on the machine too, and it computes twice as fast at one time as at another.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "miniflare";
import { bundleWorker } from "../dev/bundle.ts";
import { limits } from "../shared/limits.ts";
import { connectInspector, exposeGc, type Inspector, type Usage } from "./inspector.ts";
import { threadSecondsOf } from "./process-cost.ts";
import { newWorkerdPid } from "./runtimes.ts";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
/** Of a batch (scale/worker.ts). */
const batchPayloads = 3200;
/** Batches of each round. The least of the rounds counts: others work on the machine too. */
const roundBatches = 20;
const rounds = 5;
const alonePayloads = 500;
const laidAtOnce = 2_000_000;

/** Of a round's payloads so many have content of the half hour before, where that is measured. */
const lateShare = 0.02;

interface Line {
  readonly ids: number;
  readonly bytesAnId: number;
  /** us of workerd's CPU (Worker, SQLite and its writes) a payload: right behind the start of an instance, and later. */
  readonly cpuUsFirst: number;
  readonly cpuUsAPayload: number;
  /** Of the ledger that begins with 10^4 ids, in the same rounds; and how much more this one takes. */
  readonly cpuUsSmall: number;
  readonly growth: number;
  /** Where a share of the payloads is late. */
  readonly cpuUsWithLate: number;
  /** The same of a payload that comes alone. */
  readonly cpuUsAlone: number;
  readonly rowsAPayload: number;
  readonly payloadsAGroup: number;
  /** CPU of a new instance until it can take a step. */
  readonly startCpuMs: number;
  /** In use of the isolate, with an instance of this ledger and none of the small one; before it is started: `isolateMb`. */
  readonly memoryMb: number;
  readonly isolateMb: number;
}

interface Counts {
  readonly remembered: number;
  readonly databaseBytes: number;
  readonly rows: number;
  readonly groups: number;
}

export async function benchScale(ids = "100000000", from = "10000"): Promise<void> {
  const idsMax = Number(ids);
  const folder = mkdtempSync(join(tmpdir(), "headrace-scale-"));
  process.env["CLOUDFLARE_CF_FETCH_ENABLED"] = "false";
  exposeGc();
  const contents = await bundleWorker(join(root, "bench/scale/worker.ts"));
  const options = convertV4MiniflareOptions({
    resourcePersistencePath: folder,
    inspectorPort: 0,
    log: new Log(LogLevel.ERROR),
    workers: [
      {
        name: "scale",
        modules: [{ type: "ESModule", path: "scale.js", contents }],
        compatibilityDate: "2026-11-02",
        compatibilityFlags: ["nodejs_compat"],
        durableObjects: {
          LEDGER: { className: "BenchLedger", useSQLite: true, unsafePreventEviction: true },
        },
      },
    ],
  });
  const { pidOf } = newWorkerdPid();
  const miniflare = new Miniflare(options);
  try {
    const url = await miniflare.ready;
    const pid = pidOf();
    const ask = async (path: string): Promise<Counts> => {
      const response = await fetch(new URL(path, url));
      const text = await response.text();
      if (!response.ok) {
        throw new Error(text);
      }
      return text === "" ? emptyCounts : JSON.parse(text);
    };
    const inspector = await connectInspector(await miniflare.getInspectorURL(), "scale");
    // What compiles at run time is compiled by then.
    await ask("/cycle?count=3");
    await ask(`/cycle?count=3&${small}`);
    const lines: Line[] = [];
    for (let size = Number(from); size <= idsMax; size *= 10) {
      for (let have = (await ask("/counts")).remembered; have < size; have += laidAtOnce) {
        await ask(`/lay?count=${Math.min(laidAtOnce, size - have)}`);
      }
      lines.push(await measure(pid, ask, inspector));
      console.log(JSON.stringify(lines.at(-1)));
    }
    inspector.close();
    report(lines);
  } finally {
    await miniflare.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
}

const emptyCounts: Counts = { remembered: 0, databaseBytes: 0, rows: 0, groups: 0 };

const small = "ledger=small";
const smallIds = 10_000;

async function measure(
  pid: number,
  ask: (path: string) => Promise<Counts>,
  inspector: Inspector,
): Promise<Line> {
  const cpuUs = async (path: string): Promise<number> => {
    const before = threadSecondsOf(pid);
    await ask(path);
    return (threadSecondsOf(pid) - before) * 1e6;
  };
  await ask("/stop");
  await ask(`/stop?${small}`);
  const isolateMb = megabytesOf(await inspector.inUse());
  const startCpuMs = (await cpuUs("/start")) / 1000;
  const { remembered, databaseBytes } = await ask("/counts");
  const makingUs = await least(() => cpuUs(`/nothing?count=${roundBatches}`));
  const batch = async (more = ""): Promise<number> =>
    (await cpuUs(`/cycle?count=${roundBatches}${more}`)) - makingUs;
  const first = await batch();
  const memoryMb = megabytesOf(await inspector.inUse());
  await ask(`/clear?${small}`);
  await ask(`/lay?count=${smallIds}&${small}`);
  await ask(`/start?${small}`);
  const smallFirst = await batch(`&${small}`);
  const before = await ask("/counts");
  let [later, smallLater] = [first, smallFirst];
  for (let i = 0; i < rounds; i++) {
    later = Math.min(later, await batch());
    smallLater = Math.min(smallLater, await batch(`&${small}`));
  }
  const after = await ask("/counts");
  const groups = after.groups - before.groups;
  const withLate = await least(() => batch(`&late=${lateShare}`));
  const aloneUs = await least(() => cpuUs(`/alone?count=${alonePayloads}`));
  return {
    ids: remembered,
    bytesAnId: round(databaseBytes / remembered, 1),
    cpuUsFirst: round(first / (roundBatches * batchPayloads), 1),
    cpuUsAPayload: round(later / (roundBatches * batchPayloads), 1),
    cpuUsSmall: round(smallLater / (roundBatches * batchPayloads), 1),
    growth: round(later / smallLater, 2),
    cpuUsWithLate: round(withLate / (roundBatches * batchPayloads), 1),
    cpuUsAlone: round(aloneUs / alonePayloads, 0),
    rowsAPayload: round((after.rows - before.rows) / (rounds * roundBatches * batchPayloads), 3),
    payloadsAGroup: round((rounds * roundBatches * batchPayloads) / groups, 0),
    startCpuMs: round(startCpuMs, 0),
    memoryMb,
    isolateMb,
  };
}

async function least(measured: () => Promise<number>): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < rounds; i++) {
    least = Math.min(least, await measured());
  }
  return least;
}

function megabytesOf({ heapBytes, externalBytes }: Usage): number {
  return round((heapBytes + externalBytes) / 1e6, 1);
}

function report(lines: readonly Line[]): void {
  console.table(lines);
  const last = lines.at(-1);
  if (last === undefined) {
    return;
  }
  const idsMax = limits.ledgerDatabaseBytesMax / last.bytesAnId;
  const capacity = {
    // Full memory: more ids than this, and the oldest are forgotten before their time (safe, slower).
    payloadsASecondByMemory: Math.floor(idsMax / (limits.ledgerMemoryMs / 1000)),
    // One Durable Object computes on one thread.
    payloadsASecondByCpu: Math.floor(1e6 / last.cpuUsAPayload),
    cpuGrowth: last.growth,
  };
  console.log(JSON.stringify({ benchmark: "scale", lines, capacity }));
}

function round(value: number, digits: number): number {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}
