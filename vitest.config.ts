/**
 * One project a ground truth: `core` plain Node, `engine` a real ClickHouse engine, `workers` workerd,
 * `faults` a world that breaks, `e2e` the whole pipeline with real exporters, `tidy` the house style.
 */
import { cloudflareTest } from "@cloudflare/vitest-pool-workers";
import { defineConfig } from "vitest/config";
import LongestFirst from "./test/longest-first.ts";

/**
 * The files of a project that one worker runs share its modules, and no file has a worker of its own: half of the CPU of `core` went into
 * starting workers and loading the same modules again. So no file may leave a global or a module's state changed.
 */
const isolate = false;

/** `expect.poll` ends when it holds: the second that vitest gives it is how long a busy machine may take for anything. */
const expect = { poll: { timeout: 15_000 } };

export default defineConfig({
  test: {
    maxWorkers: 3, // test files wait for servers a third of their time: two cores do three of them at once
    sequence: { sequencer: LongestFirst },
    silent: "passed-only", // what the Workers log is shown for failing tests only
    projects: [
      { test: { name: "tidy", include: ["test/tidy.test.ts"] } },
      // Nothing here waits; a machine that does something else besides does.
      {
        test: {
          name: "core",
          include: ["test/core/**/*.test.ts"],
          isolate,
          expect,
          testTimeout: 30_000,
          hookTimeout: 30_000,
        },
      },
      {
        plugins: [
          cloudflareTest({
            main: "./test/workers/ledger-entry.ts",
            miniflare: {
              compatibilityDate: "2026-11-02",
              compatibilityFlags: ["nodejs_compat"],
              durableObjects: {
                LEDGER: { className: "Ledger", useSQLite: true },
                METER: { className: "Meter", useSQLite: true },
              },
              kvNamespaces: ["KEYS"],
              queueProducers: {
                GROUP: "headrace-group",
                OUTCOMES: "headrace-outcomes",
                RING: "headrace-ring",
              },
              r2Buckets: { PAYLOADS: "headrace-payloads" },
              bindings: {
                CLICKHOUSE_URL: "https://clickhouse.invalid",
                CLICKHOUSE_USER: "default",
                CLICKHOUSE_DATABASE: "default",
                CLICKHOUSE_TRACES_TABLE: "otel_traces",
              },
            },
          }),
        ],
        test: {
          name: "workers",
          include: [
            "test/workers/*.test.ts",
            "test/workers/consumer/**/*.test.ts",
            "test/workers/console/**/*.test.ts",
          ],
          testTimeout: 60_000, // nothing here waits; a busy machine does
          hookTimeout: 60_000,
        },
      },
      {
        plugins: [cloudflareTest({ wrangler: { configPath: "./wrangler.toml", environment: "ingress" } })],
        test: {
          name: "workers-ingress",
          include: ["test/workers/ingress/**/*.test.ts"],
          testTimeout: 60_000, // megabytes of bodies on a busy machine
          hookTimeout: 60_000,
          globalSetup: ["test/workers/global.ts"],
        },
      },
      {
        test: {
          name: "engine",
          isolate,
          expect,
          include: ["test/engine/**/*.test.ts"],
          globalSetup: ["test/engine/global.ts"],
          // Beside tests of the pipeline, which go first.
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      { test: { name: "faults", include: ["test/faults/**/*.test.ts"], testTimeout: 300_000, isolate } },
      {
        test: {
          name: "e2e",
          isolate,
          expect,
          include: ["test/e2e/**/*.test.ts"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          // These files wait for deadlines more than half of their time. `npm test` runs them beside the others (test/run.ts), `vitest run`
          // behind them.
          maxWorkers: 3,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
