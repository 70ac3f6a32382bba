/** A ClickHouse server's address with the login in it (`http://user:password@host:8123`), for what runs on Node. */

export interface ClickHouseLogin {
  /** Without login; without a slash at the end where it has no path. */
  readonly url: string;
  readonly user: string;
  readonly password: string;
}

/** Takes the login out of an address: `fetch` refuses one that has it. No user: `default`. */
export function splitLogin(address: string): ClickHouseLogin {
  const url = new URL(address);
  const user = decodeURIComponent(url.username) || "default";
  const password = decodeURIComponent(url.password);
  url.username = "";
  url.password = "";
  return { url: url.pathname === "/" && url.search === "" ? url.origin : url.href, user, password };
}

/** The address of a proxy in front of a server, with that server's login. */
export function withLoginOf(url: string, server: string): string {
  const { username, password } = new URL(server);
  const login = username === "" ? "" : `${username}:${password}@`;
  return url.replace("://", `://${login}`);
}

/** The header of a login. */
export function authorization({ user, password }: Omit<ClickHouseLogin, "url">): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
}

/** A server that stops waits five seconds for connections that are kept open, idle ones too. */
export const keepNoConnection = { connection: "close" } as const;

/** `fetch` with the login of the address as its header. */
export async function fetchClickHouse(
  address: string | URL,
  init: Omit<RequestInit, "headers"> & { readonly headers?: Readonly<Record<string, string>> } = {},
): Promise<Response> {
  const login = splitLogin(String(address));
  return await fetch(login.url, {
    ...init,
    headers: { ...init.headers, authorization: authorization(login), ...keepNoConnection },
    redirect: "manual",
  });
}

/** The variables by which a Worker and the CLI know the server. */
export function loginVariables(
  address: string,
): Readonly<Record<`CLICKHOUSE_${"URL" | "USER" | "PASSWORD"}`, string>> {
  const { url, user, password } = splitLogin(address);
  return { CLICKHOUSE_URL: url, CLICKHOUSE_USER: user, CLICKHOUSE_PASSWORD: password };
}
