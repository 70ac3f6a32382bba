/** Runs statements on a ClickHouse server over HTTP, for what runs on Node. */
import type { RunStatement } from "../../shared/clickhouse/migrations.ts";

export interface ClickHouseLogin {
  readonly url: string;
  readonly user?: string;
  readonly password?: string;
}

/**
 * A function that runs one statement and resolves with the answer's text. It rejects with ClickHouse's exception as
 * the message, and with the network's error as it is.
 */
export function statementRunner(login: ClickHouseLogin): RunStatement {
  return async (sql) => {
    const response = await fetch(login.url, {
      method: "POST",
      body: sql,
      headers: {
        "X-ClickHouse-User": login.user ?? "default",
        "X-ClickHouse-Key": login.password ?? "",
      },
    });
    const text = await response.text();
    if (!response.ok || response.headers.has("x-clickhouse-exception-code")) {
      throw new Error(text.trim() || `${login.url} answered ${response.status}`);
    }
    return text;
  };
}
