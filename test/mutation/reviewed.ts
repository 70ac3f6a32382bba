/**
 * Mistakes that somebody who read the code feared, each one change of a file. `npm run test:mutants:generated -- --reviewed`
 * tries them as it tries generated ones: the related `core` tests, then the model. A text that does not stand in its file
 * exactly once fails loudly.
 */
export interface ReviewedMutant {
  readonly name: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export const reviewed: readonly ReviewedMutant[] = [
  {
    name: "an INSERT begins after its lease",
    file: "shared/delivery/insertion.ts",
    find: "if (!mayBegin(task, beginsAt)) {",
    replace: "if (beginsAt < 0) {",
  },
  {
    name: "a lost answer counts as a clean retry",
    file: "shared/delivery/insertion.ts",
    find: '{ kind: "unknown", reason: `no answer',
    replace: '{ kind: "retry", reason: `no answer',
  },
  {
    name: "written_rows is never compared",
    file: "shared/delivery/insertion.ts",
    find: "if (isFirstInsert && writtenRows !== undefined && writtenRows < rows) {",
    replace: "if (isFirstInsert && writtenRows !== undefined && writtenRows < 0) {",
  },
  {
    name: "VERIFY ends what runs and believes what it read all the same",
    file: "shared/delivery/evidence.ts",
    find: 'return { kind: "verified", running, oldestDay, payloads };',
    replace: 'return { kind: "verified", running: false, oldestDay, payloads };',
  },
  {
    name: "VERIFY does not look for what runs",
    file: "shared/delivery/evidence.ts",
    find: "  if (running) {",
    replace: "  if (running && task.payloads.length < 0) {",
  },
  {
    name: "an object is looked for under one key only",
    file: "shared/delivery/evidence.ts",
    find: "new Set([...stored, key, ...duplicateKeys, ...newest(receipts)])",
    replace: "new Set([key])",
  },
  {
    name: "an erasure deletes the objects before the rows",
    file: "shared/delivery/receipts.ts",
    find: '    yield* ask("eraseRows", ids);\n    for (const some of erasedTogether(erased, context.deleteKeysMax)) {\n      yield* ask("eraseObjects", some);\n    }\n',
    replace:
      '    for (const some of erasedTogether(erased, context.deleteKeysMax)) {\n      yield* ask("eraseObjects", some);\n    }\n    yield* ask("eraseRows", ids);\n',
  },
  {
    name: "rows are erased before anything says so",
    file: "shared/delivery/receipts.ts",
    find: '  if (receipts.length > 0) {\n    yield* ask("writeReceipts", { receipts, now });\n  }\n',
    replace: "",
  },
  {
    name: "a DELETE begins after its lease",
    file: "shared/delivery/clearing.ts",
    find: "if (!mayBegin(task, now())) {",
    replace: "if (now() < 0) {",
  },
  {
    name: "receipts are reported as written although that failed",
    file: "shared/delivery/group-work.ts",
    find: "    yield* writeReceipts(task, context);\n",
    replace: "    yield* orLeave(task, writeReceipts(task, context));\n",
  },
  {
    name: "the alarm is moved back",
    file: "shared/delivery/ledger-life.ts",
    find: "instance.armedAt <= at) {",
    replace: "instance.armedAt > at) {",
  },
  {
    name: "a ledger whose epoch was created by another takes itself for the first",
    file: "shared/delivery/ledger-life.ts",
    find: "facts: isFirst ? facts : { ...facts, anyPayload: true }",
    replace: "facts: isFirst ? facts : { ...facts }",
  },
  {
    name: "a restore does not write its epoch",
    file: "shared/delivery/ledger-life.ts",
    find: '    yield { do: "putEpoch", epoch };\n',
    replace: "",
  },
  {
    name: "the lease of a run is not given back",
    file: "shared/reconcile/run.ts",
    find: '    yield* attempt("endRun", lease.run);',
    replace: "    lease satisfies Lease;",
  },
  {
    name: "a minute with fewer receipts than keys is sealed",
    file: "shared/reconcile/walk-minutes.ts",
    find: "if (accepted < one.listed || (accepted === one.listed && checksum.toString() !== one.checksum)) {",
    replace: "if (accepted === one.listed && checksum.toString() !== one.checksum) {",
  },
  {
    name: "the fence of what a batch questions is that of the last",
    file: "shared/ledger/claim.ts",
    find: "questionedSince = Math.max(questionedSince, since);",
    replace: "questionedSince = since;",
  },
  {
    name: "payloads unreadable at the second INSERT are split off under no fence",
    file: "shared/ledger/take-insert.ts",
    find: "if (group.inserts > 1) {",
    replace: "if (group.inserts > 2) {",
  },
  {
    name: "a dropped partition does not end the trust",
    file: "shared/ledger/lease-task.ts",
    find: "return used >= 0 && used < windowBlocks / 2",
    replace: "return used < windowBlocks / 2",
  },
  {
    name: "an erasure of a live payload does not wait for the fence",
    file: "shared/ledger/machine.ts",
    find: "const fence = (group.lastInsertAt ?? group.made) + fenceMs(settings);",
    replace: "const fence = now;",
  },
  {
    name: "the audit looks at the first page of an hour only",
    file: "shared/reconcile/audit.ts",
    find: "    after = last ?? before;",
    replace: "    after = before;",
  },
  {
    name: "a payload is deleted whose receipt is a minute old",
    file: "shared/reconcile/evidence.ts",
    find: " || receipts.some(({ at }) => now - at < receiptAgeMs)",
    replace: " || receipts.some(({ at }) => now - at < receiptAgeMs - receiptAgeMs)",
  },
  {
    name: "a page is taken up behind its last key again",
    file: "shared/reconcile/listing.ts",
    find: "objects.findIndex(({ key }) => key > after);",
    replace: "objects.findIndex(({ key }) => key >= after);",
  },
  {
    name: "a dead run is taken over never",
    file: "shared/reconcile/lease.ts",
    find: "takesOver || state.lease === null || now >= state.lease.until",
    replace: "takesOver || state.lease === null || now < 0",
  },
  {
    name: "too many partitions is back-pressure",
    file: "shared/clickhouse/errors.ts",
    find: '/too many partitions/i.test(text) ? "refused" : "retry"',
    replace: '/too many partitions/i.test(text) ? "retry" : "retry"',
  },
  {
    name: "the first day of the TTL is one early",
    file: "shared/clickhouse/ttl.ts",
    find: "Math.floor((now - ttl.ms) / DAY_MS) - 31 * ttl.months - 1);",
    replace: "Math.floor((now - ttl.ms) / DAY_MS) - 31 * ttl.months + 9);",
  },
  {
    name: "messages are acknowledged before their payloads are the ledger's",
    file: "shared/delivery/batch.ts",
    find: '    tasks = yield* takeMessages([...messages.entries()]);\n    yield* ask("ackAll", null);\n',
    replace: '    yield* ask("ackAll", null);\n    tasks = yield* takeMessages([...messages.entries()]);\n',
  },
  {
    name: "what others acknowledged is not asked for",
    file: "shared/clickhouse/ask.ts",
    find: '  select_sequential_consistency: "1",\n',
    replace: "",
  },
];
