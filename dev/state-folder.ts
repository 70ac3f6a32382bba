/**
 * The folder of everything that survives a restart of the local pipeline (`.headrace` unless HEADRACE_STATE says
 * otherwise): a lock, `dev.json` with the addresses and the key, ClickHouse's password, the Workers' state, ClickHouse's data.
 */
import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
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
    unlock() {
      rmSync(lock, { force: true });
    },
  };
}

/** Makes the folder, and closes it to everybody else: it holds spans, keys and a password. */
export function openFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  chmodSync(path, 0o700);
}

/** Kept beside the data, for whoever starts the server there: `npm run dev` and `npm run clickhouse` have one login. */
export function clickHousePasswordOf(folder: string): string {
  const file = join(folder, "clickhouse-password");
  if (existsSync(file)) {
    return readFileSync(file, "utf8").trim();
  }
  const password = randomBytes(24).toString("base64url");
  writeFileSync(file, `${password}\n`, { mode: 0o600 });
  return password;
}

function takeLock(lock: string, folder: string): void {
  for (let tries = 0; tries < 2; tries++) {
    try {
      writeFileSync(lock, String(process.pid), { flag: "wx" });
      return;
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) {
        throw new CannotStart(`The state folder ${folder} cannot be written: ${String(error)}`);
      }
    }
    const owner = Number(readFileSync(lock, "utf8"));
    if (isRunning(owner)) {
      throw new CannotStart(
        `The state folder ${folder} is in use by another pipeline (process ${owner}). Stop it, or choose another folder with HEADRACE_STATE.`,
      );
    }
    rmSync(lock, { force: true }); // its owner was killed
  }
  throw new CannotStart(`The state folder ${folder} is being taken by another pipeline at this moment.`);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
