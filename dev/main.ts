/** `npm run dev`: starts the local pipeline, says how to use it, and stops it on Ctrl-C. */
import { stop as stopEsbuild } from "esbuild";
import { askConsole, watchDuplicates } from "./duplicates.ts";
import { startPipeline } from "./pipeline.ts";
import { CannotStart, readDevSettings } from "./settings.ts";
import type { DevFile } from "./state-folder.ts";

function greeting(file: DevFile): string {
  return `
Headrace is running.

  OTLP/HTTP    ${file.otlp}/v1/traces
  API key      ${file.key}
  ClickHouse   ${file.clickhouse}
  Console      ${file.console}/#token=${file.adminToken}&key=${file.key}

Point an exporter at it:

  export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf
  export OTEL_EXPORTER_OTLP_ENDPOINT=${file.otlp}
  export OTEL_EXPORTER_OTLP_HEADERS=x-api-key=${file.key}

or send a few spans with  npm run send  and look at them:

  curl '${file.clickhouse}' --data-binary "SELECT ServiceName, SpanName, Duration / 1e6 AS ms FROM otel_traces ORDER BY Timestamp DESC LIMIT 10 FORMAT PrettyCompact"

Ctrl-C stops everything; what was answered 200 is kept.
`;
}

/** One line of a Worker's log for the terminal; warnings and errors only. */
function printLog(level: string, message: string): void {
  if (level === "warn" || level === "error") {
    console.error(`[${level}] ${message}`);
  }
}

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Resolves at the first signal; later ones change nothing, so that an impatient second Ctrl-C does not cut the stop. */
function firstSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of signals) {
      // Miniflare listens too, and ends the process on the spot: what it stops is stopped in order below instead.
      process.removeAllListeners(signal);
      process.on(signal, () => resolve());
    }
  });
}

async function main(): Promise<void> {
  const settings = readDevSettings(process.env);
  console.log("Starting …");
  let duplicates: ReturnType<typeof watchDuplicates> | undefined;
  const pipeline = await startPipeline(settings, {
    onLog: (level, message) => {
      printLog(level, message);
      duplicates?.readLine(message);
    },
    doorbells: true,
    events: true,
    crons: true,
  });
  await stopEsbuild(); // its service holds 90 MB, and all is bundled
  duplicates = watchDuplicates(askConsole(pipeline.console, pipeline.adminToken), (text) =>
    console.error(`[duplicate] ${text}`),
  );
  console.log(greeting(pipeline));
  await firstSignal();
  console.log("\nStopping …");
  duplicates.stop();
  await pipeline.stop();
  console.log("Stopped. Nothing is left running.");
  process.exit(0);
}

try {
  await main();
} catch (error) {
  if (error instanceof CannotStart) {
    console.error(`\n${error.message}`);
  } else {
    console.error(error);
  }
  process.exit(1);
}
