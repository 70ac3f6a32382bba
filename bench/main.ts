/** `npm run bench -- NAME`: one benchmark by its name, or a part of it. Method and results: bench/README.md. */

import { benchAgainst } from "./against.ts";
import { benchCollect } from "./collect.ts";
import { benchCosts } from "./costs.ts";
import { benchExplore } from "./explore.ts";
import { benchGrowth } from "./growth.ts";
import { benchHostile } from "./hostile.ts";
import { benchIngress } from "./ingress.ts";
import { benchInsert } from "./insert.ts";
import { benchMemory } from "./memory.ts";
import { benchReceipts } from "./receipts.ts";
import { benchParts } from "./scale/parts.ts";
import { benchPipeline } from "./scale/pipeline.ts";
import { benchScale } from "./scale.ts";
import { benchTranscode } from "./transcode.ts";

const benchmarks: Readonly<Record<string, (...parts: string[]) => void | Promise<void>>> = {
  against: benchAgainst,
  ingress: benchIngress,
  collect: benchCollect,
  costs: benchCosts,
  explore: benchExplore,
  growth: benchGrowth,
  hostile: (words) => benchHostile(words),
  insert: benchInsert,
  parts: benchParts,
  pipeline: benchPipeline,
  receipts: benchReceipts,
  memory: benchMemory,
  scale: benchScale,
  transcode: benchTranscode,
};

const [name = "", ...parts] = process.argv.slice(2);
const benchmark = benchmarks[name];
if (benchmark === undefined) {
  console.error(`There is no benchmark "${name}". There are: ${Object.keys(benchmarks).join(", ")}.`);
  process.exitCode = 2;
} else {
  await benchmark(...parts);
}
