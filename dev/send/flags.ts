/**
 * The command line of `npm run send`. Parsing is pure; a mistake is a refusal that says what to write instead.
 */
import { parseArgs } from "node:util";
import { nearestWord } from "../../shared/nearest-word.ts";
import { ok, type Result, refuse } from "../../shared/result.ts";

export interface Flags {
  readonly spans: number;
  readonly services: number;
  readonly seed: number;
  /** Spans in one request. */
  readonly batch: number;
  /** Body encoding: OTLP/JSON instead of protobuf. */
  readonly json: boolean;
  readonly compression: "gzip" | "none";
  /** Base URL; `/v1/traces` is appended. Undefined: from the environment or dev.json. */
  readonly endpoint: string | undefined;
  readonly key: string | undefined;
  readonly clickhouse: string | undefined;
  readonly table: string;
  /** Ask ClickHouse whether the spans arrived. */
  readonly wait: boolean;
  /** How long to wait for them after the last answer, in seconds. */
  readonly deadlineSeconds: number;
}

export const helpText = `Sends demo traces over OTLP/HTTP and waits until ClickHouse shows every span once.

Usage: npm run send -- [flags]

  --spans N               spans to send, exactly (default 1000)
  --services N            services they run through (default 5)
  --seed N                shapes to send; the same seed, the same shapes (default 1)
  --batch N               spans per request (default 512)
  --json                  OTLP/JSON instead of protobuf
  --compression gzip|none body compression (default gzip)
  --endpoint URL          where to send; /v1/traces is appended
  --key hr_…              API key
  --clickhouse URL        where to look for the spans
  --table NAME            table to look in (default otel_traces)
  --deadline SECONDS      how long to wait for them (default 60)
  --no-wait               do not look into ClickHouse
  --help                  this text

Without --endpoint it takes OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS, then what \`npm run dev\`
wrote into .headrace/dev.json (in the folder HEADRACE_STATE, where that is set).

Examples:
  npm run send                                          1000 spans to the local \`npm run dev\`
  npm run send -- --spans 100000 --services 20 --json   many spans, as JSON
  npm run send -- --endpoint https://ingest.example.com --key hr_… --no-wait
  npm run send -- --endpoint https://ingest.example.com --key hr_… --clickhouse https://user:password@ch.example.com:8443

Exit code: 0 all accepted spans arrived once and none was refused, 1 not so, 2 the command line or the set-up is wrong.
Ctrl-C stops sending and waits for what was accepted; a second one ends at once (130).
`;

/** Bounds of the numbers. The upper ones keep a typing mistake from running for hours. */
const numbers = {
  spans: { standard: 1_000, min: 1, max: 100_000_000 },
  services: { standard: 5, min: 1, max: 1_000 },
  seed: { standard: 1, min: 0, max: 2 ** 32 - 1 },
  batch: { standard: 512, min: 1, max: 100_000 },
  deadline: { standard: 60, min: 1, max: 86_400 },
} as const;
type NumberName = keyof typeof numbers;

const options = {
  spans: { type: "string" },
  services: { type: "string" },
  seed: { type: "string" },
  batch: { type: "string" },
  json: { type: "boolean" },
  compression: { type: "string" },
  endpoint: { type: "string" },
  key: { type: "string" },
  clickhouse: { type: "string" },
  table: { type: "string" },
  deadline: { type: "string" },
  "no-wait": { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;
type OptionName = keyof typeof options;
const optionNames = Object.keys(options);

function isOptionName(name: string): name is OptionName {
  return optionNames.includes(name);
}

/** The flags, `"help"` when it was asked for, or a sentence that says what is wrong. */
export function parseFlags(argv: readonly string[]): Result<Flags | "help", string> {
  const { tokens } = parseArgs({
    args: [...argv],
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const given = new Map<OptionName, string>();
  for (const token of tokens) {
    if (token.kind === "positional") {
      return refuse(`"${token.value}" is not a flag${suggestion(token.value)}`);
    }
    if (token.kind === "option") {
      if (!isOptionName(token.name)) {
        return refuse(`unknown flag ${token.rawName}${suggestion(token.name)}`);
      }
      const takesValue = options[token.name].type === "string";
      // `--key --json` would take "--json" for the key.
      const value = token.value?.startsWith("--") === true && !token.inlineValue ? undefined : token.value;
      if (takesValue && (value === undefined || value === "")) {
        return refuse(`${token.rawName} needs a value`);
      }
      if (!takesValue && value !== undefined) {
        return refuse(`${token.rawName} takes no value`);
      }
      if (given.has(token.name)) {
        return refuse(`${token.rawName} is given twice`);
      }
      given.set(token.name, value ?? "");
    }
  }
  return given.has("help") ? ok("help") : readFlags(given);
}

function readFlags(given: ReadonlyMap<OptionName, string>): Result<Flags, string> {
  const read: Record<NumberName, number> = { spans: 0, services: 0, seed: 0, batch: 0, deadline: 0 };
  for (const name of ["spans", "services", "seed", "batch", "deadline"] as const) {
    const { standard, min, max } = numbers[name];
    const text = given.get(name) ?? String(standard);
    const value = /^\d{1,15}$/.test(text) ? Number(text) : -1;
    if (value < min || value > max) {
      return refuse(`--${name} is a whole number from ${min} to ${max}, not "${text}"`);
    }
    read[name] = value;
  }
  const compression = given.get("compression") ?? "gzip";
  if (compression !== "gzip" && compression !== "none") {
    return refuse(`--compression is gzip or none, not "${compression}"`);
  }
  for (const name of ["endpoint", "clickhouse"] as const) {
    const text = given.get(name);
    if (text !== undefined && !isHttpUrl(text)) {
      return refuse(`--${name} is a URL that begins with http:// or https://, not "${text}"`);
    }
  }
  const table = given.get("table") ?? "otel_traces";
  if (!/^[A-Za-z_]\w*$/.test(table)) {
    return refuse(
      `--table is a table's name, not "${table}"; a database goes into --clickhouse as /database`,
    );
  }
  return ok({
    spans: read.spans,
    services: read.services,
    seed: read.seed,
    batch: read.batch,
    json: given.has("json"),
    compression,
    endpoint: given.get("endpoint"),
    key: given.get("key"),
    clickhouse: given.get("clickhouse"),
    table,
    wait: !given.has("no-wait"),
    deadlineSeconds: read.deadline,
  });
}

export function isHttpUrl(text: string): boolean {
  return /^https?:\/\//i.test(text) && URL.canParse(text);
}

/** `; did you mean --spans?` for the nearest flag, or a pointer to --help when none is near. */
function suggestion(name: string): string {
  const nearest = nearestWord(name.replace(/^-+/, ""), optionNames);
  return nearest === undefined ? "; --help lists the flags" : `; did you mean --${nearest}?`;
}
