/**
 * The admin token of this tab. It comes by hand, or in the URL's fragment (`#token=…`, which browsers send to nobody, as
 * `npm run dev` prints it), is kept in sessionStorage, and is gone with the tab.
 */
const tokenName = "headrace.token";
const keyName = "headrace.key";

export interface Session {
  /** Empty: nobody has signed in. */
  readonly token: string;
  /** An API key for the lines to paste; empty: not known. Only the local pipeline gives it. */
  readonly key: string;
}

/** What the URL's fragment brings is kept, and taken out of the address bar and the history; `to` is where it leads. */
export function openSession(): Session {
  const fragment = new URLSearchParams(location.hash.slice(1));
  if (fragment.has("token")) {
    sessionStorage.setItem(tokenName, fragment.get("token") ?? "");
    sessionStorage.setItem(keyName, fragment.get("key") ?? "");
    const to = fragment.get("to") ?? "";
    history.replaceState(
      null,
      "",
      location.pathname + location.search + (to.startsWith("/") ? `#${to}` : ""),
    );
  }
  return {
    token: sessionStorage.getItem(tokenName) ?? "",
    key: sessionStorage.getItem(keyName) ?? "",
  };
}

export function keepToken(token: string): void {
  sessionStorage.setItem(tokenName, token);
  sessionStorage.removeItem(keyName);
}

/** Forgets the token, unless another one has taken its place. */
export function forgetToken(token: string): void {
  if (sessionStorage.getItem(tokenName) === token) {
    sessionStorage.removeItem(tokenName);
    sessionStorage.removeItem(keyName);
  }
}
