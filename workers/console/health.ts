/**
 * For an outside check: 503 while payloads are not brought in, with what mends it, and when the cron does not come: an
 * alert that is raised by the cron cannot tell that. Anybody may ask, so the ledger is asked once in ten seconds.
 */

import type { ConsumerOperations } from "../../shared/console/operations.ts";
import type { LedgerHealth } from "../../shared/ledger/trouble.ts";
import { limits } from "../../shared/limits.ts";

/** What the ledger said last, one per Worker instance. `askedAt`, `at`: ms since the epoch. */
export interface LastHealth {
  askedAt: number;
  said: { readonly at: number; readonly health: LedgerHealth } | null;
}

export function neverAsked(): LastHealth {
  return { askedAt: 0, said: null };
}

/**
 * `now`: ms since the epoch. `timesFaster`: the ledger's durations are so many times shorter, and what it says is as much
 * sooner out of date. Throws when the ledger has to be asked and does not answer.
 */
export async function health(
  consumer: Pick<ConsumerOperations, "health">,
  last: LastHealth,
  now: number,
  timesFaster = 1,
): Promise<Response> {
  const freshMs = limits.healthFreshMs / timesFaster;
  // While one request asks, others are answered by what was said before.
  if (last.said === null || (now - last.said.at >= freshMs && now - last.askedAt >= freshMs)) {
    last.askedAt = now;
    try {
      last.said = { at: now, health: await consumer.health() };
    } catch (error) {
      last.said = null;
      throw error;
    }
  }
  return judged(last.said.health, now);
}

function judged({ trouble, isFailing, refusal, reconciledAt }: LedgerHealth, now: number): Response {
  if (refusal !== "") {
    return answer(503, refusal);
  }
  if (isFailing) {
    return answer(
      503,
      trouble === "" ? "INSERTs fail; payloads wait in the ledger, nothing is lost." : trouble,
    );
  }
  if (reconciledAt === null || now - reconciledAt > limits.alertReconcilerMs) {
    const since =
      reconciledAt === null || reconciledAt === 0 ? "" : ` since ${new Date(reconciledAt).toISOString()}`;
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
