import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { bundlePage } from "../../dev/build-page.ts";

test("the console's page is under 60 KB compressed, all of it", async () => {
  const files = await bundlePage(join(import.meta.dirname, "..", ".."));
  const bytes = files.reduce((sum, { contents }) => sum + gzipSync(contents).length, 0);
  expect(files.map(({ path }) => path.replace(/[0-9a-f]{12}/, "hash")).sort()).toEqual([
    "assets/console-hash.css",
    "assets/console-hash.js",
    "index.html",
  ]);
  expect(bytes).toBeLessThan(60_000);
  const [html] = files.filter(({ path }) => path === "index.html");
  const text = new TextDecoder().decode(html?.contents);
  for (const { path } of files.filter((file) => file !== html)) {
    expect(text, "the page names its files by their content").toContain(`"/${path}"`);
  }
  expect(text, "an inline script or style would need a hole in the policy").not.toMatch(
    /<style|<script>|style=/,
  );
});
