/**
 * The twin of workers/consumer/perform-tick.ts: the effects of the cron's tick, performed over this world, where any of
 * them may fail before or after it was done. Two ticks may run at once.
 */
import type { Channel } from "../../../shared/alerts.ts";
import { witnessOf } from "../../../shared/clickhouse/table-identity.ts";
import { idOfKey, type PayloadKey } from "../../../shared/payload-key.ts";
import type { CronEffects, DatedReceipt, Listed, MinuteTally } from "../../../shared/reconcile/effects.ts";
import { keyChecksum } from "../../../shared/reconcile/join.ts";
import { type ReconcileSettings, reconcileSettings } from "../../../shared/reconcile/settings.ts";
import { minuteOf } from "../../../shared/reconcile/walk-minutes.ts";
import type { StoredObject } from "./object-store.ts";
import { readTable } from "./perform.ts";
import type { WrittenReceipt } from "./receipts-table.ts";
import { QueryFailed, type World } from "./world.ts";

/** The defaults, but for pages of a few keys and budgets of a few pages: so that both end in the middle of things. */
const modelReconcileSettings: ReconcileSettings = {
  ...reconcileSettings,
  pageKeys: 3,
  listCalls: { fresh: 6, open: 6, again: 4, delete: 4 },
  subrequests: { fresh: 20, open: 20, young: 20, again: 12, audit: 20, delete: 20 },
  auditPages: 2,
};

export function reconcileSettingsOf({ profile }: World): ReconcileSettings {
  const settings = { ...modelReconcileSettings, ...profile.reconciler };
  return profile.receiptsDays === null
    ? settings
    : { ...settings, receiptsMs: (profile.receiptsDays - 1) * DAY_MS };
}

const DAY_MS = 86_400_000;

export type ModelCronPerformer = {
  readonly [Name in keyof CronEffects]: (asks: CronEffects[Name]["asks"]) => CronEffects[Name]["answers"];
};

export function cronPerformerOf(world: World): ModelCronPerformer {
  const { store, receipts, witness, ledger, fate, clock } = world;
  const { leaseMs } = modelReconcileSettings;
  const began = clock.now;
  return {
    // --- a tick
    wake() {
      ledger.wake();
      return null;
    },
    readTable: () => world.askTable("table check", () => readTable(world)),
    tableChecked(checked) {
      ledger.call({ kind: "table", table: checked });
      return null;
    },
    publishTableLimits: () => null, // nobody of this world reads them: its ingress refuses no span
    alertState: () => ledger.readAlertState(),
    readRecent: (since) =>
      world.askTable("how payloads ended", () => {
        const recent = receipts.list().filter(({ at }) => at >= since);
        return {
          dead: recent.filter(({ receipt }) => receipt.outcome === "dead").length,
          ended: recent.length,
        };
      }),
    readVolumes: () => world.askTable("volumes", () => []), // one tenant, of no usual volume
    judgeAlerts: (learnt) => ledger.judgeAlerts(learnt),
    reportAlerts(unreported) {
      const toTable = unreported.filter(({ channels }) => channels.includes("table"));
      const toWebhook = unreported.filter(({ channels }) => channels.includes("webhook"));
      const reached: Channel[] = ["log"];
      world.findingsReported("log", unreported);
      if (
        toTable.length === 0 ||
        isReported(() => world.tellTable("findings", () => world.findingsReported("table", toTable)))
      ) {
        reached.push("table");
      }
      if (toWebhook.length === 0 || !fate.strikes("webhook fails")) {
        world.findingsReported("webhook", toWebhook);
        reached.push("webhook");
      }
      return reached;
    },
    alertsReported({ unreported, reached }) {
      ledger.alertsReported(unreported, reached);
      return null;
    },
    warn({ message }) {
      world.say(() => `cron: ${message}`);
      return null;
    },

    // --- a run of the reconciler
    beginRun: ({ takesOver }) => ledger.beginReconcile(leaseMs, takesOver),
    endRun(run) {
      ledger.endReconcile(run);
      return null;
    },
    list({ after: listAfter, cursor, atMost }) {
      world.askStore("list");
      // A cursor is the text that it goes on after.
      const after = cursor ?? listAfter;
      const rest = store.list().filter(({ key }) => key > after);
      const isShort = fate.strikes("page short");
      const objects = rest.slice(0, isShort ? fate.within(0, atMost - 1) : atMost).map(listed);
      const through = objects.at(-1)?.key ?? after;
      return { objects, through, cursor: rest.length > objects.length ? through : null };
    },
    outcomes: (keys) =>
      world.askTable("outcomes", () => found(world, keys)).map(({ key, outcome }) => ({ key, outcome })),
    receipts: (keys) => world.askTable("receipts", () => found(world, keys)),
    receiptsOfIds: (ids) =>
      world.askTable("receipts", () => ids.flatMap((id) => receipts.ofId(id).map(dated))),
    storedReceipts: ({ after, before, atMost }) =>
      world
        .askTable("receipts", () =>
          receipts
            .list()
            .map(dated)
            .filter(({ key, outcome }) => outcome === "stored" && key > after && key < before),
        )
        .slice(0, atMost),
    holds: (keys) => ledger.holds(keys),
    readWitness: () => world.askTable("witness", () => witnessOf(world.servers.reach().answer)),
    rows: ({ ids }) => {
      const { rows, witness } = world.askTable("rows", () => world.countRows(ids));
      return { rows: new Map(ids.map((id, i) => [id, rows[i] ?? []])), witness };
    },
    tally: (minutes) => world.askTable("tally", () => minutes.flatMap((minute) => tally(world, minute))),
    find(keys) {
      world.askStore("head");
      return keys
        .map((key) => store.get(key))
        .filter((object) => object !== null)
        .map(listed);
    },
    deadLetters(keys) {
      // A record is written with its receipt, which no schedule outlives.
      world.askStore("list");
      return found(world, keys)
        .filter(({ outcome }) => outcome === "dead")
        .map(({ key }) => key);
    },
    ring(doorbells) {
      for (const doorbell of doorbells) {
        world.say(
          () =>
            `the reconciler rings ${doorbell.key.slice(6, 22)}…${doorbell.key.slice(-22, -18)} (${doorbell.cause})`,
        );
        witness.notified += doorbell.cause === "reconcile" ? 1 : 0;
        world.queues.ring.send({ kind: "bare", key: doorbell.key, cause: doorbell.cause });
      }
      return null;
    },
    record({ minutes }) {
      world.tellTable("minutes", () => {
        for (const { minute, sealed } of minutes) {
          world.say(() => `${sealed ? "sealed" : "opened"} ${new Date(minute).toISOString().slice(0, 16)}`);
          witness.seals.push({ minute, sealed, at: clock.now, runBegan: began });
        }
      });
      return null;
    },
    delete(keys) {
      world.askStore("delete");
      for (const key of keys) {
        world.say(() => `deleted ${key.slice(6, 22)}…${key.slice(-22, -18)}`);
        store.delete(key);
        witness.deletions.push({ key, at: clock.now, runBegan: began });
      }
      return null;
    },
    reportFindings(findings) {
      for (const { kind, subject } of findings) {
        witness.findings.add(`${kind} ${subject}`);
      }
      return null;
    },
    save: ({ run, checkpoint }) => ledger.saveCheckpoint(run, leaseMs, checkpoint),
  };
}

/** False: the statement failed, or its answer was lost. */
function isReported(tellTable: () => void): boolean {
  try {
    tellTable();
    return true;
  } catch (error) {
    if (!(error instanceof QueryFailed)) {
      throw error;
    }
    return false;
  }
}

function listed(object: StoredObject): Listed {
  return { key: object.key };
}

function dated({ receipt, at }: WrittenReceipt): DatedReceipt {
  return { ...receipt, at };
}

function found({ receipts }: World, keys: readonly PayloadKey[]): readonly DatedReceipt[] {
  return keys
    .map((key) => receipts.get(key))
    .filter((written) => written !== undefined)
    .map(dated);
}

/** What SQL adds up over the receipts of a minute: one tenant here. */
function tally({ receipts }: World, minute: number): readonly MinuteTally[] {
  const own = receipts.list().filter(({ receipt }) => minuteOf(receipt.key) === minute);
  if (own.length === 0) {
    return [];
  }
  const count = (outcome: string): number => own.filter(({ receipt }) => receipt.outcome === outcome).length;
  return [
    {
      minute,
      tenant: "acme",
      accepted: own.length,
      stored: count("stored"),
      dead: count("dead"),
      duplicate: count("duplicate"),
      erased: count("erased"),
      expired: count("expired"),
      spans: own.reduce((sum, { receipt }) => sum + receipt.spans, 0),
      rejectedSpans: 0,
      bytes: 0,
      checksum: keyChecksum(own.map(({ receipt }) => idOfKey(receipt.key))),
    },
  ];
}
