/**
 * For an outside check: 503 while payloads are not brought in, with what mends it, and when the cron does not come: an
 * alert that is raised by the cron cannot tell that.
 */
import * as v from "valibot";
import { limits } from "../../shared/limits.ts";
import type { ConsumerOperations } from "./bindings.ts";

const statusSchema = v.looseObject({
  head: v.nullable(v.looseObject({ table: v.looseObject({ refusal: v.string() }) })),
});

/** `now`: ms since the epoch. */
export async function health(consumer: ConsumerOperations, now: number): Promise<Response> {
  const { head } = v.parse(statusSchema, await consumer.status());
  const checkpoint = await consumer.checkpoint();
  const refusal = head?.table.refusal ?? "";
  if (refusal !== "") {
    return answer(503, refusal);
  }
  if (checkpoint === null || now - checkpoint.ranAt > limits.alertReconcilerMs) {
    const since =
      checkpoint === null || checkpoint.ranAt === 0
        ? ""
        : ` since ${new Date(checkpoint.ranAt).toISOString()}`;
    return answer(
      503,
      `The reconciler has not come to its end${since}: is the consumer's cron trigger there, and does ClickHouse answer?`,
    );
  }
  return answer(200, "ok");
}

function answer(status: number, text: string): Response {
  return new Response(`${text}\n`, {
    status,
    headers: { "content-type": "text/plain; charset=utf-8" },
  });
}
