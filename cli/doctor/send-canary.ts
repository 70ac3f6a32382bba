/**
 * Sends a canary as an exporter would and waits until the table has it, each span once and every attribute as it was
 * sent. Everything that can be in the way is told apart: the address, the key, a firewall, the pipeline.
 */
import * as v from "valibot";
import { bad, type Check, good, warning } from "../../shared/doctor/check.ts";
import { limits } from "../../shared/limits.ts";
import type { Console } from "../console.ts";
import { type Canary, canarySpans, harmlessAttributes, hostileAttributes, makeCanary } from "./canary.ts";

export interface Door {
  /** The ingress's address without `/v1/traces`. */
  readonly otlp: string;
  readonly key: string;
  readonly console: Console;
  /** ms; how long the rows are waited for. */
  readonly waitMs: number;
  readonly interrupted: AbortSignal;
}

const pollMs = 300;
const answerTimeoutMs = 70_000; // the ingress itself gives up a put after 60 s

/** A healthy pipeline takes about three seconds; more than this is worth knowing. */
const slowMs = 15_000;

export async function sendCanary(encoding: Canary["encoding"], door: Door): Promise<Check> {
  const check = `canary ${encoding}`;
  const canary = draw(encoding, hostileAttributes);
  const sentAt = Date.now();
  const answer = await send(canary, door);
  if (answer.kind !== "accepted") {
    return await explain(check, answer, encoding, door);
  }
  const { payload } = answer;
  let last = "nobody knows it";
  while (Date.now() - sentAt < door.waitMs && !door.interrupted.aborted) {
    const seen = await door.console.ask("GET /api/payload", { query: { id: payload } });
    const receipt = seen.receipts.find(({ outcome }) => outcome === "stored" || outcome === "dead");
    if (receipt?.outcome === "dead") {
      return bad(
        check,
        `accepted, and ClickHouse refused it: ${receipt.reason}`,
        `npx headrace payload show ${payload}`,
      );
    }
    if (receipt !== undefined) {
      return await compare(check, canary, payload, Date.now() - sentAt, door);
    }
    last = `the ledger has it: ${seen.ledger.at}${seen.ledger.at === "group" ? `, ${seen.ledger.state}` : ""}`;
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  return bad(
    check,
    `accepted as payload ${payload}, and not stored after ${Math.round((Date.now() - sentAt) / 1000)} s (${last})`,
    `npx headrace payload show ${payload}; npx headrace findings`,
  );
}

async function compare(
  check: string,
  canary: Canary,
  payload: string,
  tookMs: number,
  { console }: Door,
): Promise<Check> {
  const found = await console.ask("GET /api/trace", { query: { id: canary.trace } });
  const mend = `npx headrace payload show ${payload}`;
  if (found.spans.length !== canarySpans) {
    return bad(check, `the table has ${found.spans.length} of its ${canarySpans} spans`, mend);
  }
  const changed = found.spans.flatMap(({ attributes }) => {
    const arrived = new Map(attributes);
    return Object.entries(canary.attributes).filter(([key, value]) => arrived.get(key) !== value);
  });
  if (changed.length > 0) {
    return bad(
      check,
      `the attribute ${changed[0]?.[0]} arrived changed`,
      "something between exporter and ingress rewrites bodies: check the zone's rules",
    );
  }
  const text = `rows after ${(tookMs / 1000).toFixed(1)} s, each span once, every attribute as sent`;
  return tookMs > slowMs ? warning(check, text, "npx headrace findings") : good(check, text);
}

function draw(encoding: Canary["encoding"], attributes: Canary["attributes"]): Canary {
  return makeCanary(encoding, attributes, crypto.getRandomValues(new Uint8Array(32)), Date.now());
}

type Answer =
  | { readonly kind: "accepted"; readonly payload: string }
  | { readonly kind: "refused"; readonly status: number; readonly text: string; readonly isOurs: boolean }
  | { readonly kind: "unreached"; readonly reason: string };

const statusSchema = v.looseObject({ message: v.string() });

async function send(canary: Canary, { otlp, key, interrupted }: Door): Promise<Answer> {
  try {
    const response = await fetch(`${otlp.replace(/\/+$/, "").replace(/\/v1\/traces$/, "")}/v1/traces`, {
      method: "POST",
      headers: {
        "content-type": canary.contentType,
        authorization: `Bearer ${key}`,
        "user-agent": "OTel-OTLP-Exporter-headrace-doctor",
      },
      body: Buffer.from(canary.body),
      redirect: "manual",
      signal: AbortSignal.any([interrupted, AbortSignal.timeout(answerTimeoutMs)]),
    });
    const payload = response.headers.get("x-headrace-payload");
    const text = await response.text();
    if (response.status === 200 && payload !== null) {
      return { kind: "accepted", payload };
    }
    const type = response.headers.get("content-type") ?? "";
    const isOurs = type.startsWith(canary.contentType);
    return { kind: "refused", status: response.status, text: isOurs ? messageOf(text) : text, isOurs };
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const reason = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    return { kind: "unreached", reason };
  }
}

/** The message of a google.rpc.Status, in JSON; of protobuf the text is legible as it is. */
function messageOf(text: string): string {
  try {
    return v.parse(statusSchema, JSON.parse(text)).message;
  } catch {
    return text.replace(/^[^A-Za-z]+/, "").replace(/\p{Cc}|\ufffd/gu, ""); // tag and length of field 2 stand before it
  }
}

async function explain(
  check: string,
  answer: Exclude<Answer, { kind: "accepted" }>,
  encoding: Canary["encoding"],
  door: Door,
): Promise<Check> {
  if (answer.kind === "unreached") {
    return bad(
      check,
      `no answer from ${door.otlp} (${answer.reason})`,
      "check that this is the ingress's address (--otlp), and that the Worker is deployed: npx headrace deploy",
    );
  }
  const { status, isOurs } = answer;
  const said = answer.text.trim().replace(/\s+/g, " ").slice(0, 160);
  if (isOurs && (status === 401 || status === 403)) {
    return bad(
      check,
      `${status}: ${said}`,
      "npx headrace keys list shows what is wrong with the key; npx headrace keys create makes one (HEADRACE_KEY)",
    );
  }
  if (isOurs) {
    return bad(
      check,
      `${status}: ${said}`,
      status === 503
        ? "npx headrace doctor again in a minute; then the ingress's log: npx wrangler tail headrace-ingress"
        : "npx headrace status",
    );
  }
  const harmless = await send(draw(encoding, harmlessAttributes), door);
  return harmless.kind === "accepted"
    ? bad(
        check,
        `${status} from something in front of the ingress (${said}), while a harmless trace was accepted: a firewall rule drops spans`,
        `add a skip rule (WAF custom rule, action Skip, all managed and rate rules, Super Bot Fight Mode) for http.request.uri.path eq "/v1/traces" on ${new URL(door.otlp).host}, or send to the workers.dev address`,
      )
    : bad(
        check,
        `${status}, but not from the ingress: ${said}`,
        `check what answers at ${door.otlp}: --otlp, the zone's routes, Cloudflare Access`,
      );
}

/** How long the canary is waited for at most: until even the third ring must have come. */
export const canaryWaitMs = limits.canaryMs;

/** And where ClickHouse is already known to be wrong: long enough for one that is stored nevertheless. */
export const canaryHopelessMs = 15_000;
