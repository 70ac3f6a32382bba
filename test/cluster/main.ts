/**
 * `npm run test:cluster`: what is promised of replicated tables, on replicas: those of the stand, started here, or any cluster:
 *
 *   npm run test:cluster -- --name NAME --shard 01 http://user:password@a:8123 http://user:password@b:8123
 *
 * NAME as in system.clusters, the shard as in its macro. Servers of a given cluster are not stopped, and the tests that
 * need it are skipped. Where nothing can be started it says why, and that nothing was tried.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { whyNoStand } from "./stand.ts";

const { values, positionals: urls } = parseArgs({
  allowPositionals: true,
  options: { name: { type: "string", default: "default" }, shard: { type: "string", default: "01" } },
});

if (urls.length === 1) {
  console.error("A cluster is given by the addresses of two of its replicas, not of one.");
  process.exit(2);
}
const why = urls.length === 0 ? whyNoStand() : "";
if (why === "") {
  const env = {
    ...process.env,
    HEADRACE_CLUSTER_URLS: urls.join(","),
    HEADRACE_CLUSTER_NAME: values.name,
    HEADRACE_CLUSTER_SHARD: values.shard,
  };
  const config = join(import.meta.dirname, "vitest.config.ts");
  const { status } = spawnSync("vitest", ["run", "--config", config], {
    stdio: "inherit",
    env: urls.length === 0 ? process.env : env,
  });
  process.exitCode = status ?? 1;
} else {
  console.log(`Skipped, replicas were not tried: ${why}`);
}
