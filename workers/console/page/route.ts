/** Which part of the page is shown: it is what follows the `#`, so that links and the browser's Back button work. */
import { useEffect, useState } from "preact/hooks";
import { parseRoute, type Route } from "../../../shared/console/page-routes.ts";

/** The present route; the page is drawn anew when it changes. */
export function useRoute(): Route {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const changed = (): void => setHash(location.hash);
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return parseRoute(hash);
}

/** Goes to a path of shared/console/page-routes.ts. `replace`: without a step for Back, while somebody types. */
export function goTo(path: string, { replace = false }: { readonly replace?: boolean } = {}): void {
  if (replace) {
    location.replace(`#${path}`);
  } else {
    location.hash = path;
  }
}
