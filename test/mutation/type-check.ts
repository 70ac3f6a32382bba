/**
 * Which mutants the compiler takes. One that it refuses is no mistake that anybody could ship, so it is not viable and
 * counts nowhere. All are checked in one run: each is a copy of its file beside the original, in a copy of `shared/`.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { applyMutant, type GeneratedMutant } from "./operators.ts";

const root = join(import.meta.dirname, "../..");
const configSchema = v.looseObject({ compilerOptions: v.record(v.string(), v.unknown()) });

/** The mutants that the compiler takes, in their order. */
export function viableOf(mutants: readonly GeneratedMutant[]): readonly GeneratedMutant[] {
  const folder = mkdtempSync(join(tmpdir(), "headrace-mutants-"));
  try {
    cpSync(join(root, "shared"), join(folder, "shared"), { recursive: true });
    for (const name of ["node_modules", "package.json"]) {
      symlinkSync(join(root, name), join(folder, name));
    }
    const names = mutants.map((mutant, i) => {
      const name = mutant.file.replace(/\.ts$/, `.mutant-${i}.ts`);
      writeFileSync(join(folder, name), applyMutant(readFileSync(join(root, mutant.file), "utf8"), mutant));
      return name;
    });
    // With a syntax error anywhere the compiler says nothing about types: those that have one are taken out first.
    const refused = new Set<string>();
    for (;;) {
      const files = names.filter((name) => !refused.has(name));
      const found = compile(folder, files);
      for (const { name } of found) {
        refused.add(name);
      }
      if (!found.some(({ code }) => code < 2000 || code === mixedCoalescing)) {
        break;
      }
    }
    return mutants.filter((_, i) => !refused.has(names[i] ?? ""));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** "'||' and '??' cannot be mixed without parentheses" is reported with the types' codes, and is an error of syntax. */
const mixedCoalescing = 5076;

interface CompilerError {
  readonly name: string;
  readonly code: number;
}

function compile(folder: string, files: readonly string[]): readonly CompilerError[] {
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ ...compilerConfig(), files }));
  const tsc = join(root, "node_modules/.bin/tsc");
  const { stdout, stderr, status, error } = spawnSync(tsc, ["-p", folder, "--pretty", "false"], {
    cwd: folder,
    encoding: "utf8",
    maxBuffer: 1e9,
  });
  const found = [...stdout.matchAll(/^(\S+?)\(\d+,\d+\): error TS(\d+)/gm)].map(([, name = "", code]) => ({
    name,
    code: Number(code),
  }));
  const isForeign = found.some(({ name }) => !files.includes(name)) || /^error/m.test(stdout);
  if (error !== undefined || isForeign || (status !== 0 && found.length === 0)) {
    throw new Error(`the compiler could not look at the mutants: ${stderr}${stdout}`.slice(0, 2000), {
      cause: error,
    });
  }
  return found;
}

/** As the repository is checked, but for what is lint: a mutant may leave a name unused or a line unreachable. */
function compilerConfig(): { readonly compilerOptions: Readonly<Record<string, unknown>> } {
  const { compilerOptions } = v.parse(
    configSchema,
    JSON.parse(readFileSync(join(root, "tsconfig.json"), "utf8")),
  );
  return {
    compilerOptions: {
      ...compilerOptions,
      noUnusedLocals: false,
      noUnusedParameters: false,
      allowUnreachableCode: true,
      allowUnusedLabels: true,
    },
  };
}
