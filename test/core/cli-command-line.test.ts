import { describe, expect, test } from "vitest";
import { readCommandLine } from "../../cli/command-line.ts";
import { commands } from "../../cli/commands.ts";
import { helpOfAll, helpOfCommand } from "../../cli/help-text.ts";
import { headrace } from "../wrangler/cli-run.ts";

function read(line: string) {
  const result = readCommandLine(line === "" ? [] : line.split(" "), commands);
  if (!result.ok) {
    return result.refusal;
  }
  const { value } = result;
  return value.kind === "help" ? `help ${value.words}` : value;
}

describe("a command line of headrace", () => {
  test("names a command of one or two words, its arguments and flags", () => {
    const call = read("dead-letters replay --all --cause rejected:252 --json");
    expect(call).toMatchObject({ kind: "call", command: { name: "dead-letters replay" } });
    const given = typeof call === "object" && call.kind === "call" ? call.given : undefined;
    expect([given?.has("all"), given?.text("cause"), given?.has("json"), given?.args]).toEqual([
      true,
      "rejected:252",
      true,
      [],
    ]);
  });

  test.each([
    ["stats", "there is no command `headrace stats`; did you mean `headrace status`?"],
    ["key create", "there is no command `headrace key`; did you mean `headrace keys`?"],
    ["keys creat", "there is no command `headrace keys creat`; did you mean `headrace keys create`?"],
    ["keys frobnicate", "there is no command `headrace keys frobnicate`; `headrace keys --help` lists them"],
    ["status --hour 3", "`headrace status` has no flag --hour; did you mean --hours?"],
    [
      "status --frobnicate",
      "`headrace status` has no flag --frobnicate; `headrace status --help` lists them",
    ],
    ["status --hours 1000", '--hours is a whole number from 1 to 168, not "1000"'],
    ["status --hours --json", "--hours needs a value: --hours N"],
    ["status --json=yes", "--json takes no value"],
    ["status --hours 1 --hours 2", "--hours is given twice"],
    ["status now", '`headrace status` takes no argument, and "now" is one too many'],
    ["payload show", "`headrace payload show` needs <key|id>"],
    ["--json", "--json comes before the command; `headrace --help` lists the commands"],
    ["status --url ftp://x", '--url is a URL that begins with http:// or https://, not "ftp://x"'],
    ["erase --trace ABC", '--trace is a trace id: 32 lower-case hex digits, not "ABC"'],
    ["keys create --sample 2", '--sample is a number from 0 (no trace) to 1 (every trace), not "2"'],
    ["findings --kind toString", "--kind is one of"],
    ["status --toString", "`headrace status` has no flag --toString"],
  ])("%s is refused with what to write instead", (line, refusal) => {
    expect(read(line)).toContain(refusal);
  });

  test("asks for help in every way that people try", () => {
    expect(read("")).toBe("help ");
    expect(read("--help")).toBe("help ");
    expect(read("help keys rotate")).toBe("help keys rotate");
    expect(read("keys")).toBe("help keys");
    expect(read("keys --help")).toBe("help keys");
    expect(read("status -h")).toBe("help status");
    expect(read("status --hours 3 --help")).toBe("help status");
  });

  test("tells its version in every way that people try", async () => {
    for (const word of ["--version", "-V", "version"]) {
      expect(await headrace([word], {})).toEqual({ code: 0, out: "headrace 0.0.0\n", err: "" });
    }
  });

  test("of a group without one of its commands is an answer, and no success", async () => {
    const { code, out } = await headrace(["keys"], {});
    expect(out).toContain("Usage: headrace keys <command>");
    expect(code).toBe(2);
    expect((await headrace(["keys", "--help"], {})).code).toBe(0);
  });
});

describe("help", () => {
  test("of every command says what it does, its flags, its exit codes, and gives examples that parse", () => {
    for (const command of commands) {
      const text = helpOfCommand(command);
      expect(text, command.name).toContain(`Usage: headrace ${command.name}`);
      expect(text, command.name).toContain("Exit code: 0");
      expect(command.examples.length, command.name).toBeGreaterThan(0);
      for (const example of command.examples) {
        const [, line = ""] = /headrace(?:\.mjs)? ((?!&&).*)/.exec(example) ?? [];
        expect(typeof readCommandLine(shellWords(line), commands), example).toBe("object");
        const parsed = readCommandLine(shellWords(line), commands);
        expect(parsed.ok ? "" : parsed.refusal, example).toBe("");
      }
    }
  });

  test("of all lists every command", () => {
    const text = helpOfAll(commands, "");
    for (const { name } of commands) {
      expect(text).toContain(`\n  ${name} `);
    }
  });
});

/** The words before a pipe, a comment or `&&`; quoted ones as one. */
function shellWords(line: string): string[] {
  const [call = ""] = line.split(/ {2,}| [|&] ?|&&/);
  return [...call.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? "");
}
