/**
 * That the ingredients of a chaos run hurt: for each of some a bug of the product that it alone meets, made in a copy of the
 * working tree. `npm run test:chaos -- --break wide` must find something wrong. In usual traffic these bugs go unseen: bodies
 * are short and come whole, texts are short, attributes few.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, sep } from "node:path";
import type { Fault } from "./faults.ts";

interface Edit {
  readonly file: string;
  /** Occurs in the file exactly once. */
  readonly find: string;
  readonly replace: string;
}

export interface Break {
  readonly ingredient: Fault;
  readonly bug: string;
  /** What the run says when it finds it: of this ingredient, and not of another. */
  readonly says: RegExp;
  readonly edits: readonly Edit[];
}

export const breaks: readonly Break[] = [
  {
    ingredient: "hung_up",
    bug: "an upload that ends badly keeps its bytes of the isolate's budget, until nobody's body is taken any more",
    says: /was never answered 200/,
    edits: [
      {
        file: "workers/ingress/read-body.ts",
        find: "claimed);\n    buffer.release();\n    if (!(error",
        replace: "claimed);\n    if (!(error",
      },
      {
        file: "workers/ingress/read-body.ts",
        find: "  if (refusal !== undefined) {\n    buffer.release();\n",
        replace: "  if (refusal !== undefined) {\n",
      },
      {
        file: "workers/ingress/read-body.ts",
        find: "this.#taking = budget.take(holder, bytes, now, now + limits.bodyIdleMs);",
        replace: "this.#taking = budget.take(holder, bytes, now, now + 1e12);",
      },
      {
        file: "workers/ingress/read-body.ts",
        find: "return budget.grow(this.#taking, bytes, now, now + limits.bodyIdleMs);",
        replace: "return budget.grow(this.#taking, bytes, now, now + 1e12);",
      },
    ],
  },
  {
    ingredient: "wide",
    bug: "the length of a text of 16 KiB and more is written in two bytes",
    says: /\(wide, \d+ spans\) is a good one and dead/,
    edits: [
      {
        file: "shared/rows/copy-bytes.ts",
        find: "  varintUnchecked(sink, length);",
        replace: "  varintUnchecked(sink, length & 0x3fff);",
      },
    ],
  },
  {
    ingredient: "slow",
    bug: "a payload with more than a thousand attributes in one list is refused",
    says: /a good body \(slow\) was answered 413/,
    edits: [
      { file: "shared/limits.ts", find: "  membersMax: 2 ** 20,", replace: "  membersMax: 2 ** 10," },
      {
        file: "shared/limits.ts",
        find: "assert(limits.attributesMax <= limits.membersMax,",
        replace: "assert(limits.attributesMax >= limits.membersMax,",
      },
    ],
  },
];

/** The file with these edits. Throws where a text does not stand in it exactly once. */
export function withEdits(text: string, edits: readonly Edit[]): string {
  return edits.reduce((before, { file, find, replace }) => {
    const [head = "", ...rest] = before.split(find);
    if (rest.length !== 1) {
      throw new Error(`"${find}" occurs ${rest.length} times in ${file}`);
    }
    return `${head}${replace}${rest[0]}`;
  }, text);
}

const notCopied = new Set(["node_modules", ".git", ".wrangler", ".headrace"]);

/** Runs the chaos with the bug. Did it say what it must? A run that could not begin has found nothing. */
export async function runBroken({ edits, says }: Break, args: readonly string[]): Promise<boolean> {
  const root = join(import.meta.dirname, "../..");
  const folder = mkdtempSync(join(tmpdir(), "headrace-broken-"));
  try {
    cpSync(root, folder, {
      recursive: true,
      filter: (source) => !notCopied.has(relative(root, source).split(sep)[0] ?? ""),
    });
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
    for (const [file, some] of Map.groupBy(edits, (edit) => edit.file)) {
      writeFileSync(join(folder, file), withEdits(readFileSync(join(root, file), "utf8"), some));
    }
    const child = spawn(process.execPath, ["test/chaos/main.ts", ...args], {
      cwd: folder,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    for (const [from, to] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ] as const) {
      from.on("data", (chunk: Buffer) => {
        said += chunk.toString("utf8");
        to.write(chunk);
      });
    }
    const [code] = await once(child, "close");
    return code !== 0 && says.test(said);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
