/**
 * The Chromium of this machine, headless, driven by playwright-core (which downloads none). Tests that need one are skipped
 * where there is none, and the reason is printed.
 */
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { type Browser, chromium, type LaunchOptions } from "playwright-core";
import { describe } from "vitest";

const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

function findChromium(): string | undefined {
  const chosen = process.env["HEADRACE_CHROMIUM"] ?? "";
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  const paths = names.flatMap((name) => folders.map((folder) => join(folder, name)));
  return chosen === "" ? paths.find((path) => existsSync(path)) : chosen;
}

const executablePath = findChromium();

/** `describe` for tests that start a Chromium. */
export const describeInChromium = executablePath === undefined ? describe.skip : describe;

if (executablePath === undefined) {
  // Not by console, which vitest keeps back for tests that did not fail.
  process.stderr.write(
    `Skipped, the tests in a browser: no ${names.join(", ")} in PATH, and HEADRACE_CHROMIUM names none.\n`,
  );
}

export async function startChromium(options: LaunchOptions = {}): Promise<Browser> {
  return await chromium.launch({
    ...(executablePath === undefined ? {} : { executablePath }),
    chromiumSandbox: process.getuid?.() !== 0, // which refuses to run as root
    ...options,
  });
}
