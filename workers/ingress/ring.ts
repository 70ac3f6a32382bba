/**
 * Rings the queue for a payload that is in R2. A doorbell that is lost loses nothing: the R2 event and the
 * reconciler ring too. So a failure here is logged and never reaches the client.
 */
import type { Doorbell } from "../../shared/messages.ts";
import { writeLog } from "../../shared/write-log.ts";

export async function ring(queue: Queue<Doorbell>, doorbell: Doorbell): Promise<void> {
  try {
    await queue.send(doorbell);
  } catch (error) {
    const message = "the doorbell was not taken; a later ring brings the payload in";
    writeLog("warn", { message, payload: doorbell.key }, error);
  }
}
