/** Runs statements on a ClickHouse server over HTTP, for what runs on Node. */
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
    });
    const text = await response.text();
    if (!response.ok || response.headers.has("x-clickhouse-exception-code")) {
      throw new Error(text.trim() || `${url} answered ${response.status}`);
    }
    return text;
  };
}
