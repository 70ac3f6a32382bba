/**
 * `npm run capture:wrangler`: what the project's real wrangler prints about an account, written to
 * test/fixtures/wrangler/. The API that it asks is account.ts, on loopback; the printing is wrangler's own. Run it when
 * wrangler is upgraded: test/core/deploy-present.test.ts reads the files.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { projectWrangler, wranglerAt } from "../../cli/deploy/wrangler.ts";
import { accountEnvironment, startAccount } from "./account.ts";

const folder = join(import.meta.dirname, "..", "fixtures", "wrangler");
const calls: Readonly<Record<string, readonly string[]>> = {
  "queues-info": ["queues", "info", "headrace-late"],
  "kv-namespace-list": ["kv", "namespace", "list"],
  "r2-bucket-list": ["r2", "bucket", "list"],
  "r2-lifecycle-list": ["r2", "bucket", "lifecycle", "list", "headrace-payloads"],
  "r2-notification-list": ["r2", "bucket", "notification", "list", "headrace-payloads"],
  "secret-list": ["secret", "list", "--name", "headrace-consumer"],
  "deployments-status": ["deployments", "status", "--name", "headrace-consumer", "--json"],
  "versions-view": ["versions", "view", "v2", "--name", "headrace-consumer", "--json"],
  "versions-list": ["versions", "list", "--name", "headrace-consumer", "--json"],
};

mkdirSync(folder, { recursive: true });
for (const [state, isEmpty] of [
  ["set-up", false],
  ["empty", true],
] as const) {
  const { server, url } = await startAccount(isEmpty);
  const wrangler = wranglerAt(projectWrangler(), tmpdir(), {
    ...process.env,
    ...accountEnvironment,
    CLOUDFLARE_API_BASE_URL: url,
  });
  for (const [name, argv] of Object.entries(calls)) {
    const { ok, out, text } = await wrangler({ argv });
    const clean = (ok ? out : text).replaceAll(/Logs were written to.*\n?/g, "").replaceAll(tmpdir(), "…");
    writeFileSync(join(folder, `${state}.${name}.txt`), clean);
    console.log(`${ok ? "ok " : "no "} ${state}: wrangler ${argv.join(" ")}`);
  }
  server.close();
}
