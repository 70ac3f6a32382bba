/** What of the front door is a finding (shared/alerts.ts opens and resolves it). */
import type { Finding, FindingKind } from "../finding.ts";
import { limits } from "../limits.ts";
import { type FrontDoor, gapOf, type Unread } from "./front-door.ts";
import { gapTolerance, reachedText, refusedText, unwatchedText } from "./text.ts";

type Condition = Pick<Finding, "kind" | "subject" | "severity" | "tenant" | "message">;

/** Appends what holds to `found`. Null: nothing was learnt. `now`: ms since the epoch. */
export function frontDoorConditions(frontDoor: FrontDoor | null, now: number, found: Condition[]): void {
  if (frontDoor?.kind !== "zone") {
    return;
  }
  const { host, refused, reached } = frontDoor;
  const ofZone = { subject: host, tenant: "" } as const;
  if (refused.kind === "counted" && refused.requests > 0) {
    found.push({
      ...ofZone,
      kind: "zone_refused",
      severity: refused.requests >= limits.alertZonePageMin ? "page" : "warning",
      message: `${refusedText(frontDoor, refused)} No Worker saw them, and exporters do not retry a 403: their spans are lost. Let a rule with the action Skip pass http.request.uri.path eq "/v1/traces".`,
    });
  }
  if (reached.kind === "counted" && (gapOf(frontDoor, gapTolerance) ?? 0) > 0) {
    const gap = gapOf(frontDoor, gapTolerance) ?? 0;
    found.push({
      ...ofZone,
      kind: "zone_gap",
      severity: gap > reached.requests * limits.alertZoneGapPageShare ? "page" : "warning",
      message: `${reachedText(frontDoor, reached)} Look at the zone's routes and at the ingress's errors: a Worker that is cut off counts nothing.`,
    });
  }
  unwatchedCondition(refused, "what its firewall refuses", host, now, found);
  unwatchedCondition(reached, "what reaches it and not the Worker", host, now, found);
}

function unwatchedCondition(
  count: { readonly kind: "counted" } | Unread,
  what: string,
  host: string,
  now: number,
  found: Condition[],
): void {
  if (count.kind === "unread" && now - count.since >= limits.alertZoneUnreadMs) {
    found.push({
      kind: "zone_unwatched",
      subject: `${host}: ${what}`,
      // A plan is not a fault, and does not pass by itself.
      severity: count.cause === "plan" ? "note" : "warning",
      tenant: "",
      message: unwatchedText(count, what),
    });
  }
}

/** The kinds of which nothing can be said now: what is open of them stays open. */
export function frontDoorNotLearnt(frontDoor: FrontDoor | null): readonly FindingKind[] {
  if (frontDoor == null) {
    return ["zone_refused", "zone_gap", "zone_unwatched"];
  }
  if (frontDoor.kind !== "zone") {
    return [];
  }
  return [
    ...(frontDoor.refused.kind === "unread" ? (["zone_refused"] as const) : []),
    ...(gapOf(frontDoor, gapTolerance) === null ? (["zone_gap"] as const) : []),
  ];
}
