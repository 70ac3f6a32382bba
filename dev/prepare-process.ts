/** The process of `prepare-workers.ts`: its argument is the repository's root, its output the prepared Workers as JSON. */
import { join, resolve } from "node:path";
import { unstable_getMiniflareWorkerOptions } from "wrangler";
import { buildPage } from "./build-page.ts";
import { bundleWorker } from "./bundle.ts";
import type { Environment } from "./worker-names.ts";

const [root = ""] = process.argv.slice(2);

async function prepare(environment: Environment) {
  const { workerOptions, main } = unstable_getMiniflareWorkerOptions(
    join(root, "wrangler.toml"),
    environment,
  );
  const { modulesRules: _rules, rootPath: _rootPath, ...options } = workerOptions; // Miniflare 5 refuses both
  const entry = resolve(root, main ?? `workers/${environment}/worker.ts`);
  return { options, code: await bundleWorker(entry) };
}

const [ingress, consumer, console, standIns] = await Promise.all([
  prepare("ingress"),
  prepare("consumer"),
  prepare("console"),
  bundleWorker(join(root, "dev", "stand-ins", "worker.ts")).then((code) => ({ code })),
  buildPage(root),
]);
process.stdout.write(JSON.stringify({ ingress, consumer, console, standIns }), () => process.exit(0));
