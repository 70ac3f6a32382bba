/**
 * `npm run test:mutants`: every seeded bug must be caught. Prints how many schedules each took; exits 1 if one
 * survives. `-- --only text` takes those whose name has the text.
 */
import { parseArgs } from "node:util";
import { type Mutant, mutants } from "./mutants.ts";
import type { ShareResult } from "./schedule-worker.ts";
import { bundleModel, runInThread } from "./threads.ts";

const { values } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    schedules: { type: "string", default: "20000" },
    threads: { type: "string", default: "2" },
  },
});
const schedulesMax = Number(values.schedules);

interface Verdict {
  readonly mutant: Mutant;
  readonly result: ShareResult;
}

async function tryMutant(mutant: Mutant): Promise<Verdict> {
  const bundle = await bundleModel(mutant);
  const share = { firstSeed: 1, stride: 1 };
  const first = await runInThread(bundle, {
    ...share,
    profiles: [mutant.profile],
    schedules: schedulesMax / 2,
  });
  if (first.failure !== null) {
    return { mutant, result: first };
  }
  const all = await runInThread(bundle, { ...share, profiles: [], schedules: schedulesMax / 2 });
  return { mutant, result: { ...all, schedules: first.schedules + all.schedules } };
}

const only = values.only.split(",");
const chosen = mutants.filter(({ name }) => only.some((text) => name.includes(text)));
const queue = [...chosen];
let survivors = 0;
let wrong = 0;

async function work(): Promise<void> {
  for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
    const { result } = await tryMutant(mutant);
    const { failure, schedules } = result;
    if (failure === null) {
      survivors++;
      console.log(`SURVIVED  ${String(schedules).padStart(6)} schedules  ${mutant.name}`);
    } else {
      const isWrong = mutant.by !== undefined && mutant.by !== failure.invariant;
      wrong += isWrong ? 1 : 0;
      const how = `${failure.invariant}, ${failure.profile}, seed ${failure.seed}`;
      console.log(
        `${isWrong ? "WRONGLY" : "caught  "}  ${String(schedules).padStart(6)} schedules  ${mutant.name} (${how})${isWrong ? `, expected ${mutant.by}: ${failure.message}` : ""}`,
      );
    }
  }
}

await Promise.all(Array.from({ length: Number(values.threads) }, work));
console.log(`\n${chosen.length - survivors} of ${chosen.length} mutants caught`);
process.exit(survivors + wrong === 0 ? 0 : 1);
