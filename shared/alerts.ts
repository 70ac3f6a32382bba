/**
 * When to alert: pure conditions over what the cron has just learnt. A condition that begins to hold opens a finding
 * and one that no longer holds resolves it; each is reported once. Where the facts could not be learnt (ClickHouse did
 * not answer), the findings stay as they are.
 */

import { type BypassMinute, bypassCondition } from "./collect/bypass.ts";
import { counted } from "./counted.ts";
import type { Finding, FindingKind } from "./finding.ts";
import { frontDoorConditions, frontDoorNotLearnt } from "./front-door/conditions.ts";
import type { FrontDoor } from "./front-door/front-door.ts";
import type { NoEvidence } from "./ledger/head.ts";
import type { RefusedPayload } from "./ledger/refused-payloads.ts";
import { shortText } from "./ledger/short-text.ts";
import { type ErasureTrouble, waitText } from "./ledger/trouble.ts";
import { HOUR_MS, limits, MINUTE_MS } from "./limits.ts";
import { type PayloadKey, tenantOfKey } from "./payload-key.ts";
import { type Checkpoint, watermarkOf } from "./reconcile/checkpoint.ts";

/** Spans of one tenant in an hour, and in the same hour of the seven days before, the nearest first. */
export interface TenantVolume {
  readonly tenant: string;
  readonly spans: number;
  readonly before: readonly number[];
}

/** Times in ms since the epoch. Null: not learnt. */
export interface AlertFacts {
  readonly now: number;
  /** Since when the longest work has been under way that no person asked for (ledger/in-flight.ts); null: there is none. */
  readonly oldestWork: number | null;
  /** Payloads whose rows in the table are neither none nor all of theirs. */
  readonly held: readonly { readonly key: PayloadKey; readonly reason: string }[];
  /** And so many others, which came later. */
  readonly heldOthers: number;
  /** Payloads that ClickHouse refuses while nothing else is stored. */
  readonly refused: readonly RefusedPayload[];
  /** And so many that are refused and came later, perhaps a moment ago. */
  readonly refusedOthers: number;
  readonly breakerOpen: boolean;
  /** What has kept payloads from being delivered for long enough to be reported; empty: nothing. */
  readonly trouble: string;
  /** Erasures that attempts could not complete; null: there are none. */
  readonly erasure: ErasureTrouble | null;
  /** False: the ledger could not learn yet how it began, and takes nothing over. */
  readonly isBorn: boolean;
  /** Why nothing may be inserted; empty: it may. */
  readonly tableRefusal: string;
  /** Since when no count of rows was evidence, for the ledger or the reconciler, and why; null: there is evidence. */
  readonly noEvidence: NoEvidence | null;
  /** ms that ClickHouse's clock is ahead of ours. */
  readonly clockAheadMs: number;
  readonly databaseBytes: number;
  /** Rescues since the ledger began. */
  readonly rescues: Readonly<Record<"event" | "reconcile", number>>;
  /** Null: no invariant of the ledger ever broke. */
  readonly broken: BrokenRecord | null;
  /** Null: no address was ever turned away. */
  readonly wrongTokens: WrongTokens | null;
  readonly checkpoint: Checkpoint | null;
  /** Why the reconciler's run failed; empty: it did not. */
  readonly runFailure: string;
  /** Of the last quarter of an hour. */
  readonly recent: { readonly dead: number; readonly ended: number } | null;
  /** Of the hour that `hour` begins. */
  readonly volumes: { readonly hour: number; readonly tenants: readonly TenantVolume[] } | null;
  /** What the zone before the ingress says. */
  readonly frontDoor: FrontDoor | null;
  /** The last minutes of the ingress (collect/bypass.ts). Absent: a consumer of an earlier version has not asked. */
  readonly bypassed?: readonly BypassMinute[] | null;
}

/** Of two: what has lasted longer. */
export function longest(
  a: NoEvidence | null | undefined,
  b: NoEvidence | null | undefined,
): NoEvidence | null {
  if (a == null || b == null) {
    return a ?? b ?? null;
  }
  return a.since <= b.since ? a : b;
}

/** An invariant of the ledger that broke: the last one, and how often one broke since the ledger began. */
export interface BrokenRecord {
  readonly claim: string;
  readonly at: number;
  readonly times: number;
}

export function recordBroken(before: BrokenRecord | null, claim: string, at: number): BrokenRecord {
  return { claim: shortText(claim, limits.noteTextBytesMax), at, times: (before?.times ?? 0) + 1 };
}

/** Addresses that were turned away from the console because of wrong tokens. Times in ms since the epoch. */
export interface WrongTokens {
  readonly since: number;
  readonly last: number;
  /** How often an address was turned away. */
  readonly times: number;
  /** The latest ones, at most `limits.wrongTokenAddressesMax`. */
  readonly addresses: readonly string[];
}

/** After an hour of quiet it begins anew. */
export function recordWrongTokens(before: WrongTokens | null, address: string, now: number): WrongTokens {
  const kept = before === null || now - before.last > limits.alertWrongTokensMs ? null : before;
  const addresses = [shortText(address, 64), ...(kept?.addresses ?? []).filter((one) => one !== address)];
  return {
    since: kept?.since ?? now,
    last: now,
    times: (kept?.times ?? 0) + 1,
    addresses: addresses.slice(0, limits.wrongTokenAddressesMax),
  };
}

/** Where findings are reported: the Worker's log, `headrace_findings`, and the webhook where one is set. */
export const channels = ["log", "table", "webhook"] as const;
export type Channel = (typeof channels)[number];

/** A finding, and the channels that have not reported it yet. */
export interface Unreported {
  readonly finding: Finding;
  readonly channels: readonly Channel[];
}

/** Findings that every channel has still to report. */
export function unreportedOf(findings: readonly Finding[]): readonly Unreported[] {
  return findings.map((finding) => ({ finding, channels }));
}

/** What is remembered between two crons. */
export interface AlertState {
  /** Findings that some channel has still to report, the oldest first: at most `limits.unreportedFindingsMax`. */
  readonly unreported: readonly Unreported[];
  readonly open: readonly Finding[];
  readonly rescues: AlertFacts["rescues"];
  readonly rescuedAt: Readonly<Record<"event" | "reconcile", number>>;
  /** The last hour whose volumes were judged. */
  readonly volumeHour: number;
  /** As it was looked at last; null: it was not yet. */
  readonly frontDoor: FrontDoor | null;
}

export const noAlerts: AlertState = {
  unreported: [],
  open: [],
  rescues: { event: 0, reconcile: 0 },
  rescuedAt: { event: 0, reconcile: 0 },
  volumeHour: 0,
  frontDoor: null,
};

/** What an earlier version may have kept: nothing that is unreported, or as `untold`; nothing of the zone. */
export type StoredAlertState = Omit<AlertState, "unreported" | "frontDoor"> & {
  readonly frontDoor?: FrontDoor | null;
  readonly unreported?: readonly Unreported[];
  readonly untold?: readonly Unreported[];
};

/** Reads the ledger's note, whichever version wrote it. */
export function alertStateFromNote({ unreported, untold, ...state }: StoredAlertState): AlertState {
  return { ...state, unreported: unreported ?? untold ?? [], frontDoor: state.frontDoor ?? null };
}

type Condition = Pick<Finding, "kind" | "subject" | "severity" | "tenant" | "message">;

export interface Judged {
  /** Its `unreported` is what is to be reported now. */
  readonly alertState: AlertState;
  /** What has changed: opened, or resolved. */
  readonly findings: readonly Finding[];
}

export function judgeAlerts(facts: AlertFacts, before: AlertState): Judged {
  const { now } = facts;
  const rescuedAt = {
    event: facts.rescues.event > before.rescues.event ? now : before.rescuedAt.event,
    reconcile: facts.rescues.reconcile > before.rescues.reconcile ? now : before.rescuedAt.reconcile,
  };
  const conditions = asManyAsFit(conditionsOf(facts, rescuedAt), before.open);
  const open: Finding[] = [];
  const findings: Finding[] = [];
  for (const condition of conditions) {
    const old = before.open.find((one) => isSame(one, condition));
    const finding: Finding = { ...condition, state: "open", openedAt: old?.openedAt ?? now };
    open.push(finding);
    // A warning that becomes a page is reported again.
    if (old === undefined || old.severity !== finding.severity) {
      findings.push(finding);
    }
  }
  for (const old of before.open) {
    if (conditions.some((one) => isSame(old, one))) {
      continue;
    }
    if (!isLearnt(old.kind, facts)) {
      open.push(old);
    } else {
      findings.push({ ...old, state: "resolved" });
    }
  }
  return {
    alertState: {
      unreported: [...before.unreported, ...unreportedOf(findings)].slice(-limits.unreportedFindingsMax),
      open: open.slice(0, limits.findingsOpenMax),
      rescues: facts.rescues,
      rescuedAt,
      volumeHour: facts.volumes?.hour ?? before.volumeHour,
      frontDoor: facts.frontDoor ?? before.frontDoor,
    },
    findings,
  };
}

function conditionsOf(facts: AlertFacts, rescuedAt: AlertState["rescuedAt"]): readonly Condition[] {
  const found: Condition[] = [];
  ledgerConditions(facts, found);
  tableConditions(facts, found);
  deliveryConditions(facts, found);
  tokenConditions(facts, found);
  reconcilerConditions(facts, found);
  rescueConditions(facts, rescuedAt, found);
  deadConditions(facts, found);
  volumeConditions(facts, found);
  frontDoorConditions(facts.frontDoor, facts.now, found);
  bypassCondition(facts.bypassed ?? [], found);
  return found;
}

/** Is it known whether conditions of this kind hold? What is open of the others stays open. */
function isLearnt(kind: FindingKind, { recent, volumes, frontDoor, bypassed }: AlertFacts): boolean {
  switch (kind) {
    case "collector_bypassed":
      return bypassed != null;
    case "dead_letters":
      return recent !== null;
    case "volume":
      return volumes !== null;
    default:
      return !frontDoorNotLearnt(frontDoor).includes(kind);
  }
}

/** Notes that these channels have reported these findings. What was judged meanwhile stays unreported. */
export function markReported(
  before: AlertState,
  reported: readonly Unreported[],
  reached: readonly Channel[],
): AlertState {
  const isReported = ({ finding }: Unreported): boolean =>
    reported.some((one) => isSame(one.finding, finding) && isSameTelling(one.finding, finding));
  const unreported = before.unreported.flatMap((one) => {
    const left = isReported(one)
      ? one.channels.filter((channel) => !reached.includes(channel))
      : one.channels;
    return left.length === 0 ? [] : [{ ...one, channels: left }];
  });
  return { ...before, unreported };
}

function isSameTelling(a: Finding, b: Finding): boolean {
  return a.openedAt === b.openedAt && a.state === b.state && a.severity === b.severity;
}

/**
 * The last whole hour, once it is sealed (or an hour later, whatever is open), in ms since the epoch; null: it was judged
 * already, or is not over.
 */
export function hourToJudge({ volumeHour }: AlertState, checkpoint: Checkpoint, now: number): number | null {
  const reached = Math.max(watermarkOf(checkpoint), now - limits.alertVolumeAtLastMs);
  const hour = (Math.floor(reached / HOUR_MS) - 1) * HOUR_MS;
  return hour <= volumeHour ? null : hour;
}

/** Open findings come first, so that none is reported as resolved only because there was no room for it. */
function asManyAsFit(conditions: readonly Condition[], open: readonly Finding[]): readonly Condition[] {
  return openFirst(conditions, open).map((one) => {
    const message = shortText(one.message, limits.noteTextBytesMax);
    return message === one.message ? one : { ...one, message };
  });
}

function openFirst(conditions: readonly Condition[], open: readonly Finding[]): readonly Condition[] {
  if (conditions.length <= limits.findingsOpenMax) {
    return conditions;
  }
  const names = new Set(open.map(({ kind, subject }) => `${kind} ${subject}`));
  const isOpen = ({ kind, subject }: Condition): boolean => names.has(`${kind} ${subject}`);
  const some = [...conditions.filter(isOpen), ...conditions.filter((one) => !isOpen(one))];
  return some.slice(0, limits.findingsOpenMax);
}

function isSame(a: Pick<Finding, "kind" | "subject">, b: Pick<Finding, "kind" | "subject">): boolean {
  return a.kind === b.kind && a.subject === b.subject;
}

const ofLedger = { subject: "ledger", tenant: "" } as const;

/** The ledger itself. */
function ledgerConditions(facts: AlertFacts, found: Condition[]): void {
  if (!facts.isBorn) {
    found.push({
      ...ofLedger,
      kind: "ledger_unborn",
      severity: "page",
      message: `The ledger could not establish its starting state, and claims nothing; payloads are kept in R2 and nothing is lost${facts.runFailure === "" ? "" : `: ${facts.runFailure}`}. Check that the consumer can reach R2 and ClickHouse.`,
    });
  }
  if (facts.broken !== null && facts.now - facts.broken.at < limits.alertBrokenMs) {
    const { claim, at, times } = facts.broken;
    found.push({
      ...ofLedger,
      kind: "broken_invariant",
      severity: "page",
      message: `An invariant of the ledger is broken: "${claim}" does not hold (last at ${timeText(at)}; ${counted(times, "time")} since the ledger began). The event that broke it was not applied and is retried. This is a bug in Headrace: please report it with the log line of that time.`,
    });
  }
  if (facts.databaseBytes > limits.ledgerDatabaseBytesMax / 2) {
    found.push({
      ...ofLedger,
      kind: "ledger_size",
      severity: "warning",
      message: `The ledger holds ${Math.round(facts.databaseBytes / 1e6)} MB, half of what it may: at ${limits.ledgerDatabaseBytesMax / 1e6} MB it forgets payloads early, and more of them are verified before they are inserted.`,
    });
  }
}

/** The table that is inserted into, and its server's clock. */
function tableConditions(facts: AlertFacts, found: Condition[]): void {
  if (facts.tableRefusal !== "") {
    found.push({
      kind: "table_check",
      subject: "traces table",
      tenant: "",
      severity: "page",
      message: facts.tableRefusal,
    });
  }
  if (facts.noEvidence !== null && facts.now - facts.noEvidence.since > limits.alertNoEvidenceMs) {
    const { since, reason } = facts.noEvidence;
    found.push({
      kind: "no_evidence",
      subject: "traces table",
      tenant: "",
      severity: "page",
      message: `Since ${timeText(since)} no count of the traces' rows could be trusted (${reason}). Verification, the audit and the deletion wait; everything else continues. Check system.replicas on that server.`,
    });
  }
  if (facts.tableRefusal === "" && Math.abs(facts.clockAheadMs) > limits.clockAheadFindingMs) {
    const seconds = Math.round(Math.abs(facts.clockAheadMs) / 1000);
    found.push({
      kind: "table_check",
      subject: "clock",
      tenant: "",
      severity: "warning",
      message: `ClickHouse's clock is ${seconds} s ${facts.clockAheadMs > 0 ? "ahead of" : "behind"} ours; at ${limits.clockAheadMaxMs / 1000} s inserting stops. Let ntpd or chronyd set the clock of its host.`,
    });
  }
}

/** What keeps payloads from being stored. */
function deliveryConditions(facts: AlertFacts, found: Condition[]): void {
  // A table that is refused has a finding of its own, and is why nothing is stored.
  if (facts.breakerOpen || (facts.trouble !== "" && facts.tableRefusal === "")) {
    const what = facts.trouble === "" ? "INSERTs fail; nothing is lost." : facts.trouble;
    const how = facts.breakerOpen
      ? " One INSERT is tried at a time; everything else waits in the ledger."
      : "";
    found.push({
      ...ofLedger,
      kind: "breaker_open",
      severity: "page",
      message: `${what}${how} \`headrace doctor --no-canary\` checks each part.`,
    });
  }
  if (facts.oldestWork !== null && facts.now - facts.oldestWork > limits.alertInFlightMs) {
    found.push({
      ...ofLedger,
      kind: "in_flight",
      severity: "page",
      message: `A payload has been in flight since ${timeText(facts.oldestWork)}.`,
    });
  }
  if (facts.erasure !== null && facts.now - facts.erasure.since > limits.alertInFlightMs) {
    const { since, text, payloads, isLowerBound } = facts.erasure;
    found.push({
      kind: "in_flight",
      subject: "erasure",
      tenant: "",
      severity: "warning",
      message: `Since ${timeText(since)} an erasure cannot be completed (${text}); ${waitText(payloads, isLowerBound)} for it, and everything else continues. It is retried.`,
    });
  }
  for (const { key, since, refused, words } of facts.refused) {
    found.push({
      kind: "refused",
      subject: key,
      tenant: tenantOfKey(key),
      severity: "page",
      message: `ClickHouse refuses this payload (${refused === 1 ? "once" : `${refused} times`} so far, since ${timeText(since)} with nothing else stored): ${words}. It is held, and nothing is lost: it is retried at least every 15 minutes, and stored once the cause is fixed. It becomes a dead letter only when other payloads are stored and it is still refused.`,
    });
  }
  if (facts.refusedOthers > 0) {
    found.push({
      ...ofLedger,
      kind: "refused",
      severity: "page",
      message: `ClickHouse refuses more payloads than are named one by one, the oldest first: ${facts.refusedOthers} others. They are held, and nothing is lost: each is retried at least every 15 minutes, and stored once its cause is fixed.`,
    });
  }
  if (facts.heldOthers > 0) {
    found.push({
      ...ofLedger,
      kind: "inexact",
      severity: "page",
      message: `More payloads wait for a person than are named one by one, the oldest first: ${facts.heldOthers} others. Decide about those that are named, and the others are.`,
    });
  }
  for (const { key, reason } of facts.held) {
    found.push({
      kind: "inexact",
      subject: key,
      tenant: tenantOfKey(key),
      severity: "page",
      message: `The table has some rows of this payload but not exactly all (${reason}). It is not inserted until a person decides.`,
    });
  }
}

function tokenConditions(facts: AlertFacts, found: Condition[]): void {
  if (facts.wrongTokens !== null && facts.now - facts.wrongTokens.last < limits.alertWrongTokensMs) {
    const { since, times, addresses } = facts.wrongTokens;
    found.push({
      kind: "wrong_tokens",
      subject: "console",
      tenant: "",
      severity: "warning",
      message: `Somebody is guessing tokens at the console: since ${timeText(since)} an address was blocked ${times === 1 ? "once" : `${times} times`} for a minute after more than ten wrong ones, the latest ${addresses.join(", ")}. If that is not one of yours, put Cloudflare Access in front of the console and set ACCESS_TEAM_DOMAIN and ACCESS_AUD.`,
    });
  }
}

function reconcilerConditions({ now, checkpoint, runFailure }: AlertFacts, found: Condition[]): void {
  if (checkpoint === null) {
    return;
  }
  if (now - checkpoint.ranAt > limits.alertReconcilerMs && checkpoint.ranAt > 0) {
    found.push({
      kind: "reconciler",
      subject: "reconciler",
      tenant: "",
      severity: "page",
      message: `No run of the reconciler has finished since ${timeText(checkpoint.ranAt)}${runFailure === "" ? "" : `: ${runFailure}`}. Minutes are not sealed, and payloads that the queues missed are not stored.`,
    });
  }
  const watermark = watermarkOf(checkpoint);
  if (now - (watermark + MINUTE_MS) > limits.alertUnsealedMs) {
    const oldest = checkpoint.open.find(({ minute }) => minute === watermark);
    const what =
      oldest === undefined
        ? "The reconciler has not got that far yet."
        : `${oldest.pending} of its ${counted(oldest.listed, "payload")} have not ended${oldest.example === null ? "" : `, the first of them ${oldest.example}`}.`;
    found.push({
      kind: "unsealed",
      subject: "watermark",
      tenant: "",
      severity: "page",
      message: `The watermark is at ${timeText(watermark)}. ${what} ${counted(checkpoint.open.length, "minute is", "minutes are")} open.`,
    });
  }
}

function rescueConditions(
  { now, rescues }: AlertFacts,
  rescuedAt: AlertState["rescuedAt"],
  found: Condition[],
): void {
  for (const ring of ["event", "reconcile"] as const) {
    if (now - rescuedAt[ring] < limits.alertRescuedMs) {
      found.push({
        kind: "rescued",
        subject: ring,
        tenant: "",
        severity: "warning",
        message: `Payloads were found by the ${ring === "event" ? "R2 event" : "reconciler"} because no doorbell arrived: ${rescues[ring]} since the ledger began. Nothing is lost; check the ring queue's metrics and the ingress's log.`,
      });
    }
  }
}

function deadConditions({ recent }: AlertFacts, found: Condition[]): void {
  if (recent === null || recent.dead === 0) {
    return;
  }
  const isRate =
    recent.dead >= limits.alertDeadPageMin && recent.dead > recent.ended * limits.alertDeadPageShare;
  found.push({
    kind: "dead_letters",
    subject: "payloads",
    tenant: "",
    severity: isRate ? "page" : "warning",
    message: `${counted(recent.dead, "payload")} became ${recent.dead === 1 ? "a dead letter" : "dead letters"} in the last ${limits.alertDeadMs / MINUTE_MS} minutes, of ${recent.ended} that ended.`,
  });
}

function volumeConditions({ volumes }: AlertFacts, found: Condition[]): void {
  if (volumes === null) {
    return;
  }
  for (const { tenant, spans, before } of volumes.tenants) {
    const usual = median(before);
    if (usual >= limits.alertVolumeSpansMin && spans < usual / 2) {
      found.push({
        kind: "volume",
        subject: tenant,
        tenant,
        severity: "warning",
        message: `${counted(spans, "span")} arrived from this tenant in the hour from ${timeText(volumes.hour)}; in the same hour of the last seven days the median was ${usual}. Everything that was accepted is stored: check the senders, and the answers that they get.`,
      });
    }
  }
}

/** Of an odd count of numbers, or the lower of the two in the middle. */
export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
}

function timeText(time: number): string {
  return `${new Date(time).toISOString().slice(0, 19)}Z`;
}
