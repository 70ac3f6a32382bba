/** Findings: what a person should know, the open ones first. */
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { findingsSchema, type ListedFinding } from "../../shared/console/answers.ts";
import { limits } from "../../shared/limits.ts";

/** The newest first within open and resolved, at most `limits.findingsListed`. */
export async function listFindings(clickHouse: ClickHouseConnection): Promise<readonly ListedFinding[]> {
  return await queryRows(
    clickHouse,
    findingsSchema,
    `SELECT kind, subject, toString(state) AS state, toString(severity) AS severity, tenant, message,
        toString(opened_at) AS openedAt, toString(headrace_findings.at) AS at
      FROM headrace_findings FINAL ORDER BY headrace_findings.state, headrace_findings.at DESC
      LIMIT ${limits.findingsListed}`,
  );
}
