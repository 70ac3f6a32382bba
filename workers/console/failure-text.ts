/** Who did not answer, where that is, and what was said: the sentence of a 503. */
import { StatementFailed } from "../../shared/clickhouse/ask.ts";
import { NotReached } from "../../shared/clickhouse/connection.ts";
import { DependencyFailed } from "../../shared/dependency.ts";

/** Of a question to ClickHouse at `url`. */
export function clickHouseText(url: string, error: unknown): string {
  return error instanceof StatementFailed
    ? `ClickHouse at ${new URL(url).host} could not answer: ${error.message}`
    : messageOf(error);
}

/** Of any question of the console. `url`: ClickHouse's. */
export function failureText(url: string, error: unknown): string {
  return error instanceof NotReached || error instanceof DependencyFailed
    ? `${error.message}; what it would answer is not known now, and nothing is lost.`
    : clickHouseText(url, error);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
