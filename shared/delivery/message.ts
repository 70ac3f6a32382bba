/**
 * Reads queue messages: each is a doorbell, a group's doorbell, an R2 event or a report of the ingress. An R2 event that
 * leads to no payload is passed over. A message that is none of them is not retried (it will never be one): it is parked.
 * Nothing is lost by that: the payload that it may have meant is in R2, and the reconciler notifies about it.
 */
import * as v from "valibot";
import {
  bareDoorbellSchema,
  type Cause,
  type Doorbell,
  doorbellSchema,
  doorbellsOf,
  groupBellSchema,
  type OutcomesMessage,
  outcomesMessageSchema,
  type QuotaMessage,
  quotaMessageSchema,
  r2EventSchema,
  segmentDoorbellSchema,
} from "../messages.ts";
import { isObjectKey, type ObjectKey, type PayloadKey } from "../payload-key.ts";

/** R2's action names for an object that came to be. */
const created = new Set(["PutObject", "CopyObject", "CompleteMultipartUpload"]);

export type ReadMessage =
  | { readonly kind: "doorbells"; readonly doorbells: readonly Doorbell[] }
  | { readonly kind: "group"; readonly group: string }
  /** Its object says the rest. */
  | { readonly kind: "bare"; readonly key: PayloadKey | ObjectKey; readonly cause: Cause }
  | { readonly kind: "outcomes"; readonly outcomes: OutcomesMessage }
  | { readonly kind: "quota"; readonly quota: QuotaMessage }
  /** An R2 event for something else than a new payload: a deletion, an object of another prefix. */
  | { readonly kind: "passed_over"; readonly reason: string }
  | { readonly kind: "unknown"; readonly reason: string };

/** What one message body says. Worked examples: test/core/read-message.test.ts. */
export function readMessage(body: unknown): ReadMessage {
  const doorbell = v.safeParse(doorbellSchema, body);
  if (doorbell.success) {
    return { kind: "doorbells", doorbells: [doorbell.output] };
  }
  const ofSegment = v.safeParse(segmentDoorbellSchema, body);
  if (ofSegment.success) {
    return { kind: "doorbells", doorbells: doorbellsOf(ofSegment.output) };
  }
  const group = v.safeParse(groupBellSchema, body);
  if (group.success) {
    return { kind: "group", group: group.output.group };
  }
  const outcomes = v.safeParse(outcomesMessageSchema, body);
  if (outcomes.success) {
    return { kind: "outcomes", outcomes: outcomes.output };
  }
  const quota = v.safeParse(quotaMessageSchema, body);
  if (quota.success) {
    return { kind: "quota", quota: quota.output };
  }
  const bare = v.safeParse(bareDoorbellSchema, body);
  if (bare.success) {
    const { key, cause } = bare.output;
    return { kind: "bare", key, cause };
  }
  const event = v.safeParse(r2EventSchema, body);
  if (!event.success) {
    return {
      kind: "unknown",
      reason: "it is not a doorbell, a group's notification, an R2 event or a report of the ingress",
    };
  }
  const { action, object } = event.output;
  if (!created.has(action)) {
    return { kind: "passed_over", reason: `R2 event ${action} creates no object` };
  }
  return isObjectKey(object.key)
    ? { kind: "bare", key: object.key, cause: "event" }
    : { kind: "passed_over", reason: "R2 event for a key that is not a payload's" };
}
