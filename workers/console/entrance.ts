/**
 * The console's own entrance: the admin token, and Cloudflare Access where it is declared. Wrong tokens are counted by
 * client address: an address with more than ten in a minute is refused unread for a minute, even with the right token, and this
 * is reported. The same wrong token again counts as one try: the page makes ten requests at once with what was typed.
 */
import { limits } from "../../shared/limits.ts";
import { writeLog } from "../../shared/write-log.ts";
import { answer } from "./answer-request.ts";
import { carriesToken } from "./check-token.ts";
import type { NamedBindings } from "./name-dependencies.ts";
import { type AccessKeys, noAccessKeys, verifyAccess } from "./verify-access.ts";

/** What one Worker instance remembers of it. */
export interface EntranceMemory {
  /** Addresses that are turned away, and until when: ms since the epoch. */
  readonly blocked: Map<string, number>;
  /** The latest wrong tokens of each address, as their SHA-256. */
  readonly tried: Map<string, readonly string[]>;
  readonly keys: AccessKeys;
}

export function newEntrance(): EntranceMemory {
  return { blocked: new Map(), tried: new Map(), keys: noAccessKeys() };
}

/** Who is let in to the API, or the answer of a request that is not. `now`: ms since the epoch. */
export async function letIn(
  request: Request,
  env: NamedBindings,
  memory: EntranceMemory,
  now: number,
): Promise<{ readonly who: string } | Response> {
  const refused = await checkToken(request, env, memory, [env.ADMIN_TOKEN], "admin token", now);
  if (refused !== null) {
    return refused;
  }
  const { ACCESS_TEAM_DOMAIN: team = "", ACCESS_AUD: audience = "" } = env;
  if (team === "" && audience === "") {
    return { who: "the admin token" };
  }
  const access = await verifyAccess(request, { team, audience }, memory.keys, now);
  if (!access.ok) {
    writeLog("warn", { outcome: "refused", reason: "access", message: access.refusal });
    return answer(403, {
      error: `Cloudflare Access is set up for this console, and ${access.refusal}. Sign in through Access; a program sends CF-Access-Client-Id and CF-Access-Client-Secret.`,
    });
  }
  return { who: access.value };
}

/** Null: it carries one of the tokens. */
export async function checkToken(
  request: Request,
  env: Pick<NamedBindings, "ADMIN_FAILURES" | "CONSUMER">,
  { blocked, tried }: EntranceMemory,
  tokens: readonly (string | undefined)[],
  name: string,
  now: number,
): Promise<Response | null> {
  const address = request.headers.get("cf-connecting-ip") ?? "local";
  const until = blocked.get(address) ?? 0;
  if (now < until) {
    return tooMany(until - now);
  }
  if (await carriesToken(request, tokens)) {
    return null;
  }
  if ((await isNewTry(request, tried, address)) && !(await isWithinLimit(env.ADMIN_FAILURES, address))) {
    remember(blocked, address, now + limits.adminBlockMs);
    await report(env, address);
    return tooMany(limits.adminBlockMs);
  }
  const refusal = answer(401, {
    error: `The ${name} is missing or wrong: send \`Authorization: Bearer …\`.`,
  });
  refusal.headers.set("www-authenticate", 'Bearer realm="headrace console"');
  return refusal;
}

function tooMany(ms: number): Response {
  const seconds = Math.ceil(ms / 1000);
  const refusal = answer(429, {
    error: `Too many wrong tokens came from this address: it is blocked for ${seconds} s.`,
  });
  refusal.headers.set("retry-after", String(seconds));
  return refusal;
}

/** The platform counts by address over all instances of a location. It is a shield beside the token's length: it may fail. */
async function isWithinLimit(counter: RateLimit, address: string): Promise<boolean> {
  try {
    return (await counter.limit({ key: address })).success;
  } catch (error) {
    writeLog("warn", { message: "wrong tokens could not be counted" }, error);
    return true;
  }
}

async function isNewTry(request: Request, tried: EntranceMemory["tried"], address: string): Promise<boolean> {
  const given = request.headers.get("authorization");
  if (given === null) {
    return false;
  }
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(given));
  const hash = new Uint8Array(digest).toHex();
  const before = tried.get(address) ?? [];
  if (before.includes(hash)) {
    return false;
  }
  remember(tried, address, [...before, hash].slice(-limits.adminTriesRemembered));
  return true;
}

/** More addresses than this nobody has who guesses: what is forgotten is counted and blocked again. */
function remember<T>(memory: Map<string, T>, address: string, value: T): void {
  if (memory.size >= limits.adminBlockedMax) {
    memory.clear();
  }
  memory.set(address, value);
}

/** Once for each time that an address is blocked. */
async function report(env: Pick<NamedBindings, "CONSUMER">, address: string): Promise<void> {
  writeLog("error", { outcome: "refused", reason: "wrong_tokens", address });
  try {
    await env.CONSUMER.reportWrongTokens(address);
  } catch (error) {
    writeLog("error", { message: "wrong tokens could not be reported to the ledger" }, error);
  }
}
