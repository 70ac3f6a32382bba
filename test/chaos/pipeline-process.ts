/**
 * The pipeline of a chaos run, in a process group of its own that can be killed as a whole: what `npm run dev` starts,
 * with the cron's minute 30 times shorter, and with rings that come twice. It asks the stand-ins' Worker for both, over
 * HTTP: nothing here waits for workerd but by the event loop. Settings as JSON in the first argument.
 */
import process from "node:process";
import * as v from "valibot";
import { askStandIns } from "../../dev/drive-stand-ins.ts";
import { startPipeline } from "../../dev/pipeline.ts";
import { seededRandom } from "../../dev/send/seeded-random.ts";
import type { DevSettings } from "../../dev/settings.ts";
import { lateQueue } from "../../dev/worker-names.ts";
import { isSegmentKey } from "../../shared/payload-key.ts";
import type { PipelineMessage } from "./chaos-pipeline.ts";

const { settings, seed, cronMs }: { settings: DevSettings; seed: number; cronMs: number } = JSON.parse(
  process.argv[2] ?? "",
);
const random = seededRandom(seed);
const ringAgainMs = 500;
/** How many payloads of the last minutes are notified again each time. */
const ringsAgain = 3;

/** What the stand-ins say of the objects of the last minute. */
const recentSchema = v.array(
  v.object({
    key: v.string(),
    size: v.number(),
    etag: v.string(),
    uploaded: v.string(),
    customMetadata: v.optional(v.record(v.string(), v.string()), {}),
  }),
);

function reportFindings(message: PipelineMessage): void {
  process.send?.(message);
}

process.on("disconnect", () => process.exit(1)); // the run is gone; the guardian ends the Workers
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.removeAllListeners(signal);
}

const pipeline = await startPipeline(settings, {
  onLog: (level, message) => {
    process.stderr.write(`${new Date().toISOString()} ${level} ${message}\n`);
  },
  doorbells: true,
  events: true,
  crons: false,
});
const { otlp, key, console: consoleUrl, adminToken, standIns } = pipeline;
reportFindings({ kind: "ready", otlp, key, console: consoleUrl, adminToken });

/** The cron, and beside it the operator's reconciler run, which leaves no minute out. */
async function tick(): Promise<void> {
  const headers = { authorization: `Bearer ${adminToken}` };
  await askStandIns(standIns, "/cron", "");
  await fetch(`${consoleUrl}/api/reconcile`, { method: "POST", headers });
}

/** The key of a payload that an object has. */
async function payloadOf(object: string): Promise<string> {
  const keys = await askStandIns(standIns, "/payloads", object);
  return random.pick(v.parse(v.array(v.string()), JSON.parse(keys)));
}

/** Payloads that were accepted, whatever has become of them, ring once more. */
async function ringAgain(): Promise<void> {
  const objects = v.parse(recentSchema, JSON.parse(await askStandIns(standIns, "/recent", "")));
  for (let i = 0; i < ringsAgain && objects.length > 0; i++) {
    const { key, size, etag, uploaded, customMetadata } = random.pick(objects);
    if (random.chance(0.5)) {
      const { spans = "0", outputBytes = "0", arrival = "0" } = customMetadata;
      const numbers = { spans: Number(spans), outputBytes: Number(outputBytes), arrival: Number(arrival) };
      // What a segment's payload counts is in its index: the consumer completes its doorbell.
      const named = isSegmentKey(key) ? { key: await payloadOf(key) } : { key, ...numbers };
      await askStandIns(standIns, "/ring", JSON.stringify({ v: 1, cause: "ingress", ...named }));
      reportFindings({ kind: "fault", fault: "doorbell_again" });
    } else if (random.chance(0.9)) {
      const event = {
        account: "local",
        action: "PutObject",
        bucket: lateQueue,
        object: { key, size, eTag: etag },
        eventTime: uploaded,
      };
      await askStandIns(standIns, "/event", JSON.stringify(event));
      reportFindings({ kind: "fault", fault: "event_again" });
    } else {
      await fetch(`${consoleUrl}/api/replay`, {
        method: "POST",
        headers: { authorization: `Bearer ${adminToken}` },
        body: JSON.stringify({ keys: [await payloadOf(key)] }),
      });
      reportFindings({ kind: "fault", fault: "replayed" });
    }
  }
}

let calm = false;
process.on("message", () => {
  calm = true; // the run settles: no payload is notified twice any more
});

async function repeat(work: () => Promise<void>, everyMs: number, goOn: () => boolean): Promise<void> {
  while (goOn()) {
    try {
      await work();
    } catch (error) {
      process.stderr.write(`${String(error)}\n`);
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
await Promise.all([repeat(tick, cronMs, () => true), repeat(ringAgain, ringAgainMs, () => !calm)]);
