/**
 * The SDKs of JavaScript, Python, Go and Java, and programs and libraries that have one inside. Each is set up by the variables
 * of docs/clients.md, and by what that page says it needs besides.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { exportLines } from "../../shared/export-lines.ts";
import { exportSpans, freshSpans } from "../e2e/local-pipeline.ts";
import { buildOnce, cacheFolder, pinned, sourceFile, toolVersion } from "./build-client.ts";
import type { ClientMaker, Sending, Variant } from "./client.ts";

/** A client that hangs is a failure: the slowest, a JVM with two retries, needs about ten seconds on a busy machine. */
const sendTimeoutMs = 90_000;

const protobuf: readonly [Variant, Variant] = [
  { encoding: "protobuf", compression: "gzip" },
  { encoding: "protobuf", compression: "none" },
];

/**
 * Protobuf without compression: the lines that README, `npm run dev` and the console show, and no others. Otherwise those of
 * docs/clients.md, "The short form", with the other header. `test.run` is what the rows are found by.
 */
function variables({ endpoint, key, run, encoding, compression }: Sending): Record<string, string> {
  const resource = { OTEL_RESOURCE_ATTRIBUTES: `test.run=${run}` };
  if (encoding === "protobuf" && compression === "none") {
    const text = exportLines(endpoint, key).join(" ");
    const pairs = [...text.matchAll(/(OTEL_\w+)=(\S+)/g)].map(([, name = "", value = ""]) => [name, value]);
    return { ...Object.fromEntries(pairs), ...resource };
  }
  return {
    OTEL_EXPORTER_OTLP_PROTOCOL: `http/${encoding}`,
    OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
    OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20${key}`,
    ...(compression === "none" ? {} : { OTEL_EXPORTER_OTLP_COMPRESSION: compression }),
    OTEL_TRACES_EXPORTER: "otlp",
    OTEL_METRICS_EXPORTER: "none",
    OTEL_LOGS_EXPORTER: "none",
    OTEL_SERVICE_NAME: "client-test",
    ...resource,
  };
}

/** Resolves when the command exits with 0; rejects with what it said. */
function runCommand(
  command: string,
  args: readonly string[],
  sending: Sending,
  environment: Readonly<Record<string, string>> = {},
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      env: { ...process.env, ...variables(sending), ...environment },
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
      async send(sending) {
        const { endpoint, key, run, spans, encoding, compression } = sending;
        if (encoding === "protobuf") {
          const script = sourceFile("javascript/send-by-sdk.ts");
          return runCommand(process.execPath, [script, String(spans)], sending);
        }
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
      send: (sending) => runCommand(inside, [sourceFile("python/send.py"), String(sending.spans)], sending),
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
      send: (sending) => runCommand(binary, [String(sending.spans)], sending),
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
      send: (sending) => runCommand("java", ["-cp", path, "headrace.Send", String(sending.spans)], sending),
    };
  },
};

/** Installs the runtimes from npm; the path of one. */
function runtime(name: "bun" | "deno"): { readonly binary: string; readonly version: string } {
  const folder = join(cacheFolder, "runtimes");
  buildOnce(
    "runtimes",
    [`npm ${toolVersion("npm", "--version")}`],
    [
      ["mkdir", "-p", folder],
      ["cp", "package.json", folder],
      ["npm", "install", "--no-audit", "--no-fund", "--prefix", folder],
    ],
  );
  const binary = join(folder, "node_modules", ".bin", name);
  toolVersion(binary, "--version");
  return { binary, version: pinned("runtimes/package.json", new RegExp(`"${name}": "(.+)"`)) };
}

/** Its exporter is its own, and is not built for gzip: with `OTEL_EXPORTER_OTLP_COMPRESSION`, even `none`, it does not start. */
const deno: ClientMaker = {
  name: "Deno",
  prepare() {
    const { binary, version } = runtime("deno");
    const script = sourceFile("javascript/send-by-api.ts");
    return {
      name: "Deno",
      version,
      variants: [
        { encoding: "protobuf", compression: "none" },
        { encoding: "json", compression: "none" },
      ],
      triesAgain: false,
      send: (sending) =>
        runCommand(binary, ["run", "--allow-env", script, String(sending.spans)], sending, {
          OTEL_DENO: "true",
          DENO_DIR: join(cacheFolder, "deno"),
        }),
    };
  },
};

const bun: ClientMaker = {
  name: "Bun",
  prepare() {
    const { binary, version } = runtime("bun");
    const exporter = pinned("../../package.json", /exporter-trace-otlp-proto": "(.+)"/);
    const script = sourceFile("javascript/send-by-sdk.ts");
    return {
      name: "Bun",
      version: `exporter ${exporter}, Bun ${version}`,
      variants: protobuf,
      send: (sending) => runCommand(binary, ["run", script, String(sending.spans)], sending),
    };
  },
};

/** A library of Python that sends with the SDK inside it. */
function pythonLibrary(name: "logfire" | "langfuse"): ClientMaker {
  return {
    name,
    prepare() {
      const tool = toolVersion("python3", "--version");
      const folder = join(cacheFolder, "python-libraries");
      const inside = join(folder, "bin", "python");
      buildOnce(
        "python-libraries",
        [tool],
        [
          ["python3", "-m", "venv", "--clear", folder],
          [inside, "-m", "pip", "install", "--quiet", "--requirement", "requirements.txt"],
        ],
      );
      const version = pinned("python-libraries/requirements.txt", new RegExp(`${name}==(.+)`));
      const script = sourceFile(`python-libraries/send_${name}.py`);
      return {
        name,
        version: `${version}, ${tool}`,
        variants: protobuf,
        send: (sending) => runCommand(inside, [script, String(sending.spans)], sending),
      };
    },
  };
}

/** It reads the header and the compression from the variables; where to send, and what, from its flags. */
const telemetrygen: ClientMaker = {
  name: "telemetrygen",
  prepare() {
    const tool = toolVersion("go", "version").split(" ").slice(2, 3).join("");
    const module = pinned("telemetrygen/module.txt", /(.+)/);
    const folder = join(cacheFolder, "telemetrygen");
    buildOnce("telemetrygen", [tool], [["env", `GOBIN=${folder}`, "go", "install", module]]);
    return {
      name: "telemetrygen",
      version: module.split("@v").slice(1).join(""),
      variants: protobuf,
      send: (sending) => runCommand(join(folder, "telemetrygen"), telemetrygenFlags(sending), sending),
    };
  },
};

/** Each trace is of two spans. At its end it waits no longer than `--timeout`. */
function telemetrygenFlags({ endpoint, run, spans }: Sending): string[] {
  const to = [
    "--otlp-http",
    "--otlp-insecure",
    "--otlp-endpoint",
    new URL(endpoint).host,
    "--timeout",
    "60s",
  ];
  const what = ["--traces", String(spans / 2), "--rate", "0", "--batch-size", "512"];
  return ["traces", ...to, ...what, "--otlp-attributes", `test.run="${run}"`];
}

const libraries = [pythonLibrary("logfire"), pythonLibrary("langfuse")];

export const sdks: readonly ClientMaker[] = [
  javascript,
  deno,
  bun,
  python,
  ...libraries,
  go,
  telemetrygen,
  java,
];
