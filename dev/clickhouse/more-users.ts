/** Further users of a local server, for tests of rights, profiles and quotas: put into the files that it is started with. */

/** One further user. */
export interface ServerUser {
  readonly name: string;
  readonly password: string;
  /** What follows GRANT: `SELECT ON otel.*`. */
  readonly grants: readonly string[];
  /** The elements of a profile and of a quota, as users.xml has them. */
  readonly profileXml?: string;
  readonly quotaXml?: string;
}

function xml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function userXml({ name, password, grants }: ServerUser): string {
  const queries = grants.map((grant) => `<query>${xml(`GRANT ${grant}`)}</query>`).join("");
  return `<${name}><password>${xml(password)}</password><networks><ip>127.0.0.0/8</ip></networks>
      <profile>${name}</profile><quota>${name}</quota><grants>${queries}</grants></${name}>`;
}

/** users.xml with these users, their profiles and their quotas. */
export function withMoreUsers(usersXml: string, users: readonly ServerUser[]): string {
  const elements = (part: (user: ServerUser) => string): string => users.map(part).join("");
  return usersXml
    .replace(
      "</profiles>",
      `${elements(({ name, profileXml }) => `<${name}>${profileXml ?? ""}</${name}>`)}</profiles>`,
    )
    .replace(
      "</quotas>",
      `${elements(({ name, quotaXml }) => `<${name}>${quotaXml ?? ""}</${name}>`)}</quotas>`,
    )
    .replace("</users>", `${elements(userXml)}</users>`);
}

/** The server's configuration without its own handlers, which may answer to one user alone. */
export function openToUsers(serverXml: string, users: readonly ServerUser[]): string {
  return users.length === 0 ? serverXml : serverXml.replace(/<http_handlers>[\s\S]*<\/http_handlers>/, "");
}
