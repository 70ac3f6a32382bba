/**
 * `npm run compare:intake`: the same requests, good and faulty, are sent to the OpenTelemetry Collector's own OTLP receiver
 * and to our ingress in workerd; the differences are printed by class. docs/otlp-conformance.md lists each class with its
 * reason. `-- --write` keeps the Collector's answers as the fixture of test/workers/ingress/intake.test.ts.
 *
 * It needs Go the first time, to build the Collector; it says so and ends with 2 where there is none.
 */
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "miniflare";
import { benchKeyRecord } from "../../bench/bench-key.ts";
import { bundleWorker } from "../../dev/bundle.ts";
import { claimPort } from "../../dev/free-port.ts";
import { apiKeyName, formatApiKey } from "../../shared/api-key.ts";
import { cacheFolder, pinned, Skipped } from "../clients/build-client.ts";
import { collector } from "../clients/collector.ts";
import { bodyCases } from "./body-cases.ts";
import { compareAnswers, type IntakeAnswer } from "./compare-answers.ts";
import { itemCases } from "./item-cases.ts";
import type { IntakeCase } from "./requests.ts";
import { answerOf, countSpans } from "./send-case.ts";

const root = join(import.meta.dirname, "../..");
const startTimeoutMs = 30_000;

/** Takes what the Collector passes on, and counts it. */
async function startSink() {
  let spans = 0;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks);
      spans += countSpans(request.headers["content-encoding"] === "gzip" ? gunzipSync(body) : body);
      response.writeHead(200, { "content-type": "application/x-protobuf" }).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { port, taken: () => spans, stop: () => server.close() };
}

async function askCollector(cases: readonly IntakeCase[]): Promise<Map<string, IntakeAnswer>> {
  collector.prepare();
  const sink = await startSink();
  const port = await claimPort(0, "the Collector's port");
  mkdirSync(join(cacheFolder, "collector-run"), { recursive: true });
  const file = join(cacheFolder, "collector-run", "intake.yaml");
  // Without a queue the receiver answers when its exporter has been answered: then the sink has counted.
  writeFileSync(
    file,
    `
receivers: { otlp: { protocols: { http: { endpoint: "127.0.0.1:${port}", cors: { allowed_origins: ["*"] } } } } }
exporters: { otlp_http: { endpoint: "http://127.0.0.1:${sink.port}", sending_queue: { enabled: false } } }
service:
  telemetry: { metrics: { level: none } }
  pipelines: { traces: { receivers: [otlp], exporters: [otlp_http] } }
`,
  );
  const child = spawn(join(cacheFolder, "collector", "otelcol-headrace"), ["--config", file], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  try {
    for (const end = Date.now() + startTimeoutMs; !said.includes("Everything is ready"); ) {
      if (Date.now() > end || child.exitCode !== null) {
        throw new Error(`the Collector did not start:\n${said}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const answers = new Map<string, IntakeAnswer>();
    for (const one of cases) {
      const before = sink.taken();
      const answer = await answerOf(one, `http://127.0.0.1:${port}`, {}, fetch);
      answers.set(one.name, { ...answer, spans: sink.taken() - before });
    }
    return answers;
  } finally {
    child.kill("SIGINT");
    sink.stop();
  }
}

async function askHeadrace(cases: readonly IntakeCase[]): Promise<Map<string, IntakeAnswer>> {
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      modules: [
        {
          type: "ESModule",
          path: "ingress.js",
          contents: await bundleWorker(join(root, "workers/ingress/worker.ts")),
        },
      ],
      compatibilityDate: "2026-11-02",
      compatibilityFlags: ["nodejs_compat"],
      kvNamespaces: ["KEYS"],
      r2Buckets: ["PAYLOADS"],
      queueProducers: { OUTCOMES: "intake-outcomes", RING: "intake-ring" },
      bindings: { COLLECT: "off" },
      durableObjects: { METER: { className: "Meter", useSQLite: true } },
      ratelimits: { UNKNOWN_KEYS: { namespace_id: "1", simple: { limit: 100, period: 60 } } },
      log: new Log(LogLevel.NONE),
    }),
  );
  try {
    const url = await miniflare.ready;
    const keys = await miniflare.getKVNamespace("KEYS");
    const bucket = await miniflare.getR2Bucket("PAYLOADS");
    const key = formatApiKey(crypto.getRandomValues(new Uint8Array(52)));
    await keys.put(await apiKeyName(key), JSON.stringify(benchKeyRecord("intake")));
    const answers = new Map<string, IntakeAnswer>();
    for (const one of cases) {
      const answer = await answerOf(one, url.origin, { "x-api-key": key }, fetch);
      const { objects } = await bucket.list({ include: ["customMetadata"] });
      const spans = objects.reduce((sum, { customMetadata }) => sum + Number(customMetadata?.["spans"]), 0);
      await bucket.delete(objects.map((object) => object.key));
      answers.set(one.name, { ...answer, spans });
    }
    return answers;
  } finally {
    await miniflare.dispose();
  }
}

async function main(): Promise<number> {
  const cases = [...itemCases({ now: Date.now() }), ...bodyCases({ now: Date.now() })];
  const theirs = await askCollector(cases);
  const ours = await askHeadrace(cases);
  const version = pinned("collector/builder.yaml", /otlpreceiver v(.+)/);
  const { byClass, unexplained, noDifference } = compareAnswers(cases, theirs, ours);
  const differing = [...byClass.values()].reduce((sum, lines) => sum + lines.length, 0);
  console.log(
    `${cases.length} requests to the OTLP receiver ${version} and to Headrace: ${differing} meant differences`,
  );
  for (const [name, lines] of [...byClass].sort(([a], [b]) => (a < b ? -1 : 1))) {
    console.log(`\n${name} (${lines.length})`);
    for (const line of lines) {
      console.log(`  ${line}`);
    }
  }
  const documented = readFileSync(join(root, "docs/otlp-conformance.md"), "utf8");
  const undocumented = [...byClass.keys()].filter((name) => !documented.includes(`| \`${name}\``));
  const wrong = [
    ...unexplained.map((line) => `no class: ${line}`),
    ...noDifference.map((line) => `no difference any more: ${line}`),
    ...undocumented.map((name) => `not in docs/otlp-conformance.md: ${name}`),
  ];
  console.log(wrong.length === 0 ? "\nEach difference has its class." : `\n${wrong.join("\n")}`);
  if (process.argv.includes("--write")) {
    const folder = join(root, "test/fixtures/intake");
    mkdirSync(folder, { recursive: true });
    const kept = {
      receiver: version,
      date: new Date().toISOString().slice(0, 10),
      answers: Object.fromEntries(theirs),
    };
    writeFileSync(join(folder, "collector.json"), `${JSON.stringify(kept, null, 1)}\n`);
  }
  return wrong.length === 0 ? 0 : 1;
}

main().then(
  (code) => {
    process.exit(code);
  },
  (error: unknown) => {
    console.error(error instanceof Skipped ? `Not compared: ${error.message}` : error);
    process.exit(error instanceof Skipped ? 2 : 1);
  },
);
