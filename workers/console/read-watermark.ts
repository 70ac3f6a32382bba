/** The watermark as the reconciler's book has it: ahead of the table's while nothing arrives. */
import { watermarkOf } from "../../shared/reconcile/checkpoint.ts";
import type { ConsumerOperations } from "./bindings.ts";

export interface OpenMinuteAnswer {
  /** Its start, ISO 8601, UTC. */
  readonly minute: string;
  /** Payloads that were listed in it, and how many of them have not ended. */
  readonly listed: number;
  readonly pending: number;
  /** One that has not. */
  readonly example: string | null;
  readonly tries: number;
  /** When it is looked at again. */
  readonly dueAt: string;
}

export interface WatermarkAnswer {
  /**
   * Everything that arrived before is stored, dead, duplicate, erased or expired, and nothing of it is in flight. ISO 8601, UTC;
   * null until the reconciler has run once.
   */
  readonly watermark: string | null;
  readonly behindSeconds: number | null;
  /** When a run of the reconciler last came to its end. */
  readonly ranAt: string | null;
  /** The oldest first; at most 100. */
  readonly openMinutes: readonly OpenMinuteAnswer[];
  readonly openMinutesCount: number;
}

const openListed = 100;

/** `now`: ms since the epoch. */
export async function readWatermark(consumer: ConsumerOperations, now: number): Promise<WatermarkAnswer> {
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
