/** The front door in words: one wording for the page, the CLI, `doctor` and the findings. */
import { limits } from "../limits.ts";
import { type FrontDoor, gapOf, type Reached, type Refused, type Unread, type Zone } from "./front-door.ts";

export interface FrontDoorLine {
  /** `unwatched`: it is not known. `bad`: requests are lost before the Worker. */
  readonly verdict: "good" | "bad" | "unwatched";
  readonly text: string;
}

/** Null: the cron has not looked yet. Never empty. */
export function frontDoorLines(frontDoor: FrontDoor | null): readonly FrontDoorLine[] {
  if (frontDoor === null) {
    return [unwatched("the consumer's cron has not looked yet")];
  }
  switch (frontDoor.kind) {
    case "no_zone":
      return [
        {
          verdict: "good",
          text: "No zone is in front of the ingress: no domain is declared for it, and a workers.dev address has none.",
        },
      ];
    case "unset":
      return [
        unwatched(
          `${frontDoor.missing.join(" and ")} ${frontDoor.missing.length === 1 ? "is" : "are"} not set`,
        ),
      ];
    case "zone":
      return zoneLines(frontDoor);
  }
}

function zoneLines(zone: Zone): readonly FrontDoorLine[] {
  const { refused, reached } = zone;
  if (refused.kind === "unread" && reached.kind === "unread" && refused.reason === reached.reason) {
    return [unwatched(refused.reason)];
  }
  return [
    refused.kind === "unread"
      ? unwatched(refused.reason, "what its firewall refuses")
      : { verdict: refused.requests > 0 ? "bad" : "good", text: refusedText(zone, refused) },
    reached.kind === "unread"
      ? unwatched(reached.reason, "requests that reach it and not the Worker")
      : { verdict: (gapOf(zone, gapTolerance) ?? 0) > 0 ? "bad" : "good", text: reachedText(zone, reached) },
  ];
}

/** How many of the requests that the zone saw may be missing before that is reported. */
export const gapTolerance = {
  requestsMin: limits.alertZoneGapMin,
  share: limits.alertZoneGapShare,
} as const;

function unwatched(reason: string, what = ""): FrontDoorLine {
  return {
    verdict: "unwatched",
    text: `The zone is not watched${what === "" ? "" : ` for ${what}`}: ${reason}.`,
  };
}

export function unwatchedText({ reason, since }: Unread, what: string): string {
  return `The zone is not watched for ${what} since ${timeText(since)}: ${reason}.`;
}

export function refusedText({ host, until }: Zone, refused: Refused): string {
  const count = refused.requests === 0 ? "no request" : requestsText(refused.requests, refused.isAll);
  const rules = refused.rules.map(
    ({ rule, action, source, requests }) =>
      `${number(requests)} by rule ${rule === "" ? "(none named)" : rule} (${action}, ${source})`,
  );
  const by = rules.length === 0 ? "" : `: ${rules.join("; ")}`;
  return `Your zone turned ${count} to ${host}/v1/* away in the hour to ${timeText(until)}${by}. ${sampledText(refused.sampleInterval)}`;
}

export function reachedText(zone: Zone, reached: Reached): string {
  const { host, until, refused } = zone;
  const seen = `${requestsText(reached.requests, reached.isAll)} to ${host}/v1/* reached your zone in the hour to ${timeText(until)}`;
  const gap = gapOf(zone, gapTolerance);
  const ours =
    reached.counted === null ? "" : `, and ${number(reached.counted)} of them the ingress, by its own count`;
  if (gap === null) {
    return `${seen}; how many of them reached the ingress is not known. ${sampledText(reached.sampleInterval)}`;
  }
  if (gap === 0) {
    return `${seen}${ours}: nothing is missing beyond the tolerance of counting. ${sampledText(reached.sampleInterval)}`;
  }
  const firewall =
    refused.kind === "counted"
      ? `the firewall turned ${number(refused.requests)} away`
      : "what the firewall turned away is not known";
  const answers = reached.answers.map(
    ({ path, status, requests }) => `${status} to ${number(requests)} of ${path}`,
  );
  return `${seen}${ours}; ${firewall}: ${number(gap)} are missing. The zone answered ${answers.join(", ")}. ${sampledText(reached.sampleInterval)}`;
}

function requestsText(requests: number, isAll: boolean): string {
  return `${isAll ? "" : "at least "}${number(requests)} ${requests === 1 ? "request" : "requests"}`;
}

function sampledText(interval: number): string {
  return interval > 1
    ? `Estimated by Cloudflare from a sample: one event in ${interval.toFixed(1)}.`
    : "Every event was counted.";
}

function number(count: number): string {
  return count.toLocaleString("en-US");
}

function timeText(time: number): string {
  return `${new Date(time).toISOString().slice(0, 16)}Z`;
}
