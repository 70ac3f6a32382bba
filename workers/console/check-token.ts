/** Who may ask: the bearer token of a request against the console's secrets. */

/** Whether the request carries one of `secrets`. An absent or empty secret lets nobody in. */
export async function carriesToken(
  request: Request,
  secrets: readonly (string | undefined)[],
): Promise<boolean> {
  const given = await sha256(/^bearer +(\S+)$/i.exec(request.headers.get("authorization") ?? "")?.[1] ?? "");
  let isOne = false;
  for (const secret of secrets) {
    // In constant time, so that a token cannot be guessed a character at a time.
    const isEqual = crypto.subtle.timingSafeEqual(given, await sha256(secret ?? ""));
    isOne = (isEqual && secret !== undefined && secret !== "") || isOne;
  }
  return isOne;
}

function sha256(text: string): Promise<ArrayBuffer> {
  return crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
}
