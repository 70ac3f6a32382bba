/**
 * What the ingress knows of the traces table, from the object that the consumer's cron writes. It is a convenience for
 * senders, who learn at once that a span is too old; where it cannot be read, what was read before holds, and such a
 * span ends as `expired` instead.
 */
import * as v from "valibot";
import { limits } from "../../shared/limits.ts";
import {
  noTableLimits,
  type TableLimits,
  tableLimitsKey,
  tableLimitsSchema,
} from "../../shared/table-limits.ts";
import { writeLog } from "../../shared/write-log.ts";
import type { Deadline } from "./deadline.ts";

export class TableMemory {
  #known = noTableLimits;
  /** ms since the epoch */
  #freshUntil = 0;

  /** `now` in ms since the epoch. Waits for R2 at most once a minute, and never for long. */
  async read(bucket: R2Bucket, now: number, deadline: Deadline): Promise<TableLimits> {
    if (now < this.#freshUntil) {
      return this.#known;
    }
    this.#freshUntil = now + limits.tableMemoryMs; // other requests do not wait for this one
    try {
      this.#known = await deadline.within(readLimits(bucket), limits.tableReadTimeoutMs);
    } catch (error) {
      writeLog("warn", { message: "the table's limits could not be read" }, error);
    }
    return this.#known;
  }
}

async function readLimits(bucket: R2Bucket): Promise<TableLimits> {
  const object = await bucket.get(tableLimitsKey);
  return object === null ? noTableLimits : v.parse(tableLimitsSchema, await object.json());
}
