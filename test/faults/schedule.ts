/**
 * One schedule from its beginning to its end: payloads are sent, things go wrong; then nothing goes wrong any more,
 * time passes, and everything must come to rest. The invariants are checked after every step.
 */
import { BrokenInvariant } from "../../shared/assert.ts";
import { limits } from "../../shared/limits.ts";
import { idOfKey } from "../../shared/payload-key.ts";
import { Checker, type Invariant, Violation } from "./invariants.ts";
import { idOf, makeBody } from "./world/bodies.ts";
import type { Choices } from "./world/choices.ts";
import { sendContent } from "./world/client.ts";
import type { Strike } from "./world/fate.ts";
import { acceptTable, resolveHeld, scheduleIncidents } from "./world/incidents.ts";
import type { Content, Flaw } from "./world/object-store.ts";
import type { Profile } from "./world/profile.ts";
import { startMs, World } from "./world/world.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const today = Math.floor(startMs / 86_400_000);
/**
 * What has not come to rest after this long without faults never will: rows that the table lost after their audit are
 * missed when their payload is to be deleted, 7 days after it arrived.
 */
const restMaxMs = 10 * 24 * HOUR_MS;
const stepsMax = 50_000;

export interface Outcome {
  readonly violation: { readonly invariant: Invariant; readonly message: string } | null;
  readonly steps: number;
  readonly payloads: number;
  readonly struck: ReadonlyMap<Strike, number>;
}

export function runSchedule(profile: Profile, choices: Choices, story: string[] | null = null): Outcome {
  const world = new World(profile, choices, story);
  const checker = new Checker(world);
  const progress = { steps: 0 };
  let violation: Outcome["violation"] = null;
  try {
    run(world, checker, progress);
  } catch (error) {
    if (error instanceof Violation) {
      violation = { invariant: error.invariant, message: error.message };
    } else if (error instanceof BrokenInvariant) {
      violation = { invariant: "assertion", message: `assertion: ${error.message}` };
    } else {
      throw error;
    }
    story?.push(violation.message);
  }
  return {
    violation,
    steps: progress.steps,
    payloads: world.witness.contents.size,
    struck: world.fate.struck,
  };
}

function run(world: World, checker: Checker, progress: { steps: number }): void {
  const { clock, fate, profile } = world;
  const step = (): boolean => {
    const isMore = clock.next();
    checker.afterStep();
    if (++progress.steps > stepsMax) {
      throw new Violation("I7", "the world does not come to rest");
    }
    return isMore;
  };

  if (profile.ttlDays !== null) {
    keepTtl(world, profile.ttlDays);
  }
  if (profile.receiptsDays !== null) {
    keepReceiptsTtl(world, profile.receiptsDays);
  }

  // The first cron tick comes before the first client, unless this world wants it otherwise.
  const wanted = profile.incidents["first client is first"];
  if (wanted === undefined || !fate.choices.happens(wanted.probability)) {
    clock.after(0, () => world.cron.runNow());
  }
  world.cron.start();
  const payloads = fate.between(profile.payloads.least, profile.payloads.most);
  const sentAt: number[] = [];
  for (let n = 0; n < payloads; n++) {
    const at = clock.now + 1000 + fate.between(0, profile.overMs);
    sentAt.push(at);
    const content = makeContent(world, n, at);
    const resends = fate.between(profile.resends.least, profile.resends.most);
    clock.at(at, () => clock.start(sendContent(world, content, resends)));
  }
  const lastIncident = scheduleIncidents(world, sentAt);

  const active = Math.max(lastIncident, ...sentAt) + (profile.resends.most + 1) * profile.resendMs;
  const end = Math.max(active, lastIncident) + MINUTE_MS;
  let isActive = true;
  const endActive = (): void => {
    if (world.isOutage) {
      clock.at(world.outageUntil, endActive); // an outage lasts as long as it was chosen to
    } else {
      isActive = false;
    }
  };
  clock.at(end, endActive);
  while (isActive && step()) {
    // Until then anything may happen.
  }

  // Nothing goes wrong any more.
  fate.isCalm = true;
  world.outageUntil = 0;
  world.brokenUntil = 0;
  world.refusedUntil = 0;
  world.storeAwayUntil = 0;
  world.ledgerAwayUntil = 0;
  world.servers.lagUntil = 0;
  world.servers.otherUntil = 0;
  world.ledger.isFull = false;
  world.say(() => "calm");
  const calmAt = clock.now;
  let helperAt = calmAt + MINUTE_MS;
  let helpers = 0;
  while (step()) {
    if (clock.now >= helperAt) {
      if (checker.isSettled() && clock.now >= calmAt + profile.watchMs) {
        break;
      }
      if (clock.now > calmAt + profile.watchMs + restMaxMs) {
        break;
      }
      helperAt = clock.now + 10 * MINUTE_MS;
      resolve(world);
      if (helpers < 20 && isAnyRefused(world)) {
        // A payload that is refused dies only while others are stored.
        const content = {
          ...namedBody(world, 99 + helpers, clock.now),
          tenant: tenantOf(world, 99 + helpers),
          rowsByDay: [{ day: today, rows: 1 }],
          spans: 1,
          flaw: "none",
        } as const;
        helpers++;
        clock.start(sendContent(world, content, 0));
      }
    }
  }
  world.cron.stop();
  checker.atEnd();
}

/** Days leave the table at midnight. */
function keepTtl(world: World, days: number): void {
  const { clock, table } = world;
  const day = Math.floor(clock.now / DAY_MS);
  table.expire(day - days + 1);
  clock.at((day + 1) * DAY_MS, () => keepTtl(world, days));
}

/** Receipts leave with the first midnight that they are too old at. */
function keepReceiptsTtl(world: World, days: number): void {
  const { clock, receipts } = world;
  const today = Math.floor(clock.now / DAY_MS);
  receipts.expire((today - days) * DAY_MS);
  clock.at((today + 1) * DAY_MS, () => keepReceiptsTtl(world, days));
}

function resolve(world: World): void {
  acceptTable(world);
  try {
    resolveHeld(world);
  } catch (error) {
    if (error instanceof BrokenInvariant) {
      throw error;
    }
  }
}

function isAnyRefused({ ledger, witness }: World): boolean {
  for (const group of ledger.state.dump().groups.values()) {
    if (group.payloads.some(({ key }) => witness.contents.get(idOfKey(key))?.flaw !== "none")) {
      return true;
    }
  }
  return false;
}

/**
 * The bytes of the `n`-th content, first sent at `sentAt`, and their one id. What an ingress took that knew no ID_TIME_FROM was no
 * further ahead than spans are accepted: docs/operating.md has this exception, and says what it costs.
 */
function namedBody(world: World, n: number, sentAt: number): Pick<Content, "id" | "body"> {
  const body = makeBody(n, sentAt, sentAt < world.rolledOutAt ? limits.spanFutureMaxMs : undefined);
  return { id: idOf(body, world.idsFrom), body };
}

function tenantOf({ profile }: World, n: number): string {
  return n % profile.tenants === 0 ? "acme" : "globex";
}

function makeContent(world: World, n: number, sentAt: number): Content {
  const { fate, profile } = world;
  const first = profile.days === 1 ? 2 : fate.between(1, 4);
  const isOnTwoDays = profile.days === 0 ? fate.choices.below(5) > 2 : profile.days === 2;
  const second = isOnTwoDays ? fate.between(1, 3) : 0;
  const before = profile.ttlDays === null ? 1 : profile.ttlDays - 1 + fate.choices.oneOf(2);
  const rowsByDay = [
    ...(second > 0 ? [{ day: today - before, rows: second }] : []),
    { day: today, rows: first },
  ];
  const flaws = Object.entries(profile.flaws) as [Flaw, number][];
  const [flaw] = flaws.find(([, probability]) => fate.choices.happens(probability)) ?? ["none" as const];
  if (flaw !== "none") {
    fate.count(`payload: ${flaw}`);
  }
  if (second > 0 && before === profile.ttlDays) {
    fate.count("days expire");
  }
  return {
    ...namedBody(world, n, sentAt),
    tenant: tenantOf(world, n),
    rowsByDay,
    spans: first + second,
    flaw,
  };
}
