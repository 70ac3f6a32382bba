/**
 * The one place that touches chdb, the ClickHouse engine as a native Node add-on. It opens connections to one data
 * directory and runs statements off the main thread. It promises that no statement is rewritten here and that a
 * connection runs one statement at a time; what a statement means is left to the HTTP face.
 *
 * chdb's public API accepts text formats only and hides the loader behind its "exports" field, so the loader is
 * required by its path. Its own insert functions are not used: they end the data at the first empty line and run
 * what follows as SQL, whatever the format.
 */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import * as v from "valibot";

const nativeFunction = v.custom<(...values: readonly unknown[]) => unknown>(
  (value) => typeof value === "function",
  "not a function",
);
const nativeSchema = v.object({
  CreateConnection: nativeFunction,
  CloseConnection: nativeFunction,
  QueryAsyncConnection: nativeFunction,
});
const answerSchema = v.object({
  bytes: v.instance(Uint8Array),
  elapsed: v.number(),
  rowsRead: v.number(),
  bytesRead: v.number(),
});

/** What the engine says after a statement. `rowsRead` of an INSERT from a file is the number of rows in the file. */
export interface EngineAnswer {
  readonly bytes: Uint8Array;
  readonly elapsedSeconds: number;
  readonly rowsRead: number;
  readonly bytesRead: number;
}

export interface EngineConnection {
  /**
   * Runs one statement; `format` holds where the statement has no FORMAT clause. Rejects with an Error whose message
   * is ClickHouse's own ("Code: 60. DB::Exception: ...").
   */
  query(sql: string, format: string): Promise<EngineAnswer>;
  /** Ends the connection with its settings and temporary tables. Only when no statement is running. */
  close(): void;
}

/**
 * Opens a connection to `directory`. The first one of a process takes the directory's lock (it throws "Code: 76"
 * where another process holds it) and takes 0.4-1.1 s; later ones take 0.1-0.9 ms. All must be closed before the
 * process exits, or it dies with SIGSEGV.
 */
export function openConnection(directory: string): EngineConnection {
  const native = loadNative();
  const handle = native.CreateConnection(directory);
  return {
    async query(sql, format) {
      const answer = v.parse(answerSchema, await native.QueryAsyncConnection(handle, sql, format));
      return {
        bytes: answer.bytes,
        elapsedSeconds: answer.elapsed,
        rowsRead: answer.rowsRead,
        bytesRead: answer.bytesRead,
      };
    },
    close() {
      native.CloseConnection(handle);
    },
  };
}

let loaded: v.InferOutput<typeof nativeSchema> | undefined;

function loadNative(): v.InferOutput<typeof nativeSchema> {
  if (loaded === undefined) {
    const require = createRequire(import.meta.url);
    const loader: unknown = require(join(dirname(require.resolve("chdb/package.json")), "dist/loader.js"));
    loaded = v.parse(nativeSchema, v.parse(v.object({ loadNative: nativeFunction }), loader).loadNative());
  }
  return loaded;
}
