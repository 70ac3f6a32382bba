/**
 * When a count of rows is evidence. One answer is not: a replica may lag, and another server than before may have given it.
 * Rows that an earlier INSERT stored are seen for certain only
 *
 * - by the one server of a plain table, if it is that table;
 * - by a replica that said before the count that it has everything. Its word with the count comes too late: the parts that a
 *   count reads are chosen when the statement begins, and a fetch that ends in between makes it look complete. And one
 *   word before it may be a moment old: a server looks at its queue first and at ZooKeeper's log after that. So it must have
 *   said so several times before (`wordsNeeded`), to this very reading; the count then says which server counted, and no more;
 * - by ClickHouse Cloud, whose tables are read with `select_sequential_consistency`.
 *
 * Anything else is not evidence (decision 0014).
 */
import { kindOfTable, type ServerWitness, type TableWitness } from "./table-identity.ts";

/** What the statements of one reading have said so far. */
export interface Reading {
  /** The table that it is about; null until a statement has said which. */
  readonly table: string | null;
  /** So many words of a replica go before its count. */
  readonly wordsNeeded: number;
  /** What servers said when they had everything, in the order in which they did. */
  readonly complete: readonly ServerWitness[];
  /** Why the last statement was not evidence. */
  readonly reason: string;
}

/**
 * Two where the INSERTs that matter have ended long ago. Three where one may have ended this moment: the first word may be
 * the answer to a question that somebody else's statement put before that.
 * One where too few rows decide nothing: rows that a replica of the table shows are there.
 */
export const wordsNeeded = { presence: 1, settled: 2, recent: 3 } as const;

/** `table`: the identity that the ledger knows, if it knows one. */
export function newReading(table: string | null, words: number): Reading {
  return { table, wordsNeeded: words, complete: [], reason: "" };
}

/** One statement more that said what its server has of the table. `witness` null: there was no such table. */
export function hear(reading: Reading, witness: TableWitness | null): Reading {
  if (witness === null) {
    return { ...reading, reason: "the table is not there, or not replicated any more" };
  }
  const { server, behind, upSeconds } = witness;
  const table = reading.table ?? witness.table;
  if (witness.table !== null && witness.table !== table) {
    return { ...reading, reason: otherTable(server, witness.table, table) };
  }
  if (witness.table === null || behind !== "") {
    // Whatever it said before: it has to catch up first.
    const complete = reading.complete.filter((one) => one.server !== server);
    const reason = behind || `${server} does not say which table it has`;
    return { ...reading, table, complete, reason };
  }
  return { ...reading, table, complete: [...reading.complete, { server, upSeconds }], reason: "" };
}

/** Is this count evidence? `witness`: of a table that is not replicated the `TableWitness` itself. */
function hearCount(
  reading: Reading,
  witness: ServerWitness | TableWitness | null,
): { readonly reading: Reading; readonly isEvidence: boolean } {
  if (kindOfTable(reading.table) !== "replicated") {
    const heard = hear(reading, witness !== null && "table" in witness ? witness : null);
    return { reading: heard, isEvidence: heard.reason === "" };
  }
  if (witness === null) {
    return { reading: hear(reading, null), isEvidence: false };
  }
  const { server, upSeconds } = witness;
  const words = reading.complete.filter((one) => one.server === server);
  if (words.some((one) => one.upSeconds > upSeconds)) {
    const complete = reading.complete.filter((one) => one.server !== server);
    return {
      reading: { ...reading, complete, reason: `${server} was started meanwhile` },
      isEvidence: false,
    };
  }
  return words.length >= reading.wordsNeeded
    ? { reading, isEvidence: true }
    : {
        reading: { ...reading, reason: `${server} counted, and had not said before that it has everything` },
        isEvidence: false,
      };
}

function otherTable(server: string, found: string, known: string | null): string {
  return `${server} has another table (${found}) than the one that is known (${known})`;
}

/** What one reading needs its performer to do. */
export interface ReadingSteps<Counted, Effect, Answer> {
  /** What the server says of itself. Null: there is no such table. `table`: the identity, as far as it is known. */
  look(table: string | null): IterableIterator<Effect, TableWitness | null, Answer>;
  count(table: string | null): IterableIterator<Effect, Counted, Answer>;
}

export type Read<Counted> =
  | { readonly kind: "evidence"; readonly counted: Counted }
  /** `reason`: reported to operators when this lasts. */
  | { readonly kind: "none"; readonly reason: string };

/**
 * Counts until a count is evidence, at most `statementsMax` statements long. Of replicas behind one address each statement may
 * reach another: of two in turns, the fifth is the third of its server.
 */
export function* readBehindBarrier<
  Counted extends { readonly witness: ServerWitness | TableWitness | null },
  Effect,
  Answer,
>(
  begun: Reading,
  { look, count }: ReadingSteps<Counted, Effect, Answer>,
): IterableIterator<Effect, Read<Counted>, Answer> {
  let reading = begun;
  for (let statements = 0; statements < statementsMax; statements++) {
    if (isReady(reading)) {
      const counted = yield* count(reading.table);
      const heard = hearCount(reading, counted.witness);
      if (heard.isEvidence) {
        return { kind: "evidence", counted };
      }
      ({ reading } = heard);
    } else {
      reading = hear(reading, yield* look(reading.table));
    }
  }
  return { kind: "none", reason: reading.reason };
}

const statementsMax = 10;

/** Can the next statement be evidence? Only then it is worth a count. */
function isReady({ table, complete, wordsNeeded: words }: Reading): boolean {
  const kind = kindOfTable(table);
  if (kind !== "replicated") {
    return kind !== null;
  }
  return complete.some(({ server }) => complete.filter((one) => one.server === server).length >= words);
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
  const reading = hear(newReading(known, wordsNeeded.settled), witness);
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
