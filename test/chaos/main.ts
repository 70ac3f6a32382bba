/**
 * `npm run test:chaos -- --minutes N [--seed S] [--outage SECONDS] [--alone] [--log FILE]`: chaos on the real parts, for as
 * long as you like. Durations are 30 times shorter: `--outage 2880` is a day. With `--break INGREDIENT` it runs with a bug of
 * breaks.ts, and exits with 0 where the run found it.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { breaks, runBroken } from "./breaks.ts";
import { describeRun, runChaos, wrongOf } from "./run-chaos.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "5" },
    seed: { type: "string" },
    outage: { type: "string" },
    log: { type: "string" },
    alone: { type: "boolean", default: false },
    break: { type: "string" },
  },
});
const minutes = Number(values.minutes);
const seed = Number(values.seed ?? Math.floor(Math.random() * 1_000_000));
const outageSeconds = values.outage === undefined ? undefined : Number(values.outage);
const isOutageGood = outageSeconds === undefined || outageSeconds > 0;
if (!(minutes > 0) || !Number.isInteger(seed) || !isOutageGood) {
  console.error(
    "Usage: npm run test:chaos -- --minutes N [--seed S] [--outage SECONDS] [--log FILE]; N above 0, S a whole number.",
  );
  process.exit(2);
}
if (values.break !== undefined) {
  const broken = breaks.find(({ ingredient }) => ingredient === values.break);
  if (broken === undefined) {
    console.error(`--break is one of ${breaks.map(({ ingredient }) => ingredient).join(", ")}.`);
    process.exit(2);
  }
  const args = ["--minutes", values.minutes, "--seed", String(seed)];
  const isFound = await runBroken(broken, args);
  console.log(`\n${isFound ? "Found" : "NOT FOUND"}, by ${broken.ingredient}: ${broken.bug}.`);
  process.exit(isFound ? 0 : 1);
}
console.log(
  `Seed ${seed}. It repeats the choices, not the moments: which request meets which fault differs.`,
);
process.once("SIGINT", () => process.exit(130));
const report = await runChaos({
  chaosMs: minutes * 60_000,
  ...(outageSeconds === undefined ? {} : { outageMs: outageSeconds * 1000 }),
  isAlone: values.alone,
  settleMs: 300_000,
  untilLastMinute: true,
  seed,
  onProgress: (line) => console.log(`${new Date().toISOString()} ${line}`),
});
console.log(`\n${describeRun(report)}`);
if (values.log !== undefined) {
  writeFileSync(values.log, `${report.logs.join("\n")}\n`);
}
const wrong = wrongOf(report);
if (wrong.length > 0) {
  console.error(`\nWrong:\n${wrong.join("\n")}\nSeed ${seed}.`);
}
process.exit(wrong.length === 0 ? 0 : 1);
