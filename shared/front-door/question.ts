/**
 * What Cloudflare's GraphQL Analytics API is asked of the zone: two questions, each a call of its own, so that a plan which
 * lacks one set of data does not lose the other (one node that is refused refuses the whole query).
 *
 * Fields and filters: developers.cloudflare.com/analytics/graphql-api (Filtering, Sampling, Confidence intervals) and the
 * API's own schema. `count` of an adaptive set is the estimate already: the page on confidence intervals has 40,054 sampled
 * events, an interval of 1.072 and a count of 42,939. It is not multiplied again.
 */
import { limits, MINUTE_MS } from "../limits.ts";
import type { FrontDoorSettings } from "./front-door.ts";

export interface ZoneQuestion {
  readonly query: string;
  readonly variables: Readonly<Record<string, string>>;
}

export interface Period {
  /** ms since the epoch, whole minutes; `until` is not in it. */
  readonly since: number;
  readonly until: number;
}

/** The hour that ends before the minutes of which something may still be on its way into either count. */
export function periodAt(now: number): Period {
  const until = Math.floor((now - limits.zoneLagMs) / MINUTE_MS) * MINUTE_MS;
  return { since: until - limits.zonePeriodMs, until };
}

/** The ingress's paths, as SQL's LIKE. */
const paths = "/v1/%";

/** What the firewall did, by rule. What let a request pass is left out when the answer is read: its words are not all published. */
export function refusedQuestion(zone: Zone, period: Period): ZoneQuestion {
  return question(
    zone,
    period,
    "firewallEventsAdaptiveGroups",
    `clientRequestPath_like: "${paths}"`,
    "action source ruleId",
  );
}

/** POST requests of clients, by path and answer; Workers' own and Cloudflare's (`requestSource`) are not among them. */
export function reachedQuestion(zone: Zone, period: Period): ZoneQuestion {
  return question(
    zone,
    period,
    "httpRequestsAdaptiveGroups",
    `clientRequestPath_like: "${paths}", clientRequestHTTPMethodName: "POST", requestSource: "eyeball"`,
    "clientRequestPath edgeResponseStatus",
  );
}

type Zone = Extract<FrontDoorSettings, { readonly kind: "zone" }>;

function question(
  { host, zoneId }: Zone,
  { since, until }: Period,
  node: string,
  filter: string,
  dimensions: string,
): ZoneQuestion {
  return {
    query: `query FrontDoor($zone: string, $host: string, $since: Time, $until: Time) {
  viewer {
    zones(filter: { zoneTag: $zone }) {
      groups: ${node}(
        limit: ${limits.zoneGroupsMax}
        orderBy: [count_DESC]
        filter: { datetime_geq: $since, datetime_lt: $until, clientRequestHTTPHost: $host, ${filter} }
      ) {
        count
        avg { sampleInterval }
        dimensions { ${dimensions} }
      }
    }
  }
}`,
    variables: { zone: zoneId, host, since: isoTime(since), until: isoTime(until) },
  };
}

function isoTime(time: number): string {
  return `${new Date(time).toISOString().slice(0, 19)}Z`;
}
