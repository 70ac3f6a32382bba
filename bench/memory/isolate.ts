/**
 * One Worker in workerd, with an inspector that reads the isolate's memory at chosen places of its code.
 *
 * Between two awaits an isolate answers nobody, so what it holds inside a computation cannot be asked from outside.
 * Therefore the bundle is given `debugger` statements where the most is held: V8 stops there, the inspector reads
 * `Runtime.getHeapUsage` and lets it go on. `external` is memory outside of V8's heap that V8 knows of: mostly
 * ArrayBuffers. What zlib allocates for itself is in neither.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "miniflare";
import * as v from "valibot";
import { bundleWorker } from "../../dev/bundle.ts";
import { connectInspector, exposeGc, sweepMs, type Usage } from "../inspector.ts";
import { peakBytesOf } from "../process-cost.ts";
import { newWorkerdPid } from "../runtimes.ts";

/** A place in the bundle: its text, once in there, and what is written instead. `$&` is the text itself. */
export type Mark = readonly [text: string, instead: string];

export interface Sample extends Usage {
  /** The function that was stopped. */
  readonly at: string;
}

export interface Peak {
  /** The largest sample: what was in use, and garbage that V8 had not collected. */
  readonly asItComes: Sample;
  /** The largest one with a collection before each: what was in use. */
  readonly inUse: Sample;
  readonly samples: number;
  /** How far the process's resident size rose above what it was before; Miniflare's simulators are in it. */
  readonly processGrowth: number;
}

export interface Isolate {
  readonly url: URL;
  readonly miniflare: Miniflare;
  /** Does `work` twice: with a collection at each place that may be the peak, and as it comes. */
  peakOf(work: () => Promise<void>): Promise<Peak>;
  /** After a collection, at this moment. */
  inUse(): Promise<Usage>;
  /** Whether the chosen places are passed without a stop. */
  passOver(isPassed: boolean): Promise<void>;
  stop(): Promise<void>;
}

const noSample: Sample = { heapBytes: 0, externalBytes: 0, at: "" };

export function sizeOf({ heapBytes, externalBytes }: Usage): number {
  return heapBytes + externalBytes;
}

type WorkerOptions = Omit<Parameters<typeof convertV4MiniflareOptions>[0], "modules" | "workers">;

/** Starts the Worker whose entry file is `entry` (absolute path). Throws when a mark's text is not there once. */
export async function startIsolate(
  entry: string,
  marks: readonly Mark[],
  options: WorkerOptions,
): Promise<Isolate> {
  process.env["CLOUDFLARE_CF_FETCH_ENABLED"] = "false";
  exposeGc();
  const { pidOf } = newWorkerdPid();
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      ...options,
      name: "measured",
      modules: [
        { type: "ESModule", path: "measured.js", contents: marked(await bundleWorker(entry), marks) },
      ],
      compatibilityDate: "2026-11-02",
      compatibilityFlags: ["nodejs_compat"],
      inspectorPort: 0,
      log: new Log(LogLevel.ERROR),
    }),
  );
  const url = await miniflare.ready;
  const pid = pidOf();
  const inspector = await connect(await miniflare.getInspectorURL());
  return {
    url,
    miniflare,
    async peakOf(work) {
      // 5 sets the peak of the resident size back (proc(5), clear_refs).
      writeFileSync(`/proc/${pid}/clear_refs`, "5");
      const before = residentBytesOf(pid);
      inspector.begin(true);
      await work();
      const inUse = inspector.peak();
      inspector.begin(false);
      await work();
      return {
        inUse,
        asItComes: inspector.peak(),
        samples: inspector.samples(),
        processGrowth: peakBytesOf(pid) - before,
      };
    },
    inUse: () => inspector.inUse(),
    passOver: (isPassed) => inspector.passOver(isPassed),
    async stop() {
      inspector.close();
      await miniflare.dispose();
    },
  };
}

function marked(bundle: string, marks: readonly Mark[]): string {
  // A source map of other lines would only mislead.
  let text = bundle.replace(/\n\/\/# sourceMappingURL=.*/, "");
  for (const [part, instead] of marks) {
    if (text.split(part).length !== 2) {
      throw new Error(`the bundle does not hold once: ${part}`);
    }
    text = text.replace(part, () => instead.replace("$&", () => part));
  }
  return `${text}\nfunction lookedAt(value) { debugger; return value; }\n`;
}

function residentBytesOf(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
}

interface Looks {
  begin(collects: boolean): void;
  peak(): Sample;
  samples(): number;
  inUse(): Promise<Usage>;
  passOver(isPassed: boolean): Promise<void>;
  close(): void;
}

const pausedSchema = v.object({
  callFrames: v.array(v.looseObject({ callFrameId: v.string(), functionName: v.string() })),
});

async function connect(inspectorUrl: URL): Promise<Looks> {
  let collects = false;
  let peak = noSample;
  let samples = 0;
  const inspector = await connectInspector(inspectorUrl, "measured", (params) => void look(params));
  const usage = async (at: string): Promise<Sample> => ({ ...(await inspector.usage()), at });
  const look = async (params: unknown): Promise<void> => {
    const { callFrames } = v.parse(pausedSchema, params);
    const frame = callFrames.find(({ functionName }) => functionName !== "lookedAt");
    let sample = await usage(frame?.functionName ?? "");
    samples++;
    if (collects && sizeOf(sample) > sizeOf(peak) && frame !== undefined) {
      for (let times = 0; times < 2; times++) {
        const { callFrameId } = frame;
        await inspector.ask("Debugger.evaluateOnCallFrame", { callFrameId, expression: "gc()" });
        await new Promise((resolve) => setTimeout(resolve, sweepMs));
      }
      sample = await usage(frame.functionName);
    }
    if (sizeOf(sample) > sizeOf(peak)) {
      peak = sample;
    }
    await inspector.ask("Debugger.resume");
  };
  await inspector.ask("Debugger.enable");
  return {
    begin(collectsNow) {
      collects = collectsNow;
      peak = noSample;
      samples = 0;
    },
    peak: () => peak,
    samples: () => samples,
    inUse: () => inspector.inUse(),
    async passOver(skip) {
      await inspector.ask("Debugger.setSkipAllPauses", { skip });
    },
    close: () => inspector.close(),
  };
}
