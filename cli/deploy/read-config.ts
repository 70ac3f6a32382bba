/** Reads wrangler.toml as wrangler does. */
import { join, resolve } from "node:path";
import * as v from "valibot";
import { type RawConfig, rawConfigSchema } from "./stage-config.ts";

/** The repository's folder. */
export const root = resolve(import.meta.dirname, "..", "..");

export async function readRawConfig(): Promise<RawConfig> {
  const { experimental_readRawConfig } = await import("wrangler"); // a second to load: only where it is needed
  const { rawConfig } = experimental_readRawConfig({ config: join(root, "wrangler.toml") });
  return v.parse(rawConfigSchema, rawConfig);
}
