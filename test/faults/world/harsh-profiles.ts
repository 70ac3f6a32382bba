/**
 * One profile per behaviour of the platform that is harsher than the others' world: the behaviour is nearly all that
 * strikes, so that what it finds is its own.
 */
import { defaultSettings } from "../../../shared/ledger/settings.ts";
import { nothing, type Profile, slowProfiles } from "./profile.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A group of several payloads, of which one may have a flaw. */
const poisoned = {
  ...nothing,
  payloads: { least: 2, most: 5 },
  overMs: SECOND,
  resends: { least: 0, most: 0 },
  innocentsWithinMs: 10 * MINUTE,
} satisfies Omit<Profile, "name">;

/** INSERTs that run for longer than they may, and servers that do not see them. */
const overruns = {
  ...nothing,
  payloads: { least: 1, most: 2 },
  faults: {
    "processes are elsewhere": 0.7,
    "insert runs on": 0.4,
    "insert overruns": 0.2,
    "kill fails": 0.3,
  },
  strikesMax: 10,
  incidents: {
    "ledger lost": { times: 1, probability: 0.5 },
    "codec changes": { times: 1, probability: 0.3 },
  },
} satisfies Omit<Profile, "name">;

/**
 * The store refuses a row that is a little larger than what limits as small as these come to. Nothing is stored for a
 * while, so that they are met.
 */
const smallRows = {
  ...nothing,
  strikesMax: 40,
  incidents: {
    outage: { times: 1, probability: 0.5 },
    "table refused": { times: 1, probability: 0.9 },
    erase: { times: 1, probability: 0.3 },
  },
  incidentMs: MINUTE,
  rowBytesMax: { head: 1030, group: 2900, reconciler: 1100 },
  ledger: {
    caps: { ...defaultSettings.caps, payloadsMax: 2, keysMax: 6, rowsReady: 8, rowsTogether: 16 },
    duplicateKeysMax: 4,
    erasedKeysMax: 2,
    pendingRescuesMax: 2,
  },
  reconciler: { openMax: 3, againMax: 3 },
} satisfies Omit<Profile, "name">;

/** As of all worlds (world.ts). */
const modelCaps = { ...defaultSettings.caps, payloadsMax: 3, keysMax: 9, rowsReady: 8, rowsTogether: 16 };

export const harshProfiles: readonly Profile[] = [
  {
    ...nothing,
    name: "insert arrives late",
    payloads: { least: 1, most: 2 },
    faults: {
      "insert arrives late": 0.4,
      "insert arrives twice": 0.1,
      "insert fails before": 0.2,
      unlisted: 0.3,
    },
    strikesMax: 8,
    incidents: {
      "codec changes": { times: 1, probability: 0.3 },
      "ledger lost": { times: 1, probability: 0.3 },
    },
  },
  {
    ...nothing,
    name: "insert arrives twice",
    payloads: { least: 1, most: 2 },
    faults: { "insert arrives twice": 0.4, "insert answer lost": 0.2 },
    strikesMax: 8,
  },
  {
    ...nothing,
    name: "replica lags",
    payloads: { least: 1, most: 3 },
    isReplicated: true,
    faults: {
      "insert answer lost": 0.4,
      "message doubled": 0.1,
      "doorbell lost": 0.1,
      "replica gives an older answer": 0.5,
      "replica speaks early": 0.5,
      "replica catches up in a count": 0.8,
    },
    strikesMax: 12,
    incidents: {
      "replica lags": { times: 3, probability: 0.8 },
      "ledger lost": { times: 1, probability: 0.4 },
      replay: { times: 2, probability: 0.4 },
    },
    incidentMs: HOUR,
    watchMs: 4 * HOUR,
  },
  {
    ...nothing,
    name: "another table",
    payloads: { least: 1, most: 3 },
    faults: { "insert answer lost": 0.3, "message doubled": 0.2, "doorbell lost": 0.1, unlisted: 0.1 },
    strikesMax: 6,
    incidents: {
      "another table": { times: 2, probability: 0.8 },
      "codec changes": { times: 1, probability: 0.2 },
      replay: { times: 1, probability: 0.4 },
    },
    incidentMs: 2 * MINUTE,
    watchMs: 4 * HOUR,
  },
  {
    ...nothing,
    name: "a KILL that fails",
    payloads: { least: 1, most: 2 },
    faults: { "insert runs on": 0.6, "insert overruns": 0.6, "kill fails": 0.8, "statement runs on": 0.2 },
    strikesMax: 12,
    incidents: {
      "ledger lost": { times: 1, probability: 0.5 },
      "codec changes": { times: 1, probability: 0.3 },
    },
  },
  {
    ...nothing,
    name: "table created anew",
    payloads: { least: 1, most: 3 },
    faults: {
      "insert answer lost": 0.3,
      "insert runs on": 0.2,
      "insert fails before": 0.2,
      "doorbell lost": 0.1,
    },
    strikesMax: 6,
    incidents: {
      "table created anew": { times: 1, probability: 0.9 },
      outage: { times: 1, probability: 0.3 },
      "codec changes": { times: 1, probability: 0.2 },
    },
    incidentMs: MINUTE,
    watchMs: 9 * DAY,
  },
  { ...overruns, name: "processes are elsewhere" },
  { ...overruns, name: "processes of replicas are elsewhere", isReplicated: true },
  {
    ...nothing,
    name: "quorum is unknown",
    faults: { "quorum is unknown": 0.4, "insert answer lost": 0.1, "consumer dies": 0.05 },
    strikesMax: 8,
  },
  {
    ...nothing,
    name: "a TTL of days",
    payloads: { least: 1, most: 3 },
    days: 0,
    ttlDays: 2,
    faults: { "doorbell lost": 0.1, "message late": 0.1 },
    strikesMax: 4,
    incidents: {
      outage: { times: 1, probability: 0.4 },
      "receipts truncated": { times: 1, probability: 0.2 },
    },
    watchMs: 9 * DAY,
  },
  {
    ...nothing,
    name: "part detached",
    payloads: { least: 1, most: 3 },
    faults: { "doorbell lost": 0.1 },
    strikesMax: 2,
    incidents: { "part detached": { times: 1, probability: 0.9 } },
    incidentMs: DAY,
    watchMs: 9 * DAY,
  },
  {
    ...nothing,
    name: "isolates are short of bytes",
    payloads: { least: 2, most: 5 },
    overMs: 20 * SECOND,
    resends: { least: 0, most: 2 },
    rowsInHandMax: 8,
    innocentsWithinMs: 15 * MINUTE,
    faults: {
      "client hangs up": 0.15,
      "consumer dies": 0.05,
      "R2 hangs": 0.05,
      "insert slow": 0.2,
      "send hangs": 0.05,
    },
    strikesMax: 8,
  },
  {
    ...nothing,
    name: "receipts expire",
    payloads: { least: 1, most: 3 },
    flaws: { refused: 0.3, undecodable: 0.1 },
    receiptsDays: 9,
    faults: { "doorbell lost": 0.1, "cron skipped": 0.05 },
    strikesMax: 3,
    incidents: { replay: { times: 1, probability: 0.3 }, outage: { times: 1, probability: 0.2 } },
    incidentMs: 12 * DAY,
    watchMs: 14 * DAY,
  },
  {
    ...nothing,
    name: "two ledgers for a moment",
    payloads: { least: 2, most: 4 },
    resends: { least: 0, most: 2 },
    faults: {
      "an older ledger answers": 0.1,
      "ledger dies after": 0.05,
      "doorbell lost": 0.2,
      "cron doubled": 0.1,
      "insert answer lost": 0.1,
    },
    strikesMax: 10,
    watchMs: 2 * HOUR,
  },
  {
    ...nothing,
    name: "requests keep other shares of the traces",
    payloads: { least: 1, most: 3 },
    resends: { least: 1, most: 3 },
    resendMs: 20 * MINUTE,
    faults: { "other sampling": 0.5, "doorbell lost": 0.1, "event lost": 0.1, "insert answer lost": 0.1 },
    strikesMax: 10,
    incidents: {
      "ledger lost": { times: 1, probability: 0.2 },
      "receipts truncated": { times: 1, probability: 0.1 },
      replay: { times: 1, probability: 0.2 },
    },
    incidentMs: 30 * MINUTE,
  },
  {
    // Payloads that no doorbell brings, and minutes that stay open.
    ...smallRows,
    name: "rows are small, and doorbells are lost",
    payloads: { least: 6, most: 9 },
    overMs: 8 * MINUTE,
    resends: { least: 0, most: 0 },
    faults: { "doorbell lost": 0.9 },
  },
  {
    // Clients that send again in other minutes while nothing is stored.
    ...smallRows,
    name: "rows are small, and clients send again",
    payloads: { least: 2, most: 4 },
    overMs: SECOND,
    resends: { least: 3, most: 6 },
    resendMs: 20 * MINUTE,
  },
  {
    // A person asks for payloads to be erased while they wait, are inserted, or may have been.
    ...nothing,
    name: "payloads are erased",
    payloads: { least: 2, most: 5 },
    overMs: 2 * SECOND,
    faults: {
      "insert answer lost": 0.2,
      "insert runs on": 0.1,
      "insert fails before": 0.2,
      "consumer dies": 0.05,
      "ledger dies after": 0.03,
      "R2 fails": 0.05,
      unlisted: 0.1,
    },
    strikesMax: 8,
    incidents: {
      erase: { times: 3, probability: 0.8 },
      outage: { times: 1, probability: 0.3 },
      "table refused": { times: 1, probability: 0.3 },
    },
    incidentMs: MINUTE,
  },
  {
    // The platform ends an invocation that asks more than this: a cron that was away for some time finds many minutes.
    ...nothing,
    name: "subrequests are few",
    payloads: { least: 8, most: 12 },
    overMs: 40 * MINUTE,
    resends: { least: 0, most: 1 },
    faults: { "cron skipped": 0.6, "doorbell lost": 0.5 },
    strikesMax: 80,
    incidents: { outage: { times: 1, probability: 0.8 } },
    subrequestsMax: 45,
    reconciler: { subrequests: { fresh: 6, open: 6, young: 6, again: 4, audit: 6, delete: 6 } },
    watchMs: 2 * HOUR,
  },
  { ...poisoned, name: "a slow payload", flaws: { slow: 0.3 } },
  { ...poisoned, name: "a payload too large for ClickHouse", flaws: { large: 0.3 } },
  { ...poisoned, name: "a payload that no view is fast enough for", flaws: { timeout: 0.3 } },
  { ...poisoned, name: "metadata that is not ours", flaws: { "unreadable metadata": 0.3 } },
  { ...poisoned, name: "a payload that kills its isolate", flaws: { kills: 0.3 } },
  { ...poisoned, name: "a payload that breaks an invariant", flaws: { "breaks an invariant": 0.3 } },
  {
    // Payloads of three rows and more are wide: groups of their own, of as many blocks as they have rows.
    ...nothing,
    name: "wide payloads",
    payloads: { least: 2, most: 4 },
    days: 2,
    faults: {
      ...{
        "insert answer lost": 0.2,
        "insert runs on": 0.1,
        "insert breaks off": 0.1,
        "busy after commit": 0.1,
      },
      ...{ "consumer dies": 0.05, "ledger answer lost": 0.05, "insert arrives twice": 0.05 },
    },
    strikesMax: 8,
    incidents: {
      "ledger lost": { times: 1, probability: 0.2 },
      "day dropped": { times: 1, probability: 0.2 },
    },
    ledger: {
      caps: { ...modelCaps, outputBytesMax: 200, sliceBytes: 100 },
    },
  },
  { ...poisoned, name: "R2 hangs", faults: { "R2 hangs": 0.2 }, strikesMax: 2 },
  {
    // Rows are deleted, the bytes are sent again, and a person lets them in again, perhaps twice.
    ...nothing,
    name: "a person's deletion",
    payloads: { least: 1, most: 3 },
    resends: { least: 1, most: 3 },
    resendMs: 20 * MINUTE,
    faults: {
      ...{ "doorbell lost": 0.1, "event lost": 0.1, "message doubled": 0.1, "message late": 0.1 },
      ...{ "insert answer lost": 0.2, "insert runs on": 0.1, "consumer dies": 0.05, "query fails": 0.1 },
      ...{ "ledger dies after": 0.05, "ledger answer lost": 0.05 },
    },
    strikesMax: 6,
    incidents: { forget: { times: 3, probability: 0.8 }, "ledger lost": { times: 1, probability: 0.15 } },
    incidentMs: 40 * MINUTE,
  },
  {
    // Payloads of two tenants share an object, and one of them is damaged: its index, its body, or where its entry leads.
    ...nothing,
    name: "a segment is damaged",
    collects: 1,
    payloads: { least: 2, most: 5 },
    tenants: 2,
    overMs: 3 * SECOND,
    faults: {
      "segment is damaged": 0.5,
      ...{ "doorbell lost": 0.3, "event lost": 0.1, "message doubled": 0.05, "insert answer lost": 0.1 },
      ...{ "consumer dies": 0.03, "R2 fails": 0.05, "collector dies": 0.05, "ledger lost": 0.02 },
    },
    strikesMax: 6,
    incidents: {
      "segment damaged later": { times: 1, probability: 0.4 },
      erase: { times: 2, probability: 0.4 },
      replay: { times: 1, probability: 0.3 },
      "receipts truncated": { times: 1, probability: 0.2 },
    },
    incidentMs: 2 * HOUR,
    flaws: { undecodable: 0.05 },
    watchMs: 9 * DAY,
  },
  {
    // A person asks for erasures, and the ledger that was asked is lost before they are done.
    ...nothing,
    name: "erasures are remembered",
    collects: 0.5,
    payloads: { least: 2, most: 4 },
    tenants: 2,
    faults: {
      ...{ "ledger lost": 0.02, "ledger answer lost": 0.1, "R2 fails": 0.05, "query fails": 0.05 },
      ...{ "consumer dies": 0.05, "cron dies": 0.05, "cron doubled": 0.05, "statement fails after": 0.05 },
    },
    strikesMax: 8,
    losesSuddenly: true,
    incidents: {
      erase: { times: 3, probability: 0.7 },
      "ledger lost": { times: 3, probability: 0.6 },
      outage: { times: 1, probability: 0.4 },
      "R2 away": { times: 1, probability: 0.2 },
      "rows deleted": { times: 1, probability: 0.1 },
    },
    incidentMs: HOUR,
    watchMs: 3 * HOUR,
  },
  {
    // Payloads come too seldom to share objects, or all at once: they go alone by advice, and equal bytes meet in no collector, or in others.
    ...nothing,
    name: "payloads go alone by advice",
    collects: 1,
    isAdvised: true,
    payloads: { least: 4, most: 8 },
    overMs: 4 * MINUTE,
    resends: { least: 0, most: 3 },
    resendMs: 10 * MINUTE,
    faults: {
      ...{ "collector is overloaded": 0.5, "collector dies": 0.1, "collector moves": 0.05, "put fails": 0.1 },
      ...{ "answer lost": 0.3, "client hangs up": 0.05, "send hangs": 0.03, "put lands unseen": 0.1 },
      ...{ "doorbell lost": 0.1, "event lost": 0.1, "ledger lost": 0.02, "insert answer lost": 0.1 },
    },
    strikesMax: 8,
    incidents: { erase: { times: 1, probability: 0.2 }, replay: { times: 1, probability: 0.2 } },
  },
  ...slowProfiles,
];
