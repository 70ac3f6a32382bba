/**
 * What an operator's search may take of ClickHouse: time, rows, memory, and how many at once. The login itself has these
 * limits and may change no setting (docs/operating.md has the statement), so that none of its queries can exceed them, whatever
 * its text. For a login that may change settings, each query is sent with the limits and with `readonly`, to the same effect.
 */
import * as v from "valibot";
import { queryRows } from "./ask.ts";
import type { ClickHouseConnection } from "./connection.ts";

/** By their names in ClickHouse, as the statement of docs/operating.md sets them. */
export const searchLimits = {
  /** Seconds of any query of the console: as long as it waits for an answer. */
  max_execution_time: 30,
  /** Beyond, a query is refused before it reads; the search asks for less time then. */
  max_rows_to_read: 1_000_000_000,
  /** Bytes. */
  max_memory_usage: 2_000_000_000,
  /** An answer is in the console's memory as a whole. */
  max_result_bytes: 32_000_000,
  /** A search that nobody waits for any more ends. */
  cancel_http_readonly_queries_on_client_close: 1,
  /** INSERTs and merges find a core. */
  max_threads: 4,
  max_concurrent_queries_for_user: 20,
} as const;

type LimitName = keyof typeof searchLimits;

/** Without these three a search could take a server for itself. */
const neededLimits = ["max_execution_time", "max_rows_to_read", "max_memory_usage"] as const;

const loginSchema = v.object({
  readonly: v.number(),
  limits: v.record(v.picklist(neededLimits), v.number()),
});

export type SearchSettings =
  /** Settings to send with each query; none where the login has its own. */
  | { readonly kind: "limited"; readonly settings: Readonly<Record<string, string>> }
  /** The login has no limits, and takes none: a statement that an administrator can run. */
  | { readonly kind: "unlimited"; readonly missing: readonly string[]; readonly mend: string };

/** How a search of this login is kept within limits. Asks ClickHouse. */
export async function readSearchSettings(clickHouse: ClickHouseConnection): Promise<SearchSettings> {
  const fields = neededLimits.map((name) => `'${name}', toFloat64(getSetting('${name}'))`).join(", ");
  const [login] = await queryRows(
    clickHouse,
    v.array(loginSchema),
    `SELECT toUInt8(getSetting('readonly')) AS readonly, map(${fields}) AS limits`,
  );
  return searchSettings(clickHouse.settings.user, login ?? { readonly: 0, limits: {} });
}

/** `login`: what its settings say. */
export function searchSettings(user: string, login: v.InferOutput<typeof loginSchema>): SearchSettings {
  const missing = neededLimits.filter((name) => !((login.limits[name] ?? 0) > 0));
  if (login.readonly === 1) {
    return missing.length === 0
      ? { kind: "limited", settings: {} }
      : { kind: "unlimited", missing, mend: `ALTER USER ${user} SETTINGS ${limitsClause()}` };
  }
  const all = Object.entries(searchLimits).map(([name, value]): [string, string] => [name, String(value)]);
  // One that is read-only and may set the rest (2) may not set this.
  const own: readonly [string, string][] = login.readonly === 0 ? [["readonly", "1"]] : [];
  return { kind: "limited", settings: Object.fromEntries([...all, ...own]) };
}

/** What follows SETTINGS in the login's statement. */
export function limitsClause(): string {
  return [["readonly", 1] as const, ...(Object.entries(searchLimits) as [LimitName, number][])]
    .map(([name, value]) => `${name} = ${value}`)
    .join(", ");
}
