/**
 * Every number of the pipeline with its reason and source, and the relations between them, checked at load.
 * Units stand last in the names. What is here and cannot stand in wrangler.toml (delays and retentions of queues,
 * the notification rule) is read from here by `dev/` and by the deployment.
 */
import { assert } from "./assert.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const SECOND_MS = 1000;
export const MINUTE_MS = 60 * SECOND_MS;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

export const limits = {
  // --- one request. OTLP 1.11 recommends 64 MiB; an isolate has 128 MB for everything, so ours are lower.
  /** Body as received. Above: 413. A Collector takes as much by default (confighttp, `max_request_body_size`). */
  bodyBytesMax: 20 * MIB,
  /** Body after inflating. Above: 413. A bomb is stopped at this size, not after it. A Collector's default too. */
  inflatedBytesMax: 20 * MIB,
  /**
   * The output bound of one payload: what its rows can take at most. Above: 413. Each span's row repeats its resource, which
   * no sender sees: 512 spans of a service with 70 KB of command line take 36 MB, 8192 with 30 KB take 250 MB.
   */
  outputBytesMax: 256 * MIB,
  /** What one row of it can take at most: it is in hand as a whole. Above: 413. */
  rowOutputBytesMax: 32 * MIB,
  /**
   * What the rows of a payload take at most when they are compressed: all of it is in hand before the INSERT begins. Above:
   * 413 where the ingress can tell, a dead letter where the consumer finds it.
   */
  compressedBytesMax: 32 * MIB,
  /** The blocks of a payload whose rows are above `groupOutputBytesMax` take about so much each. */
  sliceBytes: 8 * MIB,
  /** Spans in one payload. Above: 413. */
  spansMax: 100_000,
  /**
   * Attributes in one payload, the entries of maps among them. Above: 413. Each takes up to 24 bytes of the consumer's memory
   * while it is sorted, however short it is. A payload of usual spans at `inflatedBytesMax` has 500,000 attributes.
   */
  attributesMax: 2 ** 20,
  /**
   * Different attribute keys, and names of events, in one payload of very many: those of each map column count apart. Above: 413. One that is
   * new costs the consumer ten times what one costs that it knows: it is stored, found a place in a table that outgrows the
   * processor's cache, and sorted (bench/README.md, "hostile"). ClickHouse means LowCardinality for less than 10,000; a fleet has
   * some thousands; SDKs keep 128 per span.
   */
  namesMax: 2 ** 15,
  /** They are counted in a body of more attributes and events than this, by a second walk: 8192 usual spans have 100,000. */
  namesUncountedMax: 2 ** 17,
  /** Members of one list: attributes of a message, events or links of a span, spans of a scope. Above: 413. 16 bytes each. */
  membersMax: 2 ** 20,
  /** Nesting of messages and AnyValues; a deeper body is malformed (OTLP sets no bound; 10,000 levels crash a stack). */
  depthMax: 64,
  /**
   * Bytes in hand over all requests of an ingress isolate: received, inflated and converted. Above: 503. One body at its
   * limits that hardly compresses takes 60 MiB of them (bench/README.md, "Memory").
   */
  ingressBytesInHandMax: 64 * MIB,
  /** Of these for bodies that are received or stored: the rest is free for inflating one of them. */
  ingressBodyBytesMax: 40 * MIB,
  /** What one key may have of an ingress isolate's bodies: one of the largest, and small ones beside it. */
  ingressKeyBytesMax: 24 * MIB,
  /**
   * Output bounds of all groups in hand in a consumer isolate. Above: they wait. A group of text that hardly compresses
   * holds up to 2.5 times its bound (bench/README.md, "Memory"), and the ledger may live in the same isolate.
   */
  consumerBytesInHandMax: 40 * MIB,
  /** Column buffers kept for the next group: those of a usual one (10,000 rows, 0.7 KB each), not of the largest. */
  idleBuilderBytesMax: 12 * MIB,
  /** A body that is not complete by then is refused with 503: a slow client would hold its bytes of the budget. */
  bodyTimeoutMs: 30 * SECOND_MS,
  /** How long the body of a refused request is read, so that its client sees the answer. */
  drainTimeoutMs: 5 * SECOND_MS,
  /** A put that has not resolved by then is answered 503; the object may still land, and is then found by listing. */
  putTimeoutMs: 60 * SECOND_MS,
  /** Retry-After of every 503 of ours. */
  retryAfterSeconds: 5,
  /** An OTLP response's size (OTLP 1.11: 4 MiB must not be exceeded). Our messages are cut far below. */
  statusMessageCharsMax: 2000,
  /** One text of a log line: a header or a platform's message can be as long as its sender likes. */
  logTextCharsMax: 1000,

  // --- a span's times, relative to arrival; less where the table's TTL is shorter (shared/table-limits.ts).
  /** How long ago it may have ended, unless its key says otherwise (`spanAgeDays`). */
  spanAgeMaxMs: 30 * DAY_MS,
  spanFutureMaxMs: 1 * DAY_MS,
  /** How long ago it may have begun: its day is a partition, and a group has `groupPartitionsMax` of them. */
  spanAgeCeilingMs: 60 * DAY_MS,
  /** How long an isolate of the ingress remembers what the table keeps, and how long it waits for R2 to say it. */
  tableMemoryMs: 1 * MINUTE_MS,
  tableReadTimeoutMs: 1 * SECOND_MS,

  // --- a group, one INSERT. Each cap bounds the consumer's memory or ClickHouse's work.
  groupPayloadsMax: 500,
  groupRowsMax: 100_000,
  groupOutputBytesMax: 32 * MIB,
  /** Bodies inflated: what no row takes (unknown fields, texts that repeat) costs the consumer's time all the same. */
  groupInflatedBytesMax: 64 * MIB,
  /** The INSERT allows a block 100 partitions (max_partitions_per_insert_block); days are partitions. */
  groupPartitionsMax: 90,
  /** Rows at which a group does not wait any longer. Small blocks cost ClickHouse 3-4 times more by the row. */
  groupRowsReady: 10_000,
  /**
   * Rows at which what one claim brings becomes a group before the claim is over. The whole of a batch that is not full is a group
   * anyway: two of them are 11 rows of the ledger where one is 6, a notification and an INSERT more.
   */
  groupRowsTogether: 25_000,
  /** How long the first payload waits for others. */
  groupAgeReadyMs: 1 * SECOND_MS,

  // --- a collector, and the segments that it writes (shared/collect/)
  /** A body above this goes alone: what it costs is its bytes, and no longer the put. */
  collectBodyBytesMax: 256 * KIB,
  /** A segment's bodies together, their output bounds and their rows: it is closed before it would have more. */
  segmentBytesMax: 2 * MIB,
  segmentOutputBytesMax: 16 * MIB,
  segmentRowsMax: 50_000,
  /** Puts in flight of one collector: an object has six connections (Workers limits), and the doorbells need one. */
  segmentPutsAtOnceMax: 5,
  /** A payload waits no longer than so many times what a put takes: beyond, what it saves is less than what its sender loses. */
  collectPutTimes: 2.5,
  /** What `COLLECT_MS` says where it says nothing, and at most. 100 ms make one put of 20 requests at 200 per second. */
  collectMsUsual: 100,
  collectMsMax: 1000,
  /** What a collector knows of the ids that it has stored: for so long, and so many of them. A client's retry comes within it. */
  collectKnownMs: 2 * MINUTE_MS,
  collectKnownMax: 20_000,
  /** How long an isolate waits for its collector: then it puts the payload by itself. */
  collectPatienceMs: 4 * SECOND_MS,
  /** A segment's put is given up after this, and so is the look for the object. Both are tried twice. */
  segmentPutTimeoutMs: 3 * SECOND_MS,
  segmentHeadTimeoutMs: 1 * SECOND_MS,
  /** Beyond both tries of a segment: then its bytes count as given back, whatever became of them. */
  segmentHeldMs: 30 * SECOND_MS,
  /** A collector that failed is left alone for so long, doubling. */
  collectPauseFirstMs: 1 * SECOND_MS,
  collectPauseMaxMs: 30 * SECOND_MS,
  /** A collector knows what all callers bring from so long: what is older fades. */
  collectDemandMs: 10 * SECOND_MS,
  /** Puts in flight for so long show whether payloads come meanwhile. */
  collectSeenMs: 250,
  /**
   * Of payloads that come while one waits, so many make an object worth sharing: 5 per second, where one waits 100 ms. There a call
   * costs what it saves ($0.31 per million).
   */
  collectSharesMin: 0.5,
  /** So many payloads an isolate puts alone before it asks again: a ninth of $0.31; and after so long it asks in any case. */
  collectAlonePayloads: 8,
  collectAloneMs: 5 * MINUTE_MS,
  /** What went alone and was not seen to end is over by then. */
  collectAloneBusyMs: 10 * SECOND_MS,
  /** An isolate reports no more that it has put alone: a pause of half a minute at 30 per second. */
  collectAloneReportedMax: 1000,
  /**
   * Collectors, a power of two. What each takes: eight connections to one in workerd bring 350 per second, and an object that does
   * something takes 200 to 500 (Durable Objects, "Rules"). No more of them than that asks for: sharing is what saves.
   */
  collectorsMax: 8,
  collectorPayloadsASecond: 400,
  collectorBytesASecond: 12_000_000,
  /** What a payload costs more that goes alone where the collector would have taken it: $7.70 per million instead of 0.96. */
  bypassDollars: 7e-6,
  /** There are fewer of them again when these would be filled to no more than this. */
  collectorSpareShare: 0.7,

  // --- R2 and queues
  /** Simultaneous connections of one invocation (Workers limit). One is left for the ledger. */
  r2GetsAtOnceMax: 5,
  /** Output bounds of the payloads that a group gets at once. Usual ones of 512 spans take 0.5 MB each: five fit. */
  aheadOutputBytesMax: 8 * MIB,
  /** Payloads that one call hands to the ledger. A batch of 100 segments has 12,800 at most, and takes as many calls as it needs. */
  claimDoorbellsMax: 1000,
  /**
   * Subrequests of one invocation, to R2, queues, KV, Durable Objects and ClickHouse alike (Workers limits; internal
   * services count too). What each kind of work takes at most is added up below; none of it grows with a backlog.
   */
  subrequestsMax: 1000,
  /** A batch of 100 messages: two gets, a head or a put for each, findings, outcomes, and 13 claims. */
  batchSubrequests: 223,
  /** A group's steps beside its payloads: measure, INSERT, a count behind its barrier, what runs, receipts, and the reports of these. */
  stepSubrequests: 70,
  /**
   * How long one attempt waits for a mutation of ours, ms between looks: as long as a question may take, and no more
   * subrequests than a step has: each look is one, and so is each of two statements and three counts of what is left.
   */
  deletionLooksMs: [250, 500, 1000, 2000, 4000, 4000, 4000, 4000],
  deletionSubrequests: 16,
  /**
   * Receipts of what is dead or erased that one attempt writes. A dead letter is two puts and, in a segment, a get; an erased payload in a segment a get and a
   * put, and both once more where others wrote it meanwhile, as often as the next number says for all of them together.
   */
  receiptsAtOnceMax: 60,
  /** R2 takes one write per second of one key (R2, Limits); so often an attempt tries again to rewrite segments that others wrote meanwhile. */
  segmentRewritesAgainMax: 8,
  segmentRewriteGapMs: 1000,
  /**
   * Gets for one INSERT. Of a dead payload whose segment is gone its copy is got too: what would take more is taken out of the group, unread,
   * and verified and inserted by itself.
   */
  groupGetsMax: 505,
  /**
   * Gets by which one VERIFY looks for objects, two for one in a segment. It answers for the payloads that it came to; the others are the
   * next one's.
   */
  verifyGetsMax: 390,
  /** Of the keys that receipts know, so many are looked for: the newest, and the newest that are stored. */
  verifyReceiptKeysMax: 8,
  /** A request of the ingress: key, a list of keys, rate, Meter, table's limits, collector, put, head, doorbell, outcomes. */
  requestSubrequests: 30,
  /** Keys in one request of a person: two gets and a call of the ledger for each. */
  keysAskedMax: 300,
  /** Queues take so many messages a sendBatch. */
  queueMessagesMax: 100,
  lateDelaySeconds: 300,
  /** A lifecycle rule deletes payloads then, should the reconciler never have: a backstop, far behind the retention. */
  r2BackstopDays: 90,
  queueRetentionSeconds: 14 * 24 * 60 * 60,
  /** `max_retries` of every queue in wrangler.toml (Queues' own maximum): with 300 s between, the dead-letter queue holds a bell for 8 hours. */
  queueRetriesMax: 100,

  // --- the delivery protocol
  /** An attempt's lease: one that has not reported by then counts as never reported. */
  leaseMs: 90 * SECOND_MS,
  /** How far ClickHouse's clock may differ from ours: more is a finding, and beyond half of a lease nothing is inserted. */
  clockAheadFindingMs: 10 * SECOND_MS,
  clockAheadMaxMs: 45 * SECOND_MS,
  /** max_execution_time of an INSERT. */
  insertTimeoutSeconds: 60,
  /** A query of ours other than the block insert. */
  queryTimeoutSeconds: 30,
  /** A client's retry of equal bytes is recognised for this long. */
  clientRetryMs: 24 * HOUR_MS,
  /**
   * From the deployment of the first ingress that knows `ID_TIME_FROM` to that time, at least: retries of what came before it,
   * and an hour in which instances of both kinds answer.
   */
  idTimeLeadMs: 25 * HOUR_MS,
  /** How long the ledger remembers a finished id. */
  ledgerMemoryMs: 26 * HOUR_MS,
  /** Each minute something is forgotten; what is so long over its time is forgotten by the alarm. */
  ledgerForgetLagMs: 10 * MINUTE_MS,
  /** Back-off of a group's re-ring: doubles from the first to the last. */
  retryFirstMs: 2 * SECOND_MS,
  retryLastMs: 15 * MINUTE_MS,
  /** Beyond lease and INSERT: clocks that differ, a server that is slow to stop a query. */
  fenceMarginMs: 60 * SECOND_MS,
  /**
   * Half of the dedup window is kept for what happens between a measure and the end of the INSERT that it allowed:
   * 50,000 blocks (inserts x partitions) of all writers in these minutes. A retry younger than this needs no measure.
   */
  measureAfterMs: 5 * MINUTE_MS,
  measureFreshMs: 2 * MINUTE_MS,
  /** Of two servers behind one address the cron's look meets the wrong one within this, but for one time in a thousand. */
  otherTableMs: 10 * MINUTE_MS,
  /** A late ring that found a payload is not a rescue if its doorbell still comes within this. */
  rescueOvertakenMs: 10 * MINUTE_MS,
  /** INSERTs out at once. A group of 10,000 rows takes about half a second; ClickHouse prefers few and large ones. */
  insertsAtOnceFirst: 4,
  insertsAtOnceMax: 16,
  breakerSuspectsMax: 5,
  refusalsMax: 3,
  unlistedAnswersMax: 5,
  /**
   * A group that fails for a reason of its own is split after so many attempts. Three leases (90 s) and a fence (120 s more)
   * are 6.5 minutes: its innocents are stored within 10 minutes of their first attempt.
   */
  ownFailuresMax: 3,
  /** In an outage every group fails. One split per minute is 1440 groups more after a day. */
  splitEveryMs: 1 * MINUTE_MS,
  splitParts: 8,
  /** A Durable Object's SQLite ends at 10 GB; a finding is written at half of this. */
  ledgerDatabaseBytesMax: 8_000_000_000,
  /** Queues take 100 messages per sendBatch; groups that are due beyond it are notified by the next alarm, at once. */
  ringsAnAlarmMax: 100,
  /** Other keys of equal bytes that are kept with a live payload; a key beyond gets its receipt from the reconciler. */
  duplicateKeysMax: 40,

  // --- rows of the ledger. A Durable Object's SQLite refuses a row above 2 MB; local workerd takes it.
  /** What one row may take, its key included. The ledger writes none above it (ledger-storage.ts). */
  ledgerRowBytesMax: 2_000_000,
  /** Rows that are read together: the alarm's 100 groups could be 200 MB. Usual ones are 10 KB. */
  ledgerRowsReadBytesMax: 16 * MIB,
  /** Keys of a group's payloads together, each counted as two at least: VERIFY may find its object under another one. */
  groupKeysMax: 1390,
  /** Rows of the groups that are kept in memory, in characters. Those of sixteen INSERTs of 250 payloads have 2.5 million. */
  ledgerLiveCharsMax: 4_000_000,
  /** Ids of each of the two tables of hot ones: 24 bytes each, and at most half of a table is in use. 12.6 MB both. */
  ledgerHotIdsMax: 131_072,
  /** Filters of runs in memory, 2.75 bytes per id: those of 84 seconds at 50,000 per second. */
  ledgerFilterBytesMax: 11 * MIB,
  /** So many groups that are over are merged: a row is written for them, and deleted, once more. */
  ledgerGroupsMerged: 64,
  /**
   * Where they end faster than so many in this time, all that end in it are, up to these bounds: a minute's ids are in 30 runs
   * then, at any rate up to 50,000 per second. Merging 100,000 ids takes 50 ms.
   */
  ledgerMergeAfterMs: 2 * SECOND_MS,
  ledgerGroupsMergedMax: 512,
  ledgerIdsMergedMax: 100_000,
  /** Days that one payload can have rows on: `spanAgeCeilingMs` and `spanFutureMaxMs`, in UTC days. */
  payloadDaysMax: 62,
  /** A reason or a code in a row, as JSON: a person's, or ClickHouse's message. */
  reasonBytesMax: 200,
  /** What the last failed attempt said: each group of the ledger keeps one. */
  failureTextBytesMax: 1000,
  /** A longer text: what the table check says, an invariant that broke, a finding's message. */
  noteTextBytesMax: 1200,
  /** Late rings that wait for the doorbell that they may have overtaken. Further ones are not counted as rescues. */
  pendingRescuesMax: 500,
  /** Keys of one payload that are erased together; those beyond after another look. */
  erasedKeysMax: 60,
  /** Minutes that are open at once: two days of which no minute can be sealed. No further one is walked then. */
  openMinutesMax: 3000,
  /** Minutes that were sealed a day late and are listed once more. Those beyond are seen when they are deleted. */
  againMinutesMax: 5000,
  /** Findings that are open at once. */
  findingsOpenMax: 500,
  /** The ledger remembers which table it inserts into by it. ClickHouse's default path has 60 characters and two names. */
  zooKeeperPathCharactersMax: 500,
  /** Bytes of JSON that one of these takes in a row at most (test/core/ledger-rows.test.ts writes the widest). */
  rowBytes: {
    /** A payload without its other keys and days. */
    payload: 670,
    key: 170,
    /** A day's rows, and a day that is named alone. */
    day: 15,
    dayName: 6,
    /** Without its days. */
    receipt: 610,
    stored: 260,
    found: 450,
    ended: 200,
    /** The rest of a group, and of a head. */
    group: 3400,
    head: 9000,
    rescue: 80,
    openMinute: 450,
    againMinute: 70,
    doubt: 1150,
    /** The rest of the reconciler's. */
    checkpoint: 8000,
    /** Without its message. */
    finding: 450,
  },

  // --- the reconciler
  /** A minute younger than this is left to the first and second ring. */
  reconcileAgeMs: 5 * MINUTE_MS,
  reconcileRetryFirstMs: 1 * MINUTE_MS,
  reconcileRetryLastMs: 15 * MINUTE_MS,
  /** A put that hung for a day and landed shows in this listing; until then its R2 event notifies of it. */
  reconcileAgainMs: 24 * HOUR_MS,
  /** Renewed by each save of what its stages came to; a run that died is followed by another after this. */
  reconcileLeaseMs: 5 * MINUTE_MS,
  /**
   * List calls of a run, by what they are for, of 1000 keys each (with metadata R2 would list 100). The subrequests
   * are what ends a stage; these bound what a run lists in vain: pages that are empty, or of other keys.
   */
  reconcileListCalls: { fresh: 100, open: 50, again: 50, delete: 50 },
  /**
   * Subrequests of a run's stages. A page of 1000 new keys takes two (its minute's end two more), one to be deleted
   * eight: 1,100 payloads per second sealed, 300 deleted.
   */
  reconcileSubrequests: { fresh: 130, open: 60, young: 40, again: 50, audit: 80, delete: 140 },
  /** What a stage may have begun when its budget is used up: a page, or a doubt about five payloads. */
  reconcileUnit: { page: 52, doubt: 110 },
  /** Payloads whose receipts and rows are read together before their objects are deleted. */
  deletePayloadsMax: 4000,
  /** The rest of a cron's tick: the ledger is woken, the table checked, the checkpoint saved, alerts judged and reported. */
  tickSubrequests: 60,
  /** A look at what was asked to be erased: a list, and three for each of five. Where something is asked again, the tick does nothing else. */
  erasuresLookSubrequests: 16,
  /** Pages of dead letters' records in which a page of keys is looked for. */
  recordListCallsMax: 20,
  /** A zstd body of more frames is refused: each costs a decoder, however little it holds. A client's body has one. */
  zstdFramesMax: 64,
  /**
   * A longer gzip or deflate body is walked block by block before it is inflated, until so much is left: as much costs 60 ms,
   * whatever it is made of (`npm run bench -- hostile`). Most are shorter.
   */
  deflateUnwalkedBytesMax: 512 * KIB,
  /** Buffers of an isolate for bodies that are announced and have not come: beyond, a body is read chunk by chunk. */
  announcedBytesMax: 4 * MIB,
  /** A body may come as slowly as it likes for so long; then at this rate. A taking outlives its last chunk by little. */
  bodyGraceMs: 5 * SECOND_MS,
  bodyBytesPerSecondMin: 1024,
  bodyIdleMs: 7 * SECOND_MS,
  /** A whole body's bytes are in hand until its put, and the look for it, are over. */
  bodyHeldMs: 130 * SECOND_MS,
  /** A get of the consumer's, its body included, is given up after this. */
  r2GetTimeoutMs: 30 * SECOND_MS,
  /** A group looks so often whether bytes have become free. */
  bytesPollMs: 100,
  /** One that waits for bytes and does not look again for so long has died: a busy isolate's timers are late by less. */
  bytesTurnMs: 2 * SECOND_MS,
  /** Keys of which an ingress isolate knows that it sent their doorbells: 0.2 MB. */
  notifiedKeysMax: 1000,
  /** Within this a payload's duplicates send one doorbell per isolate at most, also where more payloads take turns than it knows. */
  duplicateNotifyMs: 10 * SECOND_MS,
  /** R2 deletes so many keys per call (Workers API, `delete`). */
  r2DeleteKeysMax: 1000,
  /** R2 lists so many keys per call. */
  r2ListKeysMax: 1000,
  auditSpanMs: 1 * HOUR_MS,
  auditAtLastMs: 3 * HOUR_MS,
  /** Pages of 1000 receipts: 60,000 payloads per minute, at some milliseconds of ClickHouse a page. */
  auditPagesMax: 60,
  /** Rows that one reading missed are looked for again after this. Replicas catch up in seconds. */
  auditSecondReadingMs: 3 * MINUTE_MS,
  /** More than 5 in 1,000 of a page, and at least 3, have one cause: two readings are not enough to insert them again. */
  auditBrakePerMille: 5,
  auditBrakeLeast: 3,
  /** Kept in the ledger's row: 100 of at most 5 keys or 2 texts of 120 bytes are 0.1 MB. Beyond, the audit waits. */
  auditDoubtsMax: 100,
  auditDoubtsARun: 10,
  auditDoubtTriesMax: 10,
  /** Keys of one id that are looked for in R2: its newest. */
  auditHeadsMax: 4,
  /** R2 keeps payloads this long. */
  payloadRetentionMs: 7 * DAY_MS,
  deleteReceiptAgeMs: 1 * HOUR_MS,
  /** Keys that the reconciler remembers as reported: 100 bytes each, in its checkpoint. */
  expiredReportedMax: 1000,
  deleteEveryMs: 1 * HOUR_MS,

  // --- alerts
  /** Several tries of a group that is alone have failed by then. */
  alertNotDeliveredMs: 2 * MINUTE_MS,
  /** A payload that is refused while nothing else is stored is reported after this, by the next cron tick. */
  alertRefusedMs: 10 * MINUTE_MS,
  /** `/healthz` asks the ledger once in so long. */
  healthFreshMs: 10_000,
  /** Longer than the worst of a fence and a back-off of 15 minutes: then it needs a person. */
  alertInFlightMs: 15 * MINUTE_MS,
  alertUnsealedMs: 1 * HOUR_MS,
  /** Cron runs that failed or did not come: ten of them, twice a dead run's lease. The console's /healthz is 503 then. */
  alertReconcilerMs: 10 * MINUTE_MS,
  /** Findings that some channel has still to report; older ones than the newest so many are given up for that channel. */
  unreportedFindingsMax: 100,
  /** A replica that is restarted, or fetches what it missed, has caught up by then. */
  alertNoEvidenceMs: 10 * MINUTE_MS,
  /** A broken invariant's finding stays open until none broke for this long. */
  alertBrokenMs: 24 * HOUR_MS,
  /** A finding about wrong tokens stays open until no address was blocked for this long. */
  alertWrongTokensMs: 1 * HOUR_MS,
  /** A rescue's finding stays open until none came for this long. */
  alertRescuedMs: 1 * HOUR_MS,
  alertDeadMs: 15 * MINUTE_MS,
  /** More dead letters than this and a larger share: somebody is woken. */
  alertDeadPageMin: 10,
  alertDeadPageShare: 0.01,
  /**
   * Payloads that bypass the collector are a finding where most of ten whole minutes had enough requests for it to cost something, and
   * enough of them went alone. A minute is judged when isolates and queue have had another one to report it.
   */
  alertBypassMinutes: 10,
  alertBypassCostlyMinutes: 8,
  alertBypassRequestsASecond: 5,
  /** One of eight collectors that fails has 0.125 of them. */
  alertBypassShare: 0.05,
  alertBypassLateMs: 1 * MINUTE_MS,
  /** A tenant that usually sends fewer spans per hour than this is not judged by its volume. */
  alertVolumeSpansMin: 100,
  /** How long after its end an hour's volume is judged at the latest; before, when all of it is sealed. */
  alertVolumeAtLastMs: 1 * HOUR_MS,
  webhookTimeoutMs: 10 * SECOND_MS,

  // --- the zone before the ingress (shared/front-door/)
  /** The counts of the zone and of the ingress are compared for so long, and what is younger than the lag is left out of both. */
  zonePeriodMs: 1 * HOUR_MS,
  zoneLagMs: 3 * MINUTE_MS,
  /** Groups of one answer: rules, or paths and statuses. */
  zoneGroupsMax: 100,
  zoneTimeoutMs: 8 * SECOND_MS,
  zoneAnswerBytesMax: 1 * MIB,
  /** Cloudflare's limit is 300 questions in five minutes: "try again after 5 minutes". */
  zoneRateLimitedMs: 5 * MINUTE_MS,
  /** So many requests of an hour turned away: somebody is woken. */
  alertZonePageMin: 10,
  /** The ingress's count is best effort: so many requests, and such a share, may be missing from it. */
  alertZoneGapMin: 20,
  alertZoneGapShare: 0.05,
  alertZoneGapPageShare: 0.25,
  /** A look that fails is retried each minute. */
  alertZoneUnreadMs: 15 * MINUTE_MS,

  // --- keys
  /** How long an isolate uses a key without asking KV again; revocation waits for it. */
  keyMemoryMs: 30 * SECOND_MS,
  /** Keys that an isolate remembers (about 500 bytes each). Beyond, it forgets all and asks again. */
  keysRememberedMax: 10_000,
  /** How long an isolate uses a list of all keys, from when it was begun; revocation waits for it. */
  keyListMemoryMs: 60 * SECOND_MS,
  /** Operations of one list, of 1,000 keys each: as many keys as are remembered. */
  keyListPagesMax: 10,
  /** An operation of a list costs what so many look-ups do ($5 and $0.50 per million). */
  lookUpsPerKeyList: 10,

  /**
   * Look-ups a second that an isolate spends on keys that turn out unknown, and as many on those asked for again: a
   * flood over 50 isolates costs 2,000 KV reads a second at most ($3.60 an hour), whatever its size. A person who
   * mistypes a key sends one request in several seconds.
   */
  unknownKeysPerSecond: 20,
  /** Retry-After of a key that was not looked up: exporters retry then. */
  unknownKeyRetryMs: 1 * SECOND_MS,
  /** A key that was looked up and was unknown waits this long for the next look-up, while the budget is used up. */
  unknownKeyAgainMs: 5 * SECOND_MS,
  /** An address over its share of unknown keys (wrangler.toml: UNKNOWN_KEYS) gets no first look-up for this long. */
  unknownKeyBlockMs: 10 * SECOND_MS,
  /** Keys, and addresses, that an isolate keeps for this (about 150 bytes each). At 10,000 a second: for 4 s or more. */
  unknownKeysRememberedMax: 40_000,
  /** A rotated key's predecessor works this much longer, unless the rotation says otherwise: time for a deployment. */
  keyGraceMs: 1 * DAY_MS,
  /** And never longer than this: two keys that both work for months are two keys. */
  keyGraceMaxMs: 90 * DAY_MS,
  /** How long a list still shows a key that was revoked or has expired. KV removes it then. */
  keyTombstoneMs: 30 * DAY_MS,

  // --- limits of keys (shared/meter/)
  /** A burst where the key names none: this many seconds of its rate, so that leases find something to share. */
  meterBurstSeconds: 10,
  /** A lease is at most this share of what is left: the last spans go in ever smaller leases. */
  meterLeaseShare: 1 / 8,
  /** A lease is what its isolate is likely to use in this time. */
  meterLeaseUseMs: 5 * SECOND_MS,
  /** And is spent within this time or given back: how far the limits can be overdrawn at once (shared/meter/account.ts). */
  meterLeaseMs: 10 * SECOND_MS,
  /** This share of what was leased is debited on disk ahead, of the month (shared/meter/kept-account.ts): a Meter that starts anew has lost it. */
  meterAheadShare: 1 / 100,
  /** Use is measured over at least this, or the first request would look like thousands a second. */
  meterUseMsMin: 1 * SECOND_MS,
  /** How long an isolate believes a refusal by rate: it asks at most five times a second for a key that is over it. */
  meterRefusalMs: 200,
  /** And for how long after a refusal it does so, though it was leased some spans meanwhile. */
  meterOverMs: 5 * SECOND_MS,
  /** And one by quota: a quota that was raised works a minute later. */
  meterQuotaRefusalMs: 1 * MINUTE_MS,
  /** A Meter that has not answered by then cannot be reached: the request is admitted. */
  meterTimeoutMs: 1 * SECOND_MS,
  /** It is asked again after this; until then requests are admitted at once. */
  meterAskAgainMs: 1 * SECOND_MS,
  /** Retry-After of a request over its quota: a Collector with a queue on disk would else fill the disk until the month ends. */
  quotaRetryAfterMaxSeconds: 3600,
  /**
   * Of a key without a rate, per isolate: bytes of bodies that brought nothing to store, at once and per second. 16 MiB of the
   * dearest form, JSON, take about half a second of CPU.
   */
  fruitlessBurstBytes: 256 * MIB,
  fruitlessBytesPerSecond: 16 * MIB,
  /** And what such a request counts beside its bytes: a put and a head, or an answer. */
  fruitlessRequestBytes: 64 * KIB,
  /** Accounts that an isolate holds leases of (about 300 bytes each). Beyond, it forgets all: their leases lapse. */
  leasesMax: 10_000,

  // --- how requests ended (best effort)
  /**
   * An isolate tells what it counted after this. A message costs three queue operations ($1.20 a million): an isolate
   * with one request in 15 s pays as many messages as requests, a busy one hardly any.
   */
  outcomeReportMs: 5 * SECOND_MS,
  /** And this long after its last report where nothing was refused since. The platform ends a context 30 s after its answer. */
  outcomeReportBusyMs: 15 * SECOND_MS,
  /** Different lines about requests that an isolate logs between two reports; the same line again is counted. */
  logLinesAPeriod: 100,
  /** Counts in one message, about 300 bytes each: a queue takes 128 KB. */
  outcomesAMessage: 300,
  /** Counts that an isolate holds. Beyond, requests of further keys are counted without their names. */
  outcomesMax: 3000,
  /** A report that could not be written is retried after this: a minute's counts are in no hurry. */
  outcomeRetrySeconds: 60,
  /** Hours, and days of usage (as long as receipts are kept), that one answer of the console covers. */
  hoursMax: 168,
  usageDaysMax: 37,
  /** Rows in one answer. */
  outcomesListed: 10_000,

  // --- the console
  /** Keys in one answer: KV lists as many a call. */
  keysListed: 1000,
  /** Dead letters in one answer: more than a person reads. */
  deadLettersListed: 1000,
  /** Their records in R2 that are read where ClickHouse does not answer: as many gets. */
  deadLetterRecordsRead: 100,
  /** R2 is listed for them at most so often: 1000 records a call. */
  deadLetterListCallsMax: 10,
  /** What a person looks at is answered in 5 s, with what is known: nobody behind it is waited for longer. */
  glanceMs: 4 * SECOND_MS,
  /** What people did: records in one answer (a get each), and list calls to come to the newest. */
  actionsListed: 100,
  actionListCallsMax: 10,
  actionsHoursMax: 90 * 24,
  /** An address whose wrong tokens were too many (wrangler.toml: 10 in 60 s) is turned away unread for so long. */
  adminBlockMs: 60 * SECOND_MS,
  adminBlockedMax: 10_000,
  adminTriesRemembered: 16,
  /** Addresses that the finding names. */
  wrongTokenAddressesMax: 5,
  /** Access's keys are read again after this, and for an unknown key once a minute. Access rotates them every six weeks. */
  accessKeysMs: 1 * HOUR_MS,
  accessKeysAgainMs: 1 * MINUTE_MS,
  accessClockSeconds: 30,
  findingsListed: 200,
  /** Payloads per request that are to be let in again, and keys of each that R2 is asked for. */
  forgetKeysMax: 100,
  forgetHeadsMax: 3,
  /** Payload ids whose rows or receipts one query asks for: each is a literal of 70 characters. */
  idsAQuery: 500,
  /** Payload keys in one answer. */
  payloadsListed: 1000,
  /** Payloads that one balance lists: their receipts are in memory. R2 lists 1000 objects per call. */
  balancePayloadsMax: 100_000,
  /** Segments whose index one answer reads: six at once, each a request to R2 of some 80 ms, take a few seconds. */
  segmentIndexesRead: 200,

  // --- traces in the console. A search walks from the newest to the oldest until its time is used up.
  /** Time of all queries of one search together; what was found by then is answered. */
  traceSearchMs: 8 * SECOND_MS,
  /** Time of all queries of one trace together: a ClickHouse that hangs is named within it. */
  traceReadMs: 8 * SECOND_MS,
  /** And as many queries at most: subrequests of one invocation. */
  traceSlicesMax: 100,
  /** How long an isolate remembers what limits its login has, and whether the table has the projection. */
  searchMemoryMs: 1 * MINUTE_MS,
  /** So much longer may what belongs to a list's answer take: counts of its traces, and which of them an earlier page has. */
  traceCountMs: 2 * SECOND_MS,
  tracesListed: 50,
  tracesListedMax: 200,
  /** Days apart that one search may ask for: as long as the table keeps spans, and a day of spans that began before. */
  traceRangeMaxMs: 32 * DAY_MS,
  /** Conditions on attributes in a filter, characters of one text in it, and of a whole filter in a URL. */
  traceConditionsMax: 20,
  traceConditionCharsMax: 1024,
  traceQuestionCharsMax: 8 * KIB,
  /** Spans of one trace in an answer. */
  traceSpansMax: 10_000,
  /** Bytes of attributes, events and links in it: the spans after that have theirs on demand. */
  traceDetailBytesMax: 4 * MIB,
  /** What is read by one query without being cut in ClickHouse: spans, and bytes of their texts. Less than the two above. */
  traceSmallSpansMax: 1000,
  traceSmallBytesMax: 1 * MIB,
  /** Tenants of one trace that are named. */
  traceTenantsListed: 20,
  /** Of one span in it: attributes, events, links, and characters of one text. */
  traceSpanMembersMax: 200,
  traceTextCharsMax: 4096,
  /** Of one that is asked for alone and has more than `traceDetailBytesMax`; and of one that still has more: below 3 MB in all, of characters of 4 bytes. */
  traceSpanAloneMembersMax: 1000,
  traceSpanLeastMembers: 30,
  traceSpanLeastTextChars: 200,
  /** Values that complete a filter, and spans that are looked at for them. */
  traceValuesListed: 100,
  traceValuesSpans: 200_000,
  /** And it looks no further after this. */
  traceValuesMs: 1 * SECOND_MS,
  /** Steps of the histogram at most. */
  traceStepsMax: 120,

  // --- the command line and `doctor`
  /** How long `doctor` waits for its canary: the watermark's age, so that the reconciler's ring counts too. */
  canaryMs: 7 * MINUTE_MS,
  /** Clocks further apart than this: arrival times, and with them keys and span bounds, are off by as much. */
  clockDifferenceMs: 5 * SECOND_MS,
  /**
   * Groups of each kind (ledger/group-kinds.ts) that are looked into for what is in flight and in trouble, the oldest first, every 2 s:
   * up to 150 KB of JSON each, so fewer of a kind where they are large.
   */
  inFlightGroupsLooked: 50,
  groupsLookedBytesMax: 1 * MIB,
  /** Steps of GET /api/minutes: by minute up to three hours, by hour above. */
  minutesByMinuteMaxHours: 3,
  minutesMaxHours: 7 * 24,
  tenantsListed: 100,
  /**
   * Minutes that changed after they were sealed: sealed anew by one run of the reconciler, and read by their receipts until
   * then (two days of them: 130 KB of SQL with the keys, of the 256 KB that ClickHouse parses).
   */
  changedMinutesARun: 500,
  changedMinutesShown: 2 * 24 * 60,
  /** Keys in flight that are looked for among the receipts: 60 bytes each. */
  unsettledKeysMax: 1000,
  /** Tenants with series of their own in /metrics: six series each. */
  metricsTenantsMax: 200,
  /** Spans of one payload that are shown, and characters of one value. */
  payloadSpansShown: 100,
  spanAttributesShown: 100,
  spanTextCharsShown: 2000,

  // --- tables
  /** Entries (token x partition) that a table remembers. 100,000 cost nothing on plain MergeTree (docs/facts.md: deduplication). */
  deduplicationWindow: 100_000,
  /** Below this a table is refused: half of it is 500 blocks, a few minutes at one group per second on several days. */
  deduplicationWindowMin: 1_000,
  /** Replicated and Shared tables forget by time too; their default is one hour. */
  deduplicationWindowSeconds: 7 * 24 * 60 * 60,
  receiptsRetentionDays: 37,
  /** Sealed minutes, findings and outcomes: a year and a month, so that a month can be compared with last year's. */
  minutesRetentionDays: 400,
} as const;

assert(limits.bodyBytesMax <= limits.inflatedBytesMax, "a body is at most its inflated form");
assert(limits.bodyBytesMax <= limits.ingressKeyBytesMax, "one key may send the largest body");
assert(
  limits.bodyBytesMax + 2 * limits.inflatedBytesMax <= limits.ingressBytesInHandMax,
  "the largest body can be inflated and converted",
);
assert(limits.bodyBytesMax <= limits.outputBytesMax, "the consumer's budget has room for the largest body");
assert(limits.attributesMax <= limits.membersMax, "so many attributes may stand in one span");
assert(
  limits.namesMax <= limits.namesUncountedMax && limits.namesUncountedMax <= limits.attributesMax,
  "names are counted where there may be too many",
);
assert(limits.spansMax <= limits.groupRowsMax, "whatever was accepted fits into a group");
assert(limits.inflatedBytesMax <= limits.groupInflatedBytesMax, "whatever was accepted fits into a group");
assert(
  limits.segmentRowsMax <= limits.groupRowsMax && limits.segmentOutputBytesMax <= limits.groupOutputBytesMax,
  "a segment fits into a group",
);
assert(limits.collectBodyBytesMax <= limits.segmentBytesMax, "what is collected fits into a segment");
assert(
  2 * (limits.segmentPutTimeoutMs + limits.segmentHeadTimeoutMs) + limits.collectMsMax < limits.segmentHeldMs,
  "a segment's bytes are counted for as long as it can take",
);
assert(
  limits.collectPatienceMs + 2 * limits.putTimeoutMs <= limits.bodyHeldMs,
  "a body is in hand while its collector is waited for, and while it is put alone",
);
assert(limits.groupOutputBytesMax < limits.consumerBytesInHandMax, "a group fits into the consumer's budget");
assert(
  limits.ledgerIdsMergedMax + limits.insertsAtOnceMax * limits.groupPayloadsMax <= limits.ledgerHotIdsMax,
  "ids are hot until their groups are over and merged",
);
assert(limits.spanAgeMaxMs <= limits.spanAgeCeilingMs, "span age is within its ceiling");
assert(
  (limits.spanAgeCeilingMs + limits.spanFutureMaxMs) / DAY_MS + 2 <= limits.groupPartitionsMax,
  "one payload's days fit into a group",
);
assert(
  2 * limits.unknownKeyRetryMs < (limits.unknownKeysRememberedMax / 10_000) * SECOND_MS,
  "a key that is sent again is still remembered under a flood of 10,000 a second",
);
assert(
  limits.meterLeaseUseMs < limits.meterLeaseMs,
  "a lease that is used as expected is used up before it ends",
);
assert(
  limits.usageDaysMax <= limits.receiptsRetentionDays,
  "usage is answered for days that have their receipts",
);
assert(limits.insertTimeoutSeconds * 1000 < limits.leaseMs, "an INSERT ends before its lease");
assert(limits.clockAheadMaxMs * 2 <= limits.leaseMs, "a clock that is believed leaves half of a lease");
assert(limits.reconcileLeaseMs < limits.alertReconcilerMs, "one run that died is not an alert");
assert(limits.idTimeLeadMs >= limits.clientRetryMs + HOUR_MS, "an id keeps its version while clients retry");
assert(
  limits.idTimeLeadMs >= limits.spanFutureMaxMs + HOUR_MS,
  "what is accepted before a rollout has ended is older than the time from which ids begin with theirs",
);
assert(limits.clientRetryMs < limits.ledgerMemoryMs, "the ledger remembers longer than clients retry");
assert(
  limits.receiptsRetentionDays * DAY_MS >= limits.payloadRetentionMs + 30 * DAY_MS,
  "a receipt outlives its payload by 30 days",
);

// --- each invocation has subrequests for what it may come to

const { reconcileSubrequests: stages, reconcileUnit: unit } = limits;
/** The most that one invocation of each kind takes. */
export const widestInvocations = {
  /** A batch, and the group that came with it: fetched and inserted, or verified; and its receipts. */
  batch:
    limits.batchSubrequests +
    limits.stepSubrequests +
    Math.max(
      limits.groupGetsMax,
      limits.verifyGetsMax + 2 * (1 + limits.duplicateKeysMax + 2 * limits.verifyReceiptKeysMax),
    ) +
    Math.max(3 * limits.receiptsAtOnceMax, 2 * (limits.receiptsAtOnceMax + limits.segmentRewritesAgainMax)),
  /** R2 and ClickHouse are asked how the ledger began, and groups are notified. */
  alarm: 8 + Math.ceil((limits.ringsAnAlarmMax + 2 * limits.insertsAtOnceMax) / limits.queueMessagesMax),
  cron:
    Object.values(stages).reduce((sum, budget) => sum + budget, 0) +
    Object.keys(stages).length * unit.page +
    unit.doubt +
    limits.tickSubrequests +
    limits.erasuresLookSubrequests,
  request: limits.requestSubrequests,
  asked: 3 * limits.keysAskedMax + 10,
  /** The ledger is asked where each is, R2 for its keys, and the queue takes a message. */
  forgotten: limits.forgetKeysMax * (2 * limits.forgetHeadsMax + 2) + 10,
  /** A tick of the cron that asks for an erasure again, and does nothing else. */
  resumed: limits.tickSubrequests + limits.erasuresLookSubrequests + 3 * limits.keysAskedMax + 10,
  /** Objects are listed and indexes read; the ledger is asked about what has no receipt, 1000 payloads or a segment a call. */
  balance: 2 * (limits.balancePayloadsMax / 1000 + limits.segmentIndexesRead) + 10,
} as const;

for (const [invocation, subrequests] of Object.entries(widestInvocations)) {
  assert(subrequests <= limits.subrequestsMax, `an invocation has enough subrequests: ${invocation}`);
}
assert(limits.groupPayloadsMax + 2 <= limits.groupGetsMax, "the objects of a full group are got at once");
assert(
  2 * limits.auditHeadsMax + 13 < unit.doubt / 5 && 32 + limits.recordListCallsMax <= unit.page,
  "what a stage has begun is counted",
);

// --- each row of the ledger fits

const { rowBytes } = limits;
const otherKeys = limits.groupKeysMax - limits.groupPayloadsMax;
/** What every group has: its payloads, their other keys, and the days that the table lacks. */
const payloadsRowBytes =
  limits.groupPayloadsMax * (rowBytes.payload + limits.payloadDaysMax * (rowBytes.day + rowBytes.dayName)) +
  otherKeys * rowBytes.key +
  rowBytes.group;
const daysRowBytes = limits.groupPayloadsMax * limits.payloadDaysMax * rowBytes.day;
/** A group's ids, which are in its row. */
const idsRowBytes = limits.groupPayloadsMax * 21 + 100;

/** The widest row of each kind, in bytes. */
export const widestRows = {
  waiting: payloadsRowBytes,
  /** What it was transcoded to, while it is inserted, counted or verified. */
  inserted: payloadsRowBytes + limits.groupPayloadsMax * rowBytes.stored + daysRowBytes + idsRowBytes,
  held: payloadsRowBytes + limits.groupPayloadsMax * rowBytes.found + daysRowBytes + idsRowBytes,
  /** It has no rows to compare with any more, and no days to insert. */
  receipting:
    // Some of its payloads are missed meanwhile: they are asked for again when it is over.
    limits.groupPayloadsMax * (rowBytes.payload + rowBytes.ended + rowBytes.key) +
    otherKeys * rowBytes.key +
    limits.groupKeysMax * rowBytes.receipt +
    daysRowBytes +
    idsRowBytes +
    rowBytes.group,
  head: limits.pendingRescuesMax * rowBytes.rescue + rowBytes.head,
  reconciler:
    limits.openMinutesMax * rowBytes.openMinute +
    limits.againMinutesMax * rowBytes.againMinute +
    limits.auditDoubtsMax * rowBytes.doubt +
    limits.expiredReportedMax * rowBytes.key +
    rowBytes.checkpoint,
  alerts:
    (limits.findingsOpenMax + limits.unreportedFindingsMax) * (rowBytes.finding + limits.noteTextBytesMax) +
    rowBytes.checkpoint,
  /** The ids of a group that an earlier version made, or those that have rows of their own. */
  members: idsRowBytes,
  /** The ids of many groups, and their filter. */
  run: 65_536 + 65_536 / 8 + 100,
} as const;

for (const [row, bytes] of Object.entries(widestRows)) {
  assert(bytes <= limits.ledgerRowBytesMax, `the ledger's widest row fits into SQLite: ${row}`);
}
assert(
  (limits.spanAgeCeilingMs + limits.spanFutureMaxMs) / DAY_MS + 1 <= limits.payloadDaysMax,
  "a payload's days are counted",
);
assert(
  limits.groupKeysMax >= 2 * limits.groupPayloadsMax,
  "a full group has room for each payload's second key",
);
assert(limits.duplicateKeysMax + 1 <= limits.groupKeysMax, "one payload's keys fit into a group");
assert(limits.erasedKeysMax <= limits.receiptsAtOnceMax, "what is erased at a look is written at once");
