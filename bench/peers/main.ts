/**
 * `npm run bench:peers`: our code, the OpenTelemetry Collector with its ClickHouse exporter, and Rotel, on one machine,
 * in one run, with the same seeded spans, before the same engine and tables. `-- code` or `-- whole` runs one
 * half, `-- whole Rotel` one system of it.
 * What cannot be run here is skipped, with the reason, and its goal reported as unmeasured. Method and results:
 * bench/README.md.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { migrateClickHouse } from "../../dev/clickhouse/migrate-clickhouse.ts";
import { startEngineSession } from "../engine-session.ts";
import { type CodeTable, measureBytes, measureCode } from "./code-table.ts";
import { collectorVersion, rotelVersion } from "./pinned.ts";
import { findSystems } from "./systems.ts";
import { measureWhole, type WholeRow } from "./whole-table.ts";

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => process.exit(1));
}

/** Goal: receiver and engine together at a third of the Collector's CPU, and below Rotel's, at their cheaper setting. */
function judgeCode({ rows }: CodeTable): Record<string, string> {
  const loads = [...new Set(rows.map(({ load }) => load))];
  // A tuned Collector is shown, and not what the goal is about.
  const cheapest = (load: string, peer: RegExp): number =>
    Math.min(
      ...rows
        .filter((row) => row.load === load && peer.test(row.system) && !row.system.endsWith(", tuned"))
        .map((row) => row.receiver + row.engine),
    );
  return Object.fromEntries(
    loads.map((load) => {
      const own = cheapest(load, /^Headrace/);
      const against = (peer: RegExp): string => {
        const theirs = cheapest(load, peer);
        return Number.isFinite(theirs) ? `${(theirs / own).toFixed(1)} times ours` : "unmeasured";
      };
      return [load, `Collector ${against(/^Collector/)} (goal 3), Rotel ${against(/^Rotel/)} (goal above 1)`];
    }),
  );
}

async function main(): Promise<void> {
  const [, , only, named = ""] = process.argv;
  const folder = mkdtempSync(join(tmpdir(), "headrace-peers-"));
  const { code, whole, skipped } = findSystems(folder);
  const engine = await startEngineSession();
  try {
    await migrateClickHouse({ url: engine.url });
    console.log(
      `${availableParallelism()} CPUs (${cpus()[0]?.model ?? "unknown"}), load ${loadavg()[0]?.toFixed(1)}; ` +
        `Node ${process.version}, ClickHouse ${await engine.text("SELECT version()")}, Collector ${collectorVersion}, Rotel ${rotelVersion}`,
    );
    for (const reason of skipped) {
      console.log(`skipped, its goals are unmeasured: ${reason}`);
    }
    let codeTable: CodeTable | undefined;
    if (only !== "whole") {
      console.log("\nCode against code");
      const measured = await measureCode(engine, code);
      codeTable = { ...measured, bytesASpan: await measureBytes(engine, code) };
      for (const { name } of code) {
        const bytes = codeTable.bytesASpan[name];
        console.log(
          `${name.padEnd(24)} | peak memory ${((codeTable.memory[name] ?? 0) / 1e6).toFixed(0)} MB` +
            (bytes === undefined ? "" : ` | ${bytes.toFixed(0)} bytes per span to ClickHouse`),
        );
      }
      for (const [load, judgement] of Object.entries(judgeCode(codeTable))) {
        console.log(`${load}: ${judgement}`);
      }
    }
    const wholeTable: WholeRow[] = [];
    if (only !== "code") {
      console.log("\nWhole systems");
      for (const system of whole.filter(({ name }) => name.startsWith(named))) {
        wholeTable.push(await measureWhole(engine, system));
      }
    }
    console.log(JSON.stringify({ skipped, code: codeTable, whole: wholeTable }));
  } finally {
    await engine.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();
