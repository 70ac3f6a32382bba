/**
 * `npm run test:mutants:generated`: a sample, by a seed, of all small mistakes that `operators.ts` knows, in the code that
 * decides about payloads. A mutant is caught by a related `core` test, else by one of the model's schedules; one that does not
 * end in a multiple of the usual time is caught too. What survives is listed: a test is missing there, or the change
 * means the same.
 *
 *   -- --sample 400     how many mutants that the compiler takes
 *   -- --seed 1         which ones: the same seed and the same sources give the same sample
 *   -- --schedules 2000 of the model, for what the core tests do not catch
 *   -- --threads 2      mutants at a time
 *   -- --only a,b       of files whose path has one of these texts
 *   -- --least 90       exit with 1 where less than this many percent are caught
 *   -- --report file    all verdicts as JSON
 *   -- --reviewed       those of reviewed.ts, instead of a sample
 *   -- --replay file    only those that survived in an earlier report of the same sources
 */
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import * as v from "valibot";
import { SeededChoices } from "../faults/world/choices.ts";
import { CoreTests } from "./core-tests.ts";
import { runModel } from "./model-schedules.ts";
import { applyMutant, type GeneratedMutant, mutantsOf } from "./operators.ts";
import { relatedTests } from "./related-tests.ts";
import { type ReviewedMutant, reviewed } from "./reviewed.ts";
import { wilson } from "./score.ts";
import { viableOf } from "./type-check.ts";

const root = join(import.meta.dirname, "../..");
/** What decides about payloads, wherever it runs. */
const subjects = "shared/{collect,delivery,ledger,reconcile,segment}/**/*.ts";
/** Usual times are measured first; what takes this many of them does not end. */
const patience = 5;
const patienceMs = 15_000;

const { values } = parseArgs({
  options: {
    sample: { type: "string", default: "400" },
    seed: { type: "string", default: "1" },
    schedules: { type: "string", default: "2000" },
    threads: { type: "string", default: "2" },
    only: { type: "string", default: "" },
    least: { type: "string", default: "0" },
    report: { type: "string" },
    replay: { type: "string" },
    reviewed: { type: "boolean", default: false },
  },
});
const schedules = Number(values.schedules);
const isChosen = (file: string): boolean => values.only.split(",").some((text) => file.includes(text));

interface Verdict {
  readonly mutant: GeneratedMutant;
  readonly caughtBy: "core" | "model" | "timeout" | null;
  readonly how: string;
}

const reportSchema = v.object({
  survivors: v.array(
    v.object({ file: v.string(), start: v.number(), end: v.number(), operator: v.string() }),
  ),
});

const sources = new Map(
  [
    ...new Set([
      ...globSync(subjects, { cwd: root }),
      ...(values.reviewed ? reviewed.map(({ file }) => file) : []),
    ]),
  ]
    .sort()
    .filter(isChosen)
    .map((file) => [file, readFileSync(join(root, file), "utf8")] as const),
);
const textOf = (file: string): string => sources.get(file) ?? "";

/** The mutants to try: the first of all, shuffled, that the compiler takes. */
function draw(all: readonly GeneratedMutant[]): readonly GeneratedMutant[] {
  if (values.reviewed) {
    return reviewed.filter(({ file }) => isChosen(file)).map(mutantOf);
  }
  if (values.replay !== undefined) {
    const { survivors } = v.parse(reportSchema, JSON.parse(readFileSync(values.replay, "utf8")));
    const nameOf = (one: Pick<GeneratedMutant, "file" | "start" | "end" | "operator">) =>
      `${one.file} ${one.start} ${one.end} ${one.operator}`;
    const wanted = new Set(survivors.map(nameOf));
    return all.filter((mutant) => wanted.has(nameOf(mutant)));
  }
  const choices = new SeededChoices(Number(values.seed));
  const left = [...all];
  const sample = Number(values.sample);
  const drawn: GeneratedMutant[] = [];
  while (drawn.length < sample && left.length > 0) {
    const some: GeneratedMutant[] = [];
    while (some.length < sample && left.length > 0) {
      some.push(...left.splice(choices.below(left.length), 1));
    }
    tried += some.length;
    const viable = viableOf(some);
    refused += some.length - viable.length;
    drawn.push(...viable);
  }
  return drawn.slice(0, sample);
}

/** Throws where its text does not stand in its file exactly once. */
function mutantOf({ name, file, find, replace }: ReviewedMutant): GeneratedMutant {
  const [before = "", ...after] = textOf(file).split(find);
  if (after.length !== 1) {
    throw new Error(`"${find}" occurs ${after.length} times in ${file}`);
  }
  const start = before.length;
  const line = before.split("\n").length;
  return { file, line, operator: name, start, end: start + find.length, replacement: replace };
}

let tried = 0;
let refused = 0;
const all = [...sources].flatMap(([file, text]) => mutantsOf(file, text));
const chosen = draw(all);
console.log(
  `${all.length} mutants of ${sources.size} files; ${chosen.length} are tried, seed ${values.seed}` +
    `${tried === 0 ? "" : ` (the compiler refuses ${refused} of ${tried})`}`,
);

/** What the unchanged code takes, ms: with the tests of the file that has the most. */
async function measure(): Promise<{ readonly core: number; readonly model: number }> {
  const core = new CoreTests();
  const [file = "", tests = []] =
    [...sources.keys()]
      .map((one) => [one, relatedTests(one)] as const)
      .sort(([, a], [, b]) => b.length - a.length)[0] ?? [];
  const began = performance.now();
  const usual = await core.run({ file, text: null, tests }, 300_000);
  core.close();
  if (usual === "timeout" || usual.failed !== null) {
    throw new Error(`the core tests fail as they are: ${usual === "timeout" ? usual : usual.failed}`);
  }
  const between = performance.now();
  // Every schedule counts: one that fails as things are would catch every mutant.
  const model = await runModel("shared/ledger/machine.ts", null, schedules, 1_800_000);
  if (model.kind !== "passed") {
    throw new Error(`the model fails as it is: ${JSON.stringify(model)}`);
  }
  return { core: between - began, model: performance.now() - between };
}

const usual = await measure();
console.log(
  `unchanged: core ${(usual.core / 1000).toFixed(1)} s, ${schedules} schedules ${(usual.model / 1000).toFixed(1)} s`,
);

async function tryMutant(core: CoreTests, mutant: GeneratedMutant): Promise<Verdict> {
  const { file } = mutant;
  const text = applyMutant(textOf(file), mutant);
  const tests = relatedTests(file);
  if (tests.length > 0) {
    const answer = await core.run({ file, text, tests }, usual.core * patience + patienceMs);
    if (answer === "timeout") {
      return { mutant, caughtBy: "timeout", how: "the core tests do not end" };
    }
    if (answer.failed !== null) {
      return { mutant, caughtBy: "core", how: answer.failed };
    }
  }
  const answer = await runModel(file, text, schedules, usual.model * patience + patienceMs);
  switch (answer.kind) {
    case "failed":
      return { mutant, caughtBy: "model", how: answer.how };
    case "timeout":
      return { mutant, caughtBy: "timeout", how: "the schedules do not end" };
    case "passed":
      return { mutant, caughtBy: null, how: "" };
    case "not in the model":
      return { mutant, caughtBy: null, how: answer.kind };
    default:
      answer satisfies never;
      throw new Error("unreachable");
  }
}

const short = (text: string): string => {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > 100 ? `${line.slice(0, 97)}...` : line;
};

function describe({ mutant, how }: Verdict): string {
  const { file, line, operator, start, end, replacement } = mutant;
  const was = short(textOf(file).slice(start, end));
  return `${file}:${line}  ${operator}: ${was} -> ${short(replacement) || "(nothing)"}${how === "" ? "" : `  [${how}]`}`;
}

const began = performance.now();
const queue = [...chosen];
/** Ended early, it says what it has found. */
process.once("SIGINT", () => queue.splice(0));
process.once("SIGTERM", () => queue.splice(0));
const verdicts: Verdict[] = [];
let isSound = true;

async function work(): Promise<void> {
  const core = new CoreTests();
  for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
    const verdict = await tryMutant(core, mutant);
    verdicts.push(verdict);
    if (verdict.caughtBy === null) {
      console.log(`SURVIVED  ${describe(verdict)}`);
    }
    if (verdicts.length % 25 === 0) {
      const minutes = (performance.now() - began) / 60_000;
      console.log(`          ${verdicts.length} of ${chosen.length} in ${minutes.toFixed(1)} min`);
    }
  }
  // Nothing of a mutant stays in the process: else it would have caught those after it.
  const [first] = sources.keys();
  if (first !== undefined) {
    const control = { file: first, text: null, tests: relatedTests(first) };
    const after = await core.run(control, usual.core * patience + patienceMs);
    if (after === "timeout" || after.failed !== null) {
      isSound = false;
      console.error(`unchanged, the core tests fail now: ${after === "timeout" ? after : after.failed}`);
    }
  }
  core.close();
}

await Promise.all(Array.from({ length: Number(values.threads) }, work));

const by = (which: Verdict["caughtBy"]): readonly Verdict[] =>
  verdicts.filter(({ caughtBy }) => caughtBy === which);
const survivors = by(null);
const caught = verdicts.length - survivors.length;
const percent = (share: number): string => (100 * share).toFixed(1);
const { least, most } = wilson(caught, verdicts.length);
const text = `${caught} of ${verdicts.length} mutants caught: ${percent(caught / Math.max(1, verdicts.length))} % (95 %: ${percent(least)} to ${percent(most)}); core ${by("core").length}, model ${by("model").length}, no end ${by("timeout").length}; ${((performance.now() - began) / 60_000).toFixed(1)} min on ${values.threads} threads`;

console.log(`\nSurvivors\n${[...survivors].map(describe).sort().join("\n")}\n\n${text}`);
if (values.report !== undefined) {
  const full = (some: readonly Verdict[]) =>
    some.map(({ mutant, caughtBy, how }) => ({
      ...mutant,
      was: textOf(mutant.file).slice(mutant.start, mutant.end),
      caughtBy,
      how,
    }));
  const caughtOnes = verdicts.filter(({ caughtBy }) => caughtBy !== null);
  const report = { seed: values.seed, text, survivors: full(survivors), caught: full(caughtOnes) };
  writeFileSync(values.report, `${JSON.stringify(report, null, 2)}\n`);
}
process.exit(isSound && caught >= (Number(values.least) / 100) * verdicts.length ? 0 : 1);
