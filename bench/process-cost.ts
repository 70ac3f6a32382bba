/** What a process has cost so far, from /proc (Linux only). */
import { readdirSync, readFileSync } from "node:fs";

/** USER_HZ: the unit of /proc/PID/stat on every Linux that Node runs on. */
const ticksASecond = 100;

/** CPU seconds, user and system, in steps of 10 ms. */
export function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The command's name, in brackets, may hold blanks; utime and stime are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticksASecond;
}

/** CPU seconds of the threads that are there now, to the nanosecond (proc(5): the first field of schedstat). */
export function threadSecondsOf(pid: number): number {
  let nanos = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    nanos += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ", 1)[0]);
  }
  return nanos / 1e9;
}

/** The same thread by thread, by its id. A thread of a pool changes its name with its work: it has that of now. */
export function threadsOf(
  pid: number,
): ReadonlyMap<string, { readonly name: string; readonly seconds: number }> {
  const threads = readdirSync(`/proc/${pid}/task`).map((thread) => {
    const folder = `/proc/${pid}/task/${thread}`;
    const name = readFileSync(`${folder}/comm`, "utf8").trim();
    const nanos = Number(readFileSync(`${folder}/schedstat`, "utf8").split(" ", 1)[0]);
    return [thread, { name, seconds: nanos / 1e9 }] as const;
  });
  return new Map(threads);
}

/** What the kernel shows of a program's name: its first 15 bytes. */
export function nameOf(pid: number): string {
  return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
}

/** The largest resident size since the process began. */
export function peakBytesOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}

/** The process and all that it started, directly or not. */
export function treeOf(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc")) {
    if (/^\d+$/.test(name)) {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, "utf8");
        parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
      } catch {
        // It ended in between.
      }
    }
  }
  const tree = [pid];
  for (const parent of tree) {
    for (const [child, of] of parents) {
      if (of === parent) {
        tree.push(child);
      }
    }
  }
  return tree;
}

/** CPU seconds of a process and all that it started. */
export function treeCpuSeconds(pid: number): number {
  return treeOf(pid).reduce((sum, one) => sum + cpuSecondsOf(one), 0);
}

/** Peak resident sizes of a process and all that it started, added up. */
export function treePeakBytes(pid: number): number {
  return treeOf(pid).reduce((sum, one) => sum + peakBytesOf(one), 0);
}
