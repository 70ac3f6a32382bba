/**
 * Where things stand on the console's page. All of it is in the URL's fragment, which browsers send to nobody: no log of a
 * server has what somebody looked for.
 */

/** The list of traces; `search`: the parameters of `GET /api/traces`. */
export function tracesPagePath(search: URLSearchParams = new URLSearchParams()): string {
  const text = search.toString();
  return text === "" ? "/traces" : `/traces?${text}`;
}

/** A trace (32 lower-case hex digits), with one of its spans (16) chosen where there is one; `tenant`: its spans alone. */
export function tracePagePath(trace: string, span = "", tenant = ""): string {
  const search = new URLSearchParams({ ...(tenant && { tenant }), ...(span && { span }) }).toString();
  return `/traces/${trace}${search === "" ? "" : `?${search}`}`;
}

/** What signs in by itself: for a local pipeline's terminal alone. */
export interface SignIn {
  readonly token: string;
  /** An API key for the lines to paste. */
  readonly key: string;
}

/** A link to a place of the page at `consoleUrl`. Without `signIn` the page asks for the token, and then goes there. */
export function pageLink(consoleUrl: string, path: string, signIn?: SignIn): string {
  const base = consoleUrl.replace(/\/+$/, "");
  return signIn === undefined
    ? `${base}/#${path}`
    : `${base}/#${new URLSearchParams({ token: signIn.token, key: signIn.key, ...(path === "/" ? {} : { to: path }) })}`;
}

export type Route =
  | { readonly page: "overview" }
  | { readonly page: "traces"; readonly search: URLSearchParams }
  | { readonly page: "trace"; readonly trace: string; readonly span: string; readonly tenant: string }
  | { readonly page: "keys" }
  | { readonly page: "unknown"; readonly path: string };

/** `hash` with its `#`. */
export function parseRoute(hash: string): Route {
  const path = hash.replace(/^#/, "");
  const [place = "", query = ""] = splitOnce(path, "?");
  const search = new URLSearchParams(query);
  const [, first = "", second = "", ...more] = place.split("/");
  if (first === "" && second === "") {
    return { page: "overview" };
  }
  if (first === "traces" && more.length === 0) {
    return second === ""
      ? { page: "traces", search }
      : {
          page: "trace",
          trace: decodeOrSame(second).toLowerCase(),
          span: search.get("span") ?? "",
          tenant: search.get("tenant") ?? "",
        };
  }
  return first === "keys" && second === "" ? { page: "keys" } : { page: "unknown", path };
}

function splitOnce(text: string, by: string): readonly string[] {
  const at = text.indexOf(by);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

function decodeOrSame(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
