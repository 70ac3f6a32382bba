/**
 * Tells people: into the log, to the webhook where one is set, and into headrace_findings. Each of the three is tried
 * on its own, for the finding may well be that one of them cannot be reached. Never throws.
 */
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { type Finding, findingColumns, findingRow } from "../../shared/clickhouse/findings.ts";
import { limits } from "../../shared/limits.ts";
import { writeLog } from "../../shared/write-log.ts";

/** `webhook`: takes `{ "text": … }` by POST, as Slack's and Mattermost's incoming webhooks do. */
export async function tell(
  { client }: ClickHouseConnection,
  webhook: string | undefined,
  findings: readonly Finding[],
  now: number,
): Promise<void> {
  if (findings.length === 0) {
    return;
  }
  for (const { kind, state, severity, subject, message } of findings) {
    const isBad = state === "open" && severity !== "note";
    writeLog(isBad ? "error" : "log", { finding: kind, state, severity, subject, message });
  }
  await Promise.all([
    attempt("findings could not be written", () =>
      client.insert({
        table: "headrace_findings",
        columns: [...findingColumns],
        values: findings.map((finding) => findingRow(finding, now)),
        format: "JSONEachRow",
        clickhouse_settings: { async_insert: 0, wait_end_of_query: 1 },
      }),
    ),
    webhook === undefined || webhook === ""
      ? undefined
      : attempt("the alert webhook could not be reached", () => post(webhook, findings)),
  ]);
}

async function post(webhook: string, findings: readonly Finding[]): Promise<void> {
  const lines = findings.map(
    ({ kind, state, severity, subject, message }) =>
      `*Headrace ${state === "resolved" ? "resolved" : severity}: ${kind}* (${subject})\n${message}`,
  );
  const response = await fetch(webhook, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ text: lines.join("\n\n") }),
    signal: AbortSignal.timeout(limits.webhookTimeoutMs),
  });
  await response.body?.cancel();
  if (!response.ok) {
    throw new Error(`it answered ${response.status}`);
  }
}

async function attempt(message: string, act: () => Promise<unknown>): Promise<void> {
  try {
    await act();
  } catch (error) {
    writeLog("error", { message }, error);
  }
}
