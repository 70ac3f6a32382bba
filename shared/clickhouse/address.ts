/**
 * Which addresses a login or a token may be sent to. Over `http://` everybody on the way reads it, and can answer in
 * the server's place: that is for this machine, and for a private network that a person named as one.
 */

/** How a person says that `http://` stays within a network of theirs; for the variable of the same name. */
export const privateNetworkWord = "private-network";

/**
 * Why nothing secret may be sent to this address; empty: it may. `declaredPrivate`: a person said that its network is
 * private. `name`: of the variable or flag that has the address, `declare`: what would declare it, for the message.
 */
export function addressRefusal(
  text: string,
  declaredPrivate: boolean,
  { name, declare }: { readonly name: string; readonly declare: string },
): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:") || url.hostname === "") {
    return `${name} is a URL that begins with http:// or https://, not "${text}"`;
  }
  if (url.protocol === "https:" || declaredPrivate || isLoopback(url.hostname)) {
    return "";
  }
  return `${name} is http://${url.host}: the login and the data would travel in the clear. Give an https:// address, or, if this network is private, ${declare}`;
}

/**
 * Of a URL's `hostname`, which the URL parser has made canonical: 127.1, 0x7f000001 and 2130706433 have become 127.0.0.1
 * there, and `127.0.0.1.example.com` has not.
 */
export function isLoopback(hostname: string): boolean {
  const host = hostname.toLowerCase().replace(/\.$/, "");
  return (
    host === "localhost" ||
    host.endsWith(".localhost") || // RFC 6761: names below localhost are loopback too
    /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host) ||
    host === "[::1]" ||
    /^\[::ffff:7f[0-9a-f]{2}:[0-9a-f]{1,4}\]$/.test(host) // IPv4 in IPv6: ::ffff:127.0.0.1
  );
}
