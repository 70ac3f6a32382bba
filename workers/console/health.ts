/**
 * For an outside check: 503 while payloads are not stored or clients cannot be served, with what fixes it, and when the
 * cron does not come: an alert that is raised by the cron cannot tell that. Anybody may ask, so each part is asked once in
 * ten seconds.
 */
import type { LedgerHealth } from "../../shared/ledger/trouble.ts";
import { limits } from "../../shared/limits.ts";
import { writeLog } from "../../shared/write-log.ts";
import type { ConsoleBindings } from "./bindings.ts";
import { nameDependencies } from "./name-dependencies.ts";
import { type LastProbe, neverProbed, probeDependencies, type Unreachable } from "./probe-dependencies.ts";

/** What was learnt last, one per Worker instance. `askedAt`, `at`: ms since the epoch. */
export interface LastHealth {
  askedAt: number;
  said: { readonly at: number; readonly health: LedgerHealth } | null;
  readonly probe: LastProbe;
}

export function neverAsked(): LastHealth {
  return { askedAt: 0, said: null, probe: neverProbed() };
}

/**
 * `now`: ms since the epoch. Where the ledger's durations are shorter (`LEDGER_TIMES_FASTER`), what it says is as much
 * sooner out of date. Never throws: who does not answer is the answer.
 */
export async function health(env: ConsoleBindings, last: LastHealth, now: number): Promise<Response> {
  const freshMs = limits.healthFreshMs / Number(env.LEDGER_TIMES_FASTER ?? 1);
  const [unreachable, said] = await Promise.all([
    probeDependencies(env, last.probe, now),
    askLedger(nameDependencies(env, limits.glanceMs), last, now, freshMs),
  ]);
  return judged(said, unreachable, now);
}

/** A string says why nothing is known. */
async function askLedger(
  env: ConsoleBindings,
  last: LastHealth,
  now: number,
  freshMs: number,
): Promise<LedgerHealth | string> {
  // While one request asks, others are answered by what was said before.
  if (last.said === null || (now - last.said.at >= freshMs && now - last.askedAt >= freshMs)) {
    last.askedAt = now;
    try {
      last.said = { at: now, health: await env.CONSUMER.health() };
    } catch (error) {
      last.said = null;
      writeLog("error", { message: "the pipeline's health is not known" }, error);
      return error instanceof Error ? error.message : String(error);
    }
  }
  return last.said.health;
}

/** While this one does not answer, clients are turned away. */
const serves: Readonly<Record<Unreachable["dependency"], boolean>> = { r2: true, kv: true, meter: false };

function judged(said: LedgerHealth | string, unreachable: readonly Unreachable[], now: number): Response {
  const front = unreachable.map(({ text }) => text);
  if (typeof said === "string") {
    return answer(503, [`Not known: ${said}.`, ...front]);
  }
  const { trouble, isFailing, refusal, reconciledAt } = said;
  if (refusal !== "") {
    return answer(503, [refusal, ...front]);
  }
  if (isFailing) {
    const what = trouble === "" ? "INSERTs fail; payloads wait in the ledger, nothing is lost." : trouble;
    return answer(503, [what, ...front]);
  }
  if (reconciledAt === null || now - reconciledAt > limits.alertReconcilerMs) {
    const since =
      reconciledAt === null || reconciledAt === 0 ? "" : ` since ${new Date(reconciledAt).toISOString()}`;
    const what = `No run of the reconciler has finished${since}: does the consumer have its cron trigger, and does ClickHouse answer?`;
    return answer(503, [what, ...front]);
  }
  const isServed = unreachable.every(({ dependency }) => !serves[dependency]);
  return isServed ? answer(200, ["ok", ...front]) : answer(503, front);
}

function answer(status: number, lines: readonly string[]): Response {
  return new Response(`${lines.join("\n")}\n`, {
    status,
    headers: { "content-type": "text/plain; charset=utf-8" },
  });
}
