/** Runs statements on a ClickHouse server over HTTP, for what runs on Node. */
import { strangerText } from "../../shared/clickhouse/errors.ts";
import type { RunStatement } from "../../shared/clickhouse/migrations.ts";
import { authorization, keepNoConnection, splitLogin } from "./login.ts";

export interface StatementLogin {
  /** A login in it (`http://user:password@host`) is used unless `user` is named. */
  readonly url: string;
  readonly user?: string;
  readonly password?: string;
}

/**
 * A function that runs one statement and resolves with the answer's text. It rejects with ClickHouse's exception as
 * the message, and with the network's error as it is.
 */
export function statementRunner(login: StatementLogin): RunStatement {
  const { url, ...inUrl } = splitLogin(login.url);
  const { user, password } = login.user === undefined ? inUrl : { password: "", ...login, user: login.user };
  return async (sql) => {
    const response = await fetch(url, {
      method: "POST",
      body: sql,
      headers: { authorization: authorization({ user, password }), ...keepNoConnection },
      redirect: "manual", // the login goes to this address and to no other
    });
    const text = response.headers.get("location") ?? (await response.text());
    if (response.status >= 300 && response.status < 400) {
      throw new Error(`${url}: ${strangerText(response.status, text)}`);
    }
    if (!response.ok || response.headers.has("x-clickhouse-exception-code")) {
      throw new Error(text.trim() || `${url} answered ${response.status}`);
    }
    if (!["x-clickhouse-query-id", "x-clickhouse-summary"].some((name) => response.headers.has(name))) {
      throw new Error(`${url}: ${strangerText(response.status, text)}`);
    }
    return text;
  };
}
