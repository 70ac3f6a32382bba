/**
 * What a schedule is made of: how many payloads, over how long, what may go wrong and how often. Several are needed:
 * a world in which everything goes wrong hides the bugs that need one thing to go well.
 */
import { defaultSettings, type LedgerSettings } from "../../../shared/ledger/settings.ts";
import { limits } from "../../../shared/limits.ts";
import type { ReconcileSettings } from "../../../shared/reconcile/settings.ts";
import type { Fault } from "./fate.ts";
import type { Flaw } from "./object-store.ts";

interface Span {
  readonly least: number;
  readonly most: number;
}

interface RowBytesMax {
  readonly head: number;
  readonly group: number;
  readonly reconciler: number;
}

export interface Profile {
  readonly name: string;
  readonly payloads: Span;
  readonly tenants: 1 | 2;
  /** Payloads are sent within this of each other, ms. */
  readonly overMs: number;
  /** How often a client sends the same bytes again, however it was answered, and after how long at most. */
  readonly resends: Span;
  readonly resendMs: number;
  /** Parts' clocks differ from the true time by at most this. */
  readonly skewMs: number;
  /** INSERTs take up to this when nothing strikes, ms. */
  readonly insertMs: number;
  readonly faults: Readonly<Partial<Record<Fault, number>>>;
  readonly strikesMax: number;
  /** Things that happen to the world in one schedule, each at most `times`, with this probability each time. */
  readonly incidents: Readonly<
    Partial<Record<Incident, { readonly times: number; readonly probability: number }>>
  >;
  /** Incidents come within this after a payload was sent. */
  readonly incidentMs: number;
  /** A payload is refused, or not decodable, with this probability. */
  readonly flaws: Readonly<Partial<Record<Exclude<Flaw, "none">, number>>>;
  /** Receipts leave their table after so many days, if ever: the longest schedules are shorter than the product's 37. */
  readonly receiptsDays: number | null;
  /** What one isolate of each Worker may have in hand, in rows' worth; null: more than this world ever has. */
  readonly rowsInHandMax: number | null;
  /** The table's TTL, if it has one. A payload has rows of yesterday, or of the last day inside or the first outside it. */
  readonly ttlDays: number | null;
  /** A payload without a flaw is stored within this of its first attempt, whatever its group holds. */
  readonly innocentsWithinMs: number | null;
  /** Losses may strike between any two effects (world/incidents.ts, loseSomething). */
  readonly losesSuddenly: boolean;
  /** On how many days a payload has rows; 0: some on one, some on two. */
  readonly days: 0 | 1 | 2;
  /** Nothing strikes the cron and the reconciler: small worlds are about the others. */
  readonly isCronSpared: boolean;
  /** Messages are late by at most this. */
  readonly lateMs: number;
  /** No doorbell is lost and the ledger stays healthy: rescues must be 0 (I8). */
  readonly isLossless: boolean;
  /** The table has two replicas behind one address, and any statement may reach either. */
  readonly isReplicated: boolean;
  /** The ledger's store takes no larger row, each kind scaled down like the limits. Null: nobody looks. */
  readonly rowBytesMax: RowBytesMax | null;
  /** Ids are in the product's own store, over real SQLite. */
  readonly storesIds: boolean;
  /** Subrequests of an invocation. */
  readonly subrequestsMax: number;
  /** Limits that are smaller in this world, so that schedules come to them. */
  readonly ledger: Partial<LedgerSettings>;
  readonly reconciler: Partial<ReconcileSettings>;
  /**
   * Within this after the beginning the ingress is deployed that knows ID_TIME_FROM: until it is everywhere, instances of both
   * kinds answer. Null: there was never another one, and every id is of version 2.
   */
  readonly rolloutMs: number | null;
  /** Requests' payloads may be gathered into one object, with this probability in a schedule. */
  readonly collects: number;
  /** Collectors advise, and the ingress does by it. */
  readonly isAdvised: boolean;
  /** How long after the last incident the world is watched: deletion and second listings need days. */
  readonly watchMs: number;
}

export type Incident =
  | "ledger lost"
  | "ledger restored"
  | "ledger full"
  | "engine restarts"
  | "receipts truncated"
  | "rows deleted"
  | "rows damaged"
  | "day dropped"
  | "part detached"
  | "replica lags"
  | "another table"
  | "table created anew"
  | "others write"
  | "outage"
  | "R2 away"
  | "ledger away"
  | "codec changes"
  | "schema broken"
  | "schema flaps"
  | "table refused"
  | "erase"
  | "replay"
  | "resolve"
  | "forget"
  | "segment damaged later"
  | "first client is first";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export const nothing = {
  payloads: { least: 1, most: 3 },
  tenants: 1,
  overMs: 5 * SECOND,
  resends: { least: 0, most: 1 },
  resendMs: 2 * MINUTE,
  skewMs: 0,
  insertMs: 500,
  faults: {},
  strikesMax: 0,
  incidents: {},
  incidentMs: 5 * MINUTE,
  flaws: {},
  receiptsDays: null,
  rowsInHandMax: null,
  ttlDays: null,
  innocentsWithinMs: null,
  losesSuddenly: false,
  isCronSpared: false,
  days: 0,
  lateMs: 30 * SECOND,
  isLossless: false,
  isReplicated: false,
  rowBytesMax: null,
  storesIds: false,
  subrequestsMax: limits.subrequestsMax,
  ledger: {},
  reconciler: {},
  rolloutMs: null,
  collects: 0,
  isAdvised: false,
  watchMs: 30 * MINUTE,
} satisfies Omit<Profile, "name">;

const someOf = (probability: number, faults: readonly Fault[]): Partial<Record<Fault, number>> =>
  Object.fromEntries(faults.map((fault) => [fault, probability]));

const insertFaults = [
  "insert fails before",
  "insert hangs",
  "insert answer lost",
  "insert runs on",
  "insert breaks off",
  "insert slow",
  "view fails",
  "proxy answers",
  "busy",
  "busy after commit",
  "unlisted",
  "halted",
] as const;

/** Every small thing: messages, answers, parts that die. */
const small = {
  ...someOf(0.06, insertFaults),
  ...someOf(0.03, ["query fails", "statement fails after", "statement runs on", "R2 fails"]),
  ...someOf(0.02, [
    "consumer dies",
    "consumer stalls",
    "ledger dies before",
    "ledger dies after",
    "ledger answer lost",
  ]),
  ...someOf(0.05, ["message doubled", "message late", "answer lost", "put lands unseen", "put fails"]),
  ...someOf(0.05, ["cron dies", "cron doubled", "cron skipped"]),
  // Seldom asked.
  ...someOf(0.3, ["kill fails", "webhook fails"]),
  ...someOf(0.02, ["client hangs up", "KV remembers a miss"]),
  "other sampling": 0.1,
  "send hangs": 0.02,
};

const lossy = someOf(0.25, [
  "doorbell lost",
  "event lost",
  "group ring lost",
  "put lands late",
  "collector dies",
]);

/** Its schedules take long: they are run among the harsh ones. */
export const slowProfiles: readonly Profile[] = [
  {
    // Ids in the product's own store: its rows are merged, forgotten and read anew by instances that start.
    ...nothing,
    name: "ids in SQLite",
    storesIds: true,
    // Of few payloads none lies apart.
    ledger: { caps: { ...defaultSettings.caps, payloadsMax: 12, keysMax: 36 } },
    payloads: { least: 6, most: 12 },
    overMs: SECOND / 2,
    resends: { least: 0, most: 2 },
    resendMs: 40 * MINUTE,
    faults: {
      ...someOf(0.05, insertFaults),
      ...someOf(0.1, ["doorbell lost", "message late", "ledger dies after"]),
      "consumer dies": 0.05,
    },
    strikesMax: 14,
    incidents: {
      outage: { times: 1, probability: 0.3 },
      "ledger full": { times: 2, probability: 0.7 },
      "ledger restored": { times: 1, probability: 0.2 },
      erase: { times: 1, probability: 0.2 },
      replay: { times: 1, probability: 0.2 },
    },
    incidentMs: HOUR,
    flaws: { refused: 0.1, undecodable: 0.05 },
    lateMs: 10 * MINUTE,
  },
];

export const profiles: readonly Profile[] = [
  {
    // Nothing is lost, and what is delivered is delivered at once: rescues are 0, and what is late is our fault.
    ...nothing,
    name: "lossless",
    collects: 0.5,
    resends: { least: 0, most: 3 },
    resendMs: 90 * SECOND,
    faults: {
      ...someOf(0.05, insertFaults),
      ...someOf(0.1, ["message doubled", "statement fails after", "query fails"]),
      "answer lost": 0.2,
      "ledger dies before": 0.05,
      "consumer stalls": 0.05,
    },
    strikesMax: 6,
    incidents: { outage: { times: 1, probability: 0.3 } },
    isLossless: true,
  },
  {
    // Everything small goes wrong, little by little.
    ...nothing,
    name: "small faults",
    collects: 0.5,
    payloads: { least: 1, most: 4 },
    overMs: 2 * MINUTE,
    resends: { least: 0, most: 2 },
    resendMs: 20 * MINUTE,
    skewMs: 10 * SECOND,
    faults: { "page short": 0.02, ...small, ...lossy },
    strikesMax: 12,
    incidents: {
      "codec changes": { times: 1, probability: 0.2 },
      outage: { times: 1, probability: 0.2 },
      "R2 away": { times: 1, probability: 0.1 },
      "ledger away": { times: 1, probability: 0.1 },
    },
    flaws: { refused: 0.08, unlisted: 0.04, undecodable: 0.04 },
  },
  {
    // Prompt delivery, INSERTs as long as they may be, and ledgers that forget: nothing but the fence protects.
    ...nothing,
    name: "long inserts",
    payloads: { least: 1, most: 2 },
    resends: { least: 1, most: 3 },
    resendMs: 2 * MINUTE,
    skewMs: 5 * SECOND,
    faults: {
      "insert slow": 0.4,
      "insert runs on": 0.5,
      "insert overruns": 0.15,
      "insert breaks off": 0.1,
      "consumer stalls": 0.1,
      "consumer dies": 0.05,
      "kill fails": 0.6,
      "doorbell lost": 0.1,
      "message doubled": 0.1,
      "ledger lost": 0.05,
      "ledger restored": 0.05,
    },
    strikesMax: 8,
    incidents: {
      "schema broken": { times: 1, probability: 0.2 },
      "first client is first": { times: 1, probability: 0.3 },
      "codec changes": { times: 1, probability: 0.2 },
    },
    incidentMs: 2 * MINUTE,
    losesSuddenly: true,
  },
  {
    // A group that has been tried for a while, and whose last attempt begins as late and takes as long as it may.
    ...nothing,
    name: "late attempts",
    payloads: { least: 1, most: 2 },
    overMs: SECOND / 2,
    skewMs: 5 * SECOND,
    faults: {
      ...someOf(0.35, ["insert begins late", "insert slowest", "insert runs on"]),
      ...someOf(0.15, [
        "insert fails before",
        "insert hangs",
        "kill fails",
        "message doubled",
        "insert answer lost",
      ]),
    },
    strikesMax: 14,
    incidents: {
      "first client is first": { times: 1, probability: 0.5 },
      outage: { times: 1, probability: 0.7 },
      "codec changes": { times: 1, probability: 0.3 },
      "schema broken": { times: 1, probability: 0.4 },
    },
    incidentMs: 5 * SECOND,
  },
  {
    // The ledger and the tables lose what they have, at any time.
    ...nothing,
    name: "losses",
    collects: 0.5,
    resends: { least: 0, most: 2 },
    resendMs: 30 * MINUTE,
    skewMs: 5 * SECOND,
    faults: {
      "page short": 0.02,
      ...someOf(0.04, insertFaults),
      ...someOf(0.1, ["doorbell lost", "event lost", "group ring lost", "put lands late", "message late"]),
      ...someOf(0.01, ["ledger lost", "ledger restored", "engine restarts", "receipts lost"]),
      "consumer dies": 0.02,
      "statement runs on": 0.05,
    },
    strikesMax: 6,
    incidents: {
      "ledger lost": { times: 2, probability: 0.2 },
      "ledger restored": { times: 2, probability: 0.2 },
      "engine restarts": { times: 2, probability: 0.25 },
      "receipts truncated": { times: 2, probability: 0.3 },
      "rows deleted": { times: 1, probability: 0.2 },
      "day dropped": { times: 1, probability: 0.1 },
      "rows damaged": { times: 1, probability: 0.1 },
      replay: { times: 1, probability: 0.2 },
      erase: { times: 1, probability: 0.15 },
      "first client is first": { times: 1, probability: 0.2 },
    },
    incidentMs: 20 * MINUTE,
    losesSuddenly: true,
    lateMs: 10 * MINUTE,
  },
  {
    // Days pass: clients retry for hours, the ledger forgets, outages last.
    ...nothing,
    name: "days",
    collects: 0.5,
    payloads: { least: 1, most: 2 },
    overMs: 2 * HOUR,
    resends: { least: 1, most: 4 },
    resendMs: DAY - 2 * MINUTE,
    faults: {
      "page short": 0.02,
      ...someOf(0.04, insertFaults),
      ...someOf(0.1, ["doorbell lost", "event lost", "put lands late", "message late"]),
    },
    strikesMax: 5,
    incidents: {
      "ledger lost": { times: 1, probability: 0.3 },
      "ledger restored": { times: 1, probability: 0.2 },
      "ledger full": { times: 1, probability: 0.3 },
      outage: { times: 2, probability: 0.3 },
      "receipts truncated": { times: 1, probability: 0.2 },
      "rows deleted": { times: 1, probability: 0.2 },
      replay: { times: 1, probability: 0.1 },
    },
    incidentMs: 2 * DAY,
    lateMs: 4 * HOUR,
    watchMs: 30 * HOUR,
  },
  {
    // The ingress that knows ID_TIME_FROM is rolled out; that time comes, and clients retry across both.
    ...nothing,
    name: "ids begin with their time",
    payloads: { least: 2, most: 5 },
    overMs: 2 * DAY,
    resends: { least: 1, most: 4 },
    resendMs: 16 * HOUR,
    rolloutMs: HOUR,
    faults: {
      ...someOf(0.04, insertFaults),
      ...someOf(0.1, ["doorbell lost", "event lost", "put lands late", "message late"]),
      "other sampling": 0.3,
    },
    strikesMax: 6,
    incidents: { "ledger lost": { times: 1, probability: 0.2 } },
    incidentMs: DAY,
    lateMs: HOUR,
  },
  {
    // The ledger's store is full for hours: it forgets by content, whose clocks are wrong, and clients retry across that.
    ...nothing,
    name: "a store that must trim",
    payloads: { least: 2, most: 5 },
    overMs: 4 * HOUR,
    resends: { least: 1, most: 4 },
    resendMs: 5 * HOUR,
    faults: {
      ...someOf(0.04, insertFaults),
      ...someOf(0.1, ["doorbell lost", "event lost", "put lands late", "message late", "insert runs on"]),
      "ledger dies after": 0.05,
    },
    strikesMax: 6,
    incidents: {
      "ledger full": { times: 2, probability: 0.9 },
      "ledger restored": { times: 1, probability: 0.2 },
      erase: { times: 1, probability: 0.2 },
      replay: { times: 1, probability: 0.2 },
    },
    incidentMs: 6 * HOUR,
    lateMs: HOUR,
    watchMs: 28 * HOUR,
  },
  {
    // A week and more: until second listings and deletion, with losses and operators at any time.
    ...nothing,
    name: "a week",
    collects: 0.5,
    payloads: { least: 1, most: 2 },
    resends: { least: 0, most: 2 },
    resendMs: DAY - 2 * MINUTE,
    faults: {
      "page short": 0.02,
      ...someOf(0.05, ["doorbell lost", "event lost", "put lands late", "cron dies"]),
      "statement runs on": 0.15,
      ...someOf(0.05, ["consumer dies", "ledger lost"]),
    },
    strikesMax: 5,
    incidents: {
      "ledger lost": { times: 1, probability: 0.3 },
      "ledger restored": { times: 1, probability: 0.2 },
      "engine restarts": { times: 1, probability: 0.2 },
      "receipts truncated": { times: 1, probability: 0.4 },
      "rows deleted": { times: 2, probability: 0.4 },
      "rows damaged": { times: 1, probability: 0.3 },
      resolve: { times: 3, probability: 0.4 },
      replay: { times: 1, probability: 0.1 },
      erase: { times: 1, probability: 0.3 },
      outage: { times: 1, probability: 0.2 },
    },
    incidentMs: 8 * DAY,
    losesSuddenly: true,
    watchMs: 9 * DAY,
  },
  {
    // Payloads that share an object, to its end a week later: some die, some are erased, and the others are as they were.
    ...nothing,
    name: "segments",
    collects: 1,
    payloads: { least: 2, most: 5 },
    overMs: 3 * SECOND,
    resends: { least: 0, most: 2 },
    resendMs: 10 * SECOND,
    skewMs: SECOND,
    faults: {
      "page short": 0.02,
      ...someOf(0.1, ["doorbell lost", "event lost", "put lands late", "put fails", "put lands unseen"]),
      ...someOf(0.05, [
        "collector dies",
        "collector moves",
        "cron dies",
        "consumer dies",
        "message doubled",
        "R2 fails",
        "ledger lost",
      ]),
      "receipts lost": 0.01,
      "client hangs up": 0.05,
    },
    strikesMax: 6,
    incidents: {
      erase: { times: 2, probability: 0.4 },
      replay: { times: 1, probability: 0.2 },
      "ledger lost": { times: 1, probability: 0.2 },
      "rows deleted": { times: 1, probability: 0.2 },
      "receipts truncated": { times: 1, probability: 0.2 },
    },
    incidentMs: 2 * DAY,
    flaws: { refused: 0.1, undecodable: 0.1 },
    watchMs: 9 * DAY,
  },
  {
    // Payloads that die in an object that they share with good ones, until it is deleted; clients send them again.
    ...nothing,
    name: "dead payloads of segments",
    collects: 1,
    payloads: { least: 2, most: 3 },
    overMs: SECOND,
    resends: { least: 0, most: 1 },
    resendMs: MINUTE,
    faults: someOf(0.03, ["R2 fails", "statement fails after", "query fails", "consumer dies"]),
    strikesMax: 3,
    incidents: { replay: { times: 1, probability: 0.2 }, erase: { times: 1, probability: 0.2 } },
    incidentMs: 2 * DAY,
    flaws: { undecodable: 0.4 },
    watchMs: 9 * DAY,
  },
  {
    // Poison, and schemas that break.
    ...nothing,
    name: "refusals",
    collects: 0.5,
    payloads: { least: 2, most: 5 },
    overMs: 20 * SECOND,
    resends: { least: 0, most: 2 },
    skewMs: 2 * SECOND,
    faults: {
      ...someOf(0.05, insertFaults),
      "view fails": 0.2,
      "insert slow": 0.3,
      "ledger restored": 0.08,
      unlisted: 0.1,
      "consumer dies": 0.02,
      ...someOf(0.05, ["message doubled", "message late"]),
    },
    strikesMax: 10,
    incidents: {
      "schema broken": { times: 1, probability: 0.4 },
      "schema flaps": { times: 1, probability: 0.1 },
      "table refused": { times: 1, probability: 0.1 },
      outage: { times: 1, probability: 0.2 },
      replay: { times: 1, probability: 0.2 },
    },
    incidentMs: 10 * MINUTE,
    flaws: { refused: 0.25, unlisted: 0.1, undecodable: 0.15 },
    losesSuddenly: true,
    lateMs: 5 * MINUTE,
  },
  {
    // Others push our tokens out of the table's log while ours wait.
    ...nothing,
    name: "crowded table",
    payloads: { least: 1, most: 2 },
    faults: {
      "insert answer lost": 0.4,
      "insert runs on": 0.2,
      "insert fails before": 0.2,
      "insert breaks off": 0.1,
      ...someOf(0.05, ["query fails", "consumer dies", "message late"]),
    },
    strikesMax: 8,
    incidents: {
      outage: { times: 2, probability: 0.7 },
      "others write": { times: 1, probability: 0.9 },
      "codec changes": { times: 1, probability: 0.1 },
    },
    incidentMs: 5 * SECOND,
  },
];

/** Worlds so small that every schedule of up to `strikesMax` strikes is run: one payload, on two days. */
const small1 = {
  ...nothing,
  overMs: 0,
  payloads: { least: 1, most: 1 },
  resends: { least: 0, most: 0 },
  resendMs: 0,
  isCronSpared: true,
  days: 2,
} as const;

export const smallWorlds: readonly Profile[] = [
  {
    ...small1,
    name: "every answer and death",
    faults: someOf(1, [
      ...insertFaults,
      ...(["query fails", "statement runs on", "statement fails after", "R2 fails"] as const),
      ...(["consumer dies", "consumer stalls", "ledger dies before", "ledger dies after"] as const),
      ...(["ledger answer lost", "group ring lost", "doorbell lost"] as const),
    ]),
    strikesMax: 2,
  },
  {
    ...small1,
    name: "every loss of the ledger",
    faults: someOf(1, [
      "insert answer lost",
      "insert runs on",
      "consumer dies",
      "ledger lost",
      "ledger restored",
    ]),
    strikesMax: 2,
    losesSuddenly: true,
  },
  {
    ...small1,
    name: "every loss of the tables",
    faults: someOf(1, [
      "insert answer lost",
      "insert breaks off",
      "view fails",
      "busy after commit",
      "unlisted",
      "consumer dies",
      "engine restarts",
      "receipts lost",
    ]),
    strikesMax: 2,
    losesSuddenly: true,
  },
  {
    // A ledger is lost while the INSERT of its first payload runs, and the client sends it again.
    ...small1,
    name: "every loss of a first ledger",
    resends: { least: 1, most: 1 },
    resendMs: 30 * SECOND,
    days: 1,
    faults: someOf(1, ["insert slowest", "insert runs on"]),
    incidents: {
      "ledger lost": { times: 1, probability: 1 },
      "first client is first": { times: 1, probability: 1 },
    },
    incidentMs: 30 * SECOND,
    strikesMax: 3,
  },
  {
    // An INSERT that begins at the last moment, and another transcoder that finds its group.
    ...small1,
    name: "every late beginning",
    payloads: { least: 2, most: 2 },
    days: 1,
    skewMs: 5 * SECOND,
    faults: someOf(1, ["insert begins late", "insert slowest", "insert runs on", "insert answer lost"]),
    incidents: {
      "codec changes": { times: 1, probability: 1 },
      "schema broken": { times: 1, probability: 1 },
    },
    incidentMs: MINUTE,
    strikesMax: 3,
  },
  {
    // The same, of an attempt long after the first.
    ...small1,
    name: "every last attempt",
    days: 1,
    skewMs: 5 * SECOND,
    faults: someOf(1, ["insert hangs", "insert begins late", "insert slowest"]),
    incidents: { "codec changes": { times: 1, probability: 1 } },
    incidentMs: 4 * MINUTE,
    strikesMax: 5,
  },
  {
    // Clients and gets that hang, bytes that nobody gives back, a key that KV does not know yet.
    ...small1,
    name: "every hang",
    rowsInHandMax: 4,
    faults: someOf(1, ["client hangs up", "send hangs", "KV remembers a miss", "R2 hangs", "consumer dies"]),
    strikesMax: 2,
  },
  {
    // What is between us and ClickHouse delivers late or twice, or cannot say whether a quorum took it.
    ...small1,
    name: "every late delivery",
    faults: someOf(1, [
      "insert arrives late",
      "insert arrives twice",
      "quorum is unknown",
      "insert answer lost",
      "insert fails before",
      "consumer dies",
    ]),
    strikesMax: 2,
  },
  {
    // The platform moves the ledger's object, and the older instance is still reached.
    ...small1,
    name: "every second ledger",
    faults: someOf(1, [
      "an older ledger answers",
      "ledger dies after",
      "doorbell lost",
      "insert answer lost",
    ]),
    strikesMax: 2,
  },
  {
    // Rows are damaged, seen to be inexact, deleted and written anew: by a DELETE that may run on, and by a ledger that may
    // be restored to what it was before.
    ...small1,
    name: "every rewriting",
    days: 1,
    faults: someOf(1, ["statement runs on"]),
    incidents: {
      "rows damaged": { times: 1, probability: 1 },
      replay: { times: 1, probability: 1 },
      // Its copy is taken just before the decision, where both fall on one time.
      "ledger restored": { times: 1, probability: 1 },
      resolve: { times: 1, probability: 1 },
    },
    incidentMs: 10 * MINUTE,
    strikesMax: 4,
  },
];
