/**
 * Cross-origin rules (Fetch standard, "CORS protocol"). A preflight carries no key, so it is answered for any
 * origin; the POST checks the origins of its key. Every answer to a browser has CORS headers, a 403 too, so that the
 * page can read why.
 */
import type { ApiKeyRecord } from "../../shared/api-key.ts";
import type { Refusal } from "./refusal.ts";

const preflightSeconds = 7200; // the longest that Chromium caches a preflight

/** The answer to a preflight request. */
export function preflight(headers: Headers): Response {
  return new Response(null, {
    status: 204,
    headers: {
      "access-control-allow-origin": headers.get("origin") ?? "*",
      "access-control-allow-methods": "POST",
      "access-control-allow-headers":
        headers.get("access-control-request-headers") ?? "content-type, x-api-key",
      "access-control-max-age": String(preflightSeconds),
      vary: "origin, access-control-request-headers",
    },
  });
}

/** Why a request may not come from its origin. Requests without one do not come from a page. */
export function forbiddenOrigin(headers: Headers, key: ApiKeyRecord): Refusal | undefined {
  const origin = headers.get("origin");
  if (origin === null || key.origins.includes(origin) || key.origins.includes("*")) {
    return undefined;
  }
  return { reason: "forbidden_origin", name: key.name, origin };
}

/** Lets the page that sent the request read its answer. */
export function addCorsHeaders(request: Headers, response: Headers): void {
  const origin = request.get("origin");
  if (origin !== null) {
    response.set("access-control-allow-origin", origin);
    response.set("access-control-expose-headers", "retry-after, x-headrace-payload, x-headrace-duplicate");
    response.append("vary", "origin");
  }
}
