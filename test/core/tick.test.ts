/** The cron's tick: each part fails by itself, and findings are reported all the same. */
import { describe, expect, test } from "vitest";
import { noAlerts, unreportedOf } from "../../shared/alerts.ts";
import { BrokenInvariant } from "../../shared/assert.ts";
import { bypassPeriod } from "../../shared/collect/bypass.ts";
import { perform } from "../../shared/effect.ts";
import type { Finding } from "../../shared/finding.ts";
import { limits } from "../../shared/limits.ts";
import { formatPayloadId, formatPayloadKey, objectOf } from "../../shared/payload-key.ts";
import { newCheckpoint } from "../../shared/reconcile/checkpoint.ts";
import type { CronPerformer, LearntFacts } from "../../shared/reconcile/effects.ts";
import { reconcileSettings } from "../../shared/reconcile/settings.ts";
import { tick } from "../../shared/reconcile/tick.ts";

const now = Date.UTC(2026, 10, 24, 12);
const hourMs = 3_600_000;

const finding: Finding = {
  kind: "in_flight",
  subject: "ledger",
  state: "open",
  severity: "page",
  tenant: "",
  message: "a payload is still in flight",
  openedAt: now,
};
const unreported = unreportedOf([finding]);

const fails = async (): Promise<never> => {
  throw new Error("it cannot be asked");
};

/** An idle world in which something is to be reported, and what it was asked, in order. */
function worldWith(changed: Partial<CronPerformer>): {
  readonly performer: CronPerformer;
  asked: string[];
  learnt: LearntFacts[];
} {
  const asked: string[] = [];
  const learnt: LearntFacts[] = [];
  const nothing = async () => null;
  const none = async () => [];
  const performer: CronPerformer = {
    wake: nothing,
    readTable: async () => ({ refusal: "", measure: null, oldestDay: 0, witness: null }),
    readWitness: nothing,
    tableChecked: nothing,
    publishTableLimits: nothing,
    alertState: async () => ({ alertState: noAlerts, checkpoint: newCheckpoint(now) }),
    readRecent: async () => ({ dead: 0, ended: 0 }),
    readVolumes: none,
    readBypassed: none,
    askZone: fails,
    countRequests: fails,
    judgeAlerts: async (facts) => {
      learnt.push(facts);
      return unreported;
    },
    reportAlerts: async () => ["log", "table"],
    alertsReported: nothing,
    warn: nothing,
    beginRun: async () => ({ run: "run", checkpoint: null, table: null, changed: [] }),
    sealedAnew: nothing,
    endRun: nothing,
    list: async ({ after }) => ({ objects: [], through: after, cursor: null }),
    segmentReceipts: none,
    readIndex: nothing,
    outcomes: none,
    receipts: none,
    receiptsOfIds: none,
    storedReceipts: none,
    holds: none,
    rows: async () => ({ rows: new Map(), witness: null }),
    tally: none,
    find: none,
    deadLetters: none,
    deadCopies: none,
    ring: nothing,
    record: nothing,
    delete: nothing,
    reportFindings: nothing,
    save: async () => true,
    ...changed,
  };
  const watched = Object.fromEntries(
    Object.entries(performer).map(([name, act]) => [
      name,
      async (asks: never) => {
        asked.push(name);
        return await (act as (asks: never) => Promise<unknown>)(asks);
      },
    ]),
  ) as unknown as CronPerformer;
  return { performer: watched, asked, learnt };
}

const run = (performer: CronPerformer) =>
  perform(tick({ now, everything: false }, reconcileSettings, { kind: "no_zone" }), performer);
const none = async () => [];

test("what was reported is noted, with the channels that took it", async () => {
  let noted: unknown;
  const world = worldWith({
    alertsReported: async (reported) => {
      noted = reported;
      return null;
    },
  });
  await expect(run(world.performer)).resolves.toMatchObject({ listed: 0 });
  expect(noted).toEqual({ unreported, reached: ["log", "table"] });
});

test.each(["wake", "tableChecked", "beginRun", "list", "save"] as const)(
  "findings are reported although this fails, and what failed: %s",
  async (name) => {
    const world = worldWith({ [name]: fails });
    await expect(run(world.performer)).rejects.toThrow("it cannot be asked");
    expect(world.learnt).toMatchObject([{ runFailure: "Error: it cannot be asked" }]);
    expect(world.asked.slice(-2)).toEqual(["reportAlerts", "alertsReported"]);
  },
);

test("a broken invariant is what the tick fails with, whatever failed before it", async () => {
  const breaks = async () => {
    throw new BrokenInvariant("one run at a time");
  };
  await expect(run(worldWith({ wake: fails, beginRun: breaks }).performer)).rejects.toThrow(BrokenInvariant);
});

test("nothing is run while another run has the lease, and people are informed all the same", async () => {
  const world = worldWith({ beginRun: async () => null });
  await expect(run(world.performer)).resolves.toBeNull();
  expect(world.asked).not.toContain("list");
  expect(world.asked.slice(-2)).toEqual(["reportAlerts", "alertsReported"]);
});

test("the lease is given back when a run fails, and a lease that cannot be given back ends by itself", async () => {
  const world = worldWith({ list: fails });
  await expect(run(world.performer)).rejects.toThrow();
  expect(world.asked).toContain("endRun");
  await expect(run(worldWith({ endRun: fails }).performer)).resolves.not.toBeNull();
});

test("a ClickHouse that cannot be asked changes nothing: no verdict on the table, nothing learnt", async () => {
  const open = { ...noAlerts, open: [finding] };
  const world = worldWith({
    readTable: fails,
    readRecent: fails,
    readVolumes: fails,
    readBypassed: fails,
    alertState: async () => ({ alertState: open, checkpoint: newCheckpoint(now) }),
  });
  await expect(run(world.performer)).resolves.not.toBeNull();
  expect(world.asked).not.toContain("tableChecked");
  expect(world.learnt).toEqual([
    { runFailure: "", recent: null, volumes: null, frontDoor: { kind: "no_zone" }, bypassed: null },
  ]);
});

test("an idle ClickHouse is not asked how payloads ended, and an hour's volumes are asked for once", async () => {
  const idle = worldWith({
    alertState: async () => ({
      alertState: { ...noAlerts, volumeHour: now - hourMs },
      checkpoint: newCheckpoint(now),
    }),
  });
  await run(idle.performer);
  expect(idle.asked).not.toContain("readRecent");
  expect(idle.asked).not.toContain("readVolumes");
  const asks: unknown[] = [];
  const due = worldWith({
    readVolumes: async (hour) => {
      asks.push(hour);
      return [];
    },
  });
  await run(due.performer);
  expect(asks).toEqual([{ hour: now - hourMs, days: 7 }]);
  expect(due.learnt).toMatchObject([{ volumes: { hour: now - hourMs, tenants: [] } }]);
});

test("what a channel did not take is not noted as reported", async () => {
  const world = worldWith({ reportAlerts: none });
  await run(world.performer);
  expect(world.asked).toContain("reportAlerts");
  expect(world.asked).not.toContain("alertsReported");
});

test("the ingress learns how long the table keeps rows, as far as that is known", async () => {
  const ttl = { kind: "none" } as const;
  const published: unknown[] = [];
  const worldOf = (known: object) =>
    worldWith({
      readTable: async () => ({
        refusal: "",
        measure: { blocks: 1, windowBlocks: 2, windowMs: null, ...known },
        oldestDay: 0,
        witness: null,
      }),
      publishTableLimits: async (limitsOf) => {
        published.push(limitsOf);
        return null;
      },
    });
  await run(worldOf({ ttl }).performer);
  await run(worldOf({}).performer);
  expect(published).toEqual([ttl]);
});

describe("people", () => {
  const key = formatPayloadKey(now - hourMs, "acme", formatPayloadId(new Uint8Array(16)));
  const open = { ...noAlerts, volumeHour: now - hourMs, open: [finding] };
  const idle = { ...open, open: [] };
  const stateOf = (alertState: typeof open) => async () => ({ alertState, checkpoint: newCheckpoint(now) });
  /** A run that lists one payload, which has ended. */
  const busy: Partial<CronPerformer> = {
    list: async ({ after }) =>
      after < key
        ? { objects: [{ key: objectOf(key) }], through: key, cursor: null }
        : { objects: [], through: after, cursor: null },
    outcomes: async () => [{ key, outcome: "stored" }],
  };

  test("are asked about when something arrived, or a finding is open, and not otherwise", async () => {
    for (const [alertState, performer, asks] of [
      [idle, busy, [now - limits.alertDeadMs]],
      [open, {}, [now - limits.alertDeadMs]],
      [idle, {}, []],
      [idle, { ...busy, beginRun: async () => null }, []],
    ] as const) {
      const since: number[] = [];
      const periods: unknown[] = [];
      const bypassed = [{ requests: 1, collector_full: 1, collector_failed: 0, collector_version: 0 }];
      const world = worldWith({
        ...performer,
        alertState: stateOf(alertState),
        readRecent: async (asked) => {
          since.push(asked);
          return { dead: 3, ended: 4 };
        },
        readBypassed: async (period) => {
          periods.push(period);
          return bypassed;
        },
      });
      await run(world.performer);
      expect(since).toEqual(asks);
      expect(periods).toEqual(asks.map(() => bypassPeriod(now)));
      const learnt = { recent: { dead: 3, ended: 4 }, bypassed };
      expect(world.learnt).toMatchObject([asks.length === 0 ? { recent: null, bypassed: null } : learnt]);
    }
  });

  test("are left alone where there is nothing that they do not know", async () => {
    const world = worldWith({ judgeAlerts: none });
    await run(world.performer);
    expect(world.asked.at(-1)).not.toBe("reportAlerts");
    expect(world.asked).not.toContain("reportAlerts");
  });

  test("have heard of it when one channel took it", async () => {
    const world = worldWith({ reportAlerts: async () => ["log"] });
    await run(world.performer);
    expect(world.asked.at(-1)).toBe("alertsReported");
  });

  test("find in the log what failed and changes nothing", async () => {
    const logged: { readonly message: string; readonly reason: string }[] = [];
    const world = worldWith({
      readTable: fails,
      readVolumes: fails,
      warn: async (warning) => {
        logged.push(warning);
        return null;
      },
    });
    await run(world.performer);
    expect(logged.map(({ reason }) => reason)).toEqual([
      "Error: it cannot be asked",
      "Error: it cannot be asked",
    ]);
    expect(new Set(logged.map(({ message }) => message)).size).toBe(2);
  });
});
