/**
 * The twin of workers/consumer/perform-tick.ts: the effects of the cron's tick, performed over this world, where any of
 * them may fail before or after it was done. Two ticks may run at once.
 */

import type { Channel } from "../../../shared/alerts.ts";
import type { MinuteTally } from "../../../shared/clickhouse/minutes.ts";
import { witnessOf } from "../../../shared/clickhouse/table-identity.ts";
import { keyChecksum } from "../../../shared/key-checksum.ts";
import {
  idOfKey,
  isInSegment,
  type ObjectKey,
  objectOf,
  type PayloadKey,
  tenantOfKey,
} from "../../../shared/payload-key.ts";
import type { CronEffects, DatedReceipt } from "../../../shared/reconcile/effects.ts";
import { type ReconcileSettings, reconcileSettings } from "../../../shared/reconcile/settings.ts";
import { minuteOf } from "../../../shared/reconcile/walk-minutes.ts";
import { outcomeCounts } from "../../fixtures/outcome-counts.ts";
import { countsOf } from "./object-store.ts";
import { readTable } from "./perform.ts";
import type { Profile } from "./profile.ts";
import type { WrittenReceipt } from "./receipts-table.ts";
import type { Unanswered, World } from "./world.ts";

/** The defaults, but for pages of a few keys and budgets of a few pages: so that both end in the middle of things. */
const modelReconcileSettings: ReconcileSettings = {
  ...reconcileSettings,
  pageKeys: 3,
  listCalls: { fresh: 6, open: 6, again: 4, delete: 4 },
  subrequests: { fresh: 20, open: 20, young: 20, again: 12, audit: 20, delete: 20 },
  auditPages: 2,
};

export function reconcileSettingsOf({ profile }: World): ReconcileSettings {
  let settings = settingsByProfile.get(profile);
  if (settings === undefined) {
    const { receiptsDays, reconciler } = profile;
    const receiptsMs = receiptsDays === null ? {} : { receiptsMs: (receiptsDays - 1) * DAY_MS };
    settings = { ...modelReconcileSettings, ...reconciler, ...receiptsMs };
    settingsByProfile.set(profile, settings);
  }
  return settings;
}

/** Each tick asks for them. */
const settingsByProfile = new WeakMap<Profile, ReconcileSettings>();

const DAY_MS = 86_400_000;

/** A tick under way. */
export interface Tick {
  readonly world: World;
  /** True time, ms since the epoch. */
  readonly began: number;
}

export type ModelCronPerformer = {
  readonly [Name in keyof CronEffects]: (
    tick: Tick,
    asks: CronEffects[Name]["asks"],
  ) => CronEffects[Name]["answers"] | Unanswered;
};

const { leaseMs } = modelReconcileSettings;

/** One for all ticks, as in perform.ts. */
export const cronPerformer: ModelCronPerformer = {
  // --- a tick
  wake({ world }) {
    world.ledger.wake();
    return null;
  },
  readTable: ({ world }) => world.askTable("table check", () => readTable(world)),
  tableChecked({ world }, checked) {
    world.ledger.call({ kind: "table", table: checked });
    return null;
  },
  publishTableLimits: () => null, // nobody of this world reads them: its ingress refuses no span
  alertState: ({ world }) => world.ledger.readAlertState(),
  readRecent: ({ world }, since) =>
    world.askTable("how payloads ended", () => {
      const recent = world.receipts.list().filter(({ at }) => at >= since);
      return {
        dead: recent.filter(({ receipt }) => receipt.outcome === "dead").length,
        ended: recent.length,
      };
    }),
  readVolumes: ({ world }) => world.askTable("volumes", () => []), // one tenant, of no usual volume
  // No zone is in front of this world's ingress.
  askZone: () => null as never,
  countRequests: () => null as never,
  // Nor does it count how requests end.
  readBypassed: () => [],
  judgeAlerts: ({ world }, learnt) => world.ledger.judgeAlerts(learnt),
  reportAlerts({ world }, unreported) {
    const toTable = unreported.filter(({ channels }) => channels.includes("table"));
    const toWebhook = unreported.filter(({ channels }) => channels.includes("webhook"));
    const reached: Channel[] = ["log"];
    world.findingsReported("log", unreported);
    if (
      toTable.length === 0 ||
      world.tellTable("findings", () => world.findingsReported("table", toTable)) === null
    ) {
      reached.push("table");
    }
    if (toWebhook.length === 0 || !world.fate.strikes("webhook fails")) {
      world.findingsReported("webhook", toWebhook);
      reached.push("webhook");
    }
    return reached;
  },
  alertsReported({ world }, { unreported, reached }) {
    world.ledger.alertsReported(unreported, reached);
    return null;
  },
  warn({ world }, { message }) {
    world.say(() => `cron: ${message}`);
    return null;
  },

  // --- a run of the reconciler
  beginRun: ({ world }, { takesOver }) => world.ledger.beginReconcile(leaseMs, takesOver),
  endRun({ world }, run) {
    world.ledger.endReconcile(run);
    return null;
  },
  sealedAnew: () => null,
  list({ world }, { after: listAfter, cursor, atMost }) {
    world.askStore("list");
    // A cursor is the text that it goes on after.
    const after = cursor ?? listAfter;
    const keys = world.store.listObjects();
    let at = 0;
    for (const key of keys) {
      if (key > after) {
        break;
      }
      at++;
    }
    const isShort = world.fate.strikes("page short");
    const page = keys.slice(at, at + (isShort ? world.fate.within(0, atMost - 1) : atMost));
    const through = page.at(-1) ?? after;
    const hasMore = keys.length > at + page.length;
    return { objects: page.map((key) => ({ key })), through, cursor: hasMore ? through : null };
  },
  segmentReceipts: ({ world }, segments) =>
    world.askTable("segments", () =>
      segments.flatMap((segment) => {
        const own = receiptsOf(world, [segment]);
        const duplicates = own.filter(({ outcome }) => outcome === "duplicate").map(({ key }) => key);
        const checksum = keyChecksum(own.map(({ key }) => idOfKey(key)));
        return own.length === 0 ? [] : [{ segment, payloads: own.length, checksum, duplicates }];
      }),
    ),
  readIndex({ world }, segment) {
    world.askStore("get");
    const payloads = world.store.payloadsOf(segment);
    return (
      payloads?.map(({ payload, isErased }) => ({ key: payload.key, counts: countsOf(payload), isErased })) ??
      null
    );
  },
  outcomes: ({ world }, keys) =>
    world.askTable("outcomes", () => found(world, keys).map(({ key, outcome }) => ({ key, outcome }))),
  receipts: ({ world }, objects) => world.askTable("receipts", () => receiptsOf(world, objects)),
  receiptsOfIds: ({ world }, ids) =>
    world.askTable("receipts", () => ids.flatMap((id) => world.receipts.ofId(id).map(dated))),
  storedReceipts: ({ world }, { after, before, atMost }) =>
    world.askTable("receipts", () =>
      world.receipts
        .list()
        .filter(({ receipt: { key, outcome } }) => outcome === "stored" && key > after && key < before)
        .slice(0, atMost)
        .map(dated),
    ),
  holds: ({ world }, keys) => world.ledger.holds(keys),
  readWitness: ({ world }) => world.askTable("witness", () => witnessOf(world.servers.reach().answer)),
  rows: ({ world }, { ids, days }) =>
    world.askTable("rows", () => {
      const { rows, witness } = world.countRows(ids);
      const asked = (i: number) => (rows[i] ?? []).filter(({ day }) => days === null || days.includes(day));
      return { rows: new Map(ids.map((id, i) => [id, asked(i)])), witness };
    }),
  tally: ({ world }, minutes) =>
    world.askTable("tally", () => minutes.flatMap((minute) => tally(world, minute))),
  find({ world }, keys) {
    world.askStore("head");
    return keys.filter((key) => world.store.head(key) !== null);
  },
  deadLetters({ world }, keys) {
    // A record is written with its receipt, which no schedule outlives.
    world.askStore("list");
    return found(world, keys)
      .filter(({ outcome }) => outcome === "dead")
      .map(({ key }) => key);
  },
  deadCopies({ world }, keys) {
    world.askStore("list");
    return keys.filter((key) => world.store.hasCopy(key));
  },
  ring({ world }, doorbells) {
    for (const doorbell of doorbells) {
      world.say(
        () =>
          `the reconciler rings ${doorbell.key.slice(6, 22)}…${doorbell.key.slice(-22, -18)} (${doorbell.cause})`,
      );
      world.witness.notified += doorbell.cause === "reconcile" ? 1 : 0;
      world.queues.ring.send(
        "spans" in doorbell
          ? { kind: "doorbells", doorbells: [doorbell] }
          : { kind: "bare", key: doorbell.key, cause: doorbell.cause },
      );
    }
    return null;
  },
  record({ world, began }, { minutes }) {
    return world.tellTable("minutes", () => {
      for (const { minute, sealed } of minutes) {
        world.say(() => `${sealed ? "sealed" : "opened"} ${new Date(minute).toISOString().slice(0, 16)}`);
        world.witness.seals.push({ minute, sealed, at: world.clock.now, runBegan: began });
      }
    });
  },
  delete({ world, began }, objects) {
    world.askStore("delete");
    for (const object of objects.filter(isInSegment)) {
      world.witness.segmentsGone.push({ object, runBegan: began });
    }
    for (const key of objects.flatMap((object) => world.store.delete(object))) {
      world.say(() => `deleted ${key.slice(6, 22)}…${key.slice(-22, -18)}`);
      if (world.store.get(key) === null) {
        world.witness.deletions.push({ key, at: world.clock.now, runBegan: began });
      }
    }
    return null;
  },
  reportFindings({ world }, findings) {
    for (const { kind, subject } of findings) {
      world.witness.findings.add(`${kind} ${subject}`);
    }
    return null;
  },
  save: ({ world }, { run, checkpoint }) => world.ledger.saveCheckpoint(run, leaseMs, checkpoint),
};

function dated({ receipt, at }: WrittenReceipt): DatedReceipt {
  return { ...receipt, at };
}

function receiptsOf({ receipts }: World, objects: readonly ObjectKey[]): readonly DatedReceipt[] {
  return receipts
    .list()
    .filter(({ receipt }) => objects.includes(objectOf(receipt.key)))
    .map(dated);
}

function found({ receipts }: World, keys: readonly PayloadKey[]): readonly DatedReceipt[] {
  return keys
    .map((key) => receipts.get(key))
    .filter((written) => written !== undefined)
    .map(dated);
}

/** What SQL adds up over the receipts of a minute. */
function tally({ receipts }: World, minute: number): readonly MinuteTally[] {
  const own = receipts.list().filter(({ receipt }) => minuteOf(receipt.key) === minute);
  const byTenant = Map.groupBy(own, ({ receipt }) => tenantOfKey(receipt.key));
  return [...byTenant].map(([tenant, some]) => tallyOf(minute, tenant, some));
}

function tallyOf(minute: number, tenant: string, own: readonly WrittenReceipt[]): MinuteTally {
  return {
    ...outcomeCounts(own.map(({ receipt }) => receipt)),
    minute,
    tenant,
    spans: own.reduce((sum, { receipt }) => sum + receipt.spans, 0),
    rejectedSpans: 0,
    bytes: 0,
    checksum: keyChecksum(own.map(({ receipt }) => idOfKey(receipt.key))),
  };
}
