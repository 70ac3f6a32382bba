/** Ticks the consumer's cron each minute: nothing does that locally. */
import { type Workers, workerNames } from "./workers.ts";

const minuteMs = 60_000;

/** Ticks at each full minute, as Cloudflare does, until `stop` is called; a tick that fails is told, and the next comes. */
export function startCrons(workers: Workers): { stop(): void } {
  let timer = setTimeout(tick, minuteMs - (Date.now() % minuteMs));
  let stopped = false;

  async function tick(): Promise<void> {
    try {
      const consumer = await workers.getWorker(workerNames.consumer);
      await consumer.scheduled({ scheduledTime: new Date(), cron: "* * * * *" });
    } catch (error) {
      if (!stopped) {
        console.warn(`The cron's tick failed: ${String(error)}`);
      }
    }
    if (!stopped) {
      timer = setTimeout(tick, minuteMs - (Date.now() % minuteMs));
    }
  }

  return {
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
