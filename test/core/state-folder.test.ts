/** The folder of the local pipeline: who holds it, and what is said when it cannot be one. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { CannotStart } from "../../dev/settings.ts";
import { lockStateFolder } from "../../dev/state-folder.ts";

let folder = "";
const lock = (): string => join(folder, "lock");

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "headrace-state-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
});

/** A process of somebody else's. */
async function stranger(): Promise<number> {
  const child = spawn("sleep", ["60"]);
  onTestFinished(() => void child.kill("SIGKILL"));
  await once(child, "spawn");
  return child.pid ?? 0;
}

test("a lock whose process id another program has by now is taken over", async () => {
  lockStateFolder(folder);
  const written = JSON.parse(readFileSync(lock(), "utf8"));
  writeFileSync(lock(), JSON.stringify({ ...written, pid: await stranger() })); // it started at another time
  const held = lockStateFolder(folder);
  expect(JSON.parse(readFileSync(lock(), "utf8"))).toEqual(written);
  held.unlock();
  expect(statSync(lock(), { throwIfNoEntry: false })).toBe(undefined);
});

test("a lock of a process that runs is kept, and it is said how to be rid of it", () => {
  lockStateFolder(folder);
  expect(() => lockStateFolder(folder)).toThrow(CannotStart);
  expect(() => lockStateFolder(folder)).toThrow(
    `is in use by another pipeline (process ${process.pid}). Stop it, or choose another folder with HEADRACE_STATE. (If that process is not a pipeline, delete ${lock()}.)`,
  );
});

test("a lock of an earlier version, which has the id alone, holds while that process runs", async () => {
  const pid = await stranger();
  writeFileSync(lock(), String(pid));
  expect(() => lockStateFolder(folder)).toThrow(`(process ${pid})`);
  process.kill(pid, "SIGKILL");
  await expect.poll(() => isThere(pid)).toBe(false);
  lockStateFolder(folder).unlock();
});

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test("a lock that is being written is waited for by nobody, and one that says nothing is taken over", () => {
  writeFileSync(lock(), "");
  expect(() => lockStateFolder(folder)).toThrow("is being taken by another pipeline at this moment");
  utimesSync(lock(), new Date(0), new Date(0));
  lockStateFolder(folder).unlock();
});

test("HEADRACE_STATE that is a file, or below one, or where no folder can be made, is a sentence", () => {
  const file = join(folder, "file");
  writeFileSync(file, "");
  expect(() => lockStateFolder(file)).toThrow(
    `${file} is a file: the state of the pipeline needs a folder. Choose another one with HEADRACE_STATE.`,
  );
  expect(() => lockStateFolder(join(file, "below"))).toThrow(CannotStart);
  // Node's own recursive mkdir never returns here.
  expect(() => lockStateFolder("/proc/nope/deeper")).toThrow(
    /^The state folder \/proc\/nope\/deeper cannot be made: .*HEADRACE_STATE\.$/,
  );
});

test("it is made with its parents, and open to nobody else", () => {
  const deep = join(folder, "a", "b");
  lockStateFolder(deep).unlock();
  expect(statSync(deep).mode & 0o777).toBe(0o700);
});

test("ids of a new folder begin with their time; of one with payloads as soon as none of these is retried", () => {
  const now = Date.UTC(2026, 10, 24, 7, 41);
  const idTimeFrom = (at: number) => {
    const held = lockStateFolder(folder);
    onTestFinished(() => held.unlock());
    try {
      return held.workersState(at).idTimeFrom;
    } finally {
      held.unlock();
    }
  };
  expect(idTimeFrom(now)).toBe("2020-01-01T00:00Z");
  mkdirSync(join(folder, "workers"));
  expect(idTimeFrom(now)).toBe("2020-01-01T00:00Z"); // it has known it since before its first payload
  rmSync(join(folder, "id-time-from"));
  expect(idTimeFrom(now)).toBe("2026-11-25T08:41Z");
  expect(idTimeFrom(now + 1e9)).toBe("2026-11-25T08:41Z");
  for (const damaged of ["", "2026-11-25"]) {
    writeFileSync(join(folder, "id-time-from"), damaged);
    expect(() => idTimeFrom(now)).toThrow("Write 2026-11-25T08:41Z into it");
  }
});
