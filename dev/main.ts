/** `npm run dev`: starts the local pipeline, says how to use it, and stops it on Ctrl-C. */
import { isatty } from "node:tty";
import { pageLink, tracePagePath } from "../shared/console/page-routes.ts";
import { exportLines } from "../shared/export-lines.ts";
import { collapseLines } from "./collapse-lines.ts";
import { askConsole, watchDuplicates } from "./duplicates.ts";
import { askClickHouse, type FirstSpans, watchFirstSpans } from "./first-spans.ts";
import { startPipeline } from "./pipeline.ts";
import { firstSpansText, jsonLine, readableLine, refusedLine } from "./readable-log.ts";
import { refuseGrpc } from "./refuse-grpc.ts";
import { CannotStart, readDevSettings } from "./settings.ts";
import type { DevFile } from "./state-folder.ts";
import { openTerminal } from "./terminal.ts";

const out = openTerminal(1);
const err = openTerminal(2);

function greeting(file: DevFile): string {
  return `
Headrace is running.

  OTLP/HTTP    ${file.otlp}/v1/traces
  API key      ${file.key}
  ClickHouse   ${file.clickhouse}
  Console      ${file.console}/#token=${file.adminToken}&key=${file.key}

Point an exporter at it:

${exportLines(file.otlp, file.key)
  .map((line) => `  ${line}`)
  .join("\n")}

or send a few spans with  npm run send  and look at them:

  curl '${file.clickhouse}' --data-binary "SELECT ServiceName, SpanName, Duration / 1e6 AS ms FROM otel_traces ORDER BY Timestamp DESC LIMIT 10 FORMAT PrettyCompact"

Ctrl-C stops everything; what was answered 200 is kept.
`;
}

/** What is repeated is counted, on a terminal; a program that reads gets every line. */
const collapsed = collapseLines((text) => err.write(`${text}\n`));

/** One line of a Worker's log; warnings and errors only. */
function printLog(level: string, message: string): void {
  if (level !== "warn" && level !== "error") {
    return;
  }
  if (isatty(2)) {
    collapsed.add(readableLine(level, message));
  } else {
    err.write(`${jsonLine(level, message)}\n`);
  }
}

/** "It worked", once a service. The link signs in on a terminal only: what is piped may be kept. */
function printFirstSpans(file: DevFile, spans: FirstSpans): void {
  const path = tracePagePath(spans.trace);
  out.write(
    isatty(1)
      ? `${firstSpansText(spans, pageLink(file.console, path, { token: file.adminToken, key: "" }))}\n`
      : `${jsonLine("info", JSON.stringify({ message: "first spans of a service", ...spans, link: pageLink(file.console, path) }))}\n`,
  );
}

/** Answers gRPC exporters with what to set. When its port cannot be had, the pipeline starts without it. */
async function startGrpcRefusal(port: number, otlp: string): Promise<{ stop(): Promise<void> } | undefined> {
  const refusal = await refuseGrpc(port, otlp, (message) => {
    if (isatty(2)) {
      collapsed.add(refusedLine("gRPC", "grpc", message));
    } else {
      err.write(`${jsonLine("warn", JSON.stringify({ outcome: "unsupported", reason: "grpc", message }))}\n`);
    }
  });
  if (typeof refusal === "string") {
    printLog("warn", refusal);
    return undefined;
  }
  return refusal;
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

/** After so long everything has run once that a start needs. */
const settledMs = 3000;

/**
 * Miniflare's start leaves 25 MB that nothing ever collects, as an idle process allocates nothing. (`npm run dev` runs Node
 * with `--expose-gc`, and with the settings that make glibc return freed memory.) Several collections: compiled code has to age.
 */
function giveMemoryBack(): void {
  for (let i = 0; i < 8; i++) {
    globalThis.gc?.();
  }
}

async function main(): Promise<void> {
  const settings = readDevSettings(process.env);
  let duplicates: ReturnType<typeof watchDuplicates> | undefined;
  let firstSpans: ReturnType<typeof watchFirstSpans> | undefined;
  const pipeline = await startPipeline(settings, {
    onLog: (level, message) => {
      printLog(level, message);
      duplicates?.readLine(message);
      firstSpans?.readLine(message);
    },
    onStep: (step) => out.write(`${step} …\n`),
    doorbells: true,
    events: true,
    crons: true,
  });
  duplicates = watchDuplicates(askConsole(pipeline.console, pipeline.adminToken), (text) =>
    err.write(isatty(2) ? `duplicate: ${text}\n` : `${jsonLine("warn", text)}\n`),
  );
  firstSpans = watchFirstSpans(askClickHouse(pipeline.clickhouse), (spans) =>
    printFirstSpans(pipeline, spans),
  );
  const grpc = await startGrpcRefusal(settings.grpcPort, pipeline.otlp);
  out.write(greeting(pipeline));
  setTimeout(giveMemoryBack, settledMs).unref();
  await firstSignal();
  out.write("\nStopping …\n");
  duplicates.stop();
  firstSpans.stop();
  collapsed.stop();
  await grpc?.stop();
  await pipeline.stop();
  out.write("Stopped. Nothing is left running.\n");
}

async function end(code: number): Promise<never> {
  await Promise.all([out.flush(lastWordsMs), err.flush(lastWordsMs)]);
  process.exit(code);
}

/** So long may the last lines take to be read. */
const lastWordsMs = 1000;

try {
  await main();
} catch (error) {
  err.write(
    error instanceof CannotStart
      ? `\n${error.message}\n`
      : `${error instanceof Error ? error.stack : String(error)}\n`,
  );
  await end(1);
}
await end(0);
