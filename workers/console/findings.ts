/** Findings: what a person should know, the open ones first. */
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { isoOf } from "../../shared/clickhouse/date-time.ts";
import { findingsSchema, type ListedFinding } from "../../shared/console/answers.ts";
import type { ConsumerOperations } from "../../shared/console/operations.ts";
import type { Finding } from "../../shared/finding.ts";
import { limits } from "../../shared/limits.ts";
import { writeLog } from "../../shared/write-log.ts";

/**
 * The open ones first. While ClickHouse, which has them all, does not answer: those that the ledger keeps open. They are
 * included anyway where the table does not have them yet; and while the ledger does not answer, the table's. Throws when neither does.
 */
export async function listFindings(
  clickHouse: ClickHouseConnection,
  consumer: Pick<ConsumerOperations, "openFindings">,
): Promise<readonly ListedFinding[]> {
  const [ofLedger, ofTable] = await Promise.allSettled([consumer.openFindings(), readTable(clickHouse)]);
  if (ofLedger.status === "rejected" && ofTable.status === "rejected") {
    throw ofLedger.reason;
  }
  const kept = listOf(ofLedger, "findings without those of the ledger");
  const listed = listOf(ofTable, "findings without those of ClickHouse's table");
  const names = new Set(listed.filter(({ state }) => state === "open").map(nameOf));
  return [...kept.filter((finding) => !names.has(nameOf(finding))).map(shown), ...listed];
}

function listOf<T>(read: PromiseSettledResult<readonly T[]>, message: string): readonly T[] {
  if (read.status === "fulfilled") {
    return read.value;
  }
  writeLog("warn", { message }, read.reason);
  return [];
}

function nameOf({ kind, subject }: Pick<ListedFinding, "kind" | "subject">): string {
  return `${kind} ${subject}`;
}

function shown({ openedAt, ...finding }: Finding): ListedFinding {
  const at = new Date(openedAt).toISOString();
  return { ...finding, openedAt: at, at };
}

/** The newest first within open and resolved, at most `limits.findingsListed`. */
async function readTable(clickHouse: ClickHouseConnection): Promise<readonly ListedFinding[]> {
  return await queryRows(
    clickHouse,
    findingsSchema,
    // A quota's finding is identified by its month, and open since it was reported.
    `SELECT kind, subject, toString(state) AS state, toString(severity) AS severity, tenant, message,
        ${isoOf("if(kind = 'quota' AND state = 'open', headrace_findings.at, opened_at)")} AS openedAt, ${isoOf("headrace_findings.at")} AS at
      FROM headrace_findings FINAL ORDER BY headrace_findings.state, headrace_findings.at DESC
      LIMIT ${limits.findingsListed}`,
  );
}
