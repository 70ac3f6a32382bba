/**
 * Ends what an orphaned pipeline left running. workerd outlives a parent that was killed with SIGKILL; so the parent
 * starts this process beside it, and when the parent is gone (this process's stdin closes), every workerd of the
 * same process group whose parent is dead is ended.
 *
 * Run as `node dev/guardian.ts`, stdin a pipe that nothing is written to.
 */
import { execFileSync, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Starts the guardian beside the calling process. It ends when the caller does, or when `stop` is called. */
export function startGuardian(): { stop(): void } {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url)], {
    stdio: ["pipe", "ignore", "inherit"],
  });
  child.unref();
  return { stop: () => child.kill("SIGKILL") };
}

interface RunningProcess {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  readonly command: string;
}

function runningProcesses(): RunningProcess[] {
  const listing = execFileSync("ps", ["-A", "-o", "pid=,ppid=,pgid=,comm="], { encoding: "utf8" });
  return listing.split("\n").flatMap((line) => {
    const [pid, parent, group, ...command] = line.trim().split(/\s+/);
    return command.length === 0
      ? []
      : [{ pid: Number(pid), parent: Number(parent), group: Number(group), command: command.join(" ") }];
  });
}

function endOrphans(): void {
  const processes = runningProcesses();
  const group = processes.find(({ pid }) => pid === process.pid)?.group;
  const parents = new Set(processes.filter((one) => one.group === group).map(({ pid }) => pid));
  for (const orphan of processes) {
    // An orphan was handed to init or to a subreaper: its parent is outside the group.
    if (orphan.group === group && orphan.command.endsWith("workerd") && !parents.has(orphan.parent)) {
      process.kill(orphan.pid, "SIGKILL");
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  // A Ctrl-C reaches the whole group: the parent stops in order, and closes our stdin when it is done.
  process.on("SIGINT", () => undefined);
  process.on("SIGTERM", () => undefined);
  process.stdin.on("end", () => {
    endOrphans();
    process.exit(0);
  });
  process.stdin.resume();
}
