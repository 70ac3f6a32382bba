/** Dead letters: which payloads could not be stored and why, and what a person does about them. */
import * as v from "valibot";
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { type DeadLetter, deadLettersSchema } from "../../shared/console/answers.ts";
import { limits } from "../../shared/limits.ts";

/** Keys whose receipt says dead. Receipts are searched by key, for the keys that died: there are few of these. */
export const stillDead = `SELECT key FROM headrace_receipts FINAL
      WHERE key IN (SELECT key FROM headrace_dead_letters) AND outcome = 'dead'`;

/** Those that are still dead, the newest first, at most `limits.deadLettersListed`. */
export async function listDeadLetters(clickHouse: ClickHouseConnection): Promise<readonly DeadLetter[]> {
  return await queryRows(
    clickHouse,
    deadLettersSchema,
    `SELECT key, tenant, reason, message, refusals, spans, record, toString(at) AS at FROM headrace_dead_letters FINAL
      WHERE key IN (${stillDead})
      ORDER BY at DESC LIMIT ${limits.deadLettersListed}`,
  );
}

const keysSchema = v.pipe(
  v.array(v.string()),
  v.minLength(1, "names no key"),
  v.maxLength(limits.keysAskedMax, `names over ${limits.keysAskedMax} keys`),
);

/** `POST /api/replay` */
export const replaySchema = v.object({ keys: keysSchema });

/** `POST /api/forget`: keys or ids of payloads whose rows a person deleted. */
export const forgetSchema = v.object({
  keys: v.pipe(
    v.array(v.string()),
    v.minLength(1, "names no key"),
    v.maxLength(limits.forgetKeysMax, `names over ${limits.forgetKeysMax} keys`),
  ),
});

/** `POST /api/erase`: an erasure stays in the balance, so it says why. */
export const eraseSchema = v.object({
  keys: keysSchema,
  reason: v.pipe(
    v.string(),
    v.minLength(1, "is empty"),
    v.maxLength(limits.reasonBytesMax, `is over ${limits.reasonBytesMax} characters`),
  ),
});

/** `POST /api/resolve`: a payload whose rows are neither none nor all. */
export const resolveSchema = v.object({ key: v.string(), how: v.picklist(["accept", "rewrite"]) });
