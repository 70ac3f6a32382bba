/**
 * Tells people: into the log, to the webhook where one is set, and into headrace_findings. Each of the three is tried
 * on its own, for the finding may well be that one of them cannot be reached.
 */
import { type Channel, channels, type Unreported } from "../../shared/alerts.ts";
import { insertRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { findingColumns, findingRow } from "../../shared/clickhouse/finding-row.ts";
import { findingAdvice, subjectText } from "../../shared/console/finding-advice.ts";
import type { Finding } from "../../shared/finding.ts";
import { limits } from "../../shared/limits.ts";
import { writeLog } from "../../shared/write-log.ts";

/** Where findings are reported. */
export interface ReportTargets {
  /** Takes `{ "text": … }` by POST, as Slack's and Mattermost's incoming webhooks do; empty or undefined: there is none. */
  readonly webhook: string | undefined;
  /** The page's address, for a link; empty or undefined: it is not set. */
  readonly consoleUrl: string | undefined;
}

/** Tells each finding by its channels. Answers the channels that took all of theirs. Never throws. */
export async function reportFindings(
  clickHouse: ClickHouseConnection,
  { webhook, consoleUrl }: ReportTargets,
  unreported: readonly Unreported[],
  now: number,
): Promise<readonly Channel[]> {
  const through: Readonly<Record<Channel, (findings: readonly Finding[]) => Promise<void>>> = {
    log: async (findings) => findings.forEach(logFinding),
    table: async (findings) => {
      const rows = findings.map((finding) =>
        findingRow(finding, now, finding.state === "open" ? findingAdvice(finding, "cli") : ""),
      );
      await insertRows(clickHouse, "headrace_findings", findingColumns, rows);
    },
    webhook: async (findings) => {
      if (webhook !== undefined && webhook !== "") {
        await post(webhook, findings, consoleUrl ?? "");
      }
    },
  };
  const reached = await Promise.all(
    channels.map(async (channel) => {
      const own = unreported.filter((one) => one.channels.includes(channel)).map(({ finding }) => finding);
      return own.length === 0 || (await reportThrough(channel, () => through[channel](own)));
    }),
  );
  return channels.filter((_, index) => reached[index] === true);
}

function logFinding({ kind, state, severity, subject, message }: Finding): void {
  const isBad = state === "open" && severity !== "note";
  writeLog(isBad ? "error" : "log", { finding: kind, state, severity, subject, message });
}

/** With what to do: at the page, which it links to, or by the CLI where the page's address is not known. */
function webhookText(finding: Finding, consoleUrl: string): string {
  const { kind, state, severity, subject, message } = finding;
  const said = `*Headrace ${state === "resolved" ? "resolved" : severity}: ${kind}* (${subjectText(subject)})\n${state === "resolved" ? "It is over. It was: " : ""}${message}`;
  if (state === "resolved") {
    return said;
  }
  const advice = findingAdvice(finding, consoleUrl === "" ? "cli" : "page");
  return [said, [consoleUrl, advice].filter((text) => text !== "").join(" ")]
    .filter((text) => text !== "")
    .join("\n");
}

async function post(webhook: string, findings: readonly Finding[], consoleUrl: string): Promise<void> {
  const lines = findings.map((finding) => webhookText(finding, consoleUrl));
  const response = await fetch(webhook, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ text: lines.join("\n\n") }),
    redirect: "manual", // findings go to this address and to no other
    signal: AbortSignal.timeout(limits.webhookTimeoutMs),
  });
  await response.body?.cancel();
  if (!response.ok) {
    throw new Error(`it answered ${response.status}`);
  }
}

const failed: Readonly<Record<Channel, string>> = {
  log: "findings could not be logged",
  table: "findings could not be written",
  webhook: "the alert webhook could not be reached",
};

async function reportThrough(channel: Channel, act: () => Promise<void>): Promise<boolean> {
  try {
    await act();
    return true;
  } catch (error) {
    writeLog("error", { message: failed[channel] }, error);
    return false;
  }
}
