/**
 * The engine's connections as the HTTP face uses them: one a request, or one a session; a bound on statements at
 * once; and query ids. It promises that a connection is closed only when its statement has ended, and that
 * `KILL QUERY` finds a running statement by the id that the client gave it.
 */
import { type EngineAnswer, type EngineConnection, openConnection } from "./chdb.ts";
import { ClickHouseException } from "./exception.ts";
import { quote, type SessionRequest } from "./http-request.ts";

/**
 * Statements at once. Each holds a thread of libuv's pool while it runs, and so do file writes: the pool
 * (UV_THREADPOOL_SIZE, set by the parent) has more threads than this, so that bodies and KILL QUERY get through.
 */
const statementsAtOnceMax = 40;
export const threadPoolSize = 64;

/**
 * `system.processes` with the clients' query ids instead of the engine's. `engine_query_id` is kept for KILL QUERY.
 * A statement of ours that a client did not name shows the id that the answer carries.
 */
const processColumns = `SELECT * REPLACE (
  if(Settings['log_comment'] = '', query_id, Settings['log_comment']) AS query_id,
  if(Settings['log_comment'] = '', initial_query_id, Settings['log_comment']) AS initial_query_id,
  mapFilter((name, value) -> name != 'log_comment', Settings) AS Settings)`;
export const processesSubquery = `(${processColumns} FROM system.processes)`;
const processesWithEngineId = `(${processColumns}, system.processes.query_id AS engine_query_id FROM system.processes)`;

const killPollMs = 20;
const killSyncMs = 30_000;

export interface Connections {
  /** Runs `work` on a connection of its own, or on the session's. */
  use<T>(
    session: SessionRequest | undefined,
    queryId: string,
    work: (connection: EngineConnection) => Promise<T>,
  ): Promise<T>;
  /** KILL QUERY by a condition on `system.processes`. `TEST` only shows what would be killed. */
  kill(condition: string, mode: "SYNC" | "ASYNC" | "TEST", format: string): Promise<EngineAnswer>;
  /** Cancels what runs, waits for it to end, closes every connection. */
  close(): Promise<void>;
}

interface Session {
  readonly connection: EngineConnection;
  busy: boolean;
  timer: NodeJS.Timeout | undefined;
}

/** `first` keeps the engine open while no request runs. */
export function openConnections(directory: string, first: EngineConnection): Connections {
  const sessions = new Map<string, Session>();
  const running = new Set<string>();
  const waiting: (() => void)[] = [];
  let statements = 0;
  let idle: (() => void) | undefined;

  async function enter(): Promise<void> {
    if (statements >= statementsAtOnceMax) {
      await new Promise<void>((resolve) => waiting.push(resolve));
    } else {
      statements++;
    }
  }

  function leave(): void {
    const next = waiting.shift();
    if (next !== undefined) {
      next(); // its place goes to the next one
      return;
    }
    statements--;
    if (statements === 0) {
      idle?.();
    }
  }

  function takeSession(request: SessionRequest): Session {
    const known = sessions.get(request.id);
    if (known === undefined) {
      if (request.check) {
        throw new ClickHouseException(372, "SESSION_NOT_FOUND", `Session not found.`);
      }
      const session: Session = { connection: openConnection(directory), busy: true, timer: undefined };
      sessions.set(request.id, session);
      return session;
    }
    if (known.busy) {
      throw new ClickHouseException(
        373,
        "SESSION_IS_LOCKED",
        `Session ${request.id} is locked by a concurrent client.`,
      );
    }
    known.busy = true;
    clearTimeout(known.timer);
    return known;
  }

  function giveSession(request: SessionRequest, session: Session): void {
    session.busy = false;
    const end = (): void => {
      sessions.delete(request.id);
      session.connection.close();
    };
    if (request.close) {
      end();
    } else {
      session.timer = setTimeout(end, request.timeoutSeconds * 1000);
      session.timer.unref();
    }
  }

  async function killOnce(condition: string): Promise<readonly string[]> {
    const connection = openConnection(directory);
    try {
      const found = await connection.query(
        `SELECT engine_query_id FROM ${processesWithEngineId} WHERE (${condition}) AND is_cancelled = 0 FORMAT TSVRaw`,
        "TSVRaw",
      );
      const ids = new TextDecoder()
        .decode(found.bytes)
        .split("\n")
        .filter((id) => id !== "");
      if (ids.length > 0) {
        // Never SYNC: chdb's waits for an entry that leaves only with its connection, and would never return.
        await connection.query(`KILL QUERY WHERE query_id IN (${ids.map(quote).join(", ")}) ASYNC`, "Null");
      }
      return ids;
    } finally {
      connection.close();
    }
  }

  async function isRunning(engineIds: readonly string[]): Promise<boolean> {
    const connection = openConnection(directory);
    try {
      const found = await connection.query(
        `SELECT count() FROM system.processes WHERE query_id IN (${engineIds.map(quote).join(", ")})`,
        "TSVRaw",
      );
      return new TextDecoder().decode(found.bytes).trim() !== "0";
    } finally {
      connection.close();
    }
  }

  return {
    async use(session, queryId, work) {
      if (running.has(queryId)) {
        throw new ClickHouseException(
          216,
          "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING",
          `Query with id = ${queryId} is already running.`,
        );
      }
      running.add(queryId);
      await enter();
      try {
        if (session === undefined) {
          const connection = openConnection(directory);
          try {
            return await work(connection);
          } finally {
            connection.close();
          }
        }
        const taken = takeSession(session);
        try {
          return await work(taken.connection);
        } finally {
          giveSession(session, taken);
        }
      } finally {
        running.delete(queryId);
        leave();
      }
    },

    async kill(condition, mode, format) {
      const connection = openConnection(directory);
      try {
        const status = mode === "SYNC" ? "finished" : mode === "ASYNC" ? "waiting" : "";
        const answer = await connection.query(
          `SELECT '${status}' AS kill_status, query_id, user, query FROM ${processesSubquery} WHERE ${condition} FORMAT ${format}`,
          format,
        );
        if (mode === "TEST") {
          return answer;
        }
        const ids = await killOnce(condition);
        const deadline = performance.now() + killSyncMs;
        while (mode === "SYNC" && ids.length > 0 && (await isRunning(ids))) {
          if (performance.now() > deadline) {
            throw new ClickHouseException(
              159,
              "TIMEOUT_EXCEEDED",
              "The killed query has not ended in 30 seconds",
            );
          }
          await new Promise((resolve) => setTimeout(resolve, killPollMs));
        }
        return answer;
      } finally {
        connection.close();
      }
    },

    async close() {
      if (statements > 0) {
        const ended = new Promise<void>((resolve) => {
          idle = resolve;
        });
        // Every connection names its query, so this spares only what the kill itself runs.
        await killOnce("query_id != engine_query_id");
        await ended;
      }
      for (const session of sessions.values()) {
        clearTimeout(session.timer);
        session.connection.close();
      }
      sessions.clear();
      first.close();
    },
  };
}
