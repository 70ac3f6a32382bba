/**
 * Cloudflare Access's assertion: a JWT in the header `cf-access-jwt-assertion`, signed with RS256 by a key that the team's
 * domain publishes (developers.cloudflare.com/cloudflare-one, "Validate JWTs"). The headers beside it, such as the e-mail
 * address, anybody can send who finds an address of the Worker that Access does not guard.
 *
 * One algorithm, named here and never by the token; decision 79 says why by WebCrypto.
 */
import * as v from "valibot";
import { within } from "../../shared/clickhouse/patience.ts";
import { limits } from "../../shared/limits.ts";
import { ok, type Result, refuse } from "../../shared/result.ts";

/** As they are declared in wrangler.toml: `acme.cloudflareaccess.com`, and the application's audience tag. */
export interface AccessApplication {
  readonly team: string;
  readonly audience: string;
}

/** The team's keys by their id, one list per Worker instance. `askedAt`: ms since the epoch. */
export interface AccessKeys {
  askedAt: number;
  readonly known: Map<string, CryptoKey>;
}

export function noAccessKeys(): AccessKeys {
  return { askedAt: 0, known: new Map() };
}

const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" } as const;
const headerSchema = v.object({ alg: v.literal("RS256"), kid: v.string() });
const claimsSchema = v.object({
  iss: v.string(),
  aud: v.union([
    v.array(v.string()),
    v.pipe(
      v.string(),
      v.transform((one) => [one]),
    ),
  ]),
  exp: v.number(),
  nbf: v.optional(v.number(), 0),
  /** A person; a service token has a common name instead. */
  email: v.optional(v.string(), ""),
  common_name: v.optional(v.string(), ""),
});
const certsSchema = v.object({ keys: v.array(v.looseObject({ kid: v.string() })) });

/** Who signed in: an e-mail address, or the name of a service token. `now`: ms since the epoch. */
export async function verifyAccess(
  request: Request,
  { team, audience }: AccessApplication,
  keys: AccessKeys,
  now: number,
): Promise<Result<string, string>> {
  if (!/^[a-z0-9-]+\.cloudflareaccess\.com$/.test(team) || audience === "") {
    return refuse(
      "ACCESS_TEAM_DOMAIN (such as acme.cloudflareaccess.com) and ACCESS_AUD are not both set correctly",
    );
  }
  const parts = (request.headers.get("cf-access-jwt-assertion") ?? "").split(".");
  const [header, claims, signature] = parts;
  if (header === undefined || claims === undefined || signature === undefined || parts.length !== 3) {
    return refuse("the request has no Access assertion");
  }
  const named = v.safeParse(headerSchema, decoded(header));
  if (!named.success) {
    return refuse("its assertion is signed in another way than Access signs");
  }
  const key = await keyOf(named.output.kid, team, keys, now);
  if (typeof key === "string") {
    return refuse(key);
  }
  const signed = new TextEncoder().encode(`${header}.${claims}`);
  const bytes = bytesOf(signature);
  if (bytes === null || !(await crypto.subtle.verify(algorithm, key, bytes, signed))) {
    return refuse("its assertion is not signed by the team's key");
  }
  const read = v.safeParse(claimsSchema, decoded(claims));
  if (!read.success) {
    return refuse("its assertion is not as Access writes it");
  }
  const { iss, aud, exp, nbf, email, common_name: serviceToken } = read.output;
  const seconds = now / 1000;
  if (iss !== `https://${team}` || !aud.includes(audience)) {
    return refuse("its assertion is for another application");
  }
  if (seconds >= exp || seconds < nbf - limits.accessClockSeconds) {
    return refuse("its assertion has expired, or is not valid yet");
  }
  return ok(email !== "" ? email : serviceToken !== "" ? `service token ${serviceToken}` : "nobody known");
}

/** The team's key of this id; a text says why there is none. Access rotates keys: an unknown one is looked up, once a minute. */
async function keyOf(id: string, team: string, keys: AccessKeys, now: number): Promise<CryptoKey | string> {
  const known = keys.known.get(id);
  const ageMs = now - keys.askedAt;
  if (known !== undefined && ageMs < limits.accessKeysMs) {
    return known;
  }
  if (known === undefined && ageMs < limits.accessKeysAgainMs) {
    return "its assertion is signed by a key that the team does not have";
  }
  keys.askedAt = now;
  try {
    const found = await readKeys(team);
    keys.known.clear();
    for (const [kid, key] of found) {
      keys.known.set(kid, key);
    }
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    // What was signed by a key that was known stays verifiable while the team's domain does not answer.
    return known ?? `the keys of ${team} cannot be read (${why})`;
  }
  return keys.known.get(id) ?? "its assertion is signed by a key that the team does not have";
}

async function readKeys(team: string): Promise<ReadonlyMap<string, CryptoKey>> {
  const text = await within(limits.glanceMs, async (signal) => {
    const response = await fetch(`https://${team}/cdn-cgi/access/certs`, { redirect: "manual", signal });
    if (!response.ok) {
      throw new Error(`it answered ${response.status}`);
    }
    return await response.text();
  });
  const { keys } = v.parse(certsSchema, JSON.parse(text));
  const imported = keys.map(
    async (jwk) =>
      [
        jwk.kid,
        await crypto.subtle.importKey("jwk", { ...jwk, kty: "RSA", alg: "RS256" }, algorithm, false, [
          "verify",
        ]),
      ] as const,
  );
  return new Map(await Promise.all(imported));
}

function bytesOf(text: string): Uint8Array | null {
  try {
    return Uint8Array.fromBase64(text, { alphabet: "base64url" });
  } catch {
    return null;
  }
}

function decoded(text: string): unknown {
  const bytes = bytesOf(text);
  try {
    return bytes === null ? null : JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
}
