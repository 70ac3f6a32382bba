/**
 * What people did: each request that changes something is kept in R2 before it is done, with who asked. R2's lifecycle
 * takes the records after `limits.r2BackstopDays`, with everything else.
 */
import * as v from "valibot";
import { type Action, actionsSchema, type Fixed } from "../../shared/console/answers.ts";
import { limits } from "../../shared/limits.ts";
import { writeLog } from "../../shared/write-log.ts";

/** Outside the payloads' prefix, and so outside the notification rule. */
const prefix = "actions/";

/** Keys of payloads that a record names, of as many as were asked for. */
const keysKept = 100;

export interface ActionAsked {
  /** A verified identity of Access, or that it was the admin token. */
  readonly who: string;
  readonly address: string;
  /** The route, `POST /api/erase`. */
  readonly what: string;
  /** What the path names; empty: nothing. */
  readonly id: string;
  readonly body: unknown;
}

/** Rejects when it cannot be kept: then nothing is done either. `now`: ms since the epoch. */
export async function recordAction(bucket: R2Bucket, asked: ActionAsked, now: number): Promise<void> {
  const at = new Date(now).toISOString();
  const { who, address, what, id } = asked;
  const action: Fixed<Action> = { at, who, address, what, id, ...shortened(asked.body) };
  writeLog("log", { outcome: "asked", ...action });
  const random = crypto.getRandomValues(new Uint8Array(6)).toHex();
  await bucket.put(`${prefix}${at}-${random}`, JSON.stringify(action), {
    httpMetadata: { contentType: "application/json" },
  });
}

function shortened(body: unknown): Pick<Action, "asked" | "keysCount"> {
  if (typeof body !== "object" || body === null) {
    return { asked: {}, keysCount: 0 };
  }
  const keys = "keys" in body && Array.isArray(body.keys) ? body.keys : [];
  return {
    asked: { ...body, ...(keys.length === 0 ? {} : { keys: keys.slice(0, keysKept) }) },
    keysCount: keys.length,
  };
}

/** Those since a time, the newest first, at most `limits.actionsListed`. `since`: ms since the epoch. */
export async function listActions(bucket: R2Bucket, since: number): Promise<Fixed<readonly Action[]>> {
  const names: string[] = [];
  let from: R2ListOptions = { startAfter: `${prefix}${new Date(since).toISOString()}` };
  for (let call = 0; call < limits.actionListCallsMax; call++) {
    const page = await bucket.list({ prefix, ...from });
    names.push(...page.objects.map(({ key }) => key));
    if (!page.truncated) {
      break;
    }
    from = { cursor: page.cursor };
  }
  const objects = await Promise.all(names.slice(-limits.actionsListed).map((name) => bucket.get(name)));
  const read = await Promise.all(objects.map(async (object) => await object?.json().catch(() => null)));
  return v.parse(actionsSchema, read.filter((action) => action != null).reverse());
}
