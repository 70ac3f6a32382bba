/**
 * The child process that becomes ClickHouse. npm `chdb` installs ClickHouse as one library, whose exported
 * `chdb_query_cmdline(argc, argv)` is the whole of clickhouse-local; its SYSTEM START LISTEN HTTP opens ClickHouse's
 * own HTTP server. The call returns when the statement after it ends, and that statement reads standard input to its
 * end: so the server lives exactly as long as the pipe that its parent holds, whatever the parent dies of.
 *
 * Arguments: the library's path, the configuration's path, the data directory. The answer to a start that failed is on
 * standard error, written by ClickHouse.
 */
import { dirname, join } from "node:path";
import { Worker } from "node:worker_threads";
import { DataType, load, open } from "ffi-rs";
import { confine } from "./confine.ts";

const [library = "", configuration = "", directory = ""] = process.argv.slice(2);

const argv = [
  "clickhouse",
  "--config-file",
  configuration,
  "--log-level",
  "fatal",
  "--query",
  "SYSTEM START LISTEN HTTP; SELECT * FROM file('stdin', 'LineAsString', 'line String') FORMAT Null",
];

open({ library: "this process", path: "" });
open({ library: "clickhouse", path: library });
if (process.platform === "linux") {
  new Worker(join(import.meta.dirname, "give-pages-back.ts"), { workerData: library });
}
confine({
  library: "this process",
  folders: [directory],
  readable: [dirname(library), dirname(configuration)],
});
load({
  library: "clickhouse",
  funcName: "chdb_query_cmdline",
  retType: DataType.I64, // a pointer to a result that nobody reads: it is empty, and errors were printed
  paramsType: [DataType.I32, DataType.StringArray],
  paramsValue: [argv.length, argv],
});
// Not process.exit: the library's destructors have nothing to do for us, and may hang or crash.
load({
  library: "this process",
  funcName: "_exit",
  retType: DataType.Void,
  paramsType: [DataType.I32],
  paramsValue: [0],
});
