/**
 * What is known of the door before the ingress: Cloudflare's zone, whose firewall answers before any Worker runs. A request
 * that it turns away is neither an outcome of the ingress nor a payload or a log line of ours: only the zone's own analytics have it.
 *
 * What could not be read is never none: each count is there, or says since when and why it is not.
 */

/** Where the ingress is reached, and whether its zone can be asked. */
export type FrontDoorSettings =
  /** No domain is declared: the ingress has its workers.dev address, which is in no zone of ours. */
  | { readonly kind: "no_zone" }
  /** `missing`: the settings without which the zone cannot be asked. */
  | { readonly kind: "unset"; readonly host: string; readonly missing: readonly string[] }
  | { readonly kind: "zone"; readonly host: string; readonly zoneId: string };

/** Why a count is not known: what fixes it differs. */
export type UnreadCause =
  /** The token is unknown, has expired, or may not read this zone. */
  | "token"
  /** The zone's plan has not got these data. */
  | "plan"
  /** Cloudflare's limit of questions is used up. */
  | "rate"
  /** No answer, or one of an error of Cloudflare's own. */
  | "unreachable"
  /** Some of the answer is there, and some is an error: it is not taken for all. */
  | "partial"
  /** An answer that is not as the schema says. */
  | "unclear";

export interface Unread {
  readonly kind: "unread";
  /** Of the first look in a row that failed, ms since the epoch. */
  readonly since: number;
  readonly cause: UnreadCause;
  readonly reason: string;
}

export type Count<T> = ({ readonly kind: "counted" } & T) | Unread;

interface Sampled {
  /** Estimated by Cloudflare where `sampleInterval` is above 1. */
  readonly requests: number;
  /** One event in so many was kept, on the average of the group with the widest; 1: every event was counted. */
  readonly sampleInterval: number;
  /** False: there were more groups than one answer has, so `requests` is a lower bound. */
  readonly isAll: boolean;
}

/** Requests that the zone's security turned away. */
export interface Refused extends Sampled {
  /** The largest first. */
  readonly rules: readonly {
    readonly rule: string;
    readonly action: string;
    readonly source: string;
    readonly requests: number;
  }[];
}

/** POST requests that the zone saw. */
export interface Reached extends Sampled {
  /** How they were answered, by path, the most frequent first. */
  readonly answers: readonly {
    readonly path: string;
    readonly status: number;
    readonly requests: number;
  }[];
  /** Of these, what the ingress counted itself. Null: it was not asked, or could not be. */
  readonly counted: number | null;
}

/** As it was looked at last. Times in ms since the epoch. */
export type FrontDoor =
  | Exclude<FrontDoorSettings, { readonly kind: "zone" }>
  | {
      readonly kind: "zone";
      readonly host: string;
      readonly askedAt: number;
      /** Cloudflare is not asked again before. */
      readonly notBefore: number;
      /** The counts are of the hour before. */
      readonly until: number;
      readonly refused: Count<Refused>;
      readonly reached: Count<Reached>;
    };

export type Zone = Extract<FrontDoor, { readonly kind: "zone" }>;

/** The Worker's variables and its secret, as far as they are set. */
export interface FrontDoorVariables {
  readonly INGRESS_HOST?: string;
  readonly ZONE_ID?: string;
  readonly ZONE_ANALYTICS_TOKEN?: string;
}

export function readFrontDoorSettings(variables: FrontDoorVariables): FrontDoorSettings {
  const { INGRESS_HOST: host = "", ZONE_ID: zoneId = "", ZONE_ANALYTICS_TOKEN: token = "" } = variables;
  if (host === "") {
    return { kind: "no_zone" };
  }
  const missing = [...(zoneId === "" ? ["ZONE_ID"] : []), ...(token === "" ? ["ZONE_ANALYTICS_TOKEN"] : [])];
  return missing.length > 0 ? { kind: "unset", host, missing } : { kind: "zone", host, zoneId };
}

/**
 * Of the requests that the zone saw, how many are neither the firewall's nor the ingress's, beyond what counting alone
 * explains: 0 where none are. Null: it cannot be said.
 *
 * Example: 12,300 seen, 1,200 turned away, 11,020 counted by the ingress: 80 are missing, within the 5 % that isolates may
 * take along uncounted.
 */
export function gapOf({ refused, reached }: Zone, tolerance: GapTolerance): number | null {
  if (reached.kind !== "counted") {
    return null;
  }
  const others = reached.requests - (refused.kind === "counted" ? refused.requests : 0);
  if (others < tolerance.requestsMin) {
    return 0;
  }
  if (reached.counted === null) {
    return null;
  }
  // A sample of n events of which each stands for k others is off by k √n: three times that is hardly ever exceeded.
  const offBy = 3 * Math.sqrt(reached.requests * Math.max(0, reached.sampleInterval - 1));
  const gap = others - reached.counted;
  return gap >= Math.max(tolerance.requestsMin, tolerance.share * reached.requests, offBy)
    ? Math.round(gap)
    : 0;
}

export interface GapTolerance {
  readonly requestsMin: number;
  readonly share: number;
}
