/**
 * Seeded bugs: each is a change of the source, applied when the model is loaded, that a good suite must catch. A text
 * that is not found in its file any more, or more than once, fails loudly: the table follows the code.
 */
import type { Invariant } from "./invariants.ts";

export interface Mutant {
  readonly name: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** The profile that is tried first; all are tried in the end. */
  readonly profile: string;
  /** Where only one invariant may catch it. */
  readonly by?: Invariant;
}

export const mutants: readonly Mutant[] = [
  {
    name: "token by queue batch: each attempt has its own",
    file: "test/faults/world/consumer.ts",
    find: "yield* sendInsert(world, task,",
    replace:
      "yield* sendInsert(world, { ...task, group: (task.group.slice(4) + (1000 + task.attempt)) as any },",
    profile: "small faults",
  },
  {
    name: "counter token with ledger loss",
    file: "test/faults/world/ledger-shell.ts",
    find: "    this.state = new LedgerState();\n    this.#alarmAt = null;",
    replace: "    this.#drawn = 0;\n    this.state = new LedgerState();\n    this.#alarmAt = null;",
    profile: "losses",
  },
  {
    name: "token reused after forgetting: a token by content",
    file: "shared/ledger/make-group.ts",
    find: "    id: draft.drawToken(),",
    replace:
      '    id: ((payloads.reduce((hash, { key }) => [...key].reduce((h, c) => (Math.imul(h, 31) + c.charCodeAt(0)) >>> 0, hash), 7)).toString(16).padStart(32, "0") as any) ?? draft.drawToken(),',
    profile: "losses",
  },
  {
    name: "unknown always fast",
    file: "shared/ledger/claim.ts",
    find: "return !mayStoreAgain(cause) && arrival > draft.head.memSince + settings.clientRetryMs;",
    replace: "return !mayStoreAgain(cause);",
    profile: "losses",
  },
  {
    name: "fast path by ledger birth alone",
    file: "shared/ledger/claim.ts",
    find: "arrival > draft.head.memSince + settings.clientRetryMs",
    replace: "arrival > draft.head.birth",
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
    name: "no expiry check before the INSERT",
    file: "test/faults/world/consumer.ts",
    find: "if (now >= task.deadline) {",
    replace: "if (now >= task.deadline + 1e12) {",
    profile: "long inserts",
    by: "I6",
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
    find: "question(payloadOf(doorbell), draft.head.birth);",
    replace: "question(payloadOf(doorbell), 0);",
    profile: "long inserts",
  },
  {
    name: "receipt before insert: what is unknown is receipted",
    file: "shared/ledger/take-report.ts",
    find: '      later(draft, { ...transcoded, unclean: true }, now, settings);\n      break;\n    case "halted":',
    replace: '      close(draft, transcoded, transcoded.rows ?? [], now);\n      break;\n    case "halted":',
    profile: "small faults",
  },
  {
    name: "split of an unclean group",
    file: "shared/ledger/take-report.ts",
    find: "      if (group.unclean) {\n        // The rows",
    replace: "      if (group.unclean && draft.head.epoch < 0) {\n        // The rows",
    profile: "refusals",
  },
  {
    name: "split on the error code alone",
    file: "shared/ledger/take-report.ts",
    find: "const isAbsent = [...found.values()].every((rowsByDay) => sumOf(rowsByDay) === 0);",
    replace: "const isAbsent = found.size > 0;",
    profile: "refusals",
  },
  {
    name: "no count after an unclean 200",
    file: "shared/ledger/take-report.ts",
    find: "  if (group.unclean) {\n    const counting",
    replace: "  if (group.unclean && draft.head.epoch < 0) {\n    const counting",
    profile: "losses",
  },
  {
    name: "no alarm",
    file: "shared/ledger/machine.ts",
    find: "  return next === never ? undefined : next;",
    replace: "  return next === never ? undefined : undefined;",
    profile: "lossless",
  },
  {
    name: "DONE acked on reconcile",
    file: "shared/ledger/claim.ts",
    find: '    case "event":\n      return false;\n    case "reconcile":',
    replace: '    case "event":\n    case "reconcile":\n      return false;',
    profile: "losses",
  },
  {
    name: "dead over stored",
    file: "shared/outcome.ts",
    find: "  stored: 3,\n  duplicate: 2,\n  dead: 1,",
    replace: "  stored: 1,\n  duplicate: 2,\n  dead: 3,",
    profile: "refusals",
  },
  {
    name: "verify by receipts instead of rows",
    file: "shared/ledger/verify.ts",
    find: "if (expected.length === 0 || least >= 1) {",
    replace: "if (expected.length === 0 || least >= 1 || stored.length > 0) {",
    profile: "losses",
  },
  {
    name: "verify by payload instead of by day",
    file: "shared/ledger/verify.ts",
    find: "if (expected.length === 0 || least >= 1) {",
    replace: "if (expected.length === 0 || most >= 1) {",
    profile: "losses",
  },
  {
    name: "genesis while the first INSERT runs",
    file: "shared/ledger/head.ts",
    find: "facts.epoch === null && !facts.anyPayload && !facts.anyRow",
    replace: "!facts.anyRow",
    profile: "long inserts",
  },
  {
    name: "restore with waiting payloads",
    file: "shared/ledger/machine.ts",
    find: "  if (draft.waitingCount > 0) {\n    const payloads",
    replace: "  if (draft.waitingCount > 0 && draft.head.epoch < 0) {\n    const payloads",
    profile: "losses",
  },
  {
    name: "restored groups are inserted as they are",
    file: "shared/ledger/make-group.ts",
    find: "  if (group.epoch === epoch) {",
    replace: "  if (group.epoch === epoch || birth > 0) {",
    profile: "losses",
  },
  {
    name: "condemnation after one refusal",
    file: "shared/ledger/take-report.ts",
    find: "  const refusals = countRefusal(draft, group, now);\n  if (refusals.refusals < settings.refusalsMax) {",
    replace: "  const refusals = countRefusal(draft, group, now);\n  if (refusals.refusals < 1) {",
    profile: "refusals",
  },
  {
    name: "refusals count with nothing stored in between",
    file: "shared/ledger/take-report.ts",
    find: "const counts = refusals === 0 || draft.head.lastStoredInsertAt > lastRefusalAt;",
    replace: "const counts = true;",
    profile: "refusals",
  },
  {
    name: "ack before the claim persists",
    file: "test/faults/world/consumer.ts",
    find: "    rethrowBroken(error);\n    queue.retry(messages);",
    replace: "    rethrowBroken(error);\n    queue.ack(messages);",
    profile: "lossless",
    by: "I8",
  },
  {
    name: "a token is trusted for ever",
    file: "shared/ledger/hand-out.ts",
    find: "    if (!isTrusted(group, group.firstInsertAt, head.table, now)) {",
    replace: "    if (!isTrusted(group, group.firstInsertAt, head.table, now) && now < 0) {",
    profile: "crowded table",
  },
  {
    name: "another transcoder goes on with the token",
    file: "shared/ledger/hand-out.ts",
    find: "if (group.codecVersion !== null && group.codecVersion !== codecVersion) {",
    replace: "if (group.codecVersion !== null && group.codecVersion > codecVersion) {",
    profile: "small faults",
    by: "I5",
  },
  {
    name: "a retry of a retry is not remembered anew",
    file: "shared/ledger/claim.ts",
    find: "      } else if (minuteOfKey(doorbell.key) !== place.minute) {",
    replace: "      } else if (minuteOfKey(doorbell.key) !== place.minute && draft.head.epoch < 0) {",
    profile: "days",
  },
  {
    name: "no reconciler",
    file: "test/faults/world/reconciler.ts",
    find: "  if (unreceipted.length > 0) {",
    replace: "  if (unreceipted.length > 1e9) {",
    profile: "losses",
  },
  {
    name: "a duplicate counts without its owner",
    file: "shared/ledger/reconcile.ts",
    find: 'return outcome !== "duplicate" || outcomesOfId.some((other) => other !== "duplicate");',
    replace: "return outcome.length > 0 || outcomesOfId.length > 0;",
    profile: "losses",
  },
];
