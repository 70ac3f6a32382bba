/** The sender against a small server: what arrives, what it says, and its exit code. */
import { spawn } from "node:child_process";
import process from "node:process";
import { afterEach, describe, expect, test } from "vitest";
import { sendSpans } from "../../dev/send/send-spans.ts";
import { type Behaviour, type OtlpReceiver, startReceiver } from "./otlp-receiver.ts";

const key = "hr_AbCdEfGhIjKlMnOpQrStUvWxYz012345";
const accept: Behaviour = () => ({ status: 200 });
let receiver: OtlpReceiver | undefined;

afterEach(async () => {
  await receiver?.close();
  receiver = undefined;
});

interface Run {
  readonly exitCode: number;
  readonly out: string;
  readonly progress: string;
}

/** One run against the receiver, with the dev.json that would name it. */
async function run(argv: string[], interrupted = new AbortController().signal): Promise<Run> {
  let out = "";
  let progress = "";
  const url = receiver?.url ?? "http://127.0.0.1:9";
  const exitCode = await sendSpans({
    argv,
    env: {},
    readText: () => JSON.stringify({ otlp: url, key, clickhouse: url }),
    out: { write: (text) => (out += text) },
    progress: { write: (text) => (progress += text) },
    interrupted,
  });
  return { exitCode, out, progress };
}

describe("the demo sender", () => {
  test.each([
    [["--compression", "gzip"], "application/x-protobuf", "gzip"],
    [["--compression", "none", "--no-wait"], "application/x-protobuf", undefined],
    [["--json", "--compression", "gzip", "--no-wait"], "application/json", "gzip"],
    [["--json", "--compression", "none", "--no-wait"], "application/json", undefined],
  ])("with %j delivers every span once and whole", async (argv, type, encoding) => {
    receiver = await startReceiver(accept);
    const { exitCode, out } = await run(["--spans", "1000", "--batch", "300", ...argv]);
    const arrived = argv.includes("--no-wait") ? "" : ", arrived 1000, doubled 0";
    expect(out).toMatch(new RegExp(`^accepted 1000 spans in 4 requests${arrived} \\(\\d+\\.\\d s\\)\n$`));
    expect(exitCode).toBe(0);
    const spans = receiver.requests.flatMap((request) => request.spans);
    expect(new Set(spans.map((span) => span.traceId + span.spanId)).size).toBe(1_000);
    expect(
      spans.every((span) => /^[0-9a-f]{32}$/.test(span.traceId) && /^[0-9a-f]{16}$/.test(span.spanId)),
    ).toBe(true);
    expect(spans.every((span) => span.resourceKeys.includes("headrace.demo.run"))).toBe(true);
    expect(spans.some((span) => span.attributeKeys.includes("db.query.text"))).toBe(true);
    expect(spans.some((span) => span.events > 0) && spans.some((span) => span.links > 0)).toBe(true);
    for (const { headers } of receiver.requests) {
      expect(headers["content-type"]).toBe(type);
      expect(headers["content-encoding"]).toBe(encoding);
      expect(headers.authorization).toBe(`Bearer ${key}`);
    }
  });

  test("keeps few requests under way, whatever the number of spans", async () => {
    receiver = await startReceiver(() => ({ status: 200, afterMs: 5 }));
    expect((await run(["--spans", "3000", "--batch", "50", "--no-wait"])).exitCode).toBe(0);
    expect(receiver.requests.length).toBe(60);
    expect(receiver.load.most).toBeLessThanOrEqual(4);
  });

  test("retries a 503 as the SDK does and counts the spans once", async () => {
    receiver = await startReceiver((index) =>
      index === 0 ? { status: 503, headers: { "retry-after": "1" } } : { status: 200 },
    );
    const { exitCode, out } = await run(["--spans", "100", "--no-wait"]);
    expect(receiver.requests.length).toBe(2);
    expect(out).toMatch(/^accepted 100 spans in 1 request /);
    expect(exitCode).toBe(0);
  });

  test.each([
    ["7200", "It asks for a retry in 120 minutes, later than the exporter waits."],
    ["60", "It asks for a retry in 60 seconds, later than the exporter waits."],
  ])("says what a retryable refusal says, and when it may be retried", async (after, when) => {
    const message = "Used 60 of its 60 spans of 2026-11.";
    const body = Uint8Array.from([0x08, 8, 0x12, message.length, ...Buffer.from(message)]);
    receiver = await startReceiver(() => ({ status: 429, headers: { "retry-after": after }, body }));
    const { exitCode, progress } = await run(["--spans", "100", "--no-wait"]);
    expect(progress).toContain(`failed 100 spans in 1 request: 429: ${message} ${when}`);
    expect(exitCode).toBe(1);
  });

  test("takes what a partial success refuses off the accepted spans, and fails", async () => {
    // ExportTraceServiceResponse { partial_success 1 { rejected_spans 1 = 3, error_message 2 = "clock" } }
    const body = Uint8Array.from([0x0a, 9, 0x08, 3, 0x12, 5, ...Buffer.from("clock")]);
    receiver = await startReceiver(() => ({ status: 200, body }));
    const { exitCode, out, progress } = await run(["--spans", "100", "--no-wait"]);
    expect(out).toContain("accepted 97 spans in 1 request");
    expect(progress).toContain("rejected 3 spans (partial success): clock");
    expect(exitCode).toBe(1);
  });

  test("reads a partial success in JSON, where the count is a string", async () => {
    const body = JSON.stringify({ partialSuccess: { rejectedSpans: "2", errorMessage: "ids" } });
    receiver = await startReceiver(() => ({ status: 200, body }));
    const { exitCode, out } = await run(["--spans", "100", "--json", "--no-wait"]);
    expect(out).toContain("accepted 98 spans in 1 request");
    expect(exitCode).toBe(1);
  });

  test.each([
    // The length is one byte, a printable "B"; then two bytes, the first of which is not UTF-8.
    ["The API key hr_AbCd… is mistyped: its form or checksum is wrong.", 66],
    [`no such key: make one with \`headrace keys create\`, ${"or ask who operates this. ".repeat(5)}`, 181],
  ])("stops at a 401 and says which key was refused, and what the server said", async (message, bytes) => {
    expect(Buffer.byteLength(message)).toBe(bytes);
    const length = bytes < 128 ? [bytes] : [(bytes & 127) | 128, bytes >>> 7];
    // google.rpc.Status { code 1 = 16, message 2 }
    const body = Uint8Array.from([0x08, 16, 0x12, ...length, ...Buffer.from(message)]);
    receiver = await startReceiver(() => ({ status: 401, body }));
    const { exitCode, out, progress } = await run(["--spans", "10000"]);
    expect(progress).toContain(
      `401, ${receiver.url}/v1/traces refused the key hr_AbCd…2345 (from .headrace/dev.json): ${message}`,
    );
    expect(receiver.requests.length).toBeLessThanOrEqual(4);
    expect(out).toMatch(/^accepted 0 spans in 0 requests/);
    expect(exitCode).toBe(1);
  });

  test("fails when a span is there twice", async () => {
    receiver = await startReceiver(accept, 2);
    const { exitCode, out } = await run(["--spans", "100"]);
    expect(out).toContain("accepted 100 spans in 1 request, arrived 100, doubled 100");
    expect(exitCode).toBe(1);
  });

  test("fails at its deadline when accepted spans do not arrive", async () => {
    receiver = await startReceiver(() => ({ status: 200, stored: false }));
    const { exitCode, out } = await run(["--spans", "100", "--deadline", "1"]);
    expect(out).toContain("accepted 100 spans in 1 request, arrived 0, doubled 0");
    expect(exitCode).toBe(1);
  });

  test("says that nothing listens, before it has made a span", async () => {
    const { exitCode, progress } = await run(["--spans", "100"]);
    expect(progress).toBe(
      "send: nothing listens at 127.0.0.1:9 (connection refused): is `npm run dev` running?\n",
    );
    expect(exitCode).toBe(2);
  });

  test("stops at Ctrl-C, waits for what was accepted and ends well", async () => {
    receiver = await startReceiver(() => ({ status: 200, afterMs: 20, storedAfterMs: 700 }));
    const argv = ["dev/send.ts", "--spans", "1000000", "--batch", "100", "--endpoint", receiver.url];
    const child = spawn(process.execPath, [...argv, "--key", key, "--clickhouse", receiver.url]);
    let out = "";
    child.stdout.on("data", (chunk) => {
      out += chunk;
    });
    while (receiver.requests.length < 8) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    child.kill("SIGINT");
    await new Promise((resolve) => setTimeout(resolve, 50));
    child.kill("SIGINT"); // as npm passes it on once more
    const exitCode = await new Promise((resolve) => child.once("close", resolve));
    const [, accepted, arrived] = /^accepted (\d+) spans .*, arrived (\d+), doubled 0 /.exec(out) ?? [];
    expect(Number(accepted)).toBeGreaterThanOrEqual(400);
    expect(Number(accepted)).toBe(receiver.requests.length * 100);
    expect(arrived).toBe(accepted);
    expect(exitCode).toBe(0);
  }, 20_000);
});
