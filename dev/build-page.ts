/**
 * Builds the console's page from workers/console/page into dist/console, by esbuild in a few hundredths of a second:
 * `npm run dev` does it at each start, `npm run page` alone, `wrangler deploy` before it uploads (wrangler.toml).
 */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, extname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import * as v from "valibot";
import { openApi } from "./openapi.ts";

interface PageFile {
  /** Relative to dist/console, with `/`. */
  readonly path: string;
  readonly contents: Uint8Array;
}

/** The page's files. `root`: the repository's. Throws esbuild's error with the place. */
export async function bundlePage(root: string): Promise<readonly PageFile[]> {
  const source = join(root, "workers", "console", "page");
  const { outputFiles } = await build({
    entryPoints: [join(source, "main.tsx"), join(source, "style.css")],
    outdir: "assets",
    bundle: true,
    write: false,
    minify: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    jsx: "automatic",
    jsxImportSource: "preact",
    legalComments: "none",
    logLevel: "silent",
  });
  let html = readFileSync(join(source, "index.html"), "utf8");
  const files = outputFiles.map(({ path, contents }): PageFile => {
    const extension = extname(path);
    const name = extension === ".css" ? "style.css" : "main.tsx";
    const hash = createHash("sha256").update(contents).digest("hex").slice(0, 12);
    const to = `assets/console-${hash}${extension}`;
    html = html.replace(`"./${name}"`, `"/${to}"`);
    return { path: to, contents };
  });
  return [...files, { path: "index.html", contents: new TextEncoder().encode(html) }];
}

/** The API's description: a file beside the page, which the console serves to everyone who may call the API. */
function describeApi(root: string): PageFile {
  const { version } = v.parse(
    v.object({ version: v.string() }),
    JSON.parse(readFileSync(join(root, "package.json"), "utf8")),
  );
  return {
    path: "openapi.json",
    contents: new TextEncoder().encode(`${JSON.stringify(openApi(version))}\n`),
  };
}

/**
 * Brings dist/console up to date. A file that is as it should be is not touched, and one that is not is replaced at
 * once: pipelines that start at the same time read whole files.
 */
export async function buildPage(root: string): Promise<void> {
  const files = [...(await bundlePage(root)), describeApi(root)];
  const target = join(root, "dist", "console");
  for (const { path, contents } of files) {
    const to = join(target, path);
    if (!isSame(to, contents)) {
      mkdirSync(dirname(to), { recursive: true });
      const beside = join(root, "dist", `.${process.pid}-${path.replaceAll("/", "-")}`);
      writeFileSync(beside, contents);
      renameSync(beside, to);
    }
  }
  const wanted = new Set(files.map(({ path }) => join(target, path)));
  for (const entry of readdirSync(target, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() && !wanted.has(path)) {
      rmSync(path, { force: true });
    }
  }
}

function isSame(path: string, contents: Uint8Array): boolean {
  try {
    return readFileSync(path).equals(contents);
  } catch {
    return false; // absent
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  await buildPage(resolve(import.meta.dirname, ".."));
}
