import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { expect, test } from "vitest";
import { keptCharsMax } from "../../dev/terminal.ts";

const line = "x".repeat(99);

/** A process that writes 10,000 lines, then the words "the last one", and says on its other output when it has done so. */
function writer(): ChildProcess {
  const script = `
    const { openTerminal } = await import(${JSON.stringify(join(import.meta.dirname, "../../dev/terminal.ts"))});
    const out = openTerminal(1);
    for (let i = 0; i < 10_000; i++) out.write(${JSON.stringify(`${line}\n`)});
    process.stdin.once("data", async () => {
      out.write("the last one\\n");
      await out.flush(1000);
      process.exit(0);
    });
    console.error("written");
  `;
  return spawn(process.execPath, ["--no-warnings", "--input-type=module", "--eval", script]);
}

test("what nobody reads is kept up to a bound, and the rest is counted", async () => {
  const child = writer();
  await once(child.stderr ?? child, "data"); // it waits for nobody
  let output = "";
  child.stdout?.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  await expect.poll(() => output).toContain("were left out");
  child.stdin?.write("go on\n");
  await once(child, "close");
  const lines = output.trimEnd().split("\n");
  const leftOut = Number(/(\d+) lines were left out: nobody read them in time/.exec(output)?.[1]);
  expect(lines.filter((text) => text === line).length + leftOut).toBe(10_000);
  expect(output.length).toBeLessThan(3 * keptCharsMax); // with what the pipe holds
  expect(lines.at(-1)).toBe("the last one");
});

test("nobody reads it at all: the process ends all the same", async () => {
  const child = writer();
  await once(child.stderr ?? child, "data");
  child.stdin?.write("go on\n");
  expect(await once(child, "exit")).toEqual([0, null]);
});

test("the reader has gone: the process goes on", async () => {
  const child = writer();
  child.stdout?.destroy();
  await once(child.stderr ?? child, "data");
  child.stdin?.write("go on\n");
  expect(await once(child, "exit")).toEqual([0, null]);
});
