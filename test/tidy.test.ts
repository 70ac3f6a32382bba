/**
 * The house style as failing tests: who may import whom, what is pure, the one column list, a dead-letter queue for
 * every consumed queue, names, files that nothing uses, citations of what is not there, words that we no longer use,
 * and functions that are too long. Three rules have a list of what is left (test/*.json), which may only shrink.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { experimental_readRawConfig } from "wrangler";
import { limits } from "../shared/limits.ts";
import { deadLetterQueue } from "../shared/messages.ts";
import { columns } from "../shared/rows/columns.ts";
import { functionLengths } from "./function-lengths.ts";
import { hitsIn } from "./plain-english.ts";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const folders = ["workers", "shared", "cli", "dev", "bench", "test"];

interface SourceFile {
  /** Relative to the root, with `/`. */
  readonly path: string;
  readonly text: string;
  /** Import specifiers; relative ones resolved to paths like `path`. */
  readonly imports: readonly string[];
}

function filesBelow(folder: string): string[] {
  if (!existsSync(join(root, folder))) {
    return [];
  }
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));
}

const importPattern = /(?:^|\n)\s*(?:import|export)\s(?:[^;]*?\sfrom\s+)?"([^"]+)"|import\("([^"]+)"\)/g;

function readSource(path: string): SourceFile {
  const text = readFileSync(join(root, path), "utf8");
  const imports = [...text.matchAll(importPattern)].map(([, from, dynamic]) => {
    const specifier = from ?? dynamic ?? "";
    return specifier.startsWith(".") ? normalize(join(dirname(path), specifier)) : specifier;
  });
  return { path, text, imports };
}

const sources = folders
  .flatMap(filesBelow)
  .filter((path) => /\.tsx?$/.test(path))
  .map(readSource);

/** Comments and strings out, so that a word in prose is no use of it. */
function code(text: string): string {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, "")
    .replace(/(^|[^:])\/\/.*$/gm, "$1")
    .replace(/`(?:[^`\\]|\\.)*`|"(?:[^"\\\n]|\\.)*"/g, '""');
}

/** What a file of each layer may import, besides its own layer. */
const layers: readonly { readonly below: string; readonly may: RegExp }[] = [
  { below: "shared/", may: /^(shared\/|valibot$)/ },
  {
    below: "workers/ingress/",
    may: /^(shared\/|workers\/ingress\/|node:zlib$|cloudflare:|valibot$)/,
  },
  { below: "workers/consumer/", may: /^(shared\/|workers\/consumer\/|node:zlib$|cloudflare:|valibot$)/ },
  // The page runs in a browser: it shares what is pure, and nothing of the Worker that serves it.
  {
    below: "workers/console/page/",
    may: /^(shared\/|workers\/console\/page\/|preact$|preact\/hooks$|valibot$)/,
  },
  {
    below: "workers/console/",
    may: /^(shared\/|workers\/console\/(?!page\/)|node:zlib$|cloudflare:|itty-router$|valibot$)/,
  },
  { below: "cli/", may: /^(shared\/|cli\/|dev\/|node:|valibot$|wrangler$|@clickhouse\/)/ },
  { below: "dev/", may: /^(shared\/|dev\/|(?!cloudflare:)[^/]*$|@|node:)/ },
  // A benchmark measures the Workers' own code too, in workerd.
  { below: "bench/", may: /^(shared\/|bench\/|dev\/|workers\/|test\/fixtures\/|[^/]*$|@|node:|cloudflare:)/ },
];

/** From the lowest: the codec knows nothing of tables, the ledger nothing of delivery, and nobody of what the console shows. */
const sharedRooms = [
  "shared/meter",
  "shared/otlp",
  "shared/rows",
  "shared/segment",
  "shared/collect",
  "shared/clickhouse",
  "shared/ledger",
  "shared/front-door",
  "shared/reconcile",
  "shared/delivery",
  "shared/doctor",
  "shared/console",
];

describe("layers", () => {
  test("imports go downwards only", () => {
    const wrong = sources.flatMap(({ path, imports }) => {
      const layer = layers.find(({ below }) => path.startsWith(below));
      return layer === undefined
        ? []
        : imports
            .filter((specifier) => !layer.may.test(specifier))
            .map((specifier) => `${path} imports ${specifier}`);
    });
    expect(wrong).toEqual([]);
  });

  test("the rooms of shared/ have an order: test/upward-imports.json lists what still goes upwards", () => {
    const rooms = filesBelow("shared")
      .map((path) => dirname(path))
      .filter((folder) => folder !== "shared");
    expect(new Set(rooms)).toEqual(new Set(sharedRooms));
    const floor = (path: string) => sharedRooms.indexOf(dirname(path));
    const upwards = sources
      .filter(({ path }) => floor(path) !== -1)
      .flatMap(({ path, imports }) =>
        imports.filter((other) => floor(other) > floor(path)).map((other) => `${path} imports ${other}`),
      );
    expectListed("upward-imports.json", new Map(upwards.map((arrow) => [arrow, 1])), (arrow) => arrow);
  });

  test("shared/ has no clock, no randomness and no network", () => {
    const impure =
      /\b(Date\.now|new Date\(\)|Math\.random|getRandomValues|randomUUID|performance\.now|setTimeout|setInterval)\b|(?<![.\w])fetch\(/;
    const wrong = sources
      .filter(({ path }) => path.startsWith("shared/") && path !== "shared/clickhouse/patience.ts") // it says why
      .filter(({ text }) => impure.test(code(text)))
      .map(({ path, text }) => `${path}: ${impure.exec(code(text))?.[0]}`);
    expect(wrong).toEqual([]);
  });
});

describe("ClickHouse", () => {
  test("is spoken to by a Worker in one place for statements, and in one for blocks", () => {
    const senders = sources
      .filter(({ path }) => path.startsWith("workers/") || path.startsWith("shared/"))
      .filter(({ text }) => /\bsend\(\{\s*parameters:/.test(code(text)))
      .map(({ path }) => path);
    expect(senders.sort()).toEqual(["shared/clickhouse/ask.ts", "workers/consumer/perform.ts"]);
  });
});

describe("the ingress", () => {
  /** The files of these folders whose code does this. */
  const doing = (folder: string, what: RegExp) =>
    sources
      .filter(({ path, text }) => path.startsWith(folder) && what.test(code(text)))
      .map(({ path }) => path)
      .sort();

  test("answers in one place, and words refusals in one: the story of a request returns what came of it", () => {
    expect(doing("workers/ingress/", /\bnew Response\b|\bResponse\.(json|error|redirect)\b/)).toEqual([
      "workers/ingress/answer.ts",
      "workers/ingress/cors.ts",
    ]);
    expect(doing("workers/ingress/", /\bwordRefusal\(why\)/)).toEqual(["workers/ingress/worker.ts"]);
    expect(doing("workers/ingress/", /\brefuse\(\{[^}]*\bmessage\b/)).toEqual([]);
  });

  test("decodes a body as consumer and console do, in one place", () => {
    expect(doing("workers/", /\b(inflate|jsonToProtobuf)\(/)).toEqual([]);
    expect(doing("workers/", /\bdecodeBody\(/)).toEqual([
      "workers/console/read-payload-spans.ts",
      "workers/consumer/load-payloads.ts",
      "workers/ingress/check-payload.ts",
    ]);
  });
});

describe("the Workers' log", () => {
  test("is written in one place, which keeps keys, bodies and stacks out of it", () => {
    const elsewhere = sources
      .filter(({ path }) => path.startsWith("workers/") && !path.startsWith("workers/console/page/"))
      .filter(({ text }) => /\bconsole\b/.test(code(text)));
    expect(elsewhere.map(({ path }) => path)).toEqual([]);
  });
});

describe("schema", () => {
  /** The columns that a row of `{{traces}}` is inserted with, in the order in which the schema's files declare them. */
  function declaredColumns(): string[] {
    const sql = filesBelow("schema")
      .sort()
      .map((path) => readFileSync(join(root, path), "utf8"))
      .join("\n");
    const body = /CREATE TABLE IF NOT EXISTS \{\{traces\}\} \(\n([\s\S]*?)\n\)\n/.exec(sql)?.[1] ?? "";
    const created = [
      ...body.matchAll(/^ {2}(\w+) (Nested \(([\s\S]*?)\n {2}\)|\S+(?!\s+ALIAS)\s)/gm),
    ].flatMap(([, name = "", type = "", nested = ""]) =>
      type.startsWith("Nested")
        ? [...nested.matchAll(/^ {4}(\w+)/gm)].map(([, inner]) => `${name}.${inner}`)
        : [name],
    );
    const added = [...sql.matchAll(/ALTER TABLE \{\{traces\}\} ADD COLUMN IF NOT EXISTS (\w+)/g)].map(
      ([, name = ""]) => name,
    );
    return [...created.filter((name) => name !== "INDEX" && !name.endsWith("Items")), ...added];
  }

  test("the column list is the table's, in its order", () => {
    expect(declaredColumns()).toEqual(columns.map(({ name }) => name));
  });
});

describe("wrangler.toml", () => {
  const { rawConfig } = experimental_readRawConfig({ config: join(root, "wrangler.toml") });
  const queueSchema = v.object({
    queue: v.string(),
    dead_letter_queue: v.optional(v.string()),
    max_retries: v.optional(v.number()),
  });
  const environmentSchema = v.looseObject({
    queues: v.optional(
      v.object({
        consumers: v.optional(v.array(queueSchema), []),
        producers: v.optional(v.array(queueSchema), []),
      }),
      {},
    ),
  });
  const environments = Object.values(v.parse(v.record(v.string(), environmentSchema), rawConfig.env));
  const consumers = environments.flatMap(({ queues }) => queues.consumers ?? []);

  test("every consumed queue has a dead-letter queue, and that one is consumed too", () => {
    expect(consumers.length).toBeGreaterThan(0);
    for (const { queue, dead_letter_queue } of consumers) {
      expect(dead_letter_queue, queue).toBe(queue === deadLetterQueue ? undefined : deadLetterQueue);
    }
    expect(consumers.map(({ queue }) => queue)).toContain(deadLetterQueue);
  });

  test("every consumed queue tries as often as the consumer counts on", () => {
    for (const { queue, max_retries } of consumers) {
      expect(max_retries, queue).toBe(limits.queueRetriesMax);
    }
  });

  test("every queue that is produced to is consumed", () => {
    const consumed = new Set(consumers.map(({ queue }) => queue));
    for (const { queue } of environments.flatMap(({ queues }) => queues.producers ?? [])) {
      expect(consumed, queue).toContain(queue);
    }
  });

  test("the ingress has no secret of ClickHouse's", () => {
    expect(JSON.stringify(rawConfig.env?.["ingress"])).not.toMatch(/clickhouse/i);
  });
});

describe("files", () => {
  test("have names that say what they are", () => {
    const vague = /^(utils?|helpers?|common|misc|types|index|shared|lib)(\.test)?\.tsx?$/;
    expect(sources.map(({ path }) => path).filter((path) => vague.test(basename(path)))).toEqual([]);
  });

  test("open with what they are for", () => {
    const exempt = (path: string) => path.startsWith("test/") || path.endsWith(".d.ts");
    const silent = sources.filter(({ path, text }) => !exempt(path) && !/^(#!.*\n)?\/\*\*/.test(text));
    expect(silent.map(({ path }) => path)).toEqual([]);
  });

  test("of test/ are in a folder that CONTRIBUTING.md names as suites, doubles or programs, doubles without tests", () => {
    const contributing = readFileSync(join(root, "CONTRIBUTING.md"), "utf8");
    const [, text = ""] = /In `test\/`, suites([\s\S]*?)\n\n/.exec(contributing) ?? [];
    const folders = readdirSync(join(root, "test"), { withFileTypes: true }).filter((one) =>
      one.isDirectory(),
    );
    expect(folders.map(({ name }) => name).filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
    const doubles = /fixtures: ([^.]*)\./.exec(text)?.[1]?.match(/\w+/g) ?? [];
    expect(doubles).toContain("ledger");
    expect(
      doubles.flatMap((name) => filesBelow(`test/${name}`)).filter((path) => /\.test\./.test(path)),
    ).toEqual([]);
  });

  test("are used by something that runs", () => {
    const named = ["package.json", "vitest.config.ts", "cli/headrace.mjs"]
      .map((path) => readFileSync(join(root, path), "utf8"))
      .join("\n");
    const entries = sources.filter(
      ({ path }) =>
        /(\/worker|\/page\/main|\.test|\.d)\.tsx?$/.test(path) ||
        named.includes(path) ||
        named.includes(path.replace("cli/", '"')),
    );
    const byPath = new Map(sources.map((source) => [source.path, source]));
    const used = new Set<string>();
    const queue = [...entries];
    for (let source = queue.pop(); source !== undefined; source = queue.pop()) {
      if (used.has(source.path)) {
        continue;
      }
      used.add(source.path);
      // A process of its own is named by its file: join(import.meta.dirname, "engine-process.ts").
      const spawned = [...source.text.matchAll(/"([\w./-]+\.ts)"/g)].map(([, path]) =>
        normalize(join(dirname(source.path), path ?? "")),
      );
      for (const path of [...source.imports, ...spawned]) {
        const next = byPath.get(path);
        if (next !== undefined) {
          queue.push(next);
        }
      }
    }
    expect(sources.map(({ path }) => path).filter((path) => !used.has(path))).toEqual([]);
  });
});

const prose = [...folders, "docs", "schema", "dashboards"]
  .flatMap(filesBelow)
  .concat(readdirSync(root).filter((name) => /\.(md|ts|toml|json)$/.test(name)))
  .filter((path) => /\.(tsx?|mjs|md|sql|toml|tf|yml)$/.test(path) && path !== "test/tidy.test.ts")
  .map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }));

/** Decisions and the changelog speak of their own time, in its words. */
const ofItsTime = (path: string) => path.startsWith("docs/decisions/") || path === "CHANGELOG.md";

const listCommand = "UPDATE_LISTS=1 npx vitest run --project tidy";

/**
 * What is left to mend, by file, import or function, with how much of it. It fails when there is more, and when there is less:
 * then the list is lowered in the same commit, by `listCommand`. Only a merge of older work may raise it.
 */
function expectListed(
  name: string,
  found: ReadonlyMap<string, number>,
  where: (key: string) => string,
): void {
  const path = join(root, "test", name);
  if (process.env["UPDATE_LISTS"] === "1") {
    writeFileSync(path, `${JSON.stringify(Object.fromEntries([...found].sort()), null, 2)}\n`);
  }
  const listed = v.parse(v.record(v.string(), v.number()), JSON.parse(readFileSync(path, "utf8")));
  const more = [...found].filter(([key, count]) => count > (listed[key] ?? 0)).map(([key]) => where(key));
  expect(more, "fix these: what is left to fix may only shrink").toEqual([]);
  const fewer = Object.keys(listed).filter((key) => (found.get(key) ?? 0) < (listed[key] ?? 0));
  expect(fewer, `there is less of it than test/${name} lists; lower the list: ${listCommand}`).toEqual([]);
}

describe("words", () => {
  const isOurs = (path: string) =>
    !(ofItsTime(path) || path.startsWith("test/fixtures/") || path === "test/plain-english.ts");
  const hits = new Map(
    prose
      .filter(({ path }) => isOurs(path) && !path.endsWith(".json"))
      .map(({ path, text }) => [path, hitsIn(path, text)] as const)
      .filter(([, found]) => found.length > 0),
  );

  test("are the field's, and plain: test/plain-english.json counts the others that are left in each file", () => {
    const counts = new Map([...hits].map(([path, found]) => [path, found.length]));
    expectListed("plain-english.json", counts, (path) =>
      (hits.get(path) ?? [])
        .map(({ line, text, but }) => `${path}:${line}: "${text.replace(/\s+/g, " ")}", better: ${but}`)
        .join("\n"),
    );
  });

  test("that we no longer use are seen in comments, texts and elements, and left alone in code", () => {
    const text = [
      "/** One token a group, and spans a",
      " * second. */",
      "const rung = told;",
      'fail("it was told");',
    ].join("\n");
    expect(hitsIn("dev/x.ts", text).map((hit) => hit.text.replace(/\s+/g, " "))).toEqual([
      "One token a group",
      "spans a second",
      "told",
    ]);
    expect(hitsIn("dev/x.tsx", "<p>Spans a second</p>")).toHaveLength(1);
    expect(hitsIn("docs/x.md", "It takes a request and told apart rows.")).toEqual([]);
  });
});

describe("functions", () => {
  test("have at most 80 lines, or stand in test/long-functions.json with how many they have", () => {
    const long = new Map<string, number>(
      sources
        .filter(({ path }) => !path.startsWith("test/"))
        .flatMap(({ path, text }) =>
          functionLengths(text).map(({ name, lines }) => [`${path} ${name}`, lines] as const),
        )
        .filter(([, lines]) => lines > 80),
    );
    expectListed("long-functions.json", long, (key) => `${key}: ${long.get(key)} lines`);
  });
});

describe("what is cited", () => {
  test("is in the repository or public: no books that only their authors have", () => {
    const books = /\b(FACTS|DESIGN|STYLE)\b/;
    const citing = prose.filter(({ text }) => books.test(text)).map(({ path }) => path);
    expect(citing).toEqual([]);
  });

  test("of docs/facts.md is a section of it", () => {
    const facts = readFileSync(join(root, "docs/facts.md"), "utf8");
    const sections = [...facts.matchAll(/^## (.+)$/gm)].map(([, name]) => name);
    const cited = prose.flatMap(({ path, text }) =>
      [...text.matchAll(/docs\/facts\.md: ([a-z]+(?:, [a-z]+)*)/g)].flatMap(([, names = ""]) =>
        names.split(", ").map((name) => ({ path, name })),
      ),
    );
    expect(cited.length).toBeGreaterThan(15);
    // "deduplication, the crash hole": what is not one word is a place within the section.
    const wrong = cited.filter(({ name }) => name !== "the" && !sections.includes(name));
    expect(wrong).toEqual([]);
  });

  test("as a file is there", () => {
    /** Not ours, or made up. */
    const others = ["docs/specification.md", "shared/ledger/x.ts"];
    const name =
      /(?<![\w/.:*-])(?:workers|shared|cli|dev|bench|test|docs|schema|dashboards)\/[\w./-]*\w\.(?:tsx?|mjs|md|sql|json|tf)\b/g;
    const dead = prose
      .filter(({ path }) => !ofItsTime(path))
      .flatMap(({ path, text }) =>
        [...text.matchAll(name)]
          .map(([file]) => file)
          .filter((file) => !others.includes(file) && !existsSync(join(root, file)))
          .map((file) => `${path} names ${file}`),
      );
    expect(dead).toEqual([]);
  });
});

describe("pictures", () => {
  const architecture = readFileSync(join(root, "docs/architecture.md"), "utf8");

  test("are four: a payload's way, the three rings, a group's states, where data could be lost", () => {
    const sections = ["One payload's way", "The three rings", "A group's states", "Where data could be lost"];
    for (const section of sections) {
      const [, text = ""] = architecture.split(`\n## ${section}\n`);
      expect(text.split("\n## ")[0], section).toMatch(/^```(?:mermaid)?$/m);
    }
  });

  test("show the states that a group has", () => {
    const [, picture = ""] = /stateDiagram-v2\n([\s\S]*?)```/.exec(architecture) ?? [];
    const drawn = [...picture.matchAll(/(\w+) -->|--> (\w+)/g)].flatMap(([, from, to]) => from ?? to ?? []);
    const group = readFileSync(join(root, "shared/ledger/group.ts"), "utf8");
    const [, union = ""] = /export type GroupState =([\s\S]*?)\n\n/.exec(group) ?? [];
    const states = [...union.matchAll(/readonly at: "(\w+)"/g)].map(([, state]) => state);
    expect(states.length).toBeGreaterThan(4);
    expect(new Set(drawn)).toEqual(new Set(states));
  });
});

describe("commits", () => {
  /** From when on they are held to it: older ones cannot be fixed. */
  const since = "2026-11-28T10:18:00Z";
  const contributing = readFileSync(join(root, "CONTRIBUTING.md"), "utf8");
  const [, list = ""] = /The areas are a closed list:\n\n([\s\S]*?)\n\n/.exec(contributing) ?? [];
  const areas = new Set([...list.matchAll(/`(\w+)`/g)].map(([, area]) => area));

  /** `area: what now holds`, with one to three areas; an area may name a folder of its own. */
  function isNamed(subject: string): boolean {
    const [, named = ""] = /^([\w/, -]+): \S/.exec(subject) ?? [];
    const first = named.split(", ").map((area) => area.split("/")[0]);
    return first.length <= 3 && first.every((area) => areas.has(area));
  }

  test("begin with areas of CONTRIBUTING.md's list", (context) => {
    const git = (...args: string[]) => spawnSync("git", args, { cwd: root, encoding: "utf8" });
    const shallow = git("rev-parse", "--is-shallow-repository");
    if (shallow.status !== 0 || shallow.stdout.trim() !== "false") {
      context.skip("there is no history here: no git, or a shallow clone");
    }
    const log = git("log", "--no-merges", `--since=${since}`, "--format=%s");
    expect(log.status, log.stderr).toBe(0);
    expect(log.stdout.split("\n").filter((subject) => subject !== "" && !isNamed(subject))).toEqual([]);
  });

  test("with no area, an unknown one or four are recognised", () => {
    expect(areas.size).toBeGreaterThan(10);
    expect(["cli: x", "ledger, clickhouse: x", "test/chaos: x"].filter((one) => !isNamed(one))).toEqual([]);
    expect(["format", "edge: x", "cli, dev, docs, bench: x", "cli:"].filter(isNamed)).toEqual([]);
  });
});

describe("decisions", () => {
  const folder = join(root, "docs/decisions");
  const records = readdirSync(folder)
    .filter((name) => /^\d{4}-/.test(name))
    .sort()
    .map((name) => ({ name, text: readFileSync(join(folder, name), "utf8") }));
  const sections = [
    "Context",
    "Decision",
    "What we promise by it",
    "What was seen",
    "Rejected",
    "Cost",
    "Not covered",
    "Not tried",
    "Checked by",
    "Later",
  ];
  const headings = (text: string) => [...text.matchAll(/^## (.+)$/gm)].map(([, heading = ""]) => heading);

  test("have one form: a numbered title, the context, the decision, and what checks it", () => {
    const wrong = records.filter(({ name, text }) => {
      const titled = text.startsWith(`# ${Number(name.slice(0, 4))}. `);
      const [first, second] = headings(text);
      const known = headings(text).every((heading) =>
        sections.some(
          (section) =>
            heading === section || heading.startsWith(`${section} `) || heading.startsWith(`${section}:`),
        ),
      );
      return !(
        titled &&
        first === "Context" &&
        second === "Decision" &&
        headings(text).includes("Checked by") &&
        known
      );
    });
    expect(wrong.map(({ name, text }) => [name, ...headings(text)])).toEqual([]);
  });

  test("are one sequence: no number twice, each in the index, in its order", () => {
    const numbers = records.map(({ name }) => name.slice(0, 4));
    expect(new Set(numbers).size).toBe(numbers.length);
    const index = readFileSync(join(folder, "README.md"), "utf8");
    expect([...index.matchAll(/^- (\[.+)$/gm)].map(([, line]) => line)).toEqual(
      records.map(({ name, text }) => `[${text.slice(2, text.indexOf("\n"))}](${name})`),
    );
  });

  test("name tests that are there", () => {
    const dead = records.flatMap(({ name, text }) =>
      [...(text.split("## Checked by")[1] ?? "").matchAll(/`(test\/[\w./-]+\.ts)`/g)]
        .map(([, path = ""]) => path)
        .filter((path) => !existsSync(join(root, path)))
        .map((path) => `${name} names ${path}`),
    );
    expect(dead).toEqual([]);
  });
});
