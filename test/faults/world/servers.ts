/**
 * The servers behind ClickHouse's one address, and which of them answers a statement: replicas of the table, of which the second
 * may lag, or one server, beside which another may turn up that has a table of the same name and none of its rows.
 */
import type { ServerAnswer, TableAnswer } from "../../../shared/clickhouse/table-identity.ts";
import type { PayloadId } from "../../../shared/payload-key.ts";
import type { DayRows } from "../../../shared/receipt.ts";
import { TracesTable } from "./traces-table.ts";
import type { World } from "./world.ts";

/** The server that answers one statement. */
export interface Server {
  readonly table: TracesTable;
  readonly answer: TableAnswer;
  /** It shows nothing of what was committed after this. Null: it shows everything. */
  readonly asOf: number | null;
}

export class Servers {
  readonly #world: World;
  readonly #other: TracesTable;
  /** Raised when the table is dropped and created anew. */
  #incarnation = 1;
  /** Until then the second replica has nothing of what was committed after `#lagSince`. */
  lagUntil = 0;
  #lagSince = 0;
  /** Until then some statements reach the other table. */
  otherUntil = 0;
  /** In this lag it has taken entries of the log into its queue: from then on the queue shows it. */
  #hasTakenEntries = false;
  /** When the second replica was last asked what it has. */
  #askedAt = 0;

  constructor(world: World, window: number) {
    this.#world = world;
    this.#other = new TracesTable(window);
  }

  lag(since: number, until: number): void {
    this.#lagSince = since;
    this.lagUntil = until;
    this.#hasTakenEntries = false;
  }

  recreated(): void {
    this.#incarnation++;
  }

  /** The server that answers the next statement. `counts`: what it has is as it was when the statement began. */
  reach(counts = false): Server {
    const { profile, fate, clock, ledger } = this.#world;
    if (profile.isReplicated) {
      return fate.choices.oneOf(2) === 0 ? this.#replica("r1", null) : this.#second(counts);
    }
    // Which of two tables is meant, nobody can say who has seen neither.
    const isKnown = ledger.state.head?.table.identity != null;
    if (clock.now < this.otherUntil && isKnown && fate.choices.oneOf(2) === 1) {
      fate.count("another table answers");
      return { table: this.#other, answer: plain("two", String(this.#incarnation)), asOf: null };
    }
    return { table: this.#world.table, answer: plain("one", String(this.#incarnation)), asOf: null };
  }

  /** A server that does not know what the others run: one that has another table, or a replica that cannot ask them. */
  elsewhere(): Server {
    return this.#world.profile.isReplicated
      ? this.#replica("r2", null)
      : { table: this.#other, answer: plain("two", String(this.#incarnation)), asOf: null };
  }

  rows({ table, asOf }: Server, id: PayloadId): readonly DayRows[] {
    if (asOf !== null) {
      this.#world.fate.count("read is stale");
      return table.rowsAsOf(id, asOf);
    }
    return table === this.#world.table ? this.#world.showRows(id) : table.rowsByDay(id);
  }

  #second(counts: boolean): Server {
    const { fate, clock, table } = this.#world;
    const askedBefore = this.#askedAt;
    if (!counts) {
      this.#askedAt = clock.now;
    }
    const lagSince = this.#lagSince;
    if (clock.now >= this.lagUntil || !table.hasCommits(lagSince, clock.now)) {
      return this.#replica("r2", null);
    }
    const early = { ...this.#replica("r2", null), asOf: lagSince };
    if (counts) {
      if (fate.strikes("replica catches up in a count")) {
        // The parts that are counted were chosen before the last fetch ended.
        this.lagUntil = clock.now;
        return early;
      }
      return this.#replica("r2", lagSince);
    }
    const since = Math.max(askedBefore, clock.now - questionMs);
    if (!table.hasCommits(lagSince, since) && fate.strikes("replica gives an older answer")) {
      return early; // that of somebody else's question, put when nothing of this was there
    }
    if (!this.#hasTakenEntries && fate.strikes("replica speaks early")) {
      // It looked at its queue, took the log's entries into it, and then compared its place with the log's end.
      this.#hasTakenEntries = true;
      return early;
    }
    return this.#replica("r2", lagSince);
  }

  #replica(name: string, asOf: number | null): Server {
    const way = asOf === null ? null : this.#world.fate.choices.oneOf(4);
    const replica = {
      path: `/traces/${this.#incarnation}`,
      name,
      isReadonly: way === 2,
      isSessionExpired: way === 3,
      zookeeperException: "",
      activeReplicas: way === 3 ? 0 : 2,
      logBehind: way === 0 ? 1 : 0,
      insertsInQueue: way === 1 ? 1 : 0,
      logEnd: 0,
    };
    const answer = { ...process(name), uuid: "1", engine: "ReplicatedMergeTree", replica };
    return { table: this.#world.table, answer, asOf };
  }
}

/** What a server says of a replica takes two requests to ZooKeeper, each of at most 10 s. */
const questionMs = 20_000;

/** A database's tables have one uuid on all servers where they were made ON CLUSTER. */
function plain(host: string, uuid: string): TableAnswer {
  return { ...process(host), uuid, engine: "MergeTree", replica: null };
}

function process(host: string): ServerAnswer {
  return { host, serverUuid: host, port: 9000, upSeconds: 1 };
}
