/**
 * The story of one run of the sender: read the flags, choose where to send, send with back-pressure, wait until
 * ClickHouse shows every accepted span once, and say so in one line. Its exit code is the whole result.
 */
import { randomUUID } from "node:crypto";
import { createClient } from "@clickhouse/client-web";
import { RandomIdGenerator } from "@opentelemetry/sdk-trace";
import { counted } from "../../shared/counted.ts";
import { type Arrival, awaitArrival, runAttribute } from "./await-arrival.ts";
import { checkConnection } from "./check-connection.ts";
import { createExporter } from "./create-exporter.ts";
import { exportBatches, messageIn, messageOf, type SendingState, statusOf } from "./export-batches.ts";
import { type Flags, helpText, parseFlags } from "./flags.ts";
import { generateSpans } from "./generate-spans.ts";
import { type LastRefusal, listenToRefusals } from "./last-refusal.ts";
import { createProgress, type ProgressSink, type ProgressView } from "./progress.ts";
import { listenToSdk } from "./sdk-diagnostics.ts";
import { chooseTarget, type Target } from "./target.ts";

/** What a run needs from the process that it runs in. */
export interface Context {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The text of a file, undefined when it is not there. */
  readonly readText: (path: string) => string | undefined;
  readonly out: { write(text: string): unknown };
  readonly progress: ProgressSink;
  /** Aborted at Ctrl-C. While sending it ends the sending, while waiting the waiting. */
  readonly interrupted: AbortSignal;
}

export type ExitCode = 0 | 1 | 2;

/** Requests under way at once: enough to keep a connection busy, few enough to hold memory flat. */
const requestsMax = 4;
/** Traces begin within the last minute: recent, and none in the future when a run is short. */
const windowMs = 60_000;

export async function sendSpans(context: Context): Promise<ExitCode> {
  const flags = parseFlags(context.argv);
  if (!flags.ok) {
    return complain(context, flags.refusal);
  }
  if (flags.value === "help") {
    context.out.write(helpText);
    return 0;
  }
  const devPath = `${context.env["HEADRACE_STATE"] ?? ".headrace"}/dev.json`;
  const target = chooseTarget({
    flags: flags.value,
    env: context.env,
    devPath,
    devText: context.readText(devPath),
  });
  if (!target.ok) {
    return complain(context, target.refusal);
  }
  const unreachable = await checkConnection(target.value.tracesUrl);
  if (unreachable !== undefined) {
    return complain(context, unreachable);
  }
  return sendAndWait(context, flags.value, target.value);
}

function complain(context: Context, sentence: string): ExitCode {
  context.progress.write(`send: ${sentence}\n`);
  return 2;
}

async function sendAndWait(context: Context, flags: Flags, target: Target): Promise<ExitCode> {
  const progress = createProgress(context.progress);
  const run = randomUUID();
  const begunMs = Date.now();
  const sinceMs = begunMs - windowMs;
  progress.note(
    `run ${run}: ${flags.spans} spans over ${flags.services} services, seed ${flags.seed}, to ${target.tracesUrl}`,
  );

  const refusals = listenToRefusals(target.tracesUrl);
  const { sent, traceId } = await send(context, flags, target, progress, run, sinceMs).finally(
    refusals.close,
  );
  const sendingMs = Date.now() - begunMs;
  explainShortfall(progress, sent, target, refusals.last());
  if (sent.acceptedSpans > 0 && traceId !== undefined && target.traceLink !== undefined) {
    progress.note(`one of its traces: ${target.traceLink(traceId)}`);
  }
  if (target.clickhouseUrl === undefined || sent.acceptedSpans === 0) {
    progress.end();
    context.out.write(`${acceptedText(sent)} (${seconds(sendingMs)} s)\n`);
    return flags.wait || shortfall(sent) > 0 ? 1 : 0;
  }

  const { arrival, waitedMs } = await waitFor(context, flags, target.clickhouseUrl, progress, run, {
    spans: sent.acceptedSpans,
    sinceMs,
  });
  progress.end();
  if (arrival.trouble !== undefined) {
    progress.note(`ClickHouse at ${withoutPassword(target.clickhouseUrl)}: ${arrival.trouble}`);
  }
  context.out.write(
    `${acceptedText(sent)}, arrived ${arrival.spans}, doubled ${arrival.doubled} (${seconds(sendingMs + waitedMs)} s)\n`,
  );
  const arrivedOnce = arrival.spans >= sent.acceptedSpans && arrival.doubled === 0;
  return arrivedOnce && shortfall(sent) === 0 ? 0 : 1;
}

/** Sends until all spans are sent, or Ctrl-C, or nothing can be accepted any more. `traceId`: of the first span. */
async function send(
  context: Context,
  flags: Flags,
  target: Target,
  progress: ProgressView,
  run: string,
  startMs: number,
): Promise<{ readonly sent: SendingState; readonly traceId: string | undefined }> {
  const sdk = listenToSdk((line) => progress.note(line));
  const exporter = createExporter({
    tracesUrl: target.tracesUrl,
    headers: target.headers,
    json: flags.json,
    compression: flags.compression,
    requestsMax,
  });
  const batches = generateSpans({
    spans: flags.spans,
    services: flags.services,
    seed: flags.seed,
    batchSpans: flags.batch,
    startMs,
    windowMs: windowMs - 5_000, // a trace takes up to a second: none ends in the future
    resource: { [runAttribute]: run },
    ids: new RandomIdGenerator(),
  });
  let traceId: string | undefined;
  const watched = (function* () {
    for (const batch of batches) {
      traceId ??= batch[0]?.spanContext().traceId;
      yield batch;
    }
  })();
  const show = (state: SendingState): void => {
    const retries = sdk.retries();
    progress.show(
      "accepted",
      state.acceptedSpans,
      flags.spans,
      retries === 0 ? "" : counted(retries, "retry", "retries"),
    );
  };
  try {
    const { end, state } = await exportBatches(watched, {
      exporter,
      takePartialSuccess: sdk.takePartialSuccess,
      requestsMax,
      stop: context.interrupted,
      onChange: show,
    });
    if (end === "stopped") {
      progress.note(`stopped: ${counted(state.acceptedSpans, "span was", "spans were")} accepted`);
    }
    if (end === "gave up") {
      progress.note("gave up sending");
    }
    return { sent: state, traceId };
  } finally {
    await exporter.shutdown();
    sdk.close();
  }
}

async function waitFor(
  context: Context,
  flags: Flags,
  clickhouseUrl: string,
  progress: ProgressView,
  run: string,
  awaited: { readonly spans: number; readonly sinceMs: number },
): Promise<{ readonly arrival: Arrival; readonly waitedMs: number }> {
  const client = createClient({ url: clickhouseUrl });
  // A Ctrl-C that ended the sending does not end the waiting as well; the next one does.
  const stop = context.interrupted.aborted ? new AbortController().signal : context.interrupted;
  try {
    return await awaitArrival({
      client,
      table: flags.table,
      run,
      ...awaited,
      deadlineMs: flags.deadlineSeconds * 1000,
      stop,
      onChange: (arrival) => {
        const doubled = arrival.doubled === 0 ? "" : `${arrival.doubled} doubled`;
        progress.show("arrived", arrival.spans, awaited.spans, arrival.trouble ?? doubled);
      },
    });
  } finally {
    await client.close();
  }
}

function acceptedText(sent: SendingState): string {
  return `accepted ${counted(sent.acceptedSpans, "span")} in ${counted(sent.requests, "request")}`;
}

function shortfall(sent: SendingState): number {
  return sent.rejectedSpans + sent.failedSpans;
}

/** Says why spans were not accepted, and what to do. */
function explainShortfall(
  progress: ProgressView,
  sent: SendingState,
  target: Target,
  refusal: LastRefusal | undefined,
): void {
  if (sent.rejectedSpans > 0) {
    progress.note(
      `rejected ${counted(sent.rejectedSpans, "span")} (partial success): ${sent.rejectedReason}`,
    );
  }
  if (sent.failure !== undefined) {
    progress.note(
      `failed ${counted(sent.failedSpans, "span")} in ${counted(sent.failedRequests, "request")}: ${explainFailure(sent.failure, target, refusal)}`,
    );
  }
}

function explainFailure(failure: Error, target: Target, refusal: LastRefusal | undefined): string {
  const status = statusOf(failure);
  const message = messageOf(failure);
  const said = message === "" ? "" : `: ${message}`;
  switch (status) {
    case undefined:
      return refusal === undefined
        ? `${failure.message === "" ? String(failure) : failure.message}, no answer`
        : explainRefusal(refusal);
    case 401:
    case 403:
      return `${status}, ${target.tracesUrl} refused ${target.keyText}${said}`;
    case 404:
    case 405:
    case 415:
      return `${status}, is ${target.tracesUrl} an OTLP/HTTP endpoint?${said}`;
    default:
      return `${status}${said}`;
  }
}

/** What exporters retry: why, when, and that one more try is not a mistake. */
function explainRefusal({ status, retryAfterSeconds, data }: LastRefusal): string {
  const message = messageIn(data);
  const when =
    retryAfterSeconds === undefined
      ? ""
      : ` It asks for a retry in ${retryAfterSeconds < 120 ? counted(retryAfterSeconds, "second") : `${Math.round(retryAfterSeconds / 60)} minutes`}, later than the exporter waits.`;
  return `${status}${message === "" ? "" : `: ${message}`}${when}`;
}

function withoutPassword(url: string): string {
  const { protocol, host } = new URL(url);
  return `${protocol}//${host}`;
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}
