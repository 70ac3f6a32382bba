/** What `doctor` asks the console: its own bindings, and through the consumer the rest. */
import * as v from "valibot";
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { readSearchSettings } from "../../shared/clickhouse/search-limits.ts";
import type { BuiltAnswer } from "../../shared/console/routes.ts";
import { bad, type Check, good, warning } from "../../shared/doctor/check.ts";
import type { ConsoleBindings } from "./bindings.ts";
import { health, neverAsked } from "./health.ts";

export async function examineConsole(
  env: ConsoleBindings,
  clickHouse: ClickHouseConnection,
): Promise<BuiltAnswer<"GET /api/doctor">> {
  const now = Date.now();
  const [kv, own, consumer, cron] = await Promise.all([
    examineKeys(env.KEYS),
    examineLogin(clickHouse),
    env.CONSUMER.examine().catch((error: unknown) => [
      bad("consumer", String(error), "npx headrace deploy (it deploys the consumer and the binding)"),
    ]),
    examineCron(env, now),
  ]);
  return { now, checks: [kv, own, ...consumer, cron] };
}

async function examineKeys(keys: KVNamespace): Promise<Check> {
  try {
    await keys.list({ limit: 1 });
    await keys.get("doctor");
    return good("kv keys", "can be read");
  } catch (error) {
    return bad("kv keys", String(error), "npx headrace deploy (it creates the namespace and the binding)");
  }
}

async function examineLogin(clickHouse: ClickHouseConnection): Promise<Check> {
  const { settings } = clickHouse;
  try {
    await queryRows(clickHouse, v.array(v.unknown()), "SELECT 1 FROM headrace_receipts LIMIT 1");
    const search = await readSearchSettings(clickHouse);
    if (search.kind === "unlimited") {
      return warning(
        "console login",
        `${settings.user} can read the receipts, but may not search traces: it has no limit (${search.missing.join(", ")})`,
        `in ClickHouse, as an administrator: ${search.mend}`,
      );
    }
    return good("console login", `${settings.user} can read the receipts`);
  } catch (error) {
    return bad(
      "console login",
      `${settings.user} at ${new URL(settings.url).host}: ${String(error).split("\n")[0]}`,
      "npx headrace deploy (schema), or npx headrace deploy --set-secrets (password)",
    );
  }
}

async function examineCron(env: ConsoleBindings, now: number): Promise<Check> {
  try {
    const response = await health(env, neverAsked(), now);
    const text = (await response.text()).trim();
    return response.ok
      ? good("reconciler", "finished within the last minutes")
      : bad("reconciler", text, "npx headrace reconcile shows why it fails");
  } catch (error) {
    return bad("reconciler", String(error), "npx headrace deploy (it deploys the consumer and its cron)");
  }
}
