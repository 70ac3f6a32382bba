/** `npm run test:chaos -- --minutes N [--seed S] [--log FILE]`: chaos on the real parts, for as long as you like. */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { describeRun, runChaos, wrongOf } from "./run-chaos.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "5" },
    seed: { type: "string" },
    log: { type: "string" },
  },
});
const minutes = Number(values.minutes);
const seed = Number(values.seed ?? Math.floor(Math.random() * 1_000_000));
if (!(minutes > 0) || !Number.isInteger(seed)) {
  console.error(
    "Usage: npm run test:chaos -- --minutes N [--seed S] [--log FILE]; N above 0, S a whole number.",
  );
  process.exit(2);
}
console.log(
  `Seed ${seed}. It repeats the choices, not the moments: which request meets which fault differs.`,
);
const report = await runChaos({
  chaosMs: minutes * 60_000,
  settleMs: 180_000,
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
