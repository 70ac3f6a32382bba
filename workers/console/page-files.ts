/**
 * The page: static files that hold no secret. What it shows it asks of the API, with the token that a person gave it.
 * Every request comes here first, so that the same headers stand on it locally and deployed.
 */

/**
 * Scripts and styles of our own and nothing else: a span's text that found a hole would still run nothing, load nothing
 * and send nothing elsewhere.
 */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** The API's description, as `npm run page` wrote it beside the page. */
export async function openApiFile(request: Request, assets: Fetcher): Promise<Response> {
  return await pageFile(new Request(new URL("/openapi.json", request.url)), assets);
}

/** A file of the page, as `npm run page` built it. */
export async function pageFile(request: Request, assets: Fetcher): Promise<Response> {
  const found = await assets.fetch(request);
  const response = new Response(found.body, found);
  const { headers } = response;
  headers.set("content-security-policy", contentSecurityPolicy);
  headers.set("x-content-type-options", "nosniff");
  headers.set("referrer-policy", "no-referrer");
  headers.set("cross-origin-opener-policy", "same-origin");
  // Scripts and styles are named by their content; the page that names them is asked for each time.
  const isNamedByContent = new URL(request.url).pathname.startsWith("/assets/") && found.status === 200;
  headers.set("cache-control", isNamedByContent ? "public, max-age=31536000, immutable" : "no-cache");
  return response;
}
