/** Somebody who looks at traces waits ten seconds at most, also for a ClickHouse that takes connections and says nothing. */

import type { AddressInfo } from "node:net";
import { createServer, type Server } from "node:net";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { connectClickHouse } from "../../shared/clickhouse/connection.ts";
import { Refusal } from "../../workers/console/answer-request.ts";
import { failureText } from "../../workers/console/failure-text.ts";
import { traceHandlers } from "../../workers/console/trace-requests.ts";
import { nothingRemembered } from "../../workers/console/trace-search.ts";

let silent: Server;
beforeAll(async () => {
  silent = createServer((socket) => socket.on("error", () => {}).resume());
  await new Promise<void>((listening) => silent.listen(0, "127.0.0.1", listening));
});
afterAll(() => {
  vi.useRealTimers();
  silent.close();
});

const id = "ab".repeat(16);

test.each([
  ["a trace", "trace"],
  ["a span", "span"],
  ["a list", "list"],
  ["a histogram", "times"],
  ["values", "values"],
] as const)("%s is given up after 8 s, and who hangs is named", async (_, what) => {
  const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const clickHouse = connectClickHouse(
    {
      CLICKHOUSE_URL: url,
      CLICKHOUSE_USER: "console",
      CLICKHOUSE_DATABASE: "otel",
      CLICKHOUSE_TRACES_TABLE: "otel_traces",
    },
    undefined,
    fetch,
    "read_only",
  );
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
  const traces = traceHandlers(nothingRemembered());
  const ask = async (): Promise<unknown> => {
    switch (what) {
      case "trace":
        return await traces.trace(clickHouse, { traceId: id, tenant: null });
      case "span":
        return await traces.span(clickHouse, { traceId: id, tenant: null, span: "ab".repeat(8) });
      case "values":
        return await traces.values(clickHouse, { of: "service" }, Date.now());
      case "list":
      case "times":
        return await traces[what](clickHouse, {}, Date.now());
    }
  };
  let ended: unknown;
  const asked = ask().then(
    (answer) => (ended = answer instanceof Refusal ? answer.error : "an answer"),
    (error: unknown) => (ended = failureText(url, error)),
  );
  await vi.advanceTimersByTimeAsync(7900);
  expect(ended).toBeUndefined();
  await vi.advanceTimersByTimeAsync(200);
  await asked;
  expect(ended).toBe(
    `ClickHouse at ${new URL(url).host} does not answer (no answer within 8 s); what it would answer is not known now, and nothing is lost.`,
  );
  vi.useRealTimers();
});
