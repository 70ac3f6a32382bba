/**
 * Minutes added up for people: rows of sealed minutes, the receipts of minutes that are not sealed yet, and what is
 * in flight, as steps of a chart and as sums by tenant. Pure.
 */
import { assert } from "../assert.ts";
import { byMinute } from "../ledger/unsettled.ts";
import { limits, MINUTE_MS } from "../limits.ts";
import { minuteToMs } from "../payload-key.ts";
import { type Checkpoint, startOfMinute } from "../reconcile/checkpoint.ts";
import type { MinuteStep, Minutes, TenantSum } from "./answers.ts";
import type { Unsettled } from "./operations.ts";

/** What ended, by step and tenant: a row of `minuteStepsQuery`. */
export interface EndedRow {
  /** The step's start, seconds since the epoch. */
  readonly step: number;
  readonly tenant: string;
  readonly stored: number;
  readonly dead: number;
  readonly duplicate: number;
  readonly erased: number;
  readonly expired: number;
  readonly spans: number;
  readonly rejectedSpans: number;
  readonly bytes: number;
  /** In the row of step 0: keys that are in flight and have a receipt. */
  readonly receipted: readonly string[];
}

/** The range of `hours` that ends with the step in which `now` lies. Times in ms since the epoch. */
export function stepRange(now: number, hours: number): { readonly since: number; readonly stepMs: number } {
  assert(hours > 0 && hours <= limits.minutesMaxHours, "the range is within its limit");
  const stepMs = hours <= limits.minutesByMinuteMaxHours ? MINUTE_MS : 60 * MINUTE_MS;
  const last = Math.floor(now / stepMs) * stepMs;
  return { since: last + stepMs - Math.ceil((hours * 60 * MINUTE_MS) / stepMs) * stepMs, stepMs };
}

export interface StepFacts {
  readonly now: number;
  readonly since: number;
  readonly stepMs: number;
  readonly ended: readonly EndedRow[];
  readonly unsettled: Unsettled;
  /** Only this tenant; null: all of them. */
  readonly tenant: string | null;
}

type Counts = Omit<TenantSum, "tenant">;

const nothing: Counts = {
  accepted: 0,
  stored: 0,
  dead: 0,
  duplicate: 0,
  erased: 0,
  expired: 0,
  inFlight: 0,
  spans: 0,
  rejectedSpans: 0,
  bytes: 0,
};

/**
 * Every step of the range, those without payloads included. What is in flight and has a receipt counts by that. What the
 * ledger has in flight is exact for the groups that were looked into; where there are more, what the reconciler found pending
 * in a minute that it walked is the least that is in flight, wherever it is held.
 */
export function minuteSteps(facts: StepFacts): Minutes {
  const { now, since, stepMs, unsettled } = facts;
  const { steps, tenants } = addUp(facts);
  const listed: MinuteStep[] = [];
  for (let at = since; at <= now; at += stepMs) {
    const { rejectedSpans: _, ...counts } = steps.get(at) ?? nothing;
    const sealed = isSealed(unsettled.checkpoint, at, at + stepMs);
    listed.push({ at: new Date(at).toISOString(), ...counts, sealed });
  }
  const sums = sorted(tenants);
  return {
    since: new Date(since).toISOString(),
    stepSeconds: stepMs / 1000,
    steps: listed,
    tenants: sums.slice(0, limits.tenantsListed),
    tenantsCount: sums.length,
  };
}

/** The same by tenant alone, those with most spans first. */
export function tenantSums(facts: Omit<StepFacts, "tenant">): readonly TenantSum[] {
  return sorted(addUp({ ...facts, tenant: null }).tenants);
}

function sorted(tenants: ReadonlyMap<string, Counts>): readonly TenantSum[] {
  return [...tenants]
    .map(([tenant, counts]): TenantSum => ({ tenant, ...counts }))
    .sort((a, b) => b.spans - a.spans || (a.tenant < b.tenant ? -1 : 1));
}

interface AddedUp {
  readonly steps: ReadonlyMap<number, Counts>;
  readonly tenants: ReadonlyMap<string, Counts>;
}

function addUp(facts: StepFacts): AddedUp {
  const { since, stepMs, unsettled } = facts;
  const { checkpoint } = unsettled;
  const steps = new Map<number, Counts>();
  const tenants = new Map<string, Counts>();
  const isAsked = (tenant: string): boolean => facts.tenant === null || facts.tenant === tenant;
  for (const row of facts.ended.filter(({ step, tenant }) => step > 0 && isAsked(tenant))) {
    const counts = endedCounts(row);
    plus(steps, row.step * 1000, counts);
    plus(tenants, row.tenant, counts);
  }
  const receipted = new Set(facts.ended.flatMap((row) => row.receipted));
  const keys = unsettled.keys.filter(({ key }) => !receipted.has(key));
  const held = new Map<number, number>();
  for (const { minute, tenant, payloads, spans } of [...byMinute(keys), ...unsettled.others]) {
    const at = minuteToMs(minute);
    if (at >= since && isAsked(tenant)) {
      const counts = { ...nothing, accepted: payloads, inFlight: payloads, spans };
      plus(steps, Math.floor(at / stepMs) * stepMs, counts);
      plus(tenants, tenant, counts);
      held.set(at, (held.get(at) ?? 0) + payloads);
    }
  }
  for (const { minute, pending } of unsettled.isWhole ? [] : (checkpoint?.open ?? [])) {
    const unseen = pending - (held.get(minute) ?? 0);
    if (minute >= since && facts.tenant === null && unseen > 0) {
      plus(steps, Math.floor(minute / stepMs) * stepMs, { ...nothing, accepted: unseen, inFlight: unseen });
    }
  }
  return { steps, tenants };
}

function endedCounts({ step: _step, tenant: _tenant, receipted: _receipted, ...row }: EndedRow): Counts {
  const { stored, dead, duplicate, erased, expired } = row;
  return { accepted: stored + dead + duplicate + erased + expired, inFlight: 0, ...row };
}

function plus<K>(sums: Map<K, Counts>, at: K, more: Counts): void {
  const sum = sums.get(at) ?? nothing;
  sums.set(at, {
    accepted: sum.accepted + more.accepted,
    stored: sum.stored + more.stored,
    dead: sum.dead + more.dead,
    duplicate: sum.duplicate + more.duplicate,
    erased: sum.erased + more.erased,
    expired: sum.expired + more.expired,
    inFlight: sum.inFlight + more.inFlight,
    spans: sum.spans + more.spans,
    rejectedSpans: sum.rejectedSpans + more.rejectedSpans,
    bytes: sum.bytes + more.bytes,
  });
}

/** Whether every minute of `[from, to)` is sealed. */
function isSealed(checkpoint: Checkpoint | null, from: number, to: number): boolean {
  return (
    checkpoint !== null &&
    to <= checkpoint.from &&
    !checkpoint.open.some(({ minute }) => startOfMinute(minute) >= from && minute < to)
  );
}
