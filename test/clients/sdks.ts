/** The SDKs of JavaScript, Python, Go and Java, each set up by the variables of docs/clients.md and nothing else. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { exportSpans, freshSpans } from "../e2e/local-pipeline.ts";
import { buildOnce, cacheFolder, pinned, sourceFile, toolVersion } from "./build-client.ts";
import type { ClientMaker, Sending, Variant } from "./client.ts";

/** A client that hangs is a failure: the slowest, a JVM with two retries, needs about ten seconds on a busy machine. */
const sendTimeoutMs = 90_000;

const protobuf: readonly [Variant, Variant] = [
  { encoding: "protobuf", compression: "gzip" },
  { encoding: "protobuf", compression: "none" },
];

/** The lines of docs/clients.md, "The short form". */
function variables({ endpoint, key, run, encoding, compression }: Sending): Record<string, string> {
  return {
    OTEL_EXPORTER_OTLP_PROTOCOL: `http/${encoding}`,
    OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
    OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20${key}`,
    OTEL_EXPORTER_OTLP_COMPRESSION: compression,
    OTEL_TRACES_EXPORTER: "otlp",
    OTEL_METRICS_EXPORTER: "none",
    OTEL_LOGS_EXPORTER: "none",
    OTEL_SERVICE_NAME: "client-test",
    OTEL_RESOURCE_ATTRIBUTES: `test.run=${run}`,
  };
}

/** Resolves when the command exits with 0; rejects with what it said. */
function runCommand(command: string, args: readonly string[], sending: Sending): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...args, String(sending.spans)], {
      env: { ...process.env, ...variables(sending) },
      stdio: ["ignore", "ignore", "pipe"],
      timeout: sendTimeoutMs,
      killSignal: "SIGKILL",
    });
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => {
      said += chunk.toString();
    });
    child.on("error", reject);
    child.on("close", (code) =>
      code === 0 ? resolve() : reject(new Error(said.trim() || `exit status ${code}`)),
    );
  });
}

const javascript: ClientMaker = {
  name: "JavaScript",
  prepare() {
    const version = pinned("../../package.json", /exporter-trace-otlp-proto": "(.+)"/);
    return {
      name: "JavaScript",
      version: `exporter ${version}, Node ${process.versions.node}`,
      variants: [...protobuf, { encoding: "json", compression: "gzip" }],
      async send({ endpoint, key, run, spans, encoding, compression }) {
        const made = freshSpans(spans, 1, { "test.run": run });
        await exportSpans({ otlp: endpoint, key }, made, encoding, compression === "gzip" ? "gzip" : "none");
      },
    };
  },
};

const python: ClientMaker = {
  name: "Python",
  prepare() {
    const tool = toolVersion("python3", "--version");
    const folder = join(cacheFolder, "python");
    const inside = join(folder, "bin", "python");
    buildOnce(
      "python",
      [tool],
      [
        ["python3", "-m", "venv", "--clear", folder],
        [inside, "-m", "pip", "install", "--quiet", "--requirement", "requirements.txt"],
      ],
    );
    return {
      name: "Python",
      version: `${pinned("python/requirements.txt", /otlp-proto-http==(.+)/)}, ${tool}`,
      variants: protobuf,
      send: (sending) => runCommand(inside, [sourceFile("python/send.py")], sending),
    };
  },
};

const go: ClientMaker = {
  name: "Go",
  prepare() {
    const tool = toolVersion("go", "version").split(" ").slice(2, 3).join("");
    const binary = join(cacheFolder, "go-send");
    buildOnce("go", [tool], [["go", "build", "-o", binary, "."]]);
    return {
      name: "Go",
      version: `${pinned("go/go.mod", /otlptracehttp v(.+)/)}, ${tool}`,
      variants: protobuf,
      send: (sending) => runCommand(binary, [], sending),
    };
  },
};

const java: ClientMaker = {
  name: "Java",
  prepare() {
    const tool = /version "([^"]+)"/.exec(toolVersion("java", "-version"))?.[1] ?? "unknown";
    const folder = join(cacheFolder, "java");
    const maven = ["mvn", "--batch-mode", "--quiet", `-Dclients.build=${folder}`, "clean", "process-classes"];
    buildOnce("java", [`JDK ${tool}`, toolVersion("mvn", "--version")], [maven]);
    const path = `${join(folder, "classes")}:${join(folder, "lib")}/*`;
    return {
      name: "Java",
      version: `${pinned("java/pom.xml", /opentelemetry-bom<\/artifactId>\s*<version>([^<]+)/)}, JDK ${tool}`,
      variants: protobuf,
      send: (sending) => runCommand("java", ["-cp", path, "headrace.Send"], sending),
    };
  },
};

export const sdks: readonly ClientMaker[] = [javascript, python, go, java];
