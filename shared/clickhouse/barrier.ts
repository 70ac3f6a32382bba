/**
 * When a count of rows is evidence. One answer is not: a replica may lag, and another server than before may have given it.
 * Rows that an earlier INSERT stored are seen for certain only
 *
 * - by the one server of a plain table, if it is that table;
 * - by a replica that had everything before it counted. Its own word in the same statement comes too late: the parts that a
 *   count reads are chosen when the statement begins, and a fetch that ends in between makes it look complete. And one
 *   word before it may be a moment old: a server looks at its queue first and at ZooKeeper's log after that. So it must have
 *   said so twice before, to this very reading, and once more with the count;
 * - by ClickHouse Cloud, whose tables are read with `select_sequential_consistency`.
 *
 * Anything else is no evidence (decision 0014).
 */
import { kindOfTable, type TableWitness } from "./table-identity.ts";

/** What the statements of one reading have said so far. */
export interface Reading {
  /** The table that it is about; null until a statement has said which. */
  readonly table: string | null;
  /** Servers that said that they have everything, in the order in which they did. */
  readonly complete: readonly string[];
  /** Why the last statement was no evidence. */
  readonly reason: string;
}

/** `table`: the identity that the ledger knows, if it knows one. */
export function newReading(table: string | null): Reading {
  return { table, complete: [], reason: "" };
}

/** One statement more. `isEvidence`: if it counted, its count is. `witness` null: there was no such table. */
export function hear(
  reading: Reading,
  witness: TableWitness | null,
): { readonly reading: Reading; readonly isEvidence: boolean } {
  if (witness === null) {
    return {
      reading: { ...reading, reason: "the table is not there, or not replicated any more" },
      isEvidence: false,
    };
  }
  const { server, behind } = witness;
  const table = reading.table ?? witness.table;
  if (witness.table !== null && witness.table !== table) {
    return { reading: { ...reading, reason: otherTable(server, witness.table, table) }, isEvidence: false };
  }
  if (witness.table === null || behind !== "") {
    // Whatever it said before: it has to catch up first.
    const complete = reading.complete.filter((one) => one !== server);
    const reason = behind || `${server} does not say which table it has`;
    return { reading: { table, complete, reason }, isEvidence: false };
  }
  const before = reading.complete.filter((one) => one === server).length;
  const isEvidence = kindOfTable(table) !== "replicated" || before >= wordsNeeded;
  const reason = isEvidence ? "" : `${server} answered, and had not said before that it has everything`;
  return { reading: { table, complete: [...reading.complete, server], reason }, isEvidence };
}

const wordsNeeded = 2;

function otherTable(server: string, found: string, known: string | null): string {
  return `${server} has another table (${found}) than the one that is known (${known})`;
}

/** What one reading needs of whoever performs it. */
export interface ReadingSteps<Counted, Effect, Answer> {
  /** What the server says of itself. Null: there is no such table. `table`: the identity, as far as it is known. */
  look(table: string | null): IterableIterator<Effect, TableWitness | null, Answer>;
  count(table: string | null): IterableIterator<Effect, Counted, Answer>;
}

export type Read<Counted> =
  | { readonly kind: "evidence"; readonly counted: Counted }
  /** `reason`: what people are told, should it last. */
  | { readonly kind: "none"; readonly reason: string };

/**
 * Counts until a count is evidence, at most `statementsMax` statements long. Of replicas behind one address each statement may
 * reach another: of two in turns, the fifth is the third of its server.
 */
export function* readBehindBarrier<Counted extends { readonly witness: TableWitness | null }, Effect, Answer>(
  begun: Reading,
  { look, count }: ReadingSteps<Counted, Effect, Answer>,
): IterableIterator<Effect, Read<Counted>, Answer> {
  let reading = begun;
  for (let statements = 0; statements < statementsMax; statements++) {
    if (isReady(reading)) {
      const counted = yield* count(reading.table);
      const heard = hear(reading, counted.witness);
      if (heard.isEvidence) {
        return { kind: "evidence", counted };
      }
      ({ reading } = heard);
    } else {
      ({ reading } = hear(reading, yield* look(reading.table)));
    }
  }
  return { kind: "none", reason: reading.reason };
}

const statementsMax = 8;

/** Can the next statement be evidence? Only then it is worth a count. */
function isReady({ table, complete }: Reading): boolean {
  const kind = kindOfTable(table);
  if (kind !== "replicated") {
    return kind !== null;
  }
  return complete.some((server) => complete.filter((one) => one === server).length >= wordsNeeded);
}

/** What a look at the running queries says. */
export interface Processes {
  /** An INSERT that VERIFY must not look past was there. */
  readonly running: boolean;
  /** So many servers said what they run. */
  readonly servers: number;
  readonly witness: TableWitness | null;
}

/**
 * Why an INSERT of ours may run unseen; empty: none does. One can store rows only at the server of a plain table, and at a replica
 * that has a ZooKeeper session: where it has lost it, the commit waits for a new one, and `max_execution_time` ends the wait.
 */
export function whyUnseen(known: string | null, { servers, witness }: Processes): string {
  const { reading } = hear(newReading(known), witness);
  if (witness === null || (witness.table !== null && witness.table !== reading.table)) {
    return reading.reason;
  }
  if (kindOfTable(reading.table) !== "replicated") {
    return witness.table === null ? reading.reason : "";
  }
  if (witness.table === null || witness.replicas < 1) {
    return reading.reason;
  }
  return servers < witness.replicas
    ? `${servers} of ${witness.replicas} active replicas say what they run: CLICKHOUSE_CLUSTER must name a cluster of all of them`
    : "";
}
