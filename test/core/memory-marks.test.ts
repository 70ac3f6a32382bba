/** `npm run bench -- memory` looks at places of the bundles, by their text. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { consumerMarks, ingressMarks, ledgerMarks } from "../../bench/memory/marks.ts";
import { bundleWorker } from "../../dev/bundle.ts";

test.each([
  ["consumer", [...consumerMarks, ...ledgerMarks]],
  ["ingress", ingressMarks],
] as const)(
  "each place at which the %s's memory is measured is in its bundle once",
  async (worker, marks) => {
    const bundle = await bundleWorker(join(import.meta.dirname, `../../bench/memory/${worker}-worker.ts`));
    const times = marks.map(([text]) => [text, bundle.split(text).length - 1]);
    expect(times.filter(([, count]) => count !== 1)).toEqual([]);
  },
  60_000,
);
