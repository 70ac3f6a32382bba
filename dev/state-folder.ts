/**
 * The folder of everything that survives a restart of the local pipeline (`.headrace` unless HEADRACE_STATE says
 * otherwise): a lock, `dev.json` with the addresses and the key, ClickHouse's password, `id-time-from`, the Workers' state,
 * ClickHouse's data.
 */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import * as v from "valibot";
import { earliestIdTimeFrom, everyTime, parseIdTimeFrom } from "../shared/id-time.ts";
import { CannotStart } from "./settings.ts";

/** What `dev.json` holds, for people and for tools that want to find the running pipeline. */
export const devFileSchema = v.object({
  otlp: v.string(),
  key: v.string(),
  clickhouse: v.string(),
  console: v.string(),
  adminToken: v.string(),
});
export type DevFile = v.InferOutput<typeof devFileSchema>;

export interface StateFolder {
  readonly path: string;
  readDevFile(): DevFile | undefined;
  writeDevFile(file: DevFile): void;
  /** The password of the local ClickHouse: the one of the earlier start, else a new one. */
  clickHousePassword(): string;
  /** Where the Workers keep their state, and the ingress's ID_TIME_FROM: the one of the earlier start, else one that is right for it. */
  workersState(now: number): { readonly statePath: string; readonly idTimeFrom: string };
  unlock(): void;
}

/** Creates the folder where it is missing and locks it. Throws `CannotStart` when another process holds it. */
export function lockStateFolder(path: string): StateFolder {
  openFolder(path);
  const lock = join(path, "lock");
  takeLock(lock, path);
  const devFile = join(path, "dev.json");
  return {
    path,
    readDevFile() {
      try {
        const parsed = v.safeParse(devFileSchema, JSON.parse(readFileSync(devFile, "utf8")));
        return parsed.success ? parsed.output : undefined;
      } catch {
        return undefined; // absent or damaged: it is written anew
      }
    },
    writeDevFile(file) {
      // The key and the token open the local pipeline: for the owner's eyes only.
      writeFileSync(devFile, `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600 });
      chmodSync(devFile, 0o600); // the mode above is that of a new file
    },
    clickHousePassword: () => clickHousePasswordOf(path),
    workersState(now) {
      const statePath = join(path, "workers");
      return { statePath, idTimeFrom: idTimeFromOf(path, existsSync(statePath), now) };
    },
    unlock() {
      rmSync(lock, { force: true });
    },
  };
}

/** Makes the folder, and closes it to everybody else: it holds spans, keys and a password. Throws `CannotStart`. */
export function openFolder(path: string): void {
  try {
    makeFolder(path);
    chmodSync(path, 0o700);
  } catch (error) {
    throw error instanceof CannotStart
      ? error
      : new CannotStart(
          `The state folder ${path} cannot be made: ${error instanceof Error ? error.message : String(error)}. Choose another folder with HEADRACE_STATE.`,
          { cause: error },
        );
  }
}

/** One folder after the other: Node's `recursive` never returns where a parent takes no folders (`/proc`). */
function makeFolder(path: string): void {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found !== undefined) {
    if (!found.isDirectory()) {
      throw new CannotStart(
        `${path} is a file: the state of the pipeline needs a folder. Choose another one with HEADRACE_STATE.`,
      );
    }
    return;
  }
  makeFolder(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) {
      throw error; // another pipeline may have been quicker
    }
  }
}

/** Kept beside the data, for both commands that start the server there: `npm run dev` and `npm run clickhouse` have one login. */
export function clickHousePasswordOf(folder: string): string {
  const file = join(folder, "clickhouse-password");
  if (existsSync(file)) {
    return readFileSync(file, "utf8").trim();
  }
  const password = randomBytes(24).toString("base64url");
  writeFileSync(file, `${password}\n`, { mode: 0o600 });
  return password;
}

/** Payloads of a version that knew no such time are retried under the ids that they have: ids change when that is over. */
function idTimeFromOf(folder: string, hasPayloads: boolean, now: number): string {
  const file = join(folder, "id-time-from");
  if (existsSync(file)) {
    const text = readFileSync(file, "utf8").trim();
    if (text === "" || parseIdTimeFrom(text) === undefined) {
      throw new CannotStart(
        `${file} is damaged: it holds the time from which payload ids begin with theirs. Write ${earliestIdTimeFrom(now)} into it.`,
      );
    }
    return text;
  }
  const from = hasPayloads ? earliestIdTimeFrom(now) : everyTime;
  writeFileSync(file, `${from}\n`, { mode: 0o600 });
  return from;
}

/**
 * Who holds the folder: a process by its id and by when it started, since ids are reused: in a container that was stopped hard the
 * next pipeline, or anything else, has the id of the last one.
 */
const lockSchema = v.object({ pid: v.number(), started: v.string() });
type LockOwner = v.InferOutput<typeof lockSchema>;

function takeLock(lock: string, folder: string): void {
  const own = JSON.stringify({ pid: process.pid, started: startOf(process.pid) } satisfies LockOwner);
  for (let tries = 0; tries < 2; tries++) {
    try {
      writeFileSync(lock, own, { flag: "wx" });
      return;
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) {
        throw new CannotStart(`The state folder ${folder} cannot be written: ${String(error)}`);
      }
    }
    const owner = readLock(lock);
    if (owner !== undefined && isRunning(owner)) {
      throw new CannotStart(
        `The state folder ${folder} is in use by another pipeline (process ${owner.pid}). Stop it, or choose another folder with HEADRACE_STATE. (If that process is not a pipeline, delete ${lock}.)`,
      );
    }
    if (owner === undefined && isFresh(lock)) {
      break; // it is being written
    }
    rmSync(lock, { force: true }); // its owner was killed
  }
  throw new CannotStart(`The state folder ${folder} is being taken by another pipeline at this moment.`);
}

/** Undefined: it is gone again, or says nothing. Earlier versions wrote the id alone. */
function readLock(lock: string): LockOwner | undefined {
  try {
    const held: unknown = JSON.parse(readFileSync(lock, "utf8"));
    const read = v.safeParse(lockSchema, typeof held === "number" ? { pid: held, started: "" } : held);
    return read.success ? read.output : undefined;
  } catch {
    return undefined;
  }
}

/** A lock that says nothing yet; one that never will is older. */
function isFresh(lock: string): boolean {
  const written = statSync(lock, { throwIfNoEntry: false })?.mtimeMs;
  return written !== undefined && Date.now() - written < writingMs;
}

const writingMs = 5000;

/** The process that wrote the lock, and not another one that got its id. What cannot be told apart is taken for it. */
function isRunning({ pid, started }: LockOwner): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EPERM")) {
      return false;
    }
  }
  const now = startOf(pid);
  return started === "" || now === "" || now === started;
}

/**
 * When a process started, as a text that differs for each that had the id. Linux: the boot, and clock ticks since then (proc(5),
 * `starttime`, field 22: the 20th behind the name's closing bracket). Elsewhere what `ps` says. Empty: not known.
 */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const ticks = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim()} ${ticks}`;
  } catch {
    // no such process, or no such file system
  }
  try {
    const options = { encoding: "utf8", env: { ...process.env, LC_ALL: "C" }, stdio: "pipe" } as const;
    return execFileSync("ps", ["-o", "lstart=", "-p", String(pid)], options).trim();
  } catch {
    return "";
  }
}
