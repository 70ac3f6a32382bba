/** The watermark as the reconciler's book has it: ahead of the table's while nothing arrives. */
import type { Fixed, Watermark } from "../../shared/console/answers.ts";
import type { ConsumerOperations } from "../../shared/console/operations.ts";
import { watermarkOf } from "../../shared/reconcile/checkpoint.ts";

const openListed = 100;

/** `now`: ms since the epoch. */
export async function readWatermark(
  consumer: Pick<ConsumerOperations, "checkpoint">,
  now: number,
): Promise<Fixed<Watermark>> {
  const checkpoint = await consumer.checkpoint();
  if (checkpoint === null) {
    return { watermark: null, behindSeconds: null, ranAt: null, openMinutes: [], openMinutesCount: 0 };
  }
  const watermark = watermarkOf(checkpoint);
  const open = [...checkpoint.open].sort((a, b) => a.minute - b.minute).slice(0, openListed);
  return {
    watermark: new Date(watermark).toISOString(),
    behindSeconds: Math.max(0, Math.round((now - watermark) / 1000)),
    ranAt: checkpoint.ranAt === 0 ? null : new Date(checkpoint.ranAt).toISOString(),
    openMinutes: open.map(({ minute, listed, pending, example, tries, dueAt }) => ({
      minute: new Date(minute).toISOString(),
      listed,
      pending,
      example,
      tries,
      dueAt: new Date(dueAt).toISOString(),
    })),
    openMinutesCount: checkpoint.open.length,
  };
}
