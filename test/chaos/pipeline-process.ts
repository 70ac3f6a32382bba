/**
 * The pipeline of a chaos run, in a process group of its own that can be killed as a whole: what `npm run dev` starts,
 * with the cron's minute 30 times shorter, and with rings that come twice. Settings as JSON in the first argument.
 */
import process from "node:process";
import { startPipeline } from "../../dev/pipeline.ts";
import { seededRandom } from "../../dev/send/seeded-random.ts";
import type { DevSettings } from "../../dev/settings.ts";
import { lateQueue, workerNames } from "../../dev/worker-names.ts";
import { formatMinute, payloadPrefix } from "../../shared/payload-key.ts";
import type { PipelineMessage } from "./chaos-pipeline.ts";

const { settings, seed, cronMs }: { settings: DevSettings; seed: number; cronMs: number } = JSON.parse(
  process.argv[2] ?? "",
);
const random = seededRandom(seed);
const ringAgainMs = 500;
/** Of the payloads of the last minutes, so many are rung again each time. */
const ringsAgain = 3;
const lookBackMs = 60_000;
const listedMost = 300;

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
const { otlp, key, console: consoleUrl, adminToken } = pipeline;
reportFindings({ kind: "ready", otlp, key, console: consoleUrl, adminToken });

const consumer = await pipeline.workers.getWorker(workerNames.consumer);
const bucket = await pipeline.workers.getR2Bucket("PAYLOADS", workerNames.consumer);
const ring = await pipeline.workers.getQueueProducer("RING", workerNames.consumer);
const events = await pipeline.workers.getQueueProducer("EVENTS", workerNames.consumer);

/** The cron, and beside it the operator's reconciler run, which leaves no minute out. */
async function tick(): Promise<void> {
  const headers = { authorization: `Bearer ${adminToken}` };
  await consumer.scheduled({ scheduledTime: new Date(), cron: "* * * * *" });
  await fetch(`${consoleUrl}/api/reconcile`, { method: "POST", headers });
}

/** Payloads that were accepted, whatever has become of them, ring once more. */
async function ringAgain(): Promise<void> {
  const { objects } = await bucket.list({
    startAfter: `${payloadPrefix}${formatMinute(Date.now() - lookBackMs)}`,
    include: ["customMetadata"],
    limit: listedMost,
  });
  for (let i = 0; i < ringsAgain && objects.length > 0; i++) {
    const object = random.pick(objects);
    const { spans = "0", outputBytes = "0", arrival = "0" } = object.customMetadata ?? {};
    if (random.chance(0.5)) {
      const numbers = { spans: Number(spans), outputBytes: Number(outputBytes), arrival: Number(arrival) };
      await ring.send({ v: 1, key: object.key, cause: "ingress", ...numbers });
      reportFindings({ kind: "fault", fault: "doorbell_again" });
    } else if (random.chance(0.9)) {
      await events.send({
        account: "local",
        action: "PutObject",
        bucket: lateQueue,
        object: { key: object.key, size: object.size, eTag: object.etag },
        eventTime: object.uploaded.toISOString(),
      });
      reportFindings({ kind: "fault", fault: "event_again" });
    } else {
      await fetch(`${consoleUrl}/api/replay`, {
        method: "POST",
        headers: { authorization: `Bearer ${adminToken}` },
        body: JSON.stringify({ keys: [object.key] }),
      });
      reportFindings({ kind: "fault", fault: "replayed" });
    }
  }
}

let calm = false;
process.on("message", () => {
  calm = true; // the run settles: nothing is rung twice any more
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
