/** When a count is evidence (decision 0014): of one server's table, of replicas of which one lags, and of another table. */
import { describe, expect, test } from "vitest";
import {
  newReading,
  type Processes,
  type Read,
  readBehindBarrier,
  whyUnseen,
  wordsNeeded,
} from "../../shared/clickhouse/barrier.ts";
import {
  isElsewhereSql,
  kindOfTable,
  type ReplicaState,
  readAnswer,
  readServer,
  type ServerWitness,
  type TableAnswer,
  type TableWitness,
  witnessOf,
} from "../../shared/clickhouse/table-identity.ts";

const zero = "00000000-0000-0000-0000-000000000000";
const complete: ReplicaState = {
  path: "/t/01/traces",
  name: "r1",
  isReadonly: false,
  isSessionExpired: false,
  zookeeperException: "",
  activeReplicas: 2,
  logBehind: 0,
  insertsInQueue: 0,
  logEnd: 7,
};
const plainAnswer: TableAnswer = {
  host: "a",
  serverUuid: "s",
  port: 9000,
  upSeconds: 100,
  uuid: "u",
  engine: "MergeTree",
  replica: null,
};
const replica = (name: string, changed: Partial<ReplicaState> = {}, upSeconds = 100): TableWitness =>
  witnessOf({
    host: name,
    serverUuid: zero,
    port: 9000,
    upSeconds,
    uuid: "",
    engine: "ReplicatedMergeTree",
    replica: { ...complete, name, ...changed },
  });
const known = "replicated /t/01/traces";

/** A reading whose statements are answered by these servers in turn; what was sent, and what came of it. */
function read(
  table: string | null,
  answers: readonly (TableWitness | null)[],
  words: number = wordsNeeded.settled,
): {
  readonly sent: string;
  readonly read: Read<{ readonly witness: ServerWitness | TableWitness | null; readonly at: number }>;
} {
  const sent: string[] = [];
  const steps = readBehindBarrier<
    { readonly witness: ServerWitness | TableWitness | null; readonly at: number },
    string,
    TableWitness | null
  >(newReading(table, words), {
    *look() {
      return yield "look";
    },
    *count() {
      return { witness: ofCount(yield "count"), at: sent.length };
    },
  });
  let next = steps.next();
  while (next.done !== true) {
    const answer = answers[sent.length % answers.length] ?? null;
    sent.push(next.value);
    next = steps.next(answer);
  }
  return { sent: sent.join(" "), read: next.value };
}

/** A count of a replicated table says which server counted, and no more. */
function ofCount(witness: TableWitness | null): ServerWitness | TableWitness | null {
  return witness === null || witness.server.startsWith("a:")
    ? witness
    : { server: witness.server, upSeconds: witness.upSeconds };
}

describe("a table's identity", () => {
  test("of one server is the server's and the table's: ON CLUSTER gives the tables of all servers one uuid", () => {
    const one = witnessOf(plainAnswer);
    expect(one).toMatchObject({ table: "plain s u", behind: "" });
    expect(witnessOf({ ...plainAnswer, serverUuid: "other" }).table).not.toBe(one.table);
    expect(witnessOf({ ...plainAnswer, uuid: "other" }).table).not.toBe(one.table);
    expect(witnessOf({ ...plainAnswer, host: "renamed" }).table).toBe(one.table);
  });

  test("of replicas is their path, and each is a server of its own", () => {
    const [r1, r2] = [replica("r1"), replica("r2")];
    expect([r1.table, r2.table]).toEqual([known, known]);
    expect(r1.server).not.toBe(r2.server);
  });

  test("of Cloud is the table's, whichever of its servers answers", () => {
    const shared = witnessOf({ ...plainAnswer, engine: "SharedMergeTree" });
    expect(shared).toMatchObject({ table: "shared u", behind: "" });
  });

  test("is read from the server's own words, with and without a replica", () => {
    const server = ["h", zero, 9000, 5] as const;
    expect(readServer(server)).toEqual({ host: "h", serverUuid: zero, port: 9000, upSeconds: 5 });
    expect(readAnswer([...server, "u", "MergeTree"])).toMatchObject({
      port: 9000,
      upSeconds: 5,
      uuid: "u",
      engine: "MergeTree",
      replica: null,
    });
    const said = [...server, "", "ReplicatedMergeTree", "/t", "r2", 0, 1, "lost", 2, 3, 4, 9];
    expect(readAnswer(said).replica).toEqual({
      path: "/t",
      name: "r2",
      isReadonly: false,
      isSessionExpired: true,
      zookeeperException: "lost",
      activeReplicas: 2,
      logBehind: 3,
      insertsInQueue: 4,
      logEnd: 9,
    });
    expect(() => readAnswer([])).toThrow();
    expect(() => readAnswer(said.slice(0, -1))).toThrow();
  });

  test("is asserted by an INSERT with any characters in its path", () => {
    const settings = { url: "", user: "", password: "", database: "d", tracesTable: "t" };
    expect(isElsewhereSql(settings, "replicated /it's here")).toContain("'/it\\'s here'");
    expect(kindOfTable("nonsense")).toBeNull();
  });
});

describe("a count is evidence", () => {
  test("at once, of the one server that has the table", () => {
    expect(read("plain s u", [witnessOf(plainAnswer)])).toMatchObject({
      sent: "count",
      read: { kind: "evidence" },
    });
  });

  test("of a replica that said twice before that it has everything", () => {
    expect(read(known, [replica("r1")])).toMatchObject({
      sent: "look look count",
      read: { kind: "evidence" },
    });
  });

  test("where an INSERT may have ended this moment, of one that said so three times", () => {
    expect(read(known, [replica("r1")], wordsNeeded.recent)).toMatchObject({
      sent: "look look look count",
      read: { kind: "evidence" },
    });
  });

  test("of two replicas in turns, at the fifth statement; of three that are to say so three times, at the tenth", () => {
    expect(read(known, [replica("r1"), replica("r2")])).toMatchObject({
      sent: "look look look count count",
      read: { kind: "evidence" },
    });
    expect(read(known, [replica("r1"), replica("r2"), replica("r3")], wordsNeeded.recent)).toMatchObject({
      sent: "look look look look look look look count count count",
      read: { kind: "evidence" },
    });
  });

  test("of a ledger that knows no table: of the first that says which it is", () => {
    expect(read(null, [replica("r1")])).toMatchObject({
      sent: "look look count",
      read: { kind: "evidence" },
    });
    expect(read(null, [witnessOf(plainAnswer)])).toMatchObject({
      sent: "look count",
      read: { kind: "evidence" },
    });
  });
});

describe("a count is no evidence", () => {
  test.each([
    ["is read-only", { isReadonly: true }],
    ["has lost its ZooKeeper session", { isSessionExpired: true }],
    ["ZooKeeper session: Code: 999", { zookeeperException: "Code: 999" }],
    ["no active replica", { activeReplicas: 0 }],
    ["1 log entries not taken", { logBehind: 1 }],
    ["1 inserts in its queue", { insertsInQueue: 1 }],
  ] satisfies readonly (readonly [string, Partial<ReplicaState>])[])(
    "of a replica that %s",
    (why, changed) => {
      const { sent, read: came } = read(known, [replica("r1", changed)]);
      expect(came).toEqual({ kind: "none", reason: expect.stringContaining(why) });
      expect(sent).not.toContain("count");
    },
  );

  test("where the replica fell behind between its words: it has to say so twice again", () => {
    const lags = replica("r1", { insertsInQueue: 3 });
    expect(read(known, [replica("r1"), lags, replica("r1"), replica("r1"), replica("r1")])).toMatchObject({
      sent: "look look look look count",
      read: { kind: "evidence" },
    });
  });

  test("where its server was started anew since it spoke", () => {
    const [before, after] = [replica("r1", {}, 100), replica("r1", {}, 3)];
    expect(read(known, [before, before, after, after, after, after])).toMatchObject({
      sent: "look look count look look count",
      read: { kind: "evidence" },
    });
  });

  test("by another server's words", () => {
    const { sent } = read(known, [replica("r1"), replica("r1"), replica("r2"), replica("r1")]);
    expect(sent).toBe("look look count count");
  });

  test.each([
    ["of another server", witnessOf({ ...plainAnswer, serverUuid: "other" })],
    ["of a table created anew", witnessOf({ ...plainAnswer, uuid: "other" })],
    ["of a replica", replica("r1")],
    ["that is not there", null],
    ["that does not say which it is", { ...replica("r1"), table: null }],
  ])("of a table %s", (_what, witness) => {
    expect(read("plain s u", [witness]).read).toMatchObject({ kind: "none" });
  });
});

describe("an INSERT may run unseen", () => {
  const processes = (changed: Partial<Processes>): Processes => ({
    running: false,
    servers: 1,
    witness: replica("r1"),
    ...changed,
  });

  test("where another table's server was asked", () => {
    expect(whyUnseen("plain s u", processes({ witness: witnessOf(plainAnswer) }))).toBe("");
    const other = witnessOf({ ...plainAnswer, serverUuid: "other" });
    expect(whyUnseen("plain s u", processes({ witness: other }))).toContain("another table");
    expect(whyUnseen("plain s u", processes({ witness: null }))).toContain("not there");
  });

  test("at a replica that did not say what it runs, unless it has no ZooKeeper session", () => {
    expect(whyUnseen(known, processes({ servers: 1 }))).toContain("CLICKHOUSE_CLUSTER");
    expect(whyUnseen(known, processes({ servers: 2 }))).toBe("");
    expect(whyUnseen(known, processes({ servers: 1, witness: replica("r1", { activeReplicas: 1 }) }))).toBe(
      "",
    );
    const expired = replica("r1", { isSessionExpired: true, activeReplicas: 0 });
    expect(whyUnseen(known, processes({ servers: 1, witness: expired }))).toContain("session");
  });

  test("a replica that lags says what it runs all the same", () => {
    const lags = replica("r1", { insertsInQueue: 5 });
    expect(whyUnseen(known, processes({ servers: 2, witness: lags }))).toBe("");
  });
});
