/**
 * `npm run test:faults -- --schedules 200000`: many schedules on all cores, with their rate. A failing one is shown
 * small; `-- --seed N` repeats a seed in every profile, `--profile name` in one, `--story` tells what happened.
 * Harsh worlds are among the profiles, but for those in which something is known to fail; `-- --mild` leaves them out.
 * `-- --compare <git ref>` tells the rate of another version beside this one's, in the profiles that both have, and exits with 1
 * where this one runs at less than `--least 0.8` of it; `--schedules` then is a round's, of `--rounds 4`.
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { compareWith } from "./compare.ts";
import { expectedFailures } from "./expected-failures.ts";
import { runShares, seedShares } from "./run-schedules.ts";
import { runSchedule } from "./schedule.ts";
import { shrink } from "./shrink.ts";
import { SeededChoices } from "./world/choices.ts";
import { harshProfiles } from "./world/harsh-profiles.ts";
import { profiles } from "./world/profile.ts";

const { values } = parseArgs({
  options: {
    schedules: { type: "string" },
    seed: { type: "string" },
    from: { type: "string" },
    profile: { type: "string" },
    mild: { type: "boolean", default: false },
    story: { type: "boolean", default: false },
    threads: { type: "string" },
    compare: { type: "string" },
    rounds: { type: "string", default: "4" },
    least: { type: "string", default: "0.8" },
  },
});

const known = new Set(expectedFailures.map(({ profile }) => profile));
const sound = [...profiles, ...(values.mild ? [] : harshProfiles)].filter(({ name }) => !known.has(name));
const names = values.profile === undefined ? sound.map(({ name }) => name) : [values.profile];

if (
  values.profile !== undefined &&
  ![...profiles, ...harshProfiles].some(({ name }) => name === values.profile)
) {
  console.error(`There is no profile "${values.profile}". ${sound.map(({ name }) => name).join(", ")}`);
  process.exit(2);
}

/** Tells a failing schedule, as small as it becomes. */
function show(name: string, seed: number, invariant: string): void {
  const profile = [...profiles, ...harshProfiles].find((one) => one.name === name);
  if (profile !== undefined) {
    const { trace, story } = shrink(profile, seed, invariant);
    console.log(
      `made smaller: ${trace.filter((choice) => choice !== 0).length} choices\n${story.join("\n")}`,
    );
    console.log(`again: npm run test:faults -- --profile "${name}" --seed ${seed}`);
  }
}

if (values.seed !== undefined) {
  const seed = Number(values.seed);
  let failed = 0;
  for (const profile of [...profiles, ...harshProfiles].filter(({ name }) => names.includes(name))) {
    const story: string[] = [];
    const { violation } = runSchedule(profile, new SeededChoices(seed), story);
    console.log(`${profile.name}: ${violation === null ? "all invariants hold" : violation.message}`);
    if (values.story) {
      console.log(story.join("\n"));
    }
    if (violation !== null) {
      failed++;
      show(profile.name, seed, violation.invariant);
    }
  }
  process.exit(failed === 0 ? 0 : 1);
}

const firstSeed = values.from === undefined ? Math.floor(Math.random() * 1e9) : Number(values.from);
if (values.compare !== undefined) {
  const schedules = Number(values.schedules ?? "2000");
  const { before, now, ratio, leftOut } = compareWith(
    values.compare,
    schedules,
    Number(values.rounds),
    firstSeed,
  );
  console.log(
    `${values.compare}: ${before.toFixed(0)} schedules per second of CPU; working tree: ${now.toFixed(0)}; ratio ${ratio.toFixed(2)} (at least ${values.least})${leftOut.length === 0 ? "" : `; not run, for one of them has it not: ${leftOut.join(", ")}`}`,
  );
  process.exit(ratio >= Number(values.least) ? 0 : 1);
}

const threads = values.threads === undefined ? availableParallelism() : Number(values.threads);
const result = await runShares(seedShares(names, firstSeed, Number(values.schedules ?? "100000")), threads);
console.log(`from seed ${firstSeed}: ${result.text}`);
if (result.failure !== null) {
  const { profile, seed, invariant, message } = result.failure;
  console.log(`${profile}, seed ${seed}: ${message}`);
  if (seed !== null) {
    show(profile, seed, invariant);
  }
  process.exit(1);
}
