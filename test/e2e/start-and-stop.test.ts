import { chmodSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, test } from "vitest";
import { readmeCommands } from "../readme-commands.ts";
import { isGroupGone, runDev, running, stateFolder } from "./dev-process.ts";
import { exportSpans, freshSpans, queryClickHouse } from "./local-pipeline.ts";

// They wait for each other's processes, and for deadlines: side by side they take a third of the time.
describe.concurrent("npm run dev", { timeout: 180_000 }, () => {
  const readme = readmeCommands();

  test.for([
    ["Ctrl-C, with the two commands of README,", "SIGINT", readme.start],
    ["SIGKILL of every process", "SIGKILL", ""],
  ] as const)(
    "%s in the middle of a send, and a new start: every span that was answered 200 is there once",
    async ([_name, signal, command], context) => {
      const { expect } = context;
      const folder = stateFolder(context);
      const first = runDev(context, { HEADRACE_STATE: folder }, { command });
      const before = await running(context, first, folder);

      const accepted: string[] = [];
      let sent = 0;
      const senders = Array.from({ length: 4 }, async () => {
        for (let i = 0; i < 20; i++) {
          const spans = freshSpans(50, 2);
          try {
            await exportSpans(before, spans);
          } catch {
            return; // the pipeline is gone: these spans were not answered 200
          }
          accepted.push(...spans.map((span) => span.spanContext().spanId));
          sent += 1;
          if (sent === 30) {
            first.signalAll(signal);
          }
        }
      });
      await Promise.all(senders);
      // A shell and npm, which stand before the pipeline, die of the Ctrl-C that it ends by.
      expect(await first.ended).toBe(signal);
      expect(accepted.length).toBeGreaterThanOrEqual(1500);
      await expect.poll(() => isGroupGone(first), { timeout: 15_000 }).toBe(true);

      const second = runDev(context, { HEADRACE_STATE: folder }, { command });
      const after = await running(context, second, folder);
      expect(after.key).toBe(before.key);
      const missing = async () => {
        const rows = new Set(
          (await queryClickHouse(after.clickhouse, "SELECT SpanId FROM otel_traces")).split("\n"),
        );
        return accepted.filter((id) => !rows.has(id)).length;
      };
      await expect.poll(missing, { timeout: 60_000, interval: 200 }).toBe(0);
      const [count, distinct] = (
        await queryClickHouse(after.clickhouse, "SELECT count(), uniqExact(TraceId, SpanId) FROM otel_traces")
      ).split("\t");
      expect(count).toBe(distinct);
      if (command !== "") {
        const sender = runDev(context, { HEADRACE_STATE: folder }, { command: readme.send });
        expect(await sender.ended, sender.output()).toBe(0);
        expect(sender.output()).toMatch(/one of its traces: http:\S+to=%2Ftraces%2F[0-9a-f]{32}\n/);
        expect(sender.output()).toMatch(/accepted 1000 spans in .* arrived 1000, doubled 0/);
        const firstSpans = /first spans of a service.*\/#\/traces\/[0-9a-f]{32}/;
        await expect.poll(second.output, { timeout: 10_000 }).toMatch(firstSpans);
      }
      second.signalAll("SIGINT");
      expect(await second.ended).toBe(command === "" ? 0 : "SIGINT");
      expect(second.output()).toContain("Nothing is left running");
    },
  );

  test("nothing outlives a parent that was killed with SIGKILL", async (context) => {
    const { expect } = context;
    const folder = stateFolder(context);
    // As if somebody had made them open to everybody.
    chmodSync(folder, 0o755);
    writeFileSync(join(folder, "dev.json"), "{}", { mode: 0o644 });
    const dev = runDev(context, { HEADRACE_STATE: folder });
    const { clickhouse } = await running(context, dev, folder);
    expect(dev.servers()).toHaveLength(1);
    expect(clickhouse).toMatch(/^http:\/\/headrace:[\w-]{32}@127\.0\.0\.1:\d+$/);
    expect(dev.output()).toContain(`curl '${clickhouse}' --data-binary`);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    for (const file of ["dev.json", "clickhouse-password"]) {
      expect(statSync(join(folder, file)).mode & 0o777).toBe(0o600);
    }
    // With a statement that runs: ClickHouse gives it some seconds before it ends.
    const runs = queryClickHouse(
      clickhouse,
      "SELECT sleepEachRow(1) FROM numbers(100) SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0",
    ).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 500));
    dev.child.kill("SIGKILL");
    await dev.ended;
    await expect.poll(() => isGroupGone(dev), { timeout: 15_000 }).toBe(true);
    await runs;
  });

  test("npm run clickhouse prints its address and a command with the login, and nothing outlives its SIGKILL", async (context) => {
    const { expect } = context;
    const folder = stateFolder(context);
    const dev = runDev(context, { HEADRACE_STATE: folder }, { script: "dev/clickhouse.ts" });
    const address = () => /answers at (\S+)\n/.exec(dev.output())?.[1] ?? "";
    await expect.poll(address, { timeout: 40_000, interval: 50 }).not.toBe("");
    expect(await queryClickHouse(address(), "SELECT count() FROM otel_traces")).toBe("0");
    await expect.poll(dev.output).toContain(`curl '${address()}' --data`);
    expect(dev.servers()).toHaveLength(1);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    dev.child.kill("SIGKILL");
    await dev.ended;
    await expect.poll(() => isGroupGone(dev), { timeout: 15_000 }).toBe(true);
  });

  describe("a start that cannot be says why, and ends", () => {
    test("a port that is taken", async (context) => {
      const { expect } = context;
      const server = createServer().listen(0, "127.0.0.1");
      context.onTestFinished(() => void server.close());
      await new Promise((resolve) => server.once("listening", resolve));
      const address = server.address();
      const port = String(typeof address === "object" ? address?.port : 0);
      for (const variable of ["HEADRACE_PORT", "HEADRACE_CONSOLE_PORT", "HEADRACE_CLICKHOUSE_PORT"]) {
        const dev = runDev(context, { HEADRACE_STATE: stateFolder(context), [variable]: port });
        expect(await dev.ended, variable).toBe(1);
        expect(dev.output()).toContain(port);
        expect(dev.output()).toContain(variable);
      }
    });

    test("a state folder that another pipeline uses", async (context) => {
      const { expect } = context;
      const folder = stateFolder(context);
      const first = runDev(context, { HEADRACE_STATE: folder });
      await running(context, first, folder);
      const second = runDev(context, { HEADRACE_STATE: folder });
      expect(await second.ended).toBe(1);
      expect(second.output()).toMatch(/is in use by another pipeline \(process \d+\).*HEADRACE_STATE/);
    });

    test("a setting that is none", async (context) => {
      const { expect } = context;
      const dev = runDev(context, { HEADRACE_STATE: stateFolder(context), HEADRACE_PORT: "http" });
      expect(await dev.ended).toBe(1);
      expect(dev.output()).toContain('HEADRACE_PORT="http" is not a port number');
    });

    test("a ClickHouse that does not answer", async (context) => {
      const { expect } = context;
      const dev = runDev(context, {
        HEADRACE_STATE: stateFolder(context),
        CLICKHOUSE_URL: "http://127.0.0.1:3", // no free port: those are given to others
      });
      expect(await dev.ended).toBe(1);
      expect(dev.output()).toContain("http://127.0.0.1:3");
    });
  });
});
