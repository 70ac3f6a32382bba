/** Bundles one Worker of wrangler.toml into a single module, as `wrangler deploy` would. */
import { build } from "esbuild";

/** The JavaScript of the Worker whose entry file is `entry` (absolute path). Throws esbuild's error with the place. */
export async function bundleWorker(entry: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2024",
    platform: "browser",
    conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:*", "node:*"],
    logLevel: "silent",
  });
  const [output] = outputFiles;
  if (output === undefined) {
    throw new Error(`esbuild gave nothing for ${entry}`);
  }
  return output.text;
}
