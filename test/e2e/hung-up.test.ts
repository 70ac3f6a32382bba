/**
 * What many invocations of one isolate share (shared/byte-budget.ts) is not lost with any of them: uploads that break off,
 * connections on which nothing comes, and payloads of which few fit into the consumer at once. Good ones go on meanwhile.
 */
import { connect, type Socket } from "node:net";
import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { expect, test } from "vitest";
import { exportSpans, freshSpans } from "./local-pipeline.ts";
import { exchange, head } from "./raw-http.ts";
import { useLocalPipeline } from "./use-pipeline.ts";

const local = useLocalPipeline();

const headers = () => ({
  "x-api-key": local.pipeline.key,
  "content-type": "application/x-protobuf",
});

/** Exports spans of one run, which is answered 200. */
async function exportRun(run: string, spans = 3): Promise<void> {
  await exportSpans(local.pipeline, freshSpans(spans, 1, { "test.run": run }));
}

const stored = (runs: string) =>
  `SELECT count() FROM otel_traces WHERE ResourceAttributes['test.run'] LIKE '${runs}%'`;

test("six hundred uploads that break off leave an ingress that takes good ones", async () => {
  const part = new Uint8Array(200_000);
  for (let round = 0; round < 12; round++) {
    await Promise.all(
      Array.from({ length: 50 }, () =>
        exchange(local.pipeline.otlp, [head(headers(), 1_000_000), part], "rst", {
          pauseMs: 20,
          deadlineMs: 2000,
        }),
      ),
    );
    await exportRun("after-broken"); // the SDK's exporter tries again where it is answered 503
  }
  await local.eventually(stored("after-broken"), "36", 60_000);
}, 180_000);

test("five hundred connections on which nothing more comes keep no good request waiting", async () => {
  const { hostname, port } = new URL(local.pipeline.otlp);
  const sockets: Socket[] = [];
  try {
    for (let n = 0; n < 523; n++) {
      const socket = connect(Number(port), hostname);
      socket.on("error", () => undefined);
      socket.write(head(headers(), 100_000));
      socket.write(new Uint8Array(10));
      sockets.push(socket);
    }
    await Promise.all(Array.from({ length: 10 }, (_, n) => exportRun(`beside-idle-${n}`)));
    await local.eventually(stored("beside-idle"), "30", 60_000);
  } finally {
    for (const socket of sockets) {
      socket.destroy();
    }
  }
}, 180_000);

test("payloads of which two fit into the consumer at once, six of them, and small ones after them, are all stored", async () => {
  const wide = (run: string) =>
    ProtobufTraceSerializer.serializeRequest(
      freshSpans(700, 1, { "test.run": run, blob: "x".repeat(30_000) }),
    );
  const answers = await Promise.all(
    Array.from({ length: 6 }, async (_, n) => {
      const body = wide(`wide-${n}`);
      const response = await fetch(`${local.pipeline.otlp}/v1/traces`, {
        method: "POST",
        headers: headers(),
        body: new Uint8Array(body ?? []),
      });
      await response.body?.cancel();
      return response.status;
    }),
  );
  expect(answers).toEqual([200, 200, 200, 200, 200, 200]);
  await Promise.all(Array.from({ length: 5 }, (_, n) => exportRun(`small-${n}`)));
  await local.eventually(stored("wide"), String(6 * 700), 120_000);
  await local.eventually(stored("small"), "15", 60_000);
}, 240_000);
