/**
 * `npm run test:mutants`: every seeded bug must be caught. Prints how many schedules each took; exits 1 if one
 * survives. All of them take an hour of CPU, and those that are `open` a half of it. `-- --only a,b` takes those whose name has one of these
 * texts, `--from 50 --to 99` those of the list from one number to another, `--closed` those that are not `open`.
 */
import { parseArgs } from "node:util";
import { type Mutant, mutants } from "./mutants.ts";
import type { Failure, Share, ShareResult } from "./schedule-worker.ts";
import { bundleModel, runInThread } from "./threads.ts";

const { values } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    schedules: { type: "string", default: "20000" },
    threads: { type: "string", default: "2" },
    from: { type: "string", default: "1" },
    to: { type: "string", default: String(mutants.length) },
    closed: { type: "boolean", default: false },
  },
});
const schedulesMax = Number(values.schedules);

interface Verdict {
  readonly mutant: Mutant;
  readonly schedules: number;
  readonly failure: Failure | null;
}

/** The profile that is named, then every small world, then all profiles. */
async function tryMutant(mutant: Mutant): Promise<Verdict> {
  const bundle = await bundleModel(mutant);
  const seeds = { kind: "seeds", firstSeed: 1, stride: 1, schedules: schedulesMax / 2 } as const;
  const shares: readonly Share[] = [
    { ...seeds, profiles: [mutant.profile] },
    { kind: "every", worlds: [], schedules: schedulesMax },
    { ...seeds, profiles: [] },
  ];
  let schedules = 0;
  let result: ShareResult | null = null;
  for (const share of shares) {
    result = await runInThread(bundle, share);
    schedules += result.schedules;
    if (result.failure !== null) {
      break;
    }
  }
  return { mutant, schedules, failure: result?.failure ?? null };
}

/** Does the schedule that caught a mutant pass without it? Else it caught nothing. */
async function passesUnchanged({ seed, profile }: Failure): Promise<boolean> {
  if (seed === null) {
    return true; // every schedule of the small worlds passes: test/faults/model.test.ts
  }
  unchanged ??= bundleModel();
  const share = { kind: "seeds", profiles: [profile], firstSeed: seed, stride: 1, schedules: 1 } as const;
  return (await runInThread(await unchanged, share)).failure === null;
}

let unchanged: Promise<string> | undefined;

const only = values.only.split(",");
const chosen = mutants
  .slice(Number(values.from) - 1, Number(values.to))
  .filter(
    ({ name, open }) => only.some((text) => name.includes(text)) && !(values.closed && open !== undefined),
  );
const queue = [...chosen];
let survivors = 0;
let open = 0;
let wrong = 0;

async function work(): Promise<void> {
  for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
    const { failure, schedules } = await tryMutant(mutant);
    const count = `${String(schedules).padStart(6)} schedules`;
    if (failure === null) {
      survivors += mutant.open === undefined ? 1 : 0;
      open += mutant.open === undefined ? 0 : 1;
      const why = mutant.open === undefined ? "" : ` (${mutant.open})`;
      console.log(`${mutant.open === undefined ? "SURVIVED" : "OPEN    "}  ${count}  ${mutant.name}${why}`);
      continue;
    }
    const how = `${failure.invariant}, ${failure.profile}${failure.seed === null ? "" : `, seed ${failure.seed}`}`;
    if (!(await passesUnchanged(failure))) {
      wrong++;
      console.log(`WRONGLY   ${count}  ${mutant.name}: ${how} fails without it too: ${failure.message}`);
    } else if (mutant.by !== undefined && mutant.by !== failure.invariant) {
      wrong++;
      console.log(`WRONGLY   ${count}  ${mutant.name}: by ${how}, not by ${mutant.by}: ${failure.message}`);
    } else {
      console.log(`caught    ${count}  ${mutant.name} (${how})`);
    }
  }
}

await Promise.all(Array.from({ length: Number(values.threads) }, work));
console.log(
  `\n${chosen.length - survivors - open} of ${chosen.length} mutants caught, ${open} known to be open`,
);
process.exit(survivors + wrong === 0 ? 0 : 1);
