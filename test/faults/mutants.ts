/**
 * Seeded bugs: each is a change of the source, made when the model is loaded, that the model must catch. A text that
 * does not stand in its file exactly once fails loudly, so the table follows the code.
 *
 * First stand those that were listed when the protocol was designed, then those that we came to fear. Where the code that is meant lives in a
 * Worker, its mirror in test/faults/world/ is changed, and `mirrors` names the Worker's file.
 *
 * One of that list has no place here: "duplicate receipt before the owner's". A duplicate key has no receipt of its own while
 * its owner is live: it is kept in the owner's entry, and written in the same INSERT. What is left of the clause, that a
 * duplicate alone is worth nothing, is "a duplicate counts without its owner".
 */
import type { Invariant } from "./invariants.ts";

export interface Mutant {
  readonly name: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** The profile that is tried first; then all. */
  readonly profile: string;
  /** Where only this invariant may catch it. */
  readonly by?: Invariant;
  readonly mirrors?: string;
  /** No schedule that is run by default catches it, and why: test/known-gaps.md lists it. */
  readonly open?: string;
}

const reported: readonly Mutant[] = [
  {
    name: "a finding that no channel took yet is forgotten with the next judgement",
    file: "shared/alerts.ts",
    find: "unreported: [...before.unreported, ...unreportedOf(findings)]",
    replace: "unreported: [...unreportedOf(findings)]",
    profile: "small faults",
    by: "I11",
  },
  {
    name: "one channel speaks for all",
    file: "shared/alerts.ts",
    find: "one.channels.filter((channel) => !reached.includes(channel))",
    replace: "one.channels.filter(() => reached.length === 0)",
    profile: "small faults",
    by: "I11",
  },
];

const harsh: readonly Mutant[] = [
  {
    name: "what a person lets in again is notified about like a retry",
    file: "test/faults/world/incidents.ts",
    mirrors: "workers/consumer/forget.ts",
    find: 'doorbellOf(object, "replay")] }),\n    );\n    if (presence === "gone"',
    replace: 'doorbellOf(object, "event")] }),\n    );\n    if (presence === "gone"',
    profile: "a person's deletion",
    by: "I9",
  },
  {
    name: "who misses rows while receipts are written is not heard",
    file: "shared/ledger/machine.ts",
    find: "const asked = new Set((state.asked ?? []).map(idOfKey));",
    replace: "const asked = new Set<PayloadId>();",
    profile: "a person's deletion",
    by: "I9",
  },
  {
    name: "rows that are missing are stored under whatever key was named, beside the one that is stored",
    file: "shared/delivery/evidence.ts",
    find: "new Set([...stored, key, ...duplicateKeys, ...newest(receipts)])",
    replace: "new Set([key, ...duplicateKeys, ...stored, ...newest(receipts)])",
    profile: "a person's deletion",
    by: "I9",
  },
  {
    name: "bytes that an invocation held are lost with it",
    file: "shared/byte-budget.ts",
    find: "if (taking.expiresAt <= now) {",
    replace: "if (taking.expiresAt < 0) {",
    profile: "isolates are short of bytes",
  },
  {
    name: "who died in its wait for bytes keeps its turn",
    file: "shared/byte-budget.ts",
    find: "if (until <= now && other !== turn) {",
    replace: "if (until < 0 && other !== turn) {",
    profile: "isolates are short of bytes",
  },
  {
    name: "a wide group is cut by how often it was tried",
    file: "shared/ledger/lease-task.ts",
    find: "blocks: group.blocks,",
    replace: "blocks: Math.max(1, group.blocks - group.inserts),",
    profile: "wide payloads",
  },
  {
    name: "an isolate that is short of memory cuts a wide group into more blocks",
    file: "test/faults/world/perform.ts",
    mirrors: "workers/consumer/perform.ts",
    find: "block = { objects, payloads, blocks };",
    replace: "block = { objects, payloads, blocks: blocks === 1 ? 1 : blocks + (world.clock.now % 2) };",
    profile: "wide payloads",
  },
  {
    name: "what lost its receipt to the TTL is stored again",
    file: "shared/reconcile/walk-minutes.ts",
    find: "  return now - settings.receiptsMs;",
    replace: "  return now - 100 * settings.receiptsMs;",
    profile: "receipts expire",
  },
  {
    name: "VERIFY expects the rows of the first object that it finds",
    file: "shared/delivery/evidence.ts",
    find: "isEqual(found.rowsByDay, rows)) {",
    replace: "found !== null) {",
    profile: "requests keep other shares of the traces",
  },
];

const designed: readonly Mutant[] = [
  {
    name: "token by queue batch: each attempt has a token of its own",
    file: "shared/clickhouse/statements.ts",
    find: "insert_deduplication_token: token,",
    replace: "insert_deduplication_token: token + attempt,",
    profile: "small faults",
  },
  {
    name: "counter token with ledger loss",
    file: "test/faults/world/ledger-shell.ts",
    find: "  lose(): void {",
    replace: "  lose(): void {\n    this.#drawn = 0;",
    profile: "losses",
    mirrors: "workers/consumer/ledger-object.ts",
  },
  {
    name: "token reused after forgetting: a token by the payloads' ids",
    file: "shared/ledger/make-group.ts",
    find: "id: draft.drawToken(),",
    replace: `id: draft.drawToken() && (payloads.map(({ key }) => key.slice(-24, -16)).join("").padStart(32, "0").slice(-32) as GroupId),`,
    profile: "losses",
  },
  {
    name: "unknown always fast",
    file: "shared/ledger/claim.ts",
    find: "    arrival > head.memSince + settings.clientRetryMs &&\n    !mayBeTrimmed(head, idOfKey(key))",
    replace: "    arrival > 0",
    profile: "losses",
  },
  {
    name: "fast path by ledger birth alone",
    file: "shared/ledger/claim.ts",
    find: "arrival > head.memSince + settings.clientRetryMs",
    replace: "arrival > head.birth",
    profile: "losses",
  },
  {
    name: "forgetting by first sight",
    file: "shared/ledger/machine.ts",
    find: "    state.ended.filter(({ key }) => !ids.has(idOfKey(key))),\n    now,",
    replace: "    state.ended.filter(({ key }) => !ids.has(idOfKey(key))),\n    group.made,",
    profile: "days",
  },
  {
    name: "no expiry check: an INSERT begins after its lease",
    open: "ClickHouse refuses what comes after its deadline (decision 0062); test/core/group-work.test.ts holds it",
    file: "shared/delivery/insertion.ts",
    find: "return now < deadline;",
    replace: "return now < deadline + 1e12;",
    profile: "long inserts",
  },
  {
    name: "no fence",
    file: "shared/ledger/settings.ts",
    find: "return settings.leaseMs + settings.insertMs + settings.fenceMarginMs;",
    replace: "return 0;",
    profile: "long inserts",
  },
  {
    name: "fence from the group only",
    file: "shared/ledger/claim.ts",
    find: "question(payloadOf(doorbell), unknownSince(draft.head, id));",
    replace: "question(payloadOf(doorbell), 0);",
    profile: "long inserts",
  },
  {
    name: "receipt before insert: what ended unknown is receipted",
    file: "shared/ledger/take-insert.ts",
    find: `      laterOrApart(draft, { ...transcoded, outcomeUnknown: true }, cause);
      break;
    case "broken":`,
    replace: `      close(draft, transcoded, transcoded.rows ?? []);
      break;
    case "broken":`,
    profile: "small faults",
  },
  {
    name: "split of a group of unknown outcome",
    file: "shared/ledger/take-report.ts",
    find: `      if (group.outcomeUnknown) {
        // The rows`,
    replace: `      if (false) {
        // The rows`,
    profile: "late attempts",
  },
  {
    name: "split on the error code alone",
    file: "shared/ledger/take-count.ts",
    find: "const isAbsent = group.payloads.every(({ key }) => isNoneOf(group, key, found.get(key) ?? []));",
    replace: "const isAbsent = found.size > 0;",
    profile: "refusals",
  },
  {
    name: "delete without receipt",
    file: "shared/reconcile/delete-payloads.ts",
    find: "    return { gone: [], checkpoint };\n  }\n  const own =",
    replace:
      "    return { gone: [], checkpoint };\n  }\n  if (run.now > 0) {\n    return { gone: sealed, checkpoint };\n  }\n  const own =",
    profile: "a week",
    by: "I4",
  },
  {
    name: "deletion without audit",
    file: "shared/reconcile/evidence.ts",
    find: `return auditRows(claimed, facts.rowsByDay, copiesMax, facts.oldestDay) === "exact";`,
    replace: "return true;",
    profile: "losses",
  },
  {
    name: "no second listing",
    file: "shared/reconcile/walk-minutes.ts",
    find: "  const { objects, pending, damaged, ...joined } = yield* joinPage(page, receiptsFrom(run), run);",
    replace:
      "  const { pending, damaged, ...joined } = yield* joinPage([], receiptsFrom(run), run);\n  const objects = page;",
    profile: "losses",
  },
  {
    name: "no reconciler",
    file: "shared/reconcile/join-page.ts",
    find: "  if (lost.length > 0) {",
    replace: "  if (lost.length > 1e9) {",
    profile: "losses",
  },
  {
    name: "reconciler rings what the ledger holds",
    file: "shared/reconcile/join-page.ts",
    find: "const free = pending.filter((_, index) => held[index] !== true);",
    replace: "const free = pending.filter((_, index) => held.length > index);",
    profile: "lossless",
    by: "I8",
  },
  {
    name: "DONE acked on reconcile",
    file: "shared/ledger/claim.ts",
    find: `    case "event":
      return false;
    case "reconcile":`,
    replace: `    case "event":
    case "reconcile":
      return false;`,
    profile: "losses",
  },
  {
    name: "dead over stored",
    file: "shared/outcome.ts",
    find: "  stored: 3,\n  duplicate: 2,\n  expired: 2,\n  dead: 1,",
    replace: "  stored: 1,\n  duplicate: 2,\n  expired: 2,\n  dead: 3,",
    profile: "refusals",
  },
  {
    name: "verify by receipts instead of rows",
    file: "shared/ledger/verify.ts",
    find: "  if (least >= 1) {",
    replace: "  if (least >= 1 || claims.stored.length > 0) {",
    profile: "losses",
  },
  {
    name: "verify by payload instead of by day",
    file: "shared/ledger/verify.ts",
    find: "  if (least >= 1) {",
    replace: "  if (copies.expected.length === 0 || copies.most >= 1) {",
    profile: "losses",
  },
  {
    name: "genesis while the first INSERT runs: only rows count",
    file: "shared/delivery/ledger-life.ts",
    find: `facts: isFirst ? facts : { ...facts, anyPayload: true } });`,
    replace: `facts: { epoch: null, anyPayload: false, anyRow: (yield* ask({ do: "findRow" })).found } });`,
    profile: "long inserts",
  },
  {
    name: "restore with waiting payloads",
    file: "shared/ledger/machine.ts",
    find: `  if (draft.waitingCount > 0) {
    const payloads`,
    replace: `  if (false) {
    const payloads`,
    profile: "losses",
  },
  {
    name: "condemnation after one refusal",
    file: "shared/ledger/refuse-alone.ts",
    find: `  if (history.refusals < settings.refusalsMax) {`,
    replace: `  if (history.refusals < 1) {`,
    profile: "refusals",
  },
  {
    name: "ack before the claim persists",
    file: "shared/delivery/batch.ts",
    find: `    tasks = yield* takeMessages([...messages.entries()]);
    yield* ask("ackAll", null);`,
    replace: `    yield* ask("ackAll", null);
    tasks = yield* takeMessages([...messages.entries()]);`,
    profile: "lossless",
    by: "I8",
  },
  {
    name: "no alarm",
    file: "shared/ledger/machine.ts",
    find: "  return next === dueNever ? undefined : next;",
    replace: "  return next === dueNever ? next : undefined;",
    profile: "lossless",
  },
];

const feared: readonly Mutant[] = [
  {
    name: "a 200 after an attempt of unknown outcome is taken as proof",
    file: "shared/ledger/take-insert.ts",
    find: `  if (group.outcomeUnknown) {
    const counting`,
    replace: `  if (false) {
    const counting`,
    profile: "losses",
  },
  {
    name: "a 200 after an attempt of unknown outcome is counted by payload, not by day",
    file: "shared/ledger/take-count.ts",
    find: "const isWhole = rows.every(({ key, rowsByDay }) => covers(found.get(key), rowsByDay));",
    replace:
      "const isWhole = rows.every(({ key }) => (found.get(key) ?? []).some(({ rows: there }) => there > 0));",
    profile: "losses",
  },
  {
    name: "an attempt that a busy server answered counts as clean",
    file: "shared/ledger/take-insert.ts",
    find: "outcomeUnknown: group.outcomeUnknown || report.code !== undefined }",
    replace: "outcomeUnknown: group.outcomeUnknown }",
    profile: "losses",
  },
  {
    name: "a duplicate notifies nobody, although its first copy's doorbell was lost",
    file: "shared/delivery/acceptance.ts",
    find: "  if (!isNotified()) {",
    replace: "  if (false) {",
    profile: "lossless",
    open: "the R2 event brings the payload in five minutes later",
  },
  {
    name: "a group that fails for a reason of its own is never taken apart",
    file: "shared/ledger/own-failures.ts",
    find: "if (cause === null || group.ownFailures < settings.ownFailuresMax) {",
    replace: "if (cause === null || group.ownFailures < 1e9) {",
    profile: "a payload too large for ClickHouse",
  },
  {
    name: "VERIFY transcodes what isolates die of",
    file: "shared/delivery/evidence.ts",
    find: "!task.isBlind && needsCount(task.rows, own)",
    replace: "needsCount(task.rows, own)",
    profile: "a payload that kills its isolate",
  },
  {
    name: "an attempt that was never reported counts as clean",
    file: "shared/ledger/lease-task.ts",
    find: "...counted, outcomeUnknown: true, due: now",
    replace: "...counted, due: now",
    profile: "losses",
  },
  {
    name: "a report is taken whatever attempt it is of",
    file: "shared/ledger/machine.ts",
    find: "if (group?.state.lease?.attempt === event.attempt) {",
    replace: "if (group?.state.lease != null) {",
    profile: "small faults",
  },
  {
    name: "the fence counts from the first INSERT",
    file: "shared/ledger/make-group.ts",
    find: "const fence = group.lastInsertAt === null ? now : group.lastInsertAt + fenceMs(settings);",
    replace: "const fence = group.firstInsertAt === null ? now : group.firstInsertAt + fenceMs(settings);",
    profile: "late attempts",
  },
  {
    name: "the fence leaves out the INSERT's own time",
    file: "shared/ledger/settings.ts",
    find: "return settings.leaseMs + settings.insertMs + settings.fenceMarginMs;",
    replace: "return settings.leaseMs;",
    profile: "late attempts",
  },
  {
    name: "the fence leaves out the lease",
    file: "shared/ledger/settings.ts",
    find: "return settings.leaseMs + settings.insertMs + settings.fenceMarginMs;",
    replace: "return settings.insertMs;",
    profile: "long inserts",
  },
  {
    name: "VERIFY ends the queries of its own group only (decision 0013)",
    file: "test/faults/world/traces-table.ts",
    find: "|| began < overdueBefore,",
    replace: "|| began < overdueBefore - 1e12,",
    profile: "long inserts",
    mirrors: "shared/clickhouse/statements.ts",
  },
  {
    name: "a payload is inserted anew while the DELETE of its rows may run",
    file: "shared/ledger/lease-task.ts",
    find: "draft.change({ ...out, lastInsertAt: now, state: { ...state, lease } });",
    replace: "draft.change({ ...out, state: { ...state, lease } });",
    profile: "a week",
  },
  {
    name: "restored groups go on as they are",
    file: "shared/ledger/make-group.ts",
    find: "  if (group.epoch === epoch) {",
    replace: "  if (group.epoch <= epoch) {",
    profile: "refusals",
  },
  {
    name: "a restored ledger keeps its memory's beginning",
    file: "shared/ledger/machine.ts",
    find: "    birth: now,\n    memSince: now,",
    replace: "    birth: now,",
    profile: "losses",
  },
  {
    name: "a restored ledger keeps its birth",
    file: "shared/ledger/machine.ts",
    find: "    birth: now,\n    memSince: now,",
    replace: "    memSince: now,",
    profile: "long inserts",
  },
  {
    name: "a restore is not noticed",
    file: "shared/delivery/ledger-life.ts",
    find: "if (epoch > head.epoch) {",
    replace: "if (epoch > head.epoch + 1e9) {",
    profile: "losses",
  },
  {
    name: "what is forgotten does not raise the memory's beginning",
    file: "shared/ledger/memory.ts",
    find: "const memSince = isLate ? Math.max(head.memSince, before) : head.memSince;",
    replace: "const memSince = isLate ? head.memSince : head.memSince;",
    profile: "days",
  },
  {
    name: "a retry of a retry is not remembered anew (decision 0010)",
    file: "shared/ledger/machine.ts",
    find: "    state.ended.filter(({ key }) => !ids.has(idOfKey(key))),\n    now,",
    replace: `    state.ended.filter(({ key }) => !ids.has(idOfKey(key))),
    group.inserts === 0 && state.receipts.every(({ outcome }) => outcome === "duplicate") ? now - settings.clientRetryMs : now,`,
    profile: "days",
  },
  {
    name: "refusals count with nothing stored in between",
    file: "shared/ledger/refuse-alone.ts",
    find: "const counts = refusals === 0 || draft.head.lastStoredInsertAt > lastRefusalAt;",
    replace: "const counts = true;",
    profile: "refusals",
  },
  {
    name: "refusals count although what was stored began before them",
    open: "it needs two INSERTs that end between three refusals",
    file: "shared/ledger/take-insert.ts",
    find: "lastStoredInsertAt: Math.max(head.lastStoredInsertAt, group.lastInsertAt),",
    replace: "lastStoredInsertAt: draft.now,",
    profile: "refusals",
  },
  {
    name: "a token is trusted for ever",
    file: "shared/ledger/lease-task.ts",
    find: "used >= 0 && used < windowBlocks / 2",
    replace: "used >= -1e12",
    profile: "crowded table",
  },
  {
    name: "another transcoder goes on with the token",
    file: "shared/ledger/lease-task.ts",
    find: "if (group.codecVersion !== null && group.codecVersion !== codecVersion) {",
    replace: "if (group.codecVersion !== null && group.codecVersion > codecVersion) {",
    profile: "small faults",
    by: "I5",
  },
  {
    name: "a duplicate counts without its owner",
    file: "shared/reconcile/join.ts",
    find: `return outcome !== "duplicate" || outcomesOfId.some((other) => other !== "duplicate");`,
    replace: "return outcome.length > 0 || outcomesOfId.length > 0;",
    profile: "losses",
  },
  {
    name: "a minute is sealed while something of it is in flight",
    file: "shared/reconcile/walk-minutes.ts",
    find: "  if (one.pending > 0) {",
    replace: "  if (one.pending > 1e9) {",
    profile: "small faults",
  },
  {
    name: "what the ledger holds does not keep its minute open",
    file: "shared/reconcile/join-page.ts",
    find: "pending: pending.filter((key, index) => held[index] === true || isLost.has(key)),",
    replace: "pending: pending.filter((key) => isLost.has(key)),",
    profile: "small faults",
  },
  {
    name: "an open minute is not walked again",
    file: "shared/reconcile/checkpoint.ts",
    find: "open.filter(({ dueAt }) => dueAt <= now)",
    replace: "open.filter(({ dueAt, tries }) => dueAt <= now && tries === 0)",
    profile: "small faults",
  },
  {
    name: "two runs save their checkpoints over each other's",
    open: "each walk may be repeated: a checkpoint that goes back costs work, not payloads",
    file: "shared/reconcile/lease.ts",
    find: "return state.lease?.run === run ? { checkpoint,",
    replace: "return run.length > 0 ? { checkpoint,",
    profile: "small faults",
  },
  {
    name: "rows that were lost after their audit are not missed",
    file: "shared/reconcile/delete-payloads.ts",
    find: "    } else if (!isHeld && others.has(id)) {",
    replace: "    } else if (!isHeld && others.size < 0) {",
    profile: "days",
    by: "I9",
  },
  {
    name: "no audit",
    open: "the deletion round examines the same a week later",
    file: "shared/reconcile/audit.ts",
    find: "  for (let page = 0; page < auditPages && after < before && !run.budget.isUsedUp; page++) {",
    replace: "  for (let page = 0; page < auditPages && after < before && before === after; page++) {",
    profile: "losses",
  },
  {
    name: "what the ledger holds is deleted",
    open: "it needs a VERIFY at work on a payload in the minute in which a week is over",
    file: "shared/reconcile/evidence.ts",
    find: "  if (own === undefined || facts.isHeld || !facts.isSealed) {",
    replace: "  if (own === undefined || !facts.isSealed) {",
    profile: "days",
  },
  {
    name: "an erasure that was stopped is not done again",
    open: "it needs a ledger that is lost in the milliseconds between two statements",
    file: "shared/ledger/verify.ts",
    find: "const isGone = evidence.rowsByDay.length === 0 && evidence.object === null;",
    replace: "const isGone = true;",
    profile: "a week",
  },
  {
    name: "a dead payload's other keys are its duplicates (decision 0011)",
    file: "shared/ledger/receipts.ts",
    find: `return keys.map((key) => ({ ...blank, key, outcome: "dead" }));`,
    replace: `return keys.map((key, i) => ({ ...blank, key, outcome: i === 0 ? "dead" : "duplicate" }));`,
    profile: "refusals",
  },
  {
    name: "all of a payload is inserted where some of its days are there",
    file: "shared/ledger/verify.ts",
    find: "missingDays: missing.length === complete.length ? null : { days: missing, complete },",
    replace: "missingDays: null,",
    profile: "small faults",
  },
  {
    name: "an erased payload comes back with its next ring",
    file: "shared/ledger/verify.ts",
    find: "if (claims.erased !== undefined || payload.erase !== null) {",
    replace: "if (payload.erase !== null) {",
    profile: "losses",
  },
  {
    name: "the view is completed after attempts of unknown outcome only",
    file: "shared/ledger/take-evidence.ts",
    find: "completeView ||= verdict.found && (attempted || !isReceipted(seen));",
    replace: "completeView ||= verdict.found && group.outcomeUnknown;",
    profile: "refusals",
  },
  {
    name: "receipts that were appended while others were written are forgotten",
    open: "the reconciler rings the forgotten key, and its receipt is written then",
    file: "shared/ledger/machine.ts",
    find: "const owed = state.receipts.slice(state.leased);",
    replace: "const owed = state.receipts.slice(state.receipts.length + state.leased);",
    profile: "lossless",
  },
  {
    name: "another key of a live payload is acked and forgotten",
    file: "shared/ledger/claim.ts",
    find: "duplicateKeys: isKept ? payload.duplicateKeys : [...payload.duplicateKeys, key],",
    replace: "duplicateKeys: payload.duplicateKeys,",
    profile: "lossless",
  },
  {
    name: "a ring that was lost is not notified again",
    file: "shared/ledger/machine.ts",
    find: "due: now + backOffMs(group.rings, settings) });",
    replace: "due: Number.MAX_SAFE_INTEGER });",
    profile: "small faults",
  },
  {
    name: "a lease that ended is not taken back",
    file: "shared/ledger/lease-task.ts",
    find: "out: { ...group, attempts: number, rings: 0, due: lease.until },",
    replace: "out: { ...group, attempts: number, rings: 0, due: Number.MAX_SAFE_INTEGER },",
    profile: "small faults",
  },
  {
    name: "the breaker stays open",
    open: "one probe at a time goes on: slower, and nothing is lost",
    file: "shared/ledger/breaker.ts",
    find: "    isOpen: false,\n    failures: 0,",
    replace: "    failures: 0,",
    profile: "small faults",
  },
  {
    name: "an INSERT that was reported still counts as in flight",
    file: "shared/ledger/breaker.ts",
    find: "return { ...breaker, inFlight: breaker.inFlight.filter((id) => id !== group) };",
    replace:
      "return { ...breaker, inFlight: breaker.inFlight.filter((id) => id !== group || breaker.inFlight.length % 2 === 0) };",
    profile: "small faults",
  },
  {
    name: "an unlisted code is tried for ever",
    file: "shared/ledger/take-insert.ts",
    find: "if (counted.unlisted < settings.unlistedMax) {",
    replace: "if (counted.unlisted < 1e9) {",
    profile: "refusals",
  },
  {
    name: "a payload that was refused alone keeps its token",
    file: "shared/ledger/take-count.ts",
    find: `        refuseAlone(draft, group, state.code, again);
      } else {`,
    replace: `        if (group.refusals + 1 < settings.refusalsMax) {
          const refusals = { refusals: group.refusals + 1, lastRefusalAt: now };
          draft.change({ ...group, ...refusals, ...again, state: openState });
          return null;
        }
        refuseAlone(draft, group, state.code, again);
      } else {`,
    profile: "losses",
  },
  {
    name: "a restored ledger leaves what it holds to a person",
    file: "shared/ledger/machine.ts",
    find: "  for (const held of view.heldGroups(heldGroupsRead)) {\n    inThisEpoch(draft, held);\n  }",
    replace: "",
    profile: "a week",
  },
  {
    name: "payloads that could not be read take their whole group to its grave",
    file: "shared/ledger/take-insert.ts",
    find: "  makeGroup(draft, good, openState, now);",
    replace: "  makeGroup(draft, good, receiptingState([], [], false), now);",
    profile: "refusals",
  },
  {
    name: "every late ring waits in the head",
    file: "shared/ledger/take-insert.ts",
    find: "].slice(0, settings.pendingRescuesMax);",
    replace: "];",
    profile: "rows are small, and doorbells are lost",
    by: "row",
  },
  {
    name: "a group keeps every key that its clients send again under",
    file: "shared/ledger/claim.ts",
    find: "  return !grows || sizeOf(together).keys < caps.keysMax;",
    replace: "  return true;",
    profile: "rows are small, and clients send again",
    by: "row",
  },
  {
    name: "minutes are walked although none of those before can be sealed",
    file: "shared/reconcile/walk-minutes.ts",
    find: "  while (now.from < end && now.open.length < run.settings.openMax) {",
    replace: "  while (now.from < end) {",
    profile: "rows are small, and doorbells are lost",
    by: "row",
  },
  {
    name: "a run of the reconciler asks as much as there is to do",
    file: "shared/reconcile/budget.ts",
    find: "    return this.#left <= 0;",
    replace: "    return false;",
    profile: "subrequests are few",
    by: "subrequests",
  },
  {
    name: "what is erased leaves a group that may have been stored",
    file: "shared/ledger/take-out.ts",
    find: "  if (group.outcomeUnknown) {",
    replace: "  if (now < 0) {",
    profile: "payloads are erased",
  },
];

/** Of what the ledger does not write, and what a new instance must know all the same (decision 0084). */
const unwritten: readonly Mutant[] = [
  {
    name: "the breaker's slots are lost at a restart: two probes",
    file: "shared/ledger/head-row.ts",
    find: "inFlight: inFlight.map(({ id }) => id),",
    replace: "inFlight: [],",
    profile: "small faults",
    by: "slots",
  },
  {
    name: "a restart counts an INSERT of a lease that it cannot know to have ended as over",
    file: "shared/ledger/head-row.ts",
    find: 'return state.at === "open" && state.lease !== null && state.out === "insert";',
    replace: 'return state.at === "open" && state.lease !== null && state.lease.attempt > 1;',
    profile: "lossless",
    by: "slots",
  },
  {
    name: "the ledger knows whatever rings late",
    file: "shared/delivery/batch.ts",
    find: "if (known[at] !== true) {",
    replace: "if (known.length <= at) {",
    profile: "losses",
  },
  {
    name: "what was forgotten is said to have been remembered since then",
    file: "shared/ledger/memory.ts",
    find: "    ...(isLate ? { forgottenBefore: before } : {}),",
    replace: "    ...(isLate ? { forgottenBefore: now - settings.clientRetryMs / 2 } : {}),",
    profile: "days",
  },
  {
    name: "an alarm that an earlier instance armed is taken for one of now",
    file: "shared/delivery/ledger-life.ts",
    find: 'instance.armedAt = (yield* ask({ do: "readAlarm" })).at;',
    replace: 'instance.armedAt = (yield* ask({ do: "readAlarm" })).at === null ? 0 : 0;',
    profile: "lossless",
  },
];

/** Of the barrier before a count, and of the table's identity (decision 0014). */
const evidence: readonly Mutant[] = [
  {
    name: "a count of any replica is evidence",
    file: "shared/clickhouse/barrier.ts",
    find: "wordsNeeded = { presence: 1, settled: 2, recent: 3 }",
    replace: "wordsNeeded = { presence: 0, settled: 0, recent: 0 }",
    profile: "replica lags",
    by: "I1",
  },
  {
    name: "one word of a replica is enough",
    file: "shared/clickhouse/barrier.ts",
    find: "wordsNeeded = { presence: 1, settled: 2, recent: 3 }",
    replace: "wordsNeeded = { presence: 1, settled: 1, recent: 1 }",
    profile: "replica lags",
    by: "I1",
  },
  {
    name: "a replica that lags has everything",
    file: "shared/clickhouse/barrier.ts",
    find: 'if (witness.table === null || behind !== "") {',
    replace: "if (witness.table === null) {",
    profile: "replica lags",
    by: "I1",
  },
  {
    name: "the words of one replica count for another",
    file: "shared/clickhouse/barrier.ts",
    find: "const words = reading.complete.filter((one) => one.server === server);",
    replace: "const words = reading.complete.filter((one) => one.server !== '');",
    profile: "replica lags",
    by: "I1",
  },
  {
    name: "a count of another table is evidence",
    file: "shared/clickhouse/barrier.ts",
    find: "if (witness.table !== null && witness.table !== table) {",
    replace: 'if (witness.table === "") {',
    profile: "another table",
    by: "I1",
  },
  {
    name: "what a replica said while an INSERT still ran there counts for VERIFY",
    file: "shared/delivery/evidence.ts",
    find: "const begun = running\n",
    replace: "const begun = running && task.attempt < 0\n",
    profile: "replica lags",
    open: "in the model what runs is seen, ended and looked past in one moment; test/core/group-work.test.ts holds it",
  },
  {
    name: "tables with one uuid are one table",
    file: "shared/clickhouse/table-identity.ts",
    find: "{serverUuid} $",
    replace: "{uuid} $",
    profile: "another table",
  },
  {
    name: "an INSERT does not say which table it is for",
    file: "shared/ledger/lease-task.ts",
    find: "const table = draft.head.table.identity ?? null;",
    replace: "const table = null;",
    profile: "another table",
  },
  {
    name: "a retry goes by the fence of a table that a person may have copied",
    file: "shared/ledger/lease-task.ts",
    find: "byColumn: group.inserts === 0 && isFenced(head.table),",
    replace: "byColumn: isFenced(head.table),",
    profile: "table created anew",
    by: "I1",
  },
  {
    name: "tokens are trusted at a table that a person created anew",
    file: "shared/ledger/known-table.ts",
    find: "return firstInsertAt !== null && acceptedAt !== undefined && firstInsertAt <= acceptedAt;",
    replace: "return firstInsertAt === 0 && acceptedAt === 0;",
    profile: "table created anew",
    by: "I1",
  },
  {
    name: "VERIFY asks one replica what all of them run",
    file: "shared/clickhouse/barrier.ts",
    find: "return servers < witness.replicas",
    replace: "return servers < 0",
    profile: "processes of replicas are elsewhere",
    by: "I1",
  },
  {
    name: "VERIFY asks another table's server what runs",
    file: "shared/delivery/evidence.ts",
    find: 'if (unseen !== "") {',
    replace: 'if (unseen === "unseen") {',
    profile: "processes are elsewhere",
    by: "I1",
  },
];

/** Of payload ids (decision 0085). */
const ids: readonly Mutant[] = [
  {
    name: "content time from accepted spans only: it depends on when a body arrives",
    file: "shared/otlp/inspect.ts",
    find: "    this.#newest.add(walk.view, walk.span);\n",
    replace: "",
    profile: "ids begin with their time",
    by: "S8",
  },
  {
    name: "content time from the arrival",
    file: "test/faults/world/bodies.ts",
    mirrors: "workers/ingress/receive-traces.ts",
    find: "return idOfHash(hash, { contentMinute, from });",
    replace: "return idOfHash(hash, { contentMinute: minutesOf(arrival), from });",
    profile: "ids begin with their time",
    by: "S8",
  },
  {
    name: "an id's version by the time of arrival",
    file: "test/faults/world/bodies.ts",
    mirrors: "workers/ingress/receive-traces.ts",
    find: "return idOfHash(hash, { contentMinute, from });",
    replace: "return idOfHash(hash, { contentMinute, from: minutesOf(arrival) < from ? Infinity : 0 });",
    profile: "ids begin with their time",
    by: "S8",
  },
  {
    name: "an id's version by who gives it",
    file: "shared/payload-key.ts",
    find: "if (contentMinute < from) {",
    replace: "if (from === Number.POSITIVE_INFINITY) {",
    profile: "ids begin with their time",
    by: "S8",
  },
  {
    name: "ids begin with their time as soon as they can",
    file: "test/faults/world/world.ts",
    mirrors: "cli/deploy/id-time-from.ts",
    find: "minutesOf(this.rolledOutAt + limits.idTimeLeadMs)",
    replace: "minutesOf(this.rolledOutAt)",
    profile: "ids begin with their time",
    by: "S8",
  },
];

/**
 * Of segments (decisions 0089, 0091). Four of the list in the design have no place here. "A join by the count of rows instead of distinct
 * slots": of a segment both the number and the sum of ids have to be right, so that no one change hides a receipt that is missing; and
 * receipts are read FINAL. "A duplicate inside a segment is dropped without its receipt": equal bytes have one slot. "The reconciler rings
 * all slots": a ring too many costs a claim. "A reader trusts the index": no segment of this world is damaged, and
 * test/core/segment.test.ts tries every bit.
 */
const segments: readonly Mutant[] = [
  {
    name: "a segment goes when most of its payloads may",
    file: "shared/reconcile/delete-payloads.ts",
    find: "return own.length === payloads && keyChecksum(own.map(idOfKey)) === checksum;",
    replace: "return own.length * 2 >= payloads && own.length > 0 && checksum >= 0n;",
    profile: "segments",
  },
  {
    name: "a segment has ended when one of its payloads has",
    file: "shared/reconcile/join-page.ts",
    find: "own?.payloads === payloads && own.checksum === checksum",
    replace: "own !== undefined && checksum >= 0n",
    profile: "segments",
    by: "S4",
  },
  {
    name: "a duplicate in a segment counts without its owner",
    file: "shared/reconcile/join-page.ts",
    find: "doubtful.push(...own.duplicates);",
    replace: "doubtful.push();",
    profile: "segments",
  },
  {
    name: "an erasure takes its segment whole",
    file: "test/faults/world/perform.ts",
    mirrors: "workers/consumer/erase-objects.ts",
    find: "if (index.entries.every((entry) =>",
    replace: "if (index.entries.some((entry) =>",
    profile: "segments",
    by: "S3",
  },
  {
    name: "what was erased in a segment is waited for",
    file: "shared/reconcile/join-page.ts",
    find: "all.filter((key) => indexed.get(key)?.isErased === true)",
    replace: "all.filter((key) => indexed.get(key) === null)",
    profile: "segments",
  },
  {
    name: "a dead payload's segment goes without its bytes being kept",
    file: "test/faults/world/object-store.ts",
    mirrors: "workers/consumer/erase-objects.ts",
    find: "this.#copies.set(key, payload);",
    replace: "this.#copies.set(key, null as never);",
    profile: "dead payloads of segments",
    by: "S3",
  },
  {
    name: "nobody looks for a dead payload's copy before its segment goes",
    open: "the copy is made before the receipt says dead, so that it is there; test/core/reconcile-segments.test.ts holds it",
    file: "shared/reconcile/delete-payloads.ts",
    find: "const copied = run.budget.isUsedUp ? [] : yield* copiedDead(asked);",
    replace: "const copied = run.budget.isUsedUp ? [] : asked;",
    profile: "dead payloads of segments",
  },
  {
    name: "the collector answers before its put",
    file: "test/faults/world/collector.ts",
    mirrors: "shared/collect/",
    find: "yield fate.between(1, 30);\n    const isStored",
    replace: 'segment.state = "landed";\n    yield fate.between(1, 30);\n    const isStored',
    profile: "segments",
    by: "S1",
  },
  {
    name: "the collector answers after a put that failed",
    file: "test/faults/world/collector.ts",
    mirrors: "workers/ingress/collector-object.ts",
    find: 'segment.state === "landed" ?',
    replace: "segment.keys.length > 0 ?",
    profile: "segments",
    by: "S1",
  },
  {
    name: "the collector answers for a payload that nobody shares with, whose put failed",
    file: "test/faults/world/collector.ts",
    mirrors: "workers/ingress/collector-object.ts",
    find: 'answered.is === "done" && answered.value;',
    replace: 'answered.is !== "done" || answered.value;',
    profile: "segments",
    by: "S1",
  },
  {
    name: "a segment's doorbell names its first payload alone",
    file: "test/faults/world/collector.ts",
    mirrors: "workers/ingress/collector-object.ts",
    find: 'objects.map((object) => doorbellOf(object, "ingress"))',
    replace: '[doorbellOf(objects[0], "ingress")]',
    profile: "lossless",
    by: "I8",
  },
  {
    name: "a reader of a segment takes another slot",
    file: "test/faults/world/object-store.ts",
    mirrors: "shared/segment/payload-objects.ts",
    find: "this.#objects.get(objectOf(key))?.slots.get(key);",
    replace: "[...(this.#objects.get(objectOf(key))?.slots.values() ?? [])].at(-1);",
    profile: "segments",
    by: "S2",
  },
  {
    name: "bodies of a segment are written over each other",
    file: "shared/segment/segment.ts",
    find: "    offset += payload.body.length;",
    replace: "    offset += payload.body.length >> 1;",
    profile: "segments",
    by: "S2",
  },
  {
    name: "a segment's put is retried under another name, and taken for the same",
    file: "shared/collect/store-segment.ts",
    find: 'yield* orWhereFailed(ask("putIfAbsent", key), false);',
    replace: 'yield* orWhereFailed(ask("putIfAbsent", key), tries > 0);',
    profile: "segments",
    by: "S1",
  },
  {
    name: "slots are numbered as their callers are answered",
    file: "test/faults/world/collector.ts",
    mirrors: "shared/collect/gathering.ts",
    find: "segment.keys[slot] : undefined;",
    replace: "segment.keys.at(-1 - slot) : undefined;",
    profile: "segments",
    by: "S1",
  },
  {
    name: "what falls back to a put of its own is answered 200 without it",
    file: "shared/delivery/acceptance.ts",
    find: 'if (found === null || (found === "unread" && isCreated === "unknown")) {',
    replace: 'if (found === null && isCreated !== "unknown") {',
    profile: "segments",
    by: "S1",
  },
  {
    name: "a collector remembers ids as stored before its put is done",
    file: "test/faults/world/collector.ts",
    mirrors: "shared/collect/gathering.ts",
    find: "    if (isStored) {\n      this.#remember(clock.now, objects);\n    }",
    replace: "    this.#remember(clock.now, objects);",
    profile: "segments",
    by: "S1",
  },
  {
    name: "an erasure writes its segment, although others wrote it meanwhile",
    file: "test/faults/world/object-store.ts",
    mirrors: "workers/consumer/erase-objects.ts",
    find: "if (before?.etag !== etag) {",
    replace: "if (before === undefined || etag < 0) {",
    profile: "segments",
    by: "S6",
  },
  {
    name: "an erasure takes the bytes behind its payload too",
    file: "shared/segment/segment.ts",
    find: "blanked.fill(0, entry.offset, entry.offset + entry.bytes);",
    replace: "blanked.fill(0, entry.offset);",
    profile: "segments",
    by: "S6",
  },
  {
    name: "an erasure moves what is behind its payload",
    file: "shared/segment/segment.ts",
    find: "blanked.fill(0, entry.offset, entry.offset + entry.bytes);",
    replace: "blanked.copyWithin(entry.offset, entry.offset + entry.bytes);",
    profile: "segments",
    by: "S2",
  },
  {
    name: "an erasure says that bytes are gone, and leaves them",
    file: "shared/segment/segment.ts",
    find: "blanked.fill(0, entry.offset, entry.offset + entry.bytes);",
    replace: "blanked.fill(0, entry.offset, entry.offset);",
    profile: "segments",
    by: "S6",
  },
  {
    name: "a segment is fetched for each of its payloads",
    file: "test/faults/world/perform.ts",
    mirrors: "workers/consumer/load-payloads.ts",
    find: "if (fetched !== objectOf(payload.key)) {",
    replace: "if (fetched === null || payload.key.length > 0) {",
    profile: "lossless",
    by: "S7",
  },
  {
    name: "a collector is full before it is",
    file: "test/faults/world/collector.ts",
    mirrors: "shared/collect/gathering.ts",
    find: "    const segment = known ?? this.#openFor(world);",
    replace:
      "    if (known === undefined && this.#open !== null) {\n      return null;\n    }\n    const segment = known ?? this.#openFor(world);",
    profile: "lossless",
    by: "S7",
  },
  {
    name: "two keys of one id are taken for one, and nobody misses the receipt",
    file: "shared/ledger/knows.ts",
    find: 'return bell.cause === "event" && tagOfKey(bell.key) === place.tag;',
    replace: "return place.tag >= 0;",
    profile: "segments",
  },
  {
    name: "of a segment that rings by a bare key the first payload is taken",
    file: "shared/delivery/batch.ts",
    find: '      doorbells.push(...(yield* ask("completeDoorbell", bell)));',
    replace: '      doorbells.push(...(yield* ask("completeDoorbell", bell)).slice(0, 1));',
    profile: "segments",
  },
];

/** Of a memory that is trimmed (decision 0087). */
const trimmed: readonly Mutant[] = [
  {
    name: "what was trimmed is new when it is sent again",
    file: "shared/ledger/claim.ts",
    find: "    arrival > head.memSince + settings.clientRetryMs &&\n    !mayBeTrimmed(head, idOfKey(key))",
    replace: "    arrival > head.memSince + settings.clientRetryMs &&\n    key !== null",
    profile: "a store that must trim",
  },
  {
    name: "a trim is said to have forgotten less than it did",
    file: "shared/ledger/memory.ts",
    find: "return trimmed != null && contentMinuteOfId(id) < trimmed.from;",
    replace: "return trimmed != null && contentMinuteOfId(id) < trimmed.from - 24 * 60;",
    profile: "a store that must trim",
  },
  {
    name: "a trim is taken back with the next minute that is forgotten",
    file: "shared/ledger/memory.ts",
    find: "const isOver = isLate && head.trimmed != null && before > head.trimmed.at;",
    replace: "const isOver = isLate && head.trimmed != null;",
    profile: "a store that must trim",
  },
  {
    name: "a later trim takes an earlier one back",
    file: "shared/ledger/memory.ts",
    find: "{ from: Math.max(kept?.from ?? 0, trimTo), at: now }",
    replace: "{ from: trimTo, at: now }",
    profile: "a store that must trim",
  },
  {
    name: "the fence of what was trimmed counts from the ledger's birth",
    open: "what ended within a fence has rows and a receipt, which VERIFY finds: it takes that both are lost in the same minutes, and that an INSERT under another token than the one that stored it still runs; test/core/ledger-reports.test.ts holds it",
    file: "shared/ledger/memory.ts",
    find: "return mayBeTrimmed(head, id) ? Math.max(head.birth, head.trimmed?.at ?? 0) : head.birth;",
    replace: "return head.birth + (id.length === 0 ? 1 : 0);",
    profile: "a store that must trim",
  },
  {
    name: "a trim forgets what ended after it too",
    file: "shared/ledger/memory.ts",
    find: "since <= trimmed.at && contentMinuteOfId(id) < trimmed.from",
    replace: "since <= trimmed.at + 864e5 && contentMinuteOfId(id) <= trimmed.from",
    profile: "a store that must trim",
    by: "S5",
  },
];

/** Of the ledger's store (decision 0087), which one profile runs over real SQLite. */
const stored: readonly Mutant[] = [
  {
    name: "ids of late content lie in a row that is said to end before them",
    file: "workers/consumer/ledger-runs.ts",
    find: "    const high = placeOfId(records, records.length - runBytes);",
    replace: "    const high = low;",
    profile: "ids in SQLite",
  },
  {
    name: "merging takes what is live with it",
    file: "workers/consumer/ledger-ids.ts",
    find: "this.#members.takeOut(({ last }) => last !== Number.POSITIVE_INFINITY);",
    replace: "this.#members.takeOut(({ last }) => last > 0);",
    profile: "ids in SQLite",
    by: "S5",
  },
  {
    name: "the table of hot ids is empty after a restart",
    file: "workers/consumer/ledger-ids.ts",
    find: "this.#members.set({ ...row, generation: this.#hot.add(new Uint8Array(records), memberBytes, seq) });",
    replace: "this.#members.set({ ...row, generation: records.byteLength });",
    profile: "ids in SQLite",
    by: "S5",
  },
  {
    name: "a run keeps the end of an id that came first",
    file: "workers/consumer/ledger-ids.ts",
    find: 'before === undefined || place.at === "group" || (before.at === "done" && place.since >= before.since);',
    replace: 'before === undefined || place.at === "group";',
    profile: "ids in SQLite",
    by: "S5",
  },
  {
    name: "a group that is over is still live to those of its ids that were strays",
    file: "workers/consumer/ledger-ids.ts",
    find: "      if (apart.length > 0) {",
    replace: "      if (apart.length > 1) {",
    profile: "ids in SQLite",
    by: "S5",
  },
  {
    name: "a row is forgotten with the oldest of its ids",
    file: "workers/consumer/ledger-ids.ts",
    find: "last <= trimmed.at && high >>> 8 < trimmed.from);",
    replace: "last <= trimmed.at);",
    profile: "ids in SQLite",
    by: "S5",
  },
  {
    name: "a group's number is used again after its row was merged",
    file: "workers/consumer/ledger-storage.ts",
    find: "const seq = isNew ? this.#nextSeq++ : this.#seqOf(group.id);",
    replace: "const seq = isNew ? highestSeq(this.#sql) + 1 : this.#seqOf(group.id);",
    profile: "ids in SQLite",
    by: "S5",
  },
  {
    name: "a filter that was given up is taken for one that has nothing",
    file: "workers/consumer/ledger-runs.ts",
    find: "        unread.set(number, [high, first]);",
    replace: "",
    profile: "ids in SQLite",
    by: "S5",
  },
];

export const mutants: readonly Mutant[] = [
  ...designed,
  ...feared,
  ...reported,
  ...harsh,
  ...evidence,
  ...ids,
  ...segments,
  ...trimmed,
  ...stored,
  ...unwritten,
];
